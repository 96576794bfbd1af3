"""Join the totals of the stream workers with an advisor's book: the figures of `floor:<advisor>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.returns import percent_of_opening
from api.live.state import Document, Values
from db.live import Totals, TotalsLayout

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
_Placed = tuple[str, Mapping[str, int]]  # a worker and where each of its portfolios stands

TEXTS = ("portfolio_id", "name", "client", "base_currency")
NUMBERS = ("total_equity", "day_pnl", "day_pnl_pct", "equity_reference", "day_pnl_reference", "stale_share")
COLUMNS = TEXTS + NUMBERS
LABEL = "label"  # client and name in one, to be searched and sorted by; it is not sent
FOLDED = (*TEXTS, LABEL)
TOTALS = (
    "total_equity",
    "day_pnl",
    "day_pnl_pct",
    "portfolios",
    "stale_share",
    "gainers",
    "losers",
    "gained",
    "lost",
    "best",
    "worst",
    "movers",
    "reference_currency",
    "computed_ns",
    "view_rows",
    "view_first",
    "view_order",
)
_AMOUNTS = ("total_equity", "day_pnl", "equity_reference", "day_pnl_reference")
_IN_BASE_CURRENCY = ("total_equity", "day_pnl")
MOST_MOVERS = 10
ALL = slice(None)


@dataclass(frozen=True, slots=True)
class FloorPortfolio:
    """Describe a portfolio of an advisor's book; `minor_units` are the digits of its base currency."""

    portfolio_id: str
    name: str
    client: str
    base_currency: str
    minor_units: int

    @property
    def label(self) -> str:
        """Return what people know the portfolio by."""
        return f"{self.client} {self.name}"


@dataclass(frozen=True, slots=True)
class _Worker:
    """Hold a worker's newest totals with the places of its portfolios in them."""

    totals: Totals
    places: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Part:
    """Say where the figures of one worker's portfolios stand in its totals, and where they go on the floor."""

    worker: str
    source: Indices
    target: Indices | slice


class FloorBook:
    """Hold the newest totals of every worker, and find an advisor's portfolios in them."""

    def __init__(self) -> None:
        self._layouts: dict[str, TotalsLayout] = {}
        self._places: dict[str, Mapping[str, int]] = {}
        self._workers: dict[str, _Worker] = {}

    def needs_layout(self, worker: str, totals: Totals) -> bool:
        """Say whether these totals use an order of columns that is not known yet."""
        layout = self._layouts.get(worker)
        return layout is None or (layout.epoch, layout.layout) != (totals.epoch, totals.layout)

    def take_layout(self, worker: str, layout: TotalsLayout) -> None:
        """Learn the order of a worker's columns; totals that are held already keep theirs."""
        if layout != self._layouts.get(worker):
            self._layouts[worker] = layout
            self._places[worker] = {portfolio: index for index, portfolio in enumerate(layout.portfolios)}

    def take_totals(self, worker: str, totals: Totals) -> bool:
        """Take newer totals of a known layout; returns False where they are older or their layout is unknown."""
        held = self._workers.get(worker)
        older = held is not None and (totals.epoch, totals.seq) <= (held.totals.epoch, held.totals.seq)
        if older or self.needs_layout(worker, totals):
            return False
        self._workers[worker] = _Worker(totals, self._places[worker])
        return True

    def join(self, portfolios: Sequence[FloorPortfolio], held: FloorJoin | None = None) -> FloorJoin:
        """Find these portfolios in the totals; `held` is returned where it still says where they stand.

        The newest epoch wins a portfolio. One that no worker has valued yet is left out until one has.
        """
        workers = sorted(self._workers, key=lambda worker: -self._workers[worker].totals.epoch)
        places = [(worker, self._workers[worker].places) for worker in workers]
        if held is not None and held.stands(portfolios, places):
            return held
        return FloorJoin(portfolios, places)

    def figures(self, join: FloorJoin, minor_units: Mapping[str, int]) -> FloorFigures | None:
        """Return the newest figures of a floor, or None before any worker has said anything."""
        if not self._workers:
            return None
        return FloorFigures(join, {name: one.totals for name, one in self._workers.items()}, minor_units)


