"""Live one connection: say who we are, ask for what is wanted, take what comes, keep the token valid."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import httpx

from alhambra.client.alert_feed import AlertFeed
from alhambra.client.connection import Connection
from alhambra.client.errors import UNAUTHORISED, ConnectionLost, Refused
from alhambra.client.feed import Feed, Stage
from alhambra.client.following import Following
from alhambra.client.messages import Answer, Authenticated, Heartbeat, Revoked, Subscribed
from alhambra.client.pause import Patience
from alhambra.client.state import State
from alhambra.client.tokens import Tokens

TICKS = 6  # until silence is noticed
FIRST_LOOKS, FIRST_LOOK_S, LOOK_S = 3, 0.2, 10.0  # at the server's clock
STREAMS_AT_ONCE = 10  # in one request, which may have 16 KiB


class Session:
    """Follow the wanted streams over one connection, until it ends."""

    def __init__(
        self,
        connection: Connection,
        following: Following,
        tokens: Tokens,
        web: httpx.AsyncClient,
        url: str,
        patience: Patience,
    ) -> None:
        self._connection = connection
        self._following = following
        self._standing = following.standing
        self._tokens = tokens
        self._web = web
        self._url = url
        self._patience = patience
        self.role: str | None = None  # None until the server knows who we are

    async def run(self, known: Callable[[], None]) -> NoReturn:
        """Run until the connection ends, `known` being called when the server knows who we are.

        Always raises: `ConnectionLost` or `Refused`.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._receive(), name="receive")
                tasks.create_task(self._begin(tasks, known), name="begin")
        except BaseExceptionGroup as group:
            found = _most_telling(group)
        raise found

    async def _begin(self, tasks: asyncio.TaskGroup, known: Callable[[], None]) -> None:
        answer = await self._connection.request("auth", **self._tokens.auth())
        if not isinstance(answer, Authenticated):
            raise ConnectionLost("the server does not say whether it knows us")
        self.role = answer.role
        self._standing.is_now(State.LIVE, source_live=True)  # until a heartbeat says otherwise
        known()
        for job in (self._keep_streams, self._keep_token, self._keep_time, self._keep_watch):
            tasks.create_task(job(), name=job.__name__)

    async def _receive(self) -> None:
        while True:
            message = await self._connection.receive()
            if self._standing.connection is State.STALE:
                self._standing.is_now(State.LIVE)
            if isinstance(message, Heartbeat):
                self._compare(message)
            elif isinstance(message, Revoked):
                self._revoke(message)
            elif message.stream in self._following.feeds:
                feed = self._following.feeds[message.stream]
                feed.take(message)
                if feed.error is not None:
                    self._following.drop(feed)
                elif feed.stage is Stage.WANTED:
                    self._following.changed.set()

    async def _keep_watch(self) -> None:
        """Notice silence. Ticks are counted and not seconds: a program that was stopped must not blame the server."""
        tick_s = self._patience.stale_s / TICKS
        heard, silent = self._connection.heard, 0
        while True:
            await asyncio.sleep(tick_s)
            followed = any(feed.stage is Stage.FOLLOWING for feed in self._following.feeds.values())
            silent = silent + 1 if followed and heard == self._connection.heard else 0
            heard = self._connection.heard
            if silent * tick_s >= self._patience.lost_s:
                raise ConnectionLost(f"nothing was heard for {self._patience.lost_s:g} s")
            if silent >= TICKS:
                self._standing.is_now(State.STALE)

    def _compare(self, heartbeat: Heartbeat) -> None:
        """Compare what we hold with what the server says it sent."""
        self._standing.is_now(State.LIVE, source_live=heartbeat.source == "live")
        for name, feed in self._following.feeds.items():
            feed.check(heartbeat.streams.get(name))
            if feed.stage is Stage.WANTED:
                self._following.changed.set()

    def _revoke(self, message: Revoked) -> None:
        feed = self._following.feeds.get(message.stream)
        if feed is None or feed.stage is not Stage.FOLLOWING:
            return  # an older subscription's; the newer one gets an answer of its own
        refusal = Refused(message.code, message.name, message.message)
        if refusal.code == UNAUTHORISED:  # who is signed in again may have it again
            raise refusal
        if refusal.final:
            self._following.fail(feed, refusal)
        else:
            feed.lose()
            self._following.changed.set()

    async def _keep_streams(self) -> None:
        """Tell the server what is wanted, whenever that is not what it knows."""
        attempt = 0
        while True:
            self._following.changed.clear()
            try:
                await self._unsubscribe()
                await self._subscribe()
                await self._acknowledge()
            except Refused as refusal:
                if refusal.final:
                    raise
                await asyncio.sleep(self._patience.pause_s(attempt, refusal.retry_after_s))
                attempt += 1
            else:
                attempt = 0
                await self._following.changed.wait()

    async def _unsubscribe(self) -> None:
        names = sorted(self._following.left)
        if names:
            await self._connection.request("unsubscribe", streams=names)
            self._following.left.difference_update(names)

    async def _subscribe(self) -> None:
        wanted: dict[float, list[Feed]] = defaultdict(list)
        for feed in self._following.feeds.values():
            if feed.stage is Stage.WANTED:
                wanted[feed.wanted.max_hz].append(feed)
        for hz, feeds in wanted.items():
            for first in range(0, len(feeds), STREAMS_AT_ONCE):
                await self._ask(feeds[first : first + STREAMS_AT_ONCE], hz)

    async def _ask(self, feeds: Sequence[Feed], hz: float) -> None:
        """Ask for streams; they are granted or refused together, so those of a refusal are asked for one by one."""
        streams = [feed.ask() for feed in feeds]
        try:
            await self._connection.request("subscribe", partial(_grant, feeds), streams=streams, max_hz=hz)
        except Refused as refusal:
            for feed in feeds:
                feed.lose()
            if not refusal.final or refusal.code == UNAUTHORISED:
                raise
            if len(feeds) == 1:
                self._following.fail(feeds[0], refusal)
                return
            for feed in feeds:
                await self._ask([feed], hz)

    async def _acknowledge(self) -> None:
        feed = self._following.feeds.get("alerts")
        if isinstance(feed, AlertFeed) and feed.done > feed.acknowledged:
            done = feed.done
            await self._connection.request("acknowledge", seq=done)
            feed.acknowledged = done

    async def _keep_token(self) -> None:
        """Renew the token in time. While nobody answers the streams go on, and so do the attempts."""
        attempt = 0
        while (wait_s := self._tokens.renew_in_s()) is not None:
            await asyncio.sleep(wait_s if attempt == 0 else self._patience.pause_s(attempt))
            try:
                await self._tokens.renew(self._web, self._url)
                await self._connection.request("auth", **self._tokens.auth())
            except ConnectionLost:
                attempt += 1
            except Refused as refusal:
                if refusal.final:
                    raise
                attempt += 1
            else:
                attempt = 0

    async def _keep_time(self) -> None:
        """Ask for the list of streams now and then: its answer tells the server's clock and how far away it is."""
        looks = 0
        while True:
            await self._connection.request("list")
            looks += 1
            await asyncio.sleep(FIRST_LOOK_S if looks < FIRST_LOOKS else LOOK_S)


def _grant(feeds: Sequence[Feed], answer: Answer) -> None:
    """Take the answer to a `subscribe`, before any message that comes after it."""
    entries = {entry.stream: entry for entry in answer.streams} if isinstance(answer, Subscribed) else {}
    for feed in feeds:
        entry = entries.get(feed.wanted.stream)
        if entry is None:
            raise ConnectionLost(f"the server's answer leaves out {feed.wanted.stream}")
        feed.grant(entry)


def _most_telling(error: BaseException) -> BaseException:
    """Return the error that says most of those with which the tasks of a connection ended."""

    def rank(one: BaseException) -> int:
        return 0 if isinstance(one, ConnectionLost) else 1 if isinstance(one, Refused) else 2

    if isinstance(error, BaseExceptionGroup):
        return max((_most_telling(one) for one in error.exceptions), key=rank)
    return error
