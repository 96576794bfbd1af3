"""Join the totals of the stream workers with an advisor's book: the document of `floor:<advisor>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from analytics.returns import percent_of_opening
from api.live.state import Document, Values
from db.live import Totals, TotalsLayout

Columns = dict[str, npt.NDArray[Any]]

_AMOUNTS = ("total_equity", "day_pnl", "equity_reference", "day_pnl_reference")
_RATIOS = ("day_pnl_pct", "stale_share")
COLUMNS = (
    "portfolio_id",
    "name",
    "client",
    "base_currency",
    "total_equity",
    "day_pnl",
    "day_pnl_pct",
    "equity_reference",
    "day_pnl_reference",
    "stale_share",
)


@dataclass(frozen=True, slots=True)
class FloorPortfolio:
    """Describe a portfolio of an advisor's book; `minor_units` are the digits of its base currency."""

    portfolio_id: str
    name: str
    client: str
    base_currency: str
    minor_units: int


class FloorBook:
    """Hold the newest totals of every worker, and find a portfolio's columns in them."""

    def __init__(self) -> None:
        self._totals: dict[str, Totals] = {}
        self._places: dict[str, dict[str, int]] = {}
        self._layouts: dict[str, tuple[int, int]] = {}

    def needs_layout(self, worker: str, totals: Totals) -> bool:
        """Say whether these totals use an order of columns that is not known yet."""
        return self._layouts.get(worker) != (totals.epoch, totals.layout)

    def take_layout(self, worker: str, layout: TotalsLayout) -> None:
        """Learn the order of a worker's columns."""
        self._layouts[worker] = (layout.epoch, layout.layout)
        self._places[worker] = {portfolio: index for index, portfolio in enumerate(layout.portfolios)}

    def take_totals(self, worker: str, totals: Totals) -> bool:
        """Take newer totals of a known layout; returns False where they are older or their layout is unknown."""
        held = self._totals.get(worker)
        older = held is not None and (totals.epoch, totals.seq) <= (held.epoch, held.seq)
        if older or self.needs_layout(worker, totals):
            return False
        self._totals[worker] = totals
        return True

    def document(
        self, portfolios: Sequence[FloorPortfolio], epoch: int, seq: int, minor_units: Mapping[str, int]
    ) -> Document | None:
        """Build the floor of these portfolios, or None before any worker has said anything.

        Totals are sums of the rows in minor units of the reference currency. A portfolio that no worker has
        valued yet is left out until one has.
        """
        if not self._totals:
            return None
        found = self._find(portfolios)
        newest = [totals for totals, held, _ in found if held] or list(self._totals.values())
        reference = newest[0].reference_currency
        rows, totals = _rows_and_totals([(held, columns) for _, held, columns in found], minor_units.get(reference, 2))
        totals |= {"reference_currency": reference, "computed_ns": min(one.computed_ns for one in newest)}
        return Document(epoch, seq, max(one.event_ns for one in newest), totals, COLUMNS, rows)

    def _find(self, portfolios: Sequence[FloorPortfolio]) -> list[tuple[Totals, list[FloorPortfolio], Columns]]:
        """Return each worker's totals, the portfolios it holds and their columns; the newest epoch wins a portfolio."""
        workers = sorted(self._totals, key=lambda worker: -self._totals[worker].epoch)
        left = list(portfolios)
        found = []
        for worker in workers:
            places = self._places[worker]
            held = [one for one in left if one.portfolio_id in places]
            left = [one for one in left if one.portfolio_id not in places]
            index = np.array([places[one.portfolio_id] for one in held], np.intp)
            found.append((self._totals[worker], held, _columns(self._totals[worker], index)))
        return found


def _columns(totals: Totals, index: npt.NDArray[np.intp]) -> Columns:
    columns: Columns = {name: np.frombuffer(getattr(totals, name), "<i8")[index] for name in _AMOUNTS}
    return columns | {name: np.frombuffer(getattr(totals, name), "<f8")[index] for name in _RATIOS}


def _rows_and_totals(
    found: list[tuple[list[FloorPortfolio], Columns]], reference_units: int
) -> tuple[dict[str, Values], dict[str, Any]]:
    rows: dict[str, Values] = {}
    equity = day_pnl = 0
    stale_equity = 0.0
    for portfolios, columns in found:
        equity += int(columns["equity_reference"].sum())
        day_pnl += int(columns["day_pnl_reference"].sum())
        stale_equity += float((columns["equity_reference"] * columns["stale_share"]).sum())
        rows |= _rows(portfolios, columns, reference_units)
    totals = {
        "total_equity": equity / 10**reference_units,
        "day_pnl": day_pnl / 10**reference_units,
        "day_pnl_pct": percent_of_opening(day_pnl, equity),
        "portfolios": len(rows),
        "stale_share": stale_equity / equity if equity else 0.0,
    }
    return rows, totals


def _rows(portfolios: list[FloorPortfolio], columns: Columns, reference_units: int) -> dict[str, Values]:
    base = np.array([10**one.minor_units for one in portfolios], np.float64)
    reference = float(10**reference_units)
    numbers = zip(
        (columns["total_equity"] / base).tolist(),
        (columns["day_pnl"] / base).tolist(),
        columns["day_pnl_pct"].tolist(),
        (columns["equity_reference"] / reference).tolist(),
        (columns["day_pnl_reference"] / reference).tolist(),
        columns["stale_share"].tolist(),
        strict=True,
    )
    return {
        one.portfolio_id: (one.portfolio_id, one.name, one.client, one.base_currency, *figures)
        for one, figures in zip(portfolios, numbers, strict=True)
    }
