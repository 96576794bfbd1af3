"""Hold the positions of all portfolios as flat arrays, each portfolio in one run of them.

What a revaluation reads of a position is its instrument and its quantity: 12 bytes; its entry in the index by
instrument takes 20 more. Everything else changes only with a booking or with the day, and is summed once into the
constants of its portfolio. A new version of a portfolio is written in place when it fits its run, else to the end;
nothing else moves, so a change never rebuilds the book.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.splits import Split
from stream.constants import PortfolioConstants
from stream.index import InstrumentIndex
from stream.messages import PortfolioPositions
from stream.prices import PriceTable

AMOUNT_LIMIT = 1e14  # what the tables hold of a quantity: numeric(20, 6)
SPARE = 4  # places a run keeps free, so that the next few new positions stay in place


class PositionsRefused(ValueError):
    """Say why a record of positions cannot enter the book; `reason` is the word for the dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(slots=True)
class Portfolio:
    """Say where a portfolio stands in the book. `seq` counts its publications under its `epoch`.

    `zone` is the row of its time zone in the prices, `event_ns` when its positions became what they are.
    """

    id: str
    index: int
    base: int
    zone: int
    partition: int
    epoch: int
    version: int
    event_ns: int = 0
    seq: int = 0


class Book:
    """Keep positions by run: `start` and `count` by portfolio, columns by position."""

    def __init__(self, prices: PriceTable, day_start_ns: int = 0, capacity: int = 1024) -> None:
        self._prices = prices
        self.day_starts_ns = {0: day_start_ns}  # by time zone
        self.portfolios: list[Portfolio] = []
        self.by_id: dict[str, Portfolio] = {}
        self.start = np.zeros(0, np.int64)
        self.count = np.zeros(0, np.int64)
        self.room = np.zeros(0, np.int64)
        self.base = np.zeros(0, np.uint8)
        self.zone = np.zeros(0, np.uint8)
        self.currencies = np.zeros(0, np.uint64)
        self.constants = PortfolioConstants()
        self.index = InstrumentIndex(capacity)
        self.used = 0
        self.layout = 0
        self.largest = 0
        self._allocate(capacity)

    def __len__(self) -> int:
        return len(self.portfolios)

    def put(self, record: PortfolioPositions, partition: int, epoch: int) -> Portfolio | None:
        """Enter a portfolio's positions; return it, or None when the book already holds this version or a newer one.

        Raises `PositionsRefused` for a currency without a rate, an instrument nobody knows or that is there
        twice, and an amount that is no number or beyond all reason; the book then keeps what it had.
        """
        held = self.by_id.get(record.portfolio)
        if held is not None and held.version >= record.version:
            return None
        instruments = self._resolve(record)
        columns = _columns(record)
        if held is None:
            held = self._append(record, partition, epoch)
        else:
            self._leave_index(held)
        self._place(held, len(instruments))
        held.version = record.version
        held.event_ns = record.event_ns
        held.zone = self.zone[held.index] = self._zone(record.time_zone)
        held.base = self.base[held.index] = self._prices.currency_index[record.base_currency]
        self._write(held, instruments, columns)
        return held

    def run(self, portfolio: Portfolio) -> slice:
        """Return where the portfolio's positions stand in the columns."""
        start = int(self.start[portfolio.index])
        return slice(start, start + int(self.count[portfolio.index]))

    def begin_day(self, day_start_ns: int, zone: str = "UTC") -> list[Portfolio]:
        """Open the day of a time zone and return its portfolios: what is held now is the opening quantity.

        Nothing is traded or realised yet. Positions that are already of the new day know its opening themselves.
        """
        prices = self._prices
        row = prices.zone(zone)
        before_ns = self.day_starts_ns.get(row, self.day_starts_ns[0])
        # what split in the day so far has done so before the new one: its opening quantities are in those shares
        over = prices.splits.between(before_ns - 1, min(day_start_ns - 1, prices.shares_ns))
        self.day_starts_ns[row] = day_start_ns
        found = [portfolio for portfolio in self.portfolios if portfolio.zone == row]
        for portfolio in found:
            run = self.run(portfolio)
            if portfolio.event_ns < day_start_ns:
                self._open(run)
            else:
                for one in over:
                    self.opening_quantity[run][self._held(run, one)] /= float(one.ratio)
            self.constants.sum(self, prices, portfolio)
        return found

    def split(self, split: Split) -> list[Portfolio]:
        """Put what is held of an instrument into new shares, its closes being in them; return who holds it."""
        index, entries = self.index, self.index.run(self._prices.place(split.instrument))
        found = self.holders(self._prices.place(split.instrument))
        for portfolio in found:
            self._apply(split, portfolio)
            self.constants.sum(self, self._prices, portfolio)
        index.quantity[entries] = self.quantity[index.place[entries]]
        return found

    def holders(self, place: int) -> list[Portfolio]:
        """Return who holds the instrument at a place in the prices."""
        return [self.portfolios[one] for one in self.index.holder[self.index.run(place)].tolist()]

    def compact(self) -> None:
        """Tighten the index by instrument, which doubles as it grows: for after a restore."""
        self.index.compact()

    def _zone(self, name: str) -> int:
        zone = self._prices.zone(name)
        self.day_starts_ns.setdefault(zone, self.day_starts_ns[0])
        return zone

    def _resolve(self, record: PortfolioPositions) -> npt.NDArray[np.int64]:
        prices = self._prices
        if not prices.has_rate(record.base_currency):
            raise PositionsRefused("unknown_currency", f"there is no rate for {record.base_currency}")
        # an id beyond 32 bits is nobody's, and must not overflow here
        ids = np.array([min(max(line.instrument, -1), 1 << 32) for line in record.positions], np.int64)
        known = (ids >= 0) & (ids < len(prices.index_of))
        indices = np.where(known, prices.index_of[np.where(known, ids, 0)], -1) if len(ids) else ids
        if (indices < 0).any():
            missing = sorted({int(one) for one in ids[indices < 0]})
            raise PositionsRefused("unknown_instrument", f"no instrument with id {missing}")
        if len(set(ids.tolist())) != len(ids):
            raise PositionsRefused("duplicate_instrument", "an instrument stands in two lines")
        held_in = {prices.specs[one].currency for one in indices.tolist()}
        if without := sorted(code for code in held_in if not prices.has_rate(code)):
            raise PositionsRefused("unknown_currency", f"there is no rate for {without}")
        return indices

    def _append(self, record: PortfolioPositions, partition: int, epoch: int) -> Portfolio:
        portfolio = Portfolio(record.portfolio, len(self.portfolios), 0, 0, partition, epoch, -1)
        self.portfolios.append(portfolio)
        self.by_id[portfolio.id] = portfolio
        self.layout += 1
        if portfolio.index >= len(self.start):
            self._widen()
        return portfolio

    def _widen(self) -> None:
        more = max(64, len(self.start))
        for name in ("start", "count", "room", "base", "zone", "currencies"):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros(more, column.dtype)]))
        self.constants.widen(more)

    def _place(self, portfolio: Portfolio, size: int) -> None:
        """Give the portfolio a run of at least `size`: its own, or a new one at the end."""
        index = portfolio.index
        if size > self.room[index]:
            # a portfolio comes with its size, and keeps room for a few more once it has grown
            room = size if portfolio.version < 0 else size + SPARE
            while self.used + room > len(self.instrument):
                self._allocate(2 * len(self.instrument))
            self.start[index] = self.used
            self.room[index] = room
            self.used += room
        self.count[index] = size
        self.largest = max(self.largest, size)

    def _allocate(self, capacity: int) -> None:
        def grown(name: str, kind: type) -> npt.NDArray[Any]:
            column: npt.NDArray[Any] = np.zeros(capacity, kind)
            held = getattr(self, name, column[:0])
            column[: len(held)] = held
            return column

        self.instrument = grown("instrument", np.uint32)
        self.quantity = grown("quantity", np.float64)
        # cold: for documents and for the constants
        self.opening_quantity = grown("opening_quantity", np.float64)
        self.traded = grown("traded", np.float64)
        self.traded_base = grown("traded_base", np.float64)
        self.cost_local = grown("cost_local", np.float64)
        self.cost_base = grown("cost_base", np.float64)
        self.realised = grown("realised", np.float64)

    def _write(
        self, portfolio: Portfolio, instruments: npt.NDArray[np.int64], columns: npt.NDArray[np.float64]
    ) -> None:
        run = self.run(portfolio)
        self.instrument[run] = instruments
        self.quantity[run], self.opening_quantity[run], self.traded[run] = columns[:3]
        self.traded_base[run], self.cost_local[run], self.cost_base[run], self.realised[run] = columns[3:]
        day_start_ns = self.day_starts_ns[portfolio.zone]
        since_ns = min(portfolio.event_ns, day_start_ns - 1)
        for split in self._prices.splits.between(since_ns, self._prices.shares_ns):
            self._apply(split, portfolio)
        if portfolio.event_ns < day_start_ns:  # nothing has moved since an earlier day
            self._open(run)
        held_in = set(self._prices.currency[instruments].tolist()) | {portfolio.base}
        self.currencies[portfolio.index] = sum({1 << currency % 63 for currency in held_in})
        self.constants.sum(self, self._prices, portfolio)
        self.index.fit(len(self._prices.specs), len(self.instrument))
        self.index.add(self.instrument[run], self.quantity[run], run.start, portfolio.index)

    def _apply(self, split: Split, portfolio: Portfolio) -> None:
        """Apply a split to a quantity of before it, and to the opening quantity of a day that had begun by then."""
        run, ratio = self.run(portfolio), float(split.ratio)
        held = self._held(run, split)
        is_old = portfolio.event_ns < split.effective_ns
        if is_old:
            self.quantity[run][held] *= ratio
        if is_old or self.day_starts_ns[portfolio.zone] <= split.effective_ns:
            self.opening_quantity[run][held] *= ratio

    def _held(self, run: slice, split: Split) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self.instrument[run] == self._prices.place(split.instrument)
        return found

    def _leave_index(self, portfolio: Portfolio) -> None:
        run = self.run(portfolio)
        self.index.remove(self.instrument[run], run.start)

    def _open(self, run: slice) -> None:
        self.opening_quantity[run] = self.quantity[run]
        self.traded[run] = 0.0
        self.traded_base[run] = 0.0
        self.realised[run] = 0.0


def _columns(record: PortfolioPositions) -> npt.NDArray[np.float64]:
    """Return the amounts as float64 [column, line], NaN for a traded amount that is unknown; refuses absurd ones."""
    amounts = [
        (
            line.quantity,
            line.opening_quantity,
            line.day_traded,
            0 if line.day_traded_base is None else line.day_traded_base,
            line.cost_basis,
            line.cost_basis_base,
            line.realised_today,
        )
        for line in record.positions
    ]
    try:
        columns = np.array(amounts, np.float64).reshape(len(amounts), 7)
    except ValueError as error:  # a signalling NaN
        raise PositionsRefused("not_finite", "an amount is not a number") from error
    if not np.isfinite(columns).all():
        raise PositionsRefused("not_finite", "an amount is not a finite number")
    if (np.abs(columns) >= AMOUNT_LIMIT).any():
        raise PositionsRefused("too_large", f"an amount is {AMOUNT_LIMIT:g} or more")
    columns[[line.day_traded_base is None for line in record.positions], 3] = np.nan
    return columns.T
