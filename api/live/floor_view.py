"""Hold the part of a floor that somebody looks at: filtered, sorted, and of that only a window."""

from __future__ import annotations

import asyncio
import itertools
import operator
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from api.live.codes import BadRequest
from api.live.floor import COLUMNS, FOLDED, LABEL, FloorFigures, FloorJoin, Indices
from api.live.protocol import Condition, StreamName, View
from api.live.state import Document
from api.live.stream import LiveStream

# To sort and filter by only: how far a figure is from zero, either way.
DISTANCES = {"abs_day_pnl_pct": "day_pnl_pct", "abs_day_pnl_reference": "day_pnl_reference"}
COMPARED = (*COLUMNS, LABEL, *DISTANCES)

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "contains": operator.contains,
}
# Every view's epoch is another one, so that a position in one view is never taken for a position in another.
_epochs = itertools.count(time.time_ns() // 1000)

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """Hold the rows that a view shows, in their order; `matching` rows pass its filter, `first` stand before these."""

    rows: Indices
    first: int
    matching: int


class Floor(Protocol):
    """Give the newest figures of a floor: the same object until there are newer ones, None before the first."""

    def figures(self) -> FloorFigures | None:
        """Return the newest figures."""


class FloorView(LiveStream):
    """Hold `floor:<advisor>` as one view shows it; who looks at the same part of the same floor shares it.

    Which rows there are, and in which order, is decided anew with every change, or at most every `reorder_s` seconds
    where the view asks for that; their figures, and the totals of the whole floor, are always the newest.
    """

    def __init__(self, name: StreamName, view: View, floor: Floor, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name, "portfolio_id")
        self.view = view
        self.floor = floor
        self._clock = clock
        self._epoch = next(_epochs)
        self._seq = 0
        # figures are large, and a view that nobody follows is kept for a while: it must not keep them
        self._shown: weakref.ref[FloorFigures] | None = None
        self._join: weakref.ref[FloorJoin] | None = None
        self._window: Window | None = None
        self._ordered_at = 0.0
        self._texts_hold: Mask | None = None
        self._timer: asyncio.TimerHandle | None = None

    def refresh(self) -> None:
        """Bring the window up to the newest figures of the floor."""
        figures = self.floor.figures()
        if figures is None or (self._shown is not None and self._shown() is figures):
            return
        self._shown = weakref.ref(figures)
        window = self._choose(figures)
        keys = [figures.join.portfolios[index].portfolio_id for index in window.rows.tolist()]
        shown = {"view_rows": window.matching, "view_first": window.first, "view_order": keys}
        totals = figures.totals | shown
        document = Document(self._epoch, self._seq + 1, figures.event_ns, totals, COLUMNS, figures.rows(window.rows))
        if self.state.apply(document):
            self._seq += 1

    def _choose(self, figures: FloorFigures) -> Window:
        """Return the window; the one of before where the order is to rest and the portfolios are the same."""
        moved = self._join is None or self._join() is not figures.join
        if moved:
            self._join = weakref.ref(figures.join)
            self._texts_hold = texts_hold(self.view, figures.join)
        now = self._clock()
        rest = self._ordered_at + self.view.reorder_s - now
        if self._window is None or moved or rest <= 0:
            self._window, self._ordered_at = choose(self.view, figures, self._texts_hold), now
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(rest, self._rested)
        return self._window

    def _rested(self) -> None:
        """Decide the order anew, though nothing else may come: the figures that came meanwhile are to be heeded."""
        self._timer = self._shown = None
        self.wake()


def validate(view: View) -> None:
    """Raise `BadRequest` with a sentence where a view names a column that is not there, or compares it wrongly."""
    for column in (*(one.column for one in view.sort), *(one.column for one in view.filter)):
        if column not in COMPARED:
            raise BadRequest(f"a floor has no column '{column}'; it has {', '.join(COMPARED)}")
    for condition in view.filter:
        is_text = condition.column in FOLDED
        if condition.op == "contains" and not is_text:
            raise BadRequest(f"'contains' compares text, and the column '{condition.column}' holds numbers")
        if isinstance(condition.value, str) != is_text:
            kind = "text" if is_text else "a number"
            raise BadRequest(f"the column '{condition.column}' is compared with {kind}, not with {condition.value!r}")


def choose(view: View, figures: FloorFigures, texts: Mask | None) -> Window:
    """Return which rows a view shows now; `texts` says where its conditions on text hold, None: everywhere.

    A window that would begin behind the last rows is moved up to show them. Ties stand in the order of the floor.
    """
    held = texts
    for condition in view.filter:
        if condition.column not in FOLDED:
            mask: Mask = _COMPARE[condition.op](_key(condition.column, figures), condition.value)
            held = mask if held is None else held & mask
    found = np.arange(len(figures.join)) if held is None else np.flatnonzero(held)
    count = min(view.range[1], len(found))
    first = min(view.range[0], len(found) - count)
    return Window(_window(view, figures, found, first, count), first, len(found))


def texts_hold(view: View, join: FloorJoin) -> Mask | None:
    """Say of each row whether the conditions on text hold; None where there are none. It changes with the book only."""
    masks = [_text_holds(condition, join) for condition in view.filter if condition.column in FOLDED]
    return np.logical_and.reduce(masks) if masks else None


def _text_holds(condition: Condition, join: FloorJoin) -> Mask:
    compare, value = _COMPARE[condition.op], str(condition.value).casefold()
    texts = join.folded(condition.column)
    return np.fromiter((compare(text, value) for text in texts), np.bool_, len(texts))


def _window(view: View, figures: FloorFigures, found: Indices, first: int, count: int) -> Indices:
    """Sort no more than can stand in the window: what lies between its first and its last row, column by column."""
    if not view.sort or not count:
        return found[first : first + count].copy()
    keys = [_key(one.column, figures) for one in view.sort]
    keys = [-key if one.descending else key for one, key in zip(view.sort, keys, strict=True)]
    near, skipped = found, first
    for key in keys:
        values = key[near]
        edges = [skipped, skipped + count - 1]
        low, high = np.partition(values, edges)[edges]
        skipped -= int(np.count_nonzero(values < low))
        near = near[(values >= low) & (values <= high)]
        if low != high:
            break
    order = np.lexsort([key[near] for key in reversed(keys)])  # stable, and `near` is in the order of the floor
    window: Indices = near[order[skipped : skipped + count]]
    return window


def _key(column: str, figures: FloorFigures) -> npt.NDArray[Any]:
    if column in FOLDED:
        return figures.join.rank(column)
    if column in DISTANCES:
        return np.abs(figures.number(DISTANCES[column]))
    return figures.number(column)
