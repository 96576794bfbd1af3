"""Bring several feeds together: check each one's quotes, hold its newest, and pass on those of the feed that counts.

Pure; the caller tells the time and publishes. The stream takes the newest event of an instrument, so nothing is dated
earlier than what was passed on before: else a rate that is fixed once a day could never stand in for one that moved a
second ago, nor a venue whose clock is behind for one whose clock is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ingest.market.outliers import FAR_FROM_LAST, Outliers, Reference
from ingest.market.quarantine import Quarantine
from ingest.market.selection import Flags, Floats, Selection, Switch
from ingest.market.validation import REASONS, check_quotes
from stream.messages import QuoteBatch, select_quotes

COLUMNS = ("bid", "ask", "last", "volume")


class Board:
    """Hold the newest quotes of every feed, and which feed counts; `names` are the feeds in their order."""

    def __init__(self, names: Sequence[str], began_ns: int) -> None:
        self.names = tuple(names)
        self.selection = Selection(len(names), began_ns)
        self.outliers = Outliers(len(names))
        self.switched: list[Switch] = []
        self._known = np.zeros(0, bool)
        self._held = np.full((len(names), 0, len(COLUMNS)), np.nan)
        self._event_ns = np.zeros((len(names), 0), np.int64)
        self._passed_ns = np.zeros(0, np.int64)

    def follow(self, references: Sequence[Reference], now_ns: int) -> None:
        """Take the instruments there are now."""
        size = max((one.id + 1 for one in references), default=0)
        more = size - len(self._known)
        if more > 0:
            sources = len(self.names)
            self._known = np.concatenate([self._known, np.zeros(more, bool)])
            self._held = np.concatenate([self._held, np.full((sources, more, len(COLUMNS)), np.nan)], axis=1)
            self._event_ns = np.concatenate([self._event_ns, np.zeros((sources, more), np.int64)], axis=1)
            self._passed_ns = np.concatenate([self._passed_ns, np.zeros(more, np.int64)])
        self._known[:] = False
        self._known[[one.id for one in references]] = True
        self.selection.follow(size)
        self.outliers.follow(references, now_ns)

    @property
    def size(self) -> int:
        """Return one more than the highest instrument id there is room for."""
        return len(self._known)

    def rank(self, source: int, ranks: Mapping[int, float]) -> None:
        """Say which instruments a feed quotes, by id, and how good it is for each."""
        row: Floats = np.full(self.size, np.inf)
        row[list(ranks)] = list(ranks.values())
        self.selection.rank(source, row)

    def recall(self, passed: Mapping[int, int]) -> None:
        """Take what was passed on before this run: instrument id → event time."""
        for number, event_ns in passed.items():
            if number < self.size:
                self._passed_ns[number] = event_ns

    def take(
        self, source: int, batch: QuoteBatch, quarantine: Quarantine, *, judged: bool = True, dated: bool = True
    ) -> tuple[int, list[QuoteBatch]]:
        """Return how many quotes are good, and what is to be published: those that count, or others that now count.

        Prices that are `judged` must not be far from the last; those that are not `dated` keep the times of another
        day, as a replay can want.
        """
        good = self._check(source, batch, quarantine, judged=judged)
        kept = batch if good.all() else select_quotes(batch, good)
        if not len(kept):
            return 0, []
        ids = kept.instrument
        self._held[source, ids] = np.stack([kept.bid, kept.ask, kept.last, kept.volume], axis=1)
        self._event_ns[source, ids] = kept.event_ns
        counted, switches = self.selection.take(source, ids, batch.received_ns)
        self.switched += switches
        passed = self._held_of([one for one in switches if one.new != source], batch.received_ns)
        if counted.any():
            counting = kept if counted.all() else select_quotes(kept, counted)
            passed.append(self._date(counting) if dated else counting)
        return len(kept), passed

    def look(self, now_ns: int) -> list[QuoteBatch]:
        """Return held quotes that count now because another feed has fallen silent, or has come back."""
        switches = self.selection.look(now_ns)
        self.switched += switches
        return self._held_of(switches, now_ns)

    def _check(self, source: int, batch: QuoteBatch, quarantine: Quarantine, *, judged: bool) -> Flags:
        good, codes = check_quotes(batch, self._known)
        if not good.all():
            for code in np.unique(codes[codes > 0]).tolist():
                _put_away(quarantine, REASONS[code], select_quotes(batch, np.flatnonzero(codes == code)))
        if judged and good.any():
            rows = np.flatnonzero(good)
            far = rows[self.outliers.judge(source, batch if good.all() else select_quotes(batch, rows))]
            if len(far):
                _put_away(quarantine, FAR_FROM_LAST, select_quotes(batch, far))
                good[far] = False
        return good

    def _date(self, batch: QuoteBatch) -> QuoteBatch:
        """Date quotes no earlier than what was passed on before."""
        event_ns = np.maximum(batch.event_ns, self._passed_ns[batch.instrument])
        self._passed_ns[batch.instrument] = event_ns
        return replace(batch, event_ns=event_ns)

    def _held_of(self, switches: Iterable[Switch], now_ns: int) -> list[QuoteBatch]:
        return [self._date(self._row(one.new, one.instruments, now_ns)) for one in switches]

    def _row(self, source: int, ids: npt.NDArray[np.int64], now_ns: int) -> QuoteBatch:
        bid, ask, last, volume = self._held[source, ids].T
        return QuoteBatch(
            self.names[source], now_ns, ids.astype(np.uint32), bid, ask, last, volume, self._event_ns[source, ids]
        )


def _put_away(quarantine: Quarantine, reason: str, quotes: QuoteBatch) -> None:
    detail = f"{len(quotes)} quotes of {quotes.source}, the first of instrument {quotes.instrument[0]}"
    quarantine.add_quotes(reason, detail, quotes)
