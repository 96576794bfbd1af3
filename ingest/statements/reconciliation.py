"""Compare what an import makes of a statement with what the statement says itself, to the cent. Pure.

Cash is compared by currency and heading where the broker reports so, else with the sum of the statement's own rows;
positions with those that it reports at its end. A difference has a stated reason: rows that are refused, or sums of
which the statement does not list the rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ingest.statements.model import REFUSED, ZERO, Movement, ReportedCash
from ingest.statements.planning import ImportPlan

CENT = Decimal("0.01")
BALANCE = "balance"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hold one comparison: what the statement says, what its booked rows make, and what its refused rows would add.

    `heading` is `balance` for the change of a currency's balance. `why` is empty where the two agree.
    """

    currency: str
    heading: str
    stated: Decimal
    booked: Decimal
    refused: Decimal
    why: str = ""

    @property
    def difference(self) -> Decimal:
        """Return what the statement has and the ledger has not."""
        return self.stated - self.booked

    @property
    def agrees(self) -> bool:
        """Say whether both agree to the cent."""
        return abs(self.difference) < CENT


@dataclass(frozen=True, slots=True)
class HeldComparison:
    """Hold what the statement says is held of an instrument at its end, and what its rows and earlier ones make."""

    instrument: str
    stated: Decimal
    derived: Decimal

    @property
    def agrees(self) -> bool:
        """Say whether both are the same."""
        return self.stated == self.derived

    @property
    def why(self) -> str:
        """Say where a difference is from, as far as that can be known; nothing where both are the same."""
        return "" if self.agrees else "earlier statements that are not imported, or rows that are refused"


def compare_cash(plan: ImportPlan) -> list[Comparison]:
    """Return the comparisons of a plan's cash: by the broker's report where there is one, else with the rows."""
    booked = _sums(plan.effects)
    refused = _sums(movement for one in plan.rejections for movement in one.movements)
    reported = {one.currency for one in plan.statement.cash}
    found = [line for one in plan.statement.cash for line in _by_report(one, booked, refused)]
    for currency in sorted({*booked, *refused} - reported):
        ours, theirs = sum(booked[currency].values(), ZERO), sum(refused[currency].values(), ZERO)
        found.append(_comparison(currency, BALANCE, ours + theirs, ours, theirs))
    return found


def compare_positions(plan: ImportPlan, held: Mapping[int, Decimal]) -> list[HeldComparison]:
    """Return the comparisons of positions; `held` are quantities by the number of the instrument."""
    return [
        HeldComparison(str(one.instrument), one.quantity, held.get(plan.reported.get(one.instrument.key, -1), ZERO))
        for one in plan.statement.positions
    ]


def _by_report(
    report: ReportedCash, booked: Mapping[str, Mapping[str, Decimal]], refused: Mapping[str, Mapping[str, Decimal]]
) -> list[Comparison]:
    ours, theirs = booked.get(report.currency, {}), refused.get(report.currency, {})
    unclear = theirs.get(REFUSED, ZERO)
    lines = [
        _comparison(
            report.currency,
            heading,
            report.headings.get(heading, ZERO),
            ours.get(heading, ZERO),
            theirs.get(heading, ZERO),
            unclear,
        )
        for heading in sorted({*report.headings, *ours})
    ]
    change, total = report.ending - report.starting, sum(ours.values(), ZERO)
    return [*lines, _comparison(report.currency, BALANCE, change, total, sum(theirs.values(), ZERO))]


def _comparison(
    currency: str, heading: str, stated: Decimal, booked: Decimal, refused: Decimal, unclear: Decimal = ZERO
) -> Comparison:
    """Compare; `unclear` is what refused rows would add of which nobody knows the heading."""
    left = stated - booked - refused
    if abs(stated - booked) < CENT:
        why = ""
    elif min(abs(left), abs(left - unclear)) < CENT:
        why = "rows that are refused"
    else:
        why = "the statement does not list the rows that its sum is of"
    return Comparison(currency, heading, stated, booked, refused, why)


def _sums(movements: Iterable[Movement]) -> dict[str, dict[str, Decimal]]:
    found: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for one in movements:
        if one.amount:
            found[one.currency][one.heading] += one.amount
    return found
