"""Read what companies do to their shares, beside the polls: seldom, because it is announced before it happens.

Whatever is wrong with it never holds up positions and bookings: it is said in the health of IBOSS, once in the log, and
tried again later.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

import structlog

from db.corporate_actions import CorporateAction
from ingest.iboss.directory import Directory
from ingest.iboss.errors import (
    AccessDenied,
    IbossError,
    RequestRefused,
    SourceUnavailable,
    UnknownFault,
    UnreadableAnswer,
)
from ingest.iboss.ledger_store import LedgerStore
from ingest.iboss.records import ActionsPage, Refused
from ingest.iboss.translation import translate_action

EVERY_S = 10.0
MOST_PAGES = 100  # of a thousand actions
AFTER_TROUBLE_S = 60.0
NOT_OFFERED_S = 3600.0  # what IBOSS does not know how to answer it learns by an update at the earliest

Refuse: TypeAlias = Callable[[Sequence[Refused]], Awaitable[None]]

log = structlog.get_logger()


class ActionSource(Protocol):
    """Describe what is asked of IBOSS; `ingest.iboss.client.IbossClient` is one."""

    async def corporate_actions(self, changed_after: int | None = None, limit: int = 1000) -> ActionsPage:
        """Return the corporate actions that changed after a version."""
        ...


class ActionReader:
    """Read corporate actions on from where an earlier process came to; `trouble` is why there are none, or empty."""

    def __init__(self, source: ActionSource, store: LedgerStore, every_s: float = EVERY_S) -> None:
        self._source = source
        self._store = store
        self._every_s = every_s
        self._due_s = 0.0
        self._is_resumed = False
        self._position: tuple[int, int] | None = None
        self.trouble = ""

    async def poll(self, directory: Directory, refuse: Refuse) -> None:
        """Read what is new where it is time to; raises what signing in and PostgreSQL raise."""
        if time.monotonic() < self._due_s:
            return
        try:
            await self._read(directory, refuse)
        except (RequestRefused, AccessDenied, UnknownFault) as error:
            self._failed("IBOSS does not offer corporate actions", error, NOT_OFFERED_S)
        except (SourceUnavailable, UnreadableAnswer) as error:
            self._failed("corporate actions cannot be read", error, AFTER_TROUBLE_S)
        else:
            self.trouble = ""
            self._due_s = time.monotonic() + self._every_s

    def _failed(self, what: str, error: IbossError, wait_s: float) -> None:
        if not self.trouble:
            log.warning(what, error=str(error), again_after_s=wait_s)
        self.trouble = f"{what}: splits are seen only as their bookings come"
        self._due_s = time.monotonic() + wait_s

    async def _read(self, directory: Directory, refuse: Refuse) -> None:
        if not self._is_resumed:
            self._position, self._is_resumed = _parse_position(await self._store.actions_cursor()), True
        for _ in range(MOST_PAGES):  # the next poll goes on
            changed_after = self._changed_after(directory)
            page = await self._source.corporate_actions(changed_after)
            if page.more and page.changed_after <= (changed_after or 0):
                raise UnreadableAnswer("more corporate actions are announced, but their cursor does not advance")
            await self._keep(page, directory, refuse)
            if not page.more:
                return

    def _changed_after(self, directory: Directory) -> int | None:
        """Return from where to read on: from the beginning where there are instruments that were unknown then."""
        if self._position is None or self._position[1] != len(directory.instruments):
            return None
        return self._position[0]

    async def _keep(self, page: ActionsPage, directory: Directory, refuse: Refuse) -> None:
        found = [translate_action(one, directory) for one in page.actions]
        await refuse([*page.refused, *(one for one in found if isinstance(one, Refused))])
        actions = [one for one in found if isinstance(one, CorporateAction)]
        position = page.changed_after, len(directory.instruments)
        if actions or position != self._position:
            news = await self._store.keep_actions(actions, f"{position[0]}/{position[1]}")
            if news:
                log.info("corporate actions are known", news=news)
        self._position = position


def _parse_position(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    changed_after, _, instruments = cursor.partition("/")
    return int(changed_after), int(instruments)
