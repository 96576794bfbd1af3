"""Tell a price that has moved from a price that is wrong: against the last good one, until the new level is confirmed.

Beyond its band a price waits in quarantine as `far_from_last`. It becomes the new level when it has been told three
times within one percent over at least two seconds, or when another feed tells the same, or when it is told again after
a quarter of an hour: a real move is believed within seconds, a slip of a digit never. Pure; the caller tells the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.splits import NO_SPLITS
from stream.messages import QuoteBatch

FAR_FROM_LAST = "far_from_last"
# What hardly ever happens between two ticks. The franc's peg broke by more than 3 % in a moment once in a decade; the
# bands at which American shares pause are 5 to 20 %, and at 20 % the whole market closes; a bond or a fund that moves
# by 10 % has defaulted or split; a large crypto-asset has moved 15 % within a minute only where its book was empty.
BANDS = {"fx": 0.03, "bond": 0.10, "fund": 0.10, "equity": 0.20, "etf": 0.20, "index": 0.20, "crypto": 0.15}
BAND_ELSE = 0.20
OLD_FACTOR = 2.0  # what is compared with a close, or with a price a quarter of an hour old, may have moved further
SAME_LEVEL = 0.01
TIMES, SETTLED_NS = 3, 2_000_000_000
OLD_NS = 15 * 60 * 1_000_000_000

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Reference:
    """Say what the check must know of an instrument; `close` is NaN where there is none, adjusted for splits."""

    id: int
    asset_class: str
    close: float


class Outliers:
    """Judge prices of several feeds, each against its own last good ones; of a first price, against the others'.

    `splits` are those that are known; what is compared with follows them as they take effect.
    """

    def __init__(self, sources: int) -> None:
        self.splits = NO_SPLITS
        self._good = np.full((sources, 0), np.nan)
        self._good_ns = np.zeros((sources, 0), np.int64)
        self._level = np.full((sources, 0), np.nan)
        self._level_ns = np.zeros((sources, 0), np.int64)
        self._times = np.zeros((sources, 0), np.int64)
        self._band = np.zeros(0)
        self._close = np.zeros(0)
        self._split_ns = 0

    def follow(self, references: Iterable[Reference], now_ns: int) -> None:
        """Take the instruments there are now; what is known of their prices stays."""
        found = list(references)
        more = max((one.id + 1 for one in found), default=0) - len(self._band)
        if more > 0:
            self._grow(more)
        for one in found:
            self._band[one.id] = BANDS.get(one.asset_class, BAND_ELSE)
            self._close[one.id] = one.close
        self._split_ns = self._split_ns or now_ns  # the closes have had what came before

    def judge(self, source: int, batch: QuoteBatch) -> Flags:
        """Return which quotes lie too far from the last good price to be believed yet."""
        now_ns = batch.received_ns
        self._apply_splits(now_ns)
        ids, mark = batch.instrument, np.where(np.isnan(batch.last), 0.5 * (batch.bid + batch.ask), batch.last)
        reference, band = self._references(source, ids, now_ns)
        with np.errstate(invalid="ignore"):
            far: Flags = np.abs(mark - reference) > band * reference
        look = far | np.isnan(reference)
        if look.any():
            doubtful = np.isin(ids, ids[look])  # all rows of these instruments, in their order
            for row in np.flatnonzero(doubtful).tolist():
                far[row] = not self._believe(source, int(ids[row]), float(mark[row]), now_ns)
            ids, mark = ids[~doubtful], mark[~doubtful]
        self._good[source, ids] = mark  # of several rows of an instrument the last one stays
        self._good_ns[source, ids] = now_ns
        self._level[source, ids] = np.nan
        return far

    def _believe(self, source: int, number: int, mark: float, now_ns: int) -> bool:
        """Judge one price, and remember what it says."""
        place = (source, number)
        reference, band = self._references(source, np.array([number]), now_ns)
        near = not abs(mark - reference[0]) > band[0] * reference[0]
        if not near:
            if not _same(mark, self._level[place]):
                self._level_ns[place], self._times[place] = now_ns, 0
            self._level[place] = mark
            self._times[place] += 1
            waited_ns = now_ns - int(self._level_ns[place])
            settled = (self._times[place] >= TIMES and waited_ns >= SETTLED_NS) or waited_ns >= OLD_NS
            if not settled and not self._another_says(source, number, mark, now_ns):
                return False
        self._good[place], self._good_ns[place], self._level[place] = mark, now_ns, math.nan
        return True

    def _another_says(self, source: int, number: int, mark: float, now_ns: int) -> bool:
        """Say whether another feed has told this level within a quarter of an hour, believed or not."""
        for other in range(len(self._good)):
            place = (other, number)
            if other == source:
                continue
            if _same(mark, self._good[place]) and now_ns - self._good_ns[place] < OLD_NS:
                return True
            if _same(mark, self._level[place]) and now_ns - self._level_ns[place] < OLD_NS:
                return True
        return False

    def _references(self, source: int, ids: npt.NDArray[np.integer], now_ns: int) -> tuple[Floats, Floats]:
        """Return what prices are compared with, and how far they may be from it."""
        reference, made_ns = self._good[source, ids], self._good_ns[source, ids]
        unknown = np.isnan(reference)
        if unknown.any():
            ages = np.where(np.isnan(self._good[:, ids]), -1, self._good_ns[:, ids])
            newest = np.argmax(ages, axis=0)
            columns = np.arange(len(ids))
            others, others_ns = self._good[:, ids][newest, columns], ages[newest, columns]
            usable = others_ns > now_ns - OLD_NS
            reference = np.where(unknown, np.where(usable, others, self._close[ids]), reference)
            made_ns = np.where(unknown, np.where(usable, others_ns, 0), made_ns)
        band = np.where(made_ns > now_ns - OLD_NS, 1.0, OLD_FACTOR) * self._band[ids]
        return reference, band

    def _apply_splits(self, now_ns: int) -> None:
        """Move what was known before a split, once, when it takes effect."""
        for one in self.splits.between(self._split_ns, now_ns):
            if one.instrument < len(self._band):
                self._good[:, one.instrument] /= float(one.ratio)
                self._level[:, one.instrument] = np.nan
                self._close[one.instrument] /= float(one.ratio)
        self._split_ns = max(self._split_ns, now_ns)

    def _grow(self, more: int) -> None:
        def wider(values: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
            shape = (*values.shape[:-1], more)
            return np.concatenate([values, np.full(shape, fill, values.dtype)], axis=-1)

        self._good, self._level = wider(self._good, np.nan), wider(self._level, np.nan)
        self._good_ns, self._level_ns = wider(self._good_ns, 0), wider(self._level_ns, 0)
        self._times = wider(self._times, 0)
        self._band, self._close = wider(self._band, BAND_ELSE), wider(self._close, np.nan)


def _same(mark: float, level: float) -> bool:
    return abs(mark - level) <= SAME_LEVEL * level  # False where level is NaN
