"""Follow the bank's streams: one connection, made again whenever it is lost, for as many loops as a program has."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any
from uuid import UUID

import httpx

from alhambra.client.clock import Clock
from alhambra.client.connection import open_connection
from alhambra.client.errors import UNAUTHORISED, Closed, ConnectionLost, Refused, Unreachable
from alhambra.client.following import Following
from alhambra.client.pause import Patience
from alhambra.client.session import Session
from alhambra.client.state import Standing, State
from alhambra.client.tokens import ProvidedTokens, SignedIn, Tokens, read
from alhambra.client.update import Alert, Update
from alhambra.client.wanted import DEFAULT_HZ, Fields, View, Wanted

REST_S = 10.0
CANCEL_S = 1.0
SPREAD_S = 0.5  # over which the clients of a server that goes away come to the next one

log = logging.getLogger(__name__)


class Client:
    """Follow streams with `async with Client(url, …) as client: async for update in client.portfolio(id): …`.

    `url` is where the platform is, such as `https://bank.example`, or several such places: when one goes away the
    next is taken. Who you are: `email` and `password`; or `token`, a text or an async function that returns one
    whenever one is needed; or `guest=True`, for the public stream `demo` alone.

    Entering signs in and connects, and raises what keeps it from that. Afterwards a lost connection is made again
    for as long as it takes, and loops go on where they were; they raise `Refused` when the bank says no for good.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        email: str | None = None,
        password: str | None = None,
        token: str | Callable[[], Awaitable[str]] | None = None,
        guest: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._urls = _addresses(url)
        self._tokens = _tokens(email, password, token, guest=guest)
        self._standing = Standing()
        self._following = Following(self._standing)
        self._patience = patience or Patience()
        self._web = httpx.AsyncClient(timeout=REST_S)
        self._url = self._urls[0]
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def __aenter__(self) -> Client:
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="alhambra client")
        self._task.add_done_callback(self._ended)
        try:
            await self._ready
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def state(self) -> State:
        """Return how the connection stands."""
        return self._standing.state

    @property
    def clock(self) -> Clock:
        """Return the estimate of the server's clock, and how far away it is."""
        return self._standing.clock

    @property
    def url(self) -> str:
        """Return the address that is used now."""
        return self._url

    @property
    def user_id(self) -> str | None:
        """Return whose token is used, None for guests."""
        return self._tokens.user_id

    @property
    def role(self) -> str | None:
        """Return in which role the server knows us."""
        return None if self._session is None else self._session.role

    def portfolio(
        self, portfolio: str | UUID, *, max_hz: float = DEFAULT_HZ, fields: Fields | None = None
    ) -> AsyncGenerator[Update, None]:
        """Follow a portfolio; rows are its holdings by symbol."""
        return self._states(Wanted(f"portfolio:{portfolio}", max_hz, fields))

    def client(
        self, client: str | UUID | None = None, *, max_hz: float = DEFAULT_HZ, fields: Fields | None = None
    ) -> AsyncGenerator[Update, None]:
        """Follow all portfolios of a client, by default the user's own, as one; rows are holdings by symbol."""
        return self._states(Wanted(f"client:{client or self.user_id}", max_hz, fields))

    def floor(
        self,
        advisor: str | UUID | None = None,
        *,
        view: View | None = None,
        max_hz: float = DEFAULT_HZ,
        fields: Fields | None = None,
    ) -> AsyncGenerator[Update, None]:
        """Follow an advisor's book, by default the user's own; rows are those of the view, totals of the whole."""
        return self._states(Wanted(f"floor:{advisor or self.user_id}", max_hz, fields, view))

    def quote(
        self, symbol: str, *, max_hz: float = DEFAULT_HZ, fields: Fields | None = None
    ) -> AsyncGenerator[Update, None]:
        """Follow the newest quote of an instrument; all of it stands in the totals."""
        return self._states(Wanted(f"quote:{symbol}", max_hz, fields))

    def demo(self, *, max_hz: float = DEFAULT_HZ, fields: Fields | None = None) -> AsyncGenerator[Update, None]:
        """Follow the public stream: an invented portfolio that always moves."""
        return self._states(Wanted("demo", max_hz, fields))

    async def alerts(self) -> AsyncGenerator[Alert, None]:
        """Follow the user's alerts, each once and in order; asking for the next one acknowledges the one before.

        What is not acknowledged when a program ends comes again when it begins anew.
        """
        self._require_open()
        feed, reader = self._following.join_alerts()
        try:
            while reader.goes_on():
                alert = feed.next()
                if alert is not None:
                    yield alert
                    feed.done = alert.seq
                self._following.changed.set()
                if alert is None:
                    await reader.wait()
        finally:
            self._following.leave(reader)

    async def states(self) -> AsyncGenerator[State, None]:
        """Follow the state of the connection, beginning with the present one."""
        self._require_open()
        woken = asyncio.Event()
        self._standing.listeners.add(woken.set)
        shown: State | None = None
        try:
            while self._error is None and self._task is not None and not self._task.done():
                if shown is not (shown := self.state):
                    yield shown
                else:
                    await woken.wait()
                    woken.clear()
        finally:
            self._standing.listeners.discard(woken.set)

    async def get(self, path: str, **parameters: str) -> Any:
        """Return what the REST interface answers to a GET, such as of `/api/portfolio/overview`.

        Raises `Refused`, and `Unreachable` where nothing answers.
        """
        headers = {} if self._tokens.token is None else {"Authorization": f"Bearer {self._tokens.token}"}
        try:
            return await read(self._web, "GET", self._url + path, params=parameters, headers=headers)
        except ConnectionLost as error:
            raise Unreachable(str(error)) from error

    async def _states(self, wanted: Wanted) -> AsyncGenerator[Update, None]:
        self._require_open()
        reader = self._following.join_states(wanted)
        try:
            while reader.goes_on():
                update = reader.update()
                if update is None:
                    await reader.wait()
                else:
                    yield update
        finally:
            self._following.leave(reader)

    def _require_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._task is None or self._task.done():
            raise Closed("The client is not open: follow inside `async with Client(…) as client`.")

    async def _run(self) -> None:
        """Connect to one address after the other for ever; raises what cannot be mended by trying again."""
        attempt = refusals = 0
        loop = asyncio.get_running_loop()
        for tried, url in enumerate(itertools.cycle(self._urls), 1):
            began, wait_s, self._url = loop.time(), 0.0, url
            trouble = await self._follow_at(url)
            good = loop.time() - began > self._patience.good_s and self.role is not None
            attempt, refusals = (0, 0) if good else (attempt + 1, refusals)
            if isinstance(trouble, Refused):
                refusals += 1
                wait_s = trouble.retry_after_s
                if trouble.final and (trouble.code != UNAUTHORISED or refusals > 1 or not self._tokens.forget()):
                    raise trouble
            self._give_up_at_first(tried, trouble)
            was_good = self.role is not None
            self._session = None
            self._following.lose_all()
            self._standing.is_now(State.CONNECTING if was_good else State.OFFLINE)
            log.info("connection to %s ended: %s", url, trouble)
            at_once = isinstance(trouble, ConnectionLost) and trouble.at_once
            pause_s = self._patience.pause_s(attempt, wait_s)
            await asyncio.sleep(min(pause_s, random.uniform(0, SPREAD_S)) if at_once else pause_s)  # noqa: S311

    async def _follow_at(self, url: str) -> ConnectionLost | Refused:
        """Follow at one address until that ends; returns why."""
        self._standing.clock.forget()
        try:
            await self._tokens.obtain(self._web, url)
            async with open_connection(url, self._standing.clock) as connection:
                self._session = Session(connection, self._following, self._tokens, self._web, url, self._patience)
                await self._session.run(self._be_ready)
        except (ConnectionLost, Refused) as error:
            return error

    def _be_ready(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _give_up_at_first(self, tried: int, trouble: ConnectionLost | Refused) -> None:
        """Raise when no address has ever worked: who begins wants to know, who has begun wants it to go on."""
        if self._ready is not None and not self._ready.done() and tried >= len(self._urls):
            raise trouble if isinstance(trouble, Refused) else Unreachable(str(trouble))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Pass on what ended the connection for good."""
        error = None if task.cancelled() else task.exception()
        self._standing.is_now(State.OFFLINE)
        if not isinstance(error, Exception):
            self._following.end_all()
            return
        self._error = error
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        self._following.fail_all(error)

    async def _close(self) -> None:
        while self._task is not None and not self._task.done():  # a group that fails just then forgets a cancellation
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CANCEL_S)
        await self._tokens.end(self._web, self._url)
        await self._web.aclose()


def _addresses(url: str | Sequence[str]) -> tuple[str, ...]:
    found = tuple(one.rstrip("/") for one in ([url] if isinstance(url, str) else url))
    if not found or not all(one.startswith(("http://", "https://")) for one in found):
        raise ValueError("give the address of the platform, such as https://bank.example, or several")
    return found


def _tokens(
    email: str | None, password: str | None, token: str | Callable[[], Awaitable[str]] | None, *, guest: bool
) -> Tokens:
    if sum((email is not None, token is not None, guest)) != 1 or (email is None) is not (password is None):
        raise ValueError("say who you are in one way: email and password, or token, or guest=True")
    if email is not None and password is not None:
        return SignedIn(email, password)
    return Tokens() if token is None else ProvidedTokens(token)