class FloorJoin:
    """Say where an advisor's portfolios stand in the workers' totals; good until the book or a layout changes.

    What is known of portfolios before their figures (their order, their texts) is worked out here, once.
    """

    def __init__(self, portfolios: Sequence[FloorPortfolio], places: Sequence[_Placed]) -> None:
        self._asked = portfolios
        self._places = places
        self._folded: dict[str, list[str]] = {}
        self._ranks: dict[str, npt.NDArray[np.int32]] = {}

    def __len__(self) -> int:
        return len(self.portfolios)

    def stands(self, portfolios: Sequence[FloorPortfolio], places: Sequence[_Placed]) -> bool:
        """Say whether this is the join of these very portfolios with these very layouts, newest epoch first."""
        same = portfolios is self._asked and len(places) == len(self._places)
        return same and all(a == b and x is y for (a, x), (b, y) in zip(places, self._places, strict=True))

    @cached_property
    def portfolios(self) -> list[FloorPortfolio]:
        """Return the portfolios that are valued, by client, then name, then id: the order in which ties stand."""
        known = set().union(*(held.keys() for _, held in self._places))
        return sorted((one for one in self._asked if one.portfolio_id in known), key=_order)

    @cached_property
    def minor_units(self) -> Numbers:
        """Return how many minor units make one unit of each portfolio's currency."""
        return np.array([10**one.minor_units for one in self.portfolios], np.float64)

    @cached_property
    def parts(self) -> list[_Part]:
        """Return where each worker's portfolios stand."""
        left = {one.portfolio_id: index for index, one in enumerate(self.portfolios)}
        found = []
        for worker, places in self._places:
            held = [(places[key], left.pop(key)) for key in list(left) if key in places]
            source, target = np.array(held, np.intp).reshape(-1, 2).T.copy()
            whole = len(held) == len(self)
            found += [_Part(worker, source, ALL if whole else target)] if held else []
        return found

    def folded(self, column: str) -> list[str]:
        """Return a column of text as it is compared: without regard to case."""
        if column not in self._folded:
            self._folded[column] = [getattr(one, column).casefold() for one in self.portfolios]
        return self._folded[column]

    def rank(self, column: str) -> npt.NDArray[np.int32]:
        """Return each row's place in the order of a column of text; equal texts have equal places."""
        if column not in self._ranks:
            folded = self.folded(column)
            places = {text: place for place, text in enumerate(sorted(set(folded)))}
            self._ranks[column] = np.array([places[text] for text in folded], np.int32)
        return self._ranks[column]


