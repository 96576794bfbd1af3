"""Hold what an import did, or would do: the document of `alhambra import --json`. Amounts are decimal strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from analytics.positions import DerivedPosition
from db.imports import ImportTarget
from ingest.statements.bookings import StatementBooking
from ingest.statements.checks import CENT
from ingest.statements.derivation import INSTRUMENT_MARK, Derivation
from ingest.statements.model import Rejection
from ingest.statements.planning import ImportPlan
from ingest.statements.reconciliation import Comparison, HeldComparison, compare_cash, compare_positions


class ShownBooking(msgspec.Struct, frozen=True):
    """Hold one new booking; `symbol` is None where only cash moves."""

    reference: str
    type: str
    booked_at: datetime
    symbol: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal
    currency: str
    rate_to_base: Decimal
    description: str


class Refusal(msgspec.Struct, frozen=True):
    """Hold one row that is not booked, and why."""

    place: str
    reason: str
    detail: str


class ShownPosition(msgspec.Struct, frozen=True):
    """Hold one line of the portfolio after the import: the cost of all of it, in its currency and in the base one."""

    symbol: str
    quantity: Decimal
    cost: Decimal
    cost_base: Decimal


class ShownComparison(msgspec.Struct, frozen=True):
    """Hold one comparison of the statement's own word with what is booked; `why` says where a difference is from."""

    what: str
    stated: Decimal
    booked: Decimal
    agrees: bool
    why: str


class Outcome(msgspec.Struct, frozen=True):
    """Hold an import: `created` says whether instruments could be made; `portfolio` is None where it would be made."""

    source: str
    file: str
    applied: bool
    created: bool
    portfolio: str | None
    portfolio_name: str
    base_currency: str
    rows_booked: int
    bookings: list[ShownBooking]
    duplicates: list[str]
    rejected: list[Refusal]
    skipped: dict[str, int]
    new_instruments: list[str]
    new_currencies: list[str]
    positions: list[ShownPosition]
    cash: dict[str, Decimal]
    reconciliation: list[ShownComparison]
    warnings: list[str]


def create_outcome(
    plan: ImportPlan,
    derived: Derivation,
    names: Mapping[int, str],
    target: ImportTarget | None,
    file: str,
    applied: bool,
) -> Outcome:
    """Return the outcome of a plan; `derived` is what the portfolio is with it, `names` are symbols by instrument."""
    held = {int(one.symbol[1:]): one for one in derived.lines if one.symbol.startswith(INSTRUMENT_MARK)}
    quantities = {number: one.quantity for number, one in held.items()}
    return Outcome(
        source=plan.statement.source,
        file=file,
        applied=applied,
        created=plan.create,
        portfolio=str(target.id) if target else None,
        portfolio_name=target.name if target else f"Imported from {plan.statement.source}",
        base_currency=plan.base_currency,
        rows_booked=plan.entries,
        bookings=[_shown(one) for one in plan.bookings],
        duplicates=plan.duplicates,
        rejected=refusals(plan.rejections),
        skipped=dict(sorted(Counter(one.reason for one in plan.skipped).items())),
        new_instruments=[one.symbol for one in plan.instruments],
        new_currencies=[one.code for one in plan.currencies],
        positions=[_position(names[number], one) for number, one in sorted(held.items()) if one.quantity],
        cash={one.symbol: plain(one.quantity) for one in derived.lines if not one.symbol.startswith(INSTRUMENT_MARK)},
        reconciliation=[
            *(_cash_comparison(one) for one in compare_cash(plan)),
            *(_held_comparison(one) for one in compare_positions(plan, quantities)),
        ],
        warnings=[
            *_short(names, quantities),
            *_unheld(names, derived),
            *_unpriced(plan, derived, quantities),
            *_opening_cash(plan),
        ],
    )


def refusals(rejections: Sequence[Rejection]) -> list[Refusal]:
    """Return refused rows without what they would have done."""
    return [Refusal(one.place, one.reason, one.detail) for one in rejections]


def _short(names: Mapping[int, str], quantities: Mapping[int, Decimal]) -> Iterator[str]:
    for number, quantity in quantities.items():
        if quantity < 0:
            yield (
                f"{names[number]}: {plain(quantity):f} are held: more was sold than these statements say was bought. "
                "Unless it was sold short, import the earlier ones too."
            )


def _unheld(names: Mapping[int, str], derived: Derivation) -> Iterator[str]:
    for number in sorted(derived.unheld):
        yield (
            f"{names[number]}: a split of what these statements do not say was bought: its cost counts as nothing, "
            "before the earlier ones are imported too."
        )


def _unpriced(plan: ImportPlan, derived: Derivation, quantities: Mapping[int, Decimal]) -> Iterator[str]:
    priced = {number for number, _, _ in plan.closes}
    for carry in derived.carried:
        priced |= {carry.new} if carry.old in priced else set()
    for one in plan.instruments:
        if one.alias and quantities.get(one.id) and one.id not in priced:
            yield f"{one.symbol}: the statement has no price of it: it is worth nothing here until a feed quotes it."


def _opening_cash(plan: ImportPlan) -> Iterator[str]:
    found = [f"{plain(one.starting):f} {one.currency}" for one in plan.statement.cash if abs(one.starting) >= CENT]
    if found:
        yield (
            f"The statement begins with {', '.join(found)}: what made that stands in earlier statements, and is not in "
            "the portfolio before they are imported too."
        )


def plain(amount: Decimal) -> Decimal:
    """Return an amount without digits that say nothing."""
    short = amount.normalize()
    return (
        short.quantize(Decimal(1)) if isinstance(exponent := short.as_tuple().exponent, int) and exponent > 0 else short
    )


def _shown(one: StatementBooking) -> ShownBooking:
    return ShownBooking(
        one.reference,
        one.type,
        one.moment,
        one.instrument.symbol if one.instrument else None,
        None if one.quantity is None else plain(one.quantity),
        None if one.price is None else plain(one.price),
        plain(one.amount),
        one.currency,
        plain(one.rate_to_base),
        one.description,
    )


def _cash_comparison(one: Comparison) -> ShownComparison:
    return ShownComparison(f"{one.currency} {one.heading}", plain(one.stated), plain(one.booked), one.agrees, one.why)


def _held_comparison(one: HeldComparison) -> ShownComparison:
    return ShownComparison(one.instrument, plain(one.stated), plain(one.derived), one.agrees, one.why)


def _position(symbol: str, line: DerivedPosition) -> ShownPosition:
    return ShownPosition(symbol, plain(line.quantity), plain(line.cost_basis), plain(line.cost_basis_base))
