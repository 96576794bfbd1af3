"""Ask IBOSS: sign in, list accounts, read positions and bookings, keep the session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import stamina
import structlog
from lxml import etree

from ingest.iboss.contract import SIGN_IN, Contract, packaged_wsdl, read_contract
from ingest.iboss.envelope import open_envelope, unknown_obligations
from ingest.iboss.errors import (
    AccessDenied,
    CircuitOpen,
    CredentialsRefused,
    GatewayRefused,
    IbossError,
    PasswordExpired,
    QuotaExceeded,
    RequestRefused,
    SessionExpired,
    SourceUnavailable,
    UnknownFault,
    UnreadableAnswer,
)
from ingest.iboss.guard import CallGuard
from ingest.iboss.parsing import parse_accounts, parse_actions, parse_positions, parse_session, parse_transactions
from ingest.iboss.quota import parse_retry_after
from ingest.iboss.records import AccountsPage, ActionsPage, IbossSession, PositionsPage, TransactionsPage
from ingest.iboss.transport import Answer, SoapTransport, create_http

MAX_ACCOUNTS_A_CALL = 50
LONGEST_RETRY_WAIT_S = 30.0

# What IBOSS says to a sign-in that it will say again to the next one.
REFUSALS = (CredentialsRefused, PasswordExpired, AccessDenied, RequestRefused, UnknownFault)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Retries:
    """Bound how often a call is tried again: attempts in all, and the first and longest wait in seconds."""

    attempts: int = 4
    wait_initial_s: float = 0.2
    wait_max_s: float = 3.0


@dataclass(frozen=True, slots=True)
class IbossAddress:
    """Say where IBOSS is and who asks; secrets stay out of reprs.

    With `own_wsdl` the contract is read from the service at start, instead of from the packaged copy.
    """

    url: str
    username: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)
    own_wsdl: bool = False


class IbossClient:
    """Call the operations of IBOSS, one at a time.

    Signs in when there is no session and once more when it has expired. What may pass is retried within
    `Retries` and what the guard admits; everything else, and what did not pass, is raised as an `IbossError`.
    """

    def __init__(self, contract: Contract, address: IbossAddress, retries: Retries, guard: CallGuard) -> None:
        self._contract = contract
        self._address = address
        self._retries = retries
        self._guard = guard
        self._session: IbossSession | None = None
        self._turn = asyncio.Lock()  # a session, a quota and a connection are shared: calls take turns
        self._noted: set[str] = set()

    def __repr__(self) -> str:
        return f"IbossClient({self._address.url!r}, {self._address.username!r})"

    @property
    def last_call_s(self) -> float:
        """Return how long the newest call took."""
        return self._guard.last_call_s

    def offers(self, operation: str) -> bool:
        """Return whether the contract has an operation; the four that everything needs it always has."""
        return self._contract.offers(operation)

    async def accounts(
        self, changed_after: int | None = None, after: str | None = None, limit: int = 1000
    ) -> AccountsPage:
        """Return a page of accounts with the versions of their positions, those changed after a version if given."""
        asked = _present(ChangedAfter=changed_after, After=after, Limit=limit)
        return parse_accounts(await self._ask("GetAccounts", asked))

    async def positions(self, accounts: Sequence[str]) -> PositionsPage:
        """Return the full positions and cash of up to 50 accounts."""
        return parse_positions(await self._ask("GetPositions", {"AccountId": list(accounts)}))

    async def cash_balances(self, accounts: Sequence[str]) -> PositionsPage:
        """Return only the cash of up to 50 accounts."""
        return parse_positions(await self._ask("GetCashBalances", {"AccountId": list(accounts)}))

    async def transactions(self, cursor: str | None = None, limit: int = 1000) -> TransactionsPage:
        """Return the bookings after a cursor, or from the beginning."""
        return parse_transactions(await self._ask("GetTransactions", _present(Cursor=cursor, Limit=limit)))

    async def corporate_actions(self, changed_after: int | None = None, limit: int = 1000) -> ActionsPage:
        """Return the corporate actions that changed after a version, or all."""
        asked = _present(ChangedAfter=changed_after, Limit=limit)
        return parse_actions(await self._ask("GetCorporateActions", asked))

    async def authenticate(self) -> None:
        """Sign in, as the first call does by itself."""
        async with self._turn:
            await self._retrying(self._sign_in)

    async def logout(self) -> None:
        """End the session at IBOSS, where there is one."""
        async with self._turn:
            session, self._session = self._session, None
            if session is not None and self._contract.offers("Logout"):
                await self._call("Logout", {}, session)

    async def _ask(self, operation: str, asked: dict[str, Any]) -> etree._Element:
        async with self._turn:
            return await self._retrying(lambda: self._in_session(operation, asked))

    async def _retrying(self, call: Callable[[], Any]) -> Any:
        attempts = stamina.retry_context(
            on=retry_wait,
            attempts=self._retries.attempts,
            timeout=None,
            wait_initial=self._retries.wait_initial_s,
            wait_max=self._retries.wait_max_s,
            wait_jitter=self._retries.wait_initial_s,
        )
        async for attempt in attempts:
            with attempt:
                return await call()
        raise SourceUnavailable("no attempt was made")

    async def _in_session(self, operation: str, asked: dict[str, Any]) -> etree._Element:
        session = self._session or await self._sign_in()
        try:
            return await self._call(operation, asked, session)
        except SessionExpired:
            return await self._call(operation, asked, await self._sign_in())

    async def _sign_in(self) -> IbossSession:
        self._session = None
        now_s = time.monotonic()
        self._guard.sign_ins.admit(now_s)
        asked = {"Username": self._address.username, "Password": self._address.password}
        try:
            answer = await self._call(SIGN_IN, asked, None)
        except GatewayRefused:
            raise  # it was not IBOSS that refused, so nothing was counted there
        except REFUSALS as error:
            self._guard.sign_ins.refused(error, now_s)
            raise
        self._session = parse_session(answer, self._contract.signed_in)
        self._guard.sign_ins.succeeded()
        return self._session

    async def _call(self, operation: str, asked: dict[str, Any], session: IbossSession | None) -> etree._Element:
        async with self._guard.call(operation):
            answer = await self._contract.request(operation, asked, session.token if session else None)
            return self._read(answer, operation)

    def _read(self, answer: Answer, operation: str) -> etree._Element:
        self._guard.heard(answer.headers)
        retry_after_s = parse_retry_after(answer.headers)
        refusal = error_of_status(answer.status, retry_after_s, operation)
        try:
            found = open_envelope(answer.content, operation, retry_after_s, self._contract.answer_of(operation))
        except UnreadableAnswer as error:
            raise refusal or error from error
        except IbossError as error:
            if isinstance(refusal, QuotaExceeded):  # whatever the fault calls it
                raise QuotaExceeded(str(error), refusal.retry_after_s) from error
            raise
        for name in set(unknown_obligations(found, self._contract.signed_in.name)) - self._noted:
            self._noted.add(name)
            log.warning("an answer of IBOSS has a header that should be understood and is not", header=name)
        return found


def error_of_status(status: int, retry_after_s: float | None, operation: str) -> IbossError | None:
    """Return what an HTTP status means where the answer carried no readable fault; None for a success."""
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return QuotaExceeded("HTTP 429", retry_after_s if retry_after_s is not None else 5.0)
    if status >= 500:
        return SourceUnavailable(f"HTTP {status}", retry_after_s)
    if status == httpx.codes.UNAUTHORIZED:
        return (CredentialsRefused if operation == SIGN_IN else SessionExpired)("HTTP 401")
    if status >= 300:
        return GatewayRefused(f"HTTP {status}")
    return None


def retry_wait(error: Exception) -> bool | float:
    """Say whether a call may be tried again, and after how many seconds where IBOSS said so."""
    if not isinstance(error, SourceUnavailable | QuotaExceeded) or isinstance(error, CircuitOpen):
        return False
    if error.retry_after_s is None:
        return True
    return error.retry_after_s if error.retry_after_s <= LONGEST_RETRY_WAIT_S else False


@asynccontextmanager
async def open_iboss(
    address: IbossAddress, retries: Retries | None = None, guard: CallGuard | None = None
) -> AsyncIterator[IbossClient]:
    """Open a client; ends its session and closes its connections on leaving.

    The contract is the packaged one, so that this works while IBOSS is away, unless the address asks for
    the service's own. Who opens several clients in turn gives them one guard.
    """
    transport = SoapTransport(lambda: create_http(address.api_key))
    try:
        wsdl = await transport.fetch(f"{address.url}?wsdl") if address.own_wsdl else packaged_wsdl()
        contract = await asyncio.to_thread(read_contract, wsdl, address.url, transport)
        client = IbossClient(contract, address, retries or Retries(), guard or CallGuard())
        try:
            yield client
        finally:
            await _end_session(client)
    finally:
        await transport.aclose()


async def _end_session(client: IbossClient) -> None:
    try:
        async with asyncio.timeout(1.0):
            await client.logout()
    except (IbossError, TimeoutError):
        return  # the session expires by itself; leaving must not fail because IBOSS is away


def _present(**asked: Any) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}