class FloorFigures:
    """Hold the figures of one floor at one moment: columns in the order of its join, and the totals of the whole."""

    def __init__(self, join: FloorJoin, workers: Mapping[str, Totals], minor_units: Mapping[str, int]) -> None:
        self.join = join
        self._workers = workers
        self._minor_units = minor_units
        self._columns: dict[str, npt.NDArray[Any]] = {}

    @cached_property
    def event_ns(self) -> int:
        """Return when the newest event was that these figures contain."""
        return max(one.event_ns for one in self._found)

    def number(self, column: str, rows: Indices | slice = ALL) -> Numbers:
        """Return a column of numbers as clients see them, of these rows or of all; amounts in major units."""
        values = self._column(column)[rows]
        if column not in _AMOUNTS:
            return values
        return values / (self.join.minor_units[rows] if column in _IN_BASE_CURRENCY else self._reference)

    @cached_property
    def totals(self) -> dict[str, Any]:
        """Return the totals of the whole floor: sums of its rows in minor units of the reference currency.

        `best`, `worst` and `movers` name portfolios: by day P&L in percent, and by how far they move the book.
        """
        equity, day = self._column("equity_reference"), self._column("day_pnl_reference")
        percent, stale = self._column("day_pnl_pct"), self._column("stale_share")
        whole, gain, gained = int(equity.sum()), int(day.sum()), int(np.maximum(day, 0).sum())
        return {
            "total_equity": whole / self._reference,
            "day_pnl": gain / self._reference,
            "day_pnl_pct": percent_of_opening(gain, whole),
            "portfolios": len(self.join),
            "stale_share": float((equity * stale).sum()) / whole if whole else 0.0,
            "gainers": int(np.count_nonzero(day > 0)),
            "losers": int(np.count_nonzero(day < 0)),
            "gained": gained / self._reference,
            "lost": (gain - gained) / self._reference,
            "best": self._named(percent.argmax(), "day_pnl_pct") if len(self.join) else None,
            "worst": self._named(percent.argmin(), "day_pnl_pct") if len(self.join) else None,
            "movers": [self._named(index, "day_pnl_reference") for index in _largest(day)],
            "reference_currency": self._found[0].reference_currency,
            "computed_ns": min(one.computed_ns for one in self._found),
        }

    def rows(self, chosen: Indices | slice = ALL) -> dict[str, Values]:
        """Return the chosen rows by portfolio, or all of them."""
        portfolios = self.join.portfolios
        some = portfolios if isinstance(chosen, slice) else [portfolios[index] for index in chosen.tolist()]
        numbers = zip(*(self.number(name, chosen).tolist() for name in NUMBERS), strict=True)
        return {
            one.portfolio_id: (one.portfolio_id, one.name, one.client, one.base_currency, *figures)
            for one, figures in zip(some, numbers, strict=True)
        }

    def document(self, epoch: int, seq: int) -> Document:
        """Return the whole floor."""
        return Document(epoch, seq, self.event_ns, self.totals, COLUMNS, self.rows())

    @cached_property
    def _found(self) -> list[Totals]:
        """Return the totals that say something of this floor, or all where none does."""
        return [self._workers[part.worker] for part in self.join.parts] or [*self._workers.values()]

    @cached_property
    def _reference(self) -> int:
        digits = self._minor_units.get(self._found[0].reference_currency, 2)
        return int(10**digits)

    def _column(self, name: str) -> npt.NDArray[Any]:
        """Bring a column of the workers' totals into the order of the floor."""
        if name not in self._columns:
            kind = "<i8" if name in _AMOUNTS else "<f8"
            column = np.empty(len(self.join), kind)
            for part in self.join.parts:
                column[part.target] = np.frombuffer(getattr(self._workers[part.worker], name), kind)[part.source]
            self._columns[name] = column
        return self._columns[name]

    def _named(self, index: np.intp, column: str) -> dict[str, Any]:
        one, value = self.join.portfolios[index], self._column(column)[index].item()
        value = value / self._reference if column in _AMOUNTS else value
        return {"portfolio_id": one.portfolio_id, "client": one.client, "name": one.name, column: value}


def _order(portfolio: FloorPortfolio) -> tuple[str, str, str]:
    return (portfolio.client.casefold(), portfolio.name.casefold(), portfolio.portfolio_id)


def _largest(amounts: npt.NDArray[np.int64]) -> Indices:
    """Return where the amounts farthest from zero stand, the farthest first: among the lowest and the highest."""
    near = np.arange(len(amounts))
    if len(amounts) > 2 * MOST_MOVERS:
        parted = np.argpartition(amounts, [MOST_MOVERS - 1, -MOST_MOVERS])
        near = np.concatenate((parted[:MOST_MOVERS], parted[-MOST_MOVERS:]))
    ranked: Indices = near[np.lexsort((near, -np.abs(amounts[near])))][:MOST_MOVERS]
    moving: Indices = ranked[amounts[ranked] != 0]
    return moving
