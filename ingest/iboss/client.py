"""Ask IBOSS: sign in, list accounts, read positions and bookings, keep the session and the quota."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import stamina
from lxml import etree
from prometheus_client import Counter, Histogram
from zeep.exceptions import Error as ZeepError

from ingest.iboss.contract import create_service, packaged_wsdl
from ingest.iboss.envelope import open_envelope
from ingest.iboss.errors import (
    IbossError,
    QuotaExceeded,
    RequestRefused,
    SessionExpired,
    SourceUnavailable,
    UnreadableAnswer,
)
from ingest.iboss.parsing import parse_accounts, parse_positions, parse_session, parse_transactions
from ingest.iboss.quota import Quota, parse_quota, parse_retry_after, pause_before_call
from ingest.iboss.records import AccountsPage, IbossSession, PositionsPage, TransactionsPage
from ingest.iboss.transport import Answer, SoapTransport, create_http

MAX_ACCOUNTS_A_CALL = 50
LONGEST_RETRY_WAIT_S = 30.0

CALL_SECONDS = Histogram("iboss_call_seconds", "Duration of one call to IBOSS, over HTTP.", ["operation"])
CALL_ERRORS = Counter(
    "iboss_call_errors_total", "Calls to IBOSS that failed, by operation and error.", ["operation", "error"]
)


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
    `Retries`; everything else, and what did not pass, is raised as an `IbossError`. `last_call_s` is how
    long the newest call took.
    """

    def __init__(self, service: Any, address: IbossAddress, retries: Retries) -> None:
        self._service = service
        self._address = address
        self._retries = retries
        self._session: IbossSession | None = None
        self._quota: Quota | None = None
        self._turn = asyncio.Lock()  # a session, a quota and a connection are shared: calls take turns
        self.last_call_s = 0.0

    def __repr__(self) -> str:
        return f"IbossClient({self._address.url!r}, {self._address.username!r})"

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

    async def authenticate(self) -> None:
        """Sign in, as the first call does by itself."""
        async with self._turn:
            await self._retrying(self._sign_in)

    async def logout(self) -> None:
        """End the session at IBOSS, where there is one."""
        async with self._turn:
            if self._session is not None:
                await self._call("Logout", {}, self._session)
                self._session = None

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
        asked = {"Username": self._address.username, "Password": self._address.password}
        self._session = parse_session(await self._call("Authenticate", asked, None))
        return self._session

    async def _call(self, operation: str, asked: dict[str, Any], session: IbossSession | None) -> etree._Element:
        await asyncio.sleep(pause_before_call(self._quota, time.monotonic()))
        headers = {"_soapheaders": {"session": {"Token": session.token}}} if session else {}
        started = time.monotonic()
        try:
            answer: Answer = await self._service[operation](**asked, **headers)
            return self._read(answer, operation)
        except ZeepError as error:
            raise RequestRefused(f"{operation} does not fit the contract: {error}") from error
        except IbossError as error:
            CALL_ERRORS.labels(operation, type(error).__name__).inc()
            raise
        finally:
            self.last_call_s = time.monotonic() - started
            CALL_SECONDS.labels(operation).observe(self.last_call_s)

    def _read(self, answer: Answer, operation: str) -> etree._Element:
        self._quota = parse_quota(answer.headers, time.monotonic())
        retry_after_s = parse_retry_after(answer.headers)
        try:
            return open_envelope(answer.content, operation, retry_after_s)
        except UnreadableAnswer as error:
            raise error_of_status(answer.status, retry_after_s) or error from error


def error_of_status(status: int, retry_after_s: float | None) -> IbossError | None:
    """Return what an HTTP status means where the answer carried no readable fault; None for a success."""
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return QuotaExceeded("HTTP 429", retry_after_s if retry_after_s is not None else 5.0)
    if status >= 500:
        return SourceUnavailable(f"HTTP {status}", retry_after_s)
    if status >= 300:
        return RequestRefused(f"HTTP {status}: is IBOSS_API_URL the address of the service?")
    return None


def retry_wait(error: Exception) -> bool | float:
    """Say whether a call may be tried again, and after how many seconds where IBOSS said so."""
    if not isinstance(error, SourceUnavailable | QuotaExceeded):
        return False
    if error.retry_after_s is None:
        return True
    return error.retry_after_s if error.retry_after_s <= LONGEST_RETRY_WAIT_S else False


@asynccontextmanager
async def open_iboss(address: IbossAddress, retries: Retries | None = None) -> AsyncIterator[IbossClient]:
    """Open a client; ends its session and closes its connections on leaving.

    The contract is the packaged one, so that this works while IBOSS is away, unless the address asks for
    the service's own.
    """
    transport = SoapTransport(lambda: create_http(address.api_key))
    try:
        wsdl = await transport.fetch(f"{address.url}?wsdl") if address.own_wsdl else packaged_wsdl()
        service = await asyncio.to_thread(create_service, wsdl, address.url, transport)
        client = IbossClient(service, address, retries or Retries())
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
