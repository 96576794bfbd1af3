"""Poll IBOSS for ever: what changed goes into the ledger with the cursor, then to Kafka.

One poll: accounts whose positions have a newer version → their positions, fifty at a time, and beside the
last of them the bookings after the cursor, a page at a time. Each round is one PostgreSQL transaction, then
published; so positions, which make the live value, do not wait for a long history of bookings.
What IBOSS, PostgreSQL or Kafka cannot do now is done later: nothing in memory is ahead of the ledger.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Protocol

import asyncpg
import msgspec
from aiokafka.errors import KafkaError

from db.leases import Fence
from db.live import LiveStore
from db.postgres import DATABASE_AWAY
from ingest.iboss.client import MAX_ACCOUNTS_A_CALL, IbossAddress, open_iboss
from ingest.iboss.corporate_actions import ActionReader
from ingest.iboss.directory import Directory
from ingest.iboss.errors import (
    AccessDenied,
    CredentialsRefused,
    IbossError,
    PasswordExpired,
    QuotaExceeded,
    SessionExpired,
    SourceUnavailable,
    UnreadableAnswer,
)
from ingest.iboss.guard import CallGuard
from ingest.iboss.health import IbossHealth
from ingest.iboss.ledger_store import POISON, LedgerStore, ledger_booking, position_set
from ingest.iboss.outbox import Outbox
from ingest.iboss.pages import BookingPages
from ingest.iboss.progress import Progress
from ingest.iboss.reconciliation import Reconciler, reconcile_nightly
from ingest.iboss.records import AccountsPage, AccountVersion, PositionsPage, Refused, TransactionsPage
from ingest.iboss.translation import translate_booking, translate_positions
from stream.kafka import open_producer
from stream.messages import Booking, PortfolioPositions, encode_message

POLL_SECONDS = 2.0
RECONCILE_HOUR = 2  # of UTC: between the close of New York and the opening of Tokyo
FULL_LISTING_EVERY_S = 60.0  # finds what was refused before and can be used now, and new portfolios of ours
LONGEST_BACK_OFF_S = 10.0
LASTING = (CredentialsRefused, PasswordExpired, AccessDenied, SessionExpired)  # the next poll will not mend these
LASTING_WAIT_S = 60.0  # how often signing in may be tried is decided by `ingest.iboss.sign_ins`
CAUGHT_UP_EVERY_S = 10.0
MOST_ACCOUNT_PAGES = 1000  # of a thousand accounts
LASTED_S = 60.0  # connections that held this long were not part of the failures before
REMEMBERED_REFUSALS = 10_000


class IbossSource(Protocol):
    """Describe what the worker asks of IBOSS; `ingest.iboss.client.IbossClient` is one."""

    @property
    def last_call_s(self) -> float:
        """Return how long the newest call took."""
        ...

    async def accounts(
        self, changed_after: int | None = None, after: str | None = None, limit: int = 1000
    ) -> AccountsPage:
        """Return a page of accounts."""
        ...

    async def positions(self, accounts: Sequence[str]) -> PositionsPage:
        """Return the positions of accounts."""
        ...

    async def transactions(self, cursor: str | None = None, limit: int = 1000) -> TransactionsPage:
        """Return the bookings after a cursor."""
        ...


class IbossWorker:
    """Read IBOSS round by round and remember how far, in memory, behind what the ledger has."""

    def __init__(
        self,
        source: IbossSource,
        store: LedgerStore,
        outbox: Outbox,
        health: IbossHealth,
        actions: ActionReader | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._source = source
        self._progress = progress or Progress()
        self._write_caught_up_at_s = 0.0
        self._actions = actions
        self._store = store
        self._outbox = outbox
        self._health = health
        self._directory: Directory | None = None
        self._versions: dict[str, int] = {}
        self._contents: dict[str, bytes] = {}
        self._cursor: str | None = None
        self._listed_version: int | None = None
        self._list_all_at_s = 0.0
        self._refusals: dict[tuple[str, str, str], None] = {}  # a dictionary, because it keeps the order

    async def run(self, poll_seconds: float) -> None:
        """Poll for ever; raises `KafkaError` when Kafka does not take records, for which a new producer is needed."""
        failures = 0
        while True:
            began_s = time.monotonic()
            try:
                await self.poll()
            except KafkaError:
                raise
            except (IbossError, *DATABASE_AWAY) as error:
                failures += 1
                self._health.failed(error)
                await asyncio.sleep(back_off(failures, error))
            else:
                failures = 0
                await asyncio.sleep(max(0.0, began_s + poll_seconds - time.monotonic()))

    async def poll(self) -> None:
        """Read what is new until nothing more is, and publish it; first what an earlier process left behind."""
        await self._outbox.publish()
        directory = await self._current_directory()
        listed = await self._list_accounts(directory)
        waiting = deque(self._chunks(await self._changed(listed, directory)))
        if self._actions is not None:  # before the positions, so that a split is known when they are in new shares
            await self._actions.poll(directory, self._refuse)
        pages = BookingPages(self._cursor)
        while waiting or pages.more:
            positions = await self._read_positions(waiting.popleft()) if waiting else PositionsPage((), ())
            page = pages.take(await self._source.transactions(self._cursor)) if not waiting else None
            await self._keep(positions, page, directory)
        versions = [one.version for one in listed]
        self._listed_version = max([*versions, self._listed_version or 0])
        if pages.at_end:
            await self._note_caught_up()

    async def _current_directory(self) -> Directory:
        now_s = time.monotonic()
        if self._directory is not None and now_s < self._list_all_at_s:
            return self._directory
        directory = await self._store.directory()
        if self._directory is None:
            kept = await self._store.kept(directory)
            self._versions, self._cursor = kept.versions, kept.cursor
        self._directory, self._listed_version = directory, None
        self._list_all_at_s = now_s + FULL_LISTING_EVERY_S
        return directory

    async def _list_accounts(self, directory: Directory) -> list[AccountVersion]:
        """Return the accounts that changed since the last list, or all; each once, whatever pages repeat."""
        whole = self._listed_version is None
        accounts: dict[str, AccountVersion] = {}
        unreadable: set[str] = set()  # listed all the same
        places: list[str | None] = [None]
        while True:
            page = await self._source.accounts(self._listed_version, places[-1])
            await self._refuse(page.refused)
            accounts.update({one.account_id: one for one in page.accounts})
            unreadable |= {one.identity.partition("/")[0] for one in page.refused}
            if page.next is None:
                break
            if page.next in places or len(places) == MOST_ACCOUNT_PAGES:
                raise UnreadableAnswer("the pages of GetAccounts repeat or do not end")
            places.append(page.next)
        if whole:
            self._progress.listed = frozenset(accounts) | unreadable
            self._progress.known = {account: one.id for account, one in directory.portfolios.items()}
        return list(accounts.values())

    async def _changed(self, listed: Iterable[AccountVersion], directory: Directory) -> list[str]:
        newer = [one for one in listed if one.version > self._versions.get(one.account_id, -1)]
        strangers = [one for one in newer if one.account_id not in directory.portfolios]
        await self._refuse([_unknown_account(one) for one in strangers])
        return [one.account_id for one in newer if one.account_id in directory.portfolios]

    async def _read_positions(self, accounts: Sequence[str]) -> PositionsPage:
        """Read positions; an account that we may not see costs only itself, found by halving."""
        try:
            return await self._source.positions(accounts)
        except AccessDenied as error:
            if len(accounts) == 1:
                refusal = Refused("GetPositions", accounts[0], "access_denied", str(error), accounts[0].encode())
                return PositionsPage((), (refusal,))
        middle = len(accounts) // 2
        first, second = await self._read_positions(accounts[:middle]), await self._read_positions(accounts[middle:])
        return PositionsPage(first.portfolios + second.portfolios, first.refused + second.refused)

    async def _note_caught_up(self) -> None:
        """Write down now and then that there was nothing more to read, for whoever reconciles."""
        now_s = time.monotonic()
        if now_s >= self._write_caught_up_at_s:
            await self._store.note_caught_up(datetime.now(UTC))
            self._write_caught_up_at_s = now_s + CAUGHT_UP_EVERY_S
        self._progress.caught_up.set()

    async def _keep(self, found: PositionsPage, page: TransactionsPage | None, directory: Directory) -> None:
        received_ns = time.time_ns()
        sets = [translate_positions(one, directory, received_ns) for one in found.portfolios]
        entries = [translate_booking(one, directory, received_ns) for one in page.bookings] if page else []
        refused = [one for one in [*sets, *entries] if isinstance(one, Refused)]
        await self._refuse([*refused, *found.refused, *(page.refused if page else ())])
        positions = self._news([one for one in sets if isinstance(one, PortfolioPositions)])
        bookings = [one for one in entries if isinstance(one, Booking)]
        moved = page.cursor if page and (page.bookings or page.refused or page.more) else None
        await self._store_all(positions, bookings, moved)
        self._remember([one for one in sets if isinstance(one, PortfolioPositions)], directory)
        self._cursor = moved or self._cursor
        await self._outbox.publish()
        trouble = f"; {self._actions.trouble}" if self._actions is not None and self._actions.trouble else ""
        answered = f"{self._source.last_call_s * 1000:.0f} ms, {len(directory.portfolios)} portfolios"
        self._health.succeeded(answered + trouble)

    async def _store_all(
        self, positions: Sequence[PortfolioPositions], bookings: Sequence[Booking], cursor: str | None
    ) -> None:
        sets, entries = [position_set(one) for one in positions], [ledger_booking(one) for one in bookings]
        if not sets and not entries and cursor is None:
            return
        try:
            await self._store.keep(sets, entries, cursor)
        except POISON:
            await self._refuse(await self._store.keep_singly(sets, entries))
            await self._store.keep((), (), cursor)

    async def _refuse(self, refused: Sequence[Refused]) -> None:
        """Send dead letters, once for the same part of the same answer."""
        news = {_refusal_key(one): one for one in refused if _refusal_key(one) not in self._refusals}
        if not news:
            return
        await self._outbox.refuse(news.values(), time.time_ns())
        self._refusals.update(dict.fromkeys(news))
        while len(self._refusals) > REMEMBERED_REFUSALS:
            del self._refusals[next(iter(self._refusals))]

    def _news(self, sets: Sequence[PortfolioPositions]) -> list[PortfolioPositions]:
        return [one for one in sets if self._contents.get(one.portfolio) != _content(one)]

    def _remember(self, sets: Sequence[PortfolioPositions], directory: Directory) -> None:
        accounts = {str(known.id): account for account, known in directory.portfolios.items()} if sets else {}
        for one in sets:
            self._contents[one.portfolio] = _content(one)
            self._versions[accounts[one.portfolio]] = one.version

    @staticmethod
    def _chunks(accounts: Sequence[str]) -> list[Sequence[str]]:
        return [accounts[at : at + MAX_ACCOUNTS_A_CALL] for at in range(0, len(accounts), MAX_ACCOUNTS_A_CALL)]


def back_off(failures: int, error: BaseException) -> float:
    """Return the seconds to wait after so many failures in a row: doubling, with jitter, or what IBOSS asked for."""
    if isinstance(error, LASTING):
        return LASTING_WAIT_S
    jitter = random.uniform(0.5, 1.0)  # noqa: S311  spreads load, keeps no secret
    wait_s = min(LONGEST_BACK_OFF_S, 0.5 * 2.0 ** min(failures, 10)) * jitter
    asked_s = error.retry_after_s if isinstance(error, QuotaExceeded | SourceUnavailable) else None
    return max(wait_s, asked_s or 0.0)


async def run_iboss(
    address: IbossAddress,
    pool: asyncpg.Pool,
    live: LiveStore,
    servers: str,
    poll_seconds: float = POLL_SECONDS,
    fence: Fence | None = None,
    reconcile_hour: int = RECONCILE_HOUR,
) -> None:
    """Run until cancelled, through any absence of IBOSS, PostgreSQL, Kafka and Redis.

    With a fence, only as long as nobody else leads the source: then `db.leases.LeaseLost` is raised, in a group.
    """
    guard, progress = CallGuard(), Progress()
    health = IbossHealth(live, guard)
    nightly = reconcile_nightly(Reconciler(pool, fence), progress, health.reconciled, reconcile_hour)
    failures = 0
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(health.run(), name="iboss health")
        tasks.create_task(nightly, name="reconciliation")
        while True:
            began_s = time.monotonic()
            try:
                async with (
                    open_producer(servers, "ingest-iboss") as producer,
                    open_iboss(address, None, guard) as client,
                ):
                    store = LedgerStore(pool, fence)
                    actions = ActionReader(client, store)
                    worker = IbossWorker(client, store, Outbox(pool, producer), health, actions, progress)
                    await worker.run(poll_seconds)
            except (KafkaError, IbossError, *DATABASE_AWAY) as error:
                failures = 1 if time.monotonic() > began_s + LASTED_S else failures + 1
                health.failed(error)
                await asyncio.sleep(back_off(failures, error))


def _content(positions: PortfolioPositions) -> bytes:
    """Return a digest of what a new version must change to be news."""
    bare = msgspec.structs.replace(positions, version=0, event_ns=0, received_ns=0)
    return blake2b(encode_message(bare), digest_size=16).digest()


def _unknown_account(one: AccountVersion) -> Refused:
    detail = f"no portfolio has IBOSS account {one.account_id}"
    return Refused("GetAccounts", one.account_id, "unknown_account", detail, one.account_id.encode())


def _refusal_key(refused: Refused) -> tuple[str, str, str]:
    return refused.operation, refused.identity, refused.reason
