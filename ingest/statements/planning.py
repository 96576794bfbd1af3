"""Plan an import: what would be booked, what is booked already, and what is refused and why. Pure.

The same plan is shown as the preview and written by `--apply`, so nothing is written that was not shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from ingest.statements.bookings import PRICE_STEP, Known, StatementBooking, make_bookings
from ingest.statements.errors import ImportRefused, RowRefused
from ingest.statements.identity import name_entries
from ingest.statements.matching import DOLLAR, BankView, Matcher, NewCurrency, NewInstrument, newest_labels
from ingest.statements.model import ONE, ZERO, Entry, InstrumentRef, Movement, Rejection, Skipped, Statement

RATE_FOR_DAYS = 7  # a statement's rate of a day holds over holidays, and no longer


@dataclass(frozen=True, slots=True)
class Booked:
    """Hold what of a booking in the ledger must be the same for a row to be its duplicate."""

    type: str
    amount: Decimal
    currency: str
    quantity: Decimal | None


@dataclass(slots=True)
class ImportPlan:
    """Hold what an import does.

    `bookings` are new, in order of time. `effects` are what every row that is or was booked does to cash.
    `closes` are prices of instruments that imports made: (instrument, date, price). `reported` are the numbers of the
    instruments that the statement says are held at its end, by key.
    """

    statement: Statement
    base_currency: str
    create: bool
    bookings: list[StatementBooking] = field(default_factory=list)
    entries: int = 0
    duplicates: list[str] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    skipped: tuple[Skipped, ...] = ()
    effects: list[Movement] = field(default_factory=list)
    instruments: list[NewInstrument] = field(default_factory=list)
    currencies: list[NewCurrency] = field(default_factory=list)
    closes: list[tuple[int, date, Decimal]] = field(default_factory=list)
    reported: dict[str, int] = field(default_factory=dict)


def plan_import(
    statement: Statement, base_currency: str, bank: BankView, booked: Mapping[str, Booked], create: bool
) -> ImportPlan:
    """Return the plan of a statement for a portfolio in `base_currency`.

    `booked` are the ledger's bookings of the statement's source, by reference; `create` says whether instruments and
    currencies that the bank does not have may be made. Raises `ImportRefused` where the base currency cannot be.
    """
    plan = ImportPlan(
        statement, base_currency, create, rejections=list(statement.rejections), skipped=statement.skipped
    )
    named = name_entries(statement.entries)
    refs = [ref for _, entry in named for ref in _refs(entry)]
    matcher = Matcher(bank, create, newest_labels(refs), _dollar_closes(statement, base_currency, bank))
    try:
        matcher.require_currency(base_currency)
    except RowRefused as refused:
        raise ImportRefused(f"The portfolio cannot be kept in {base_currency}: {refused}.") from refused
    taken: dict[str, tuple[StatementBooking, ...]] = {}
    for reference, entry in named:
        try:
            made = _bookings(entry, reference, statement, base_currency, matcher)
            fresh = _is_new(made, booked, taken)
        except RowRefused as refused:
            plan.rejections.append(Rejection(entry.place, refused.reason, str(refused), tuple(entry.movements())))
            continue
        plan.effects += [one for one in entry.movements() if one.amount]
        if fresh:
            plan.bookings += made
            plan.entries += 1
        else:
            plan.duplicates.append(entry.place)
    matcher.create = False  # prices make nothing
    used = {one.instrument.id for one in plan.bookings if one.instrument}
    plan.instruments = [one for one in matcher.instruments if one.alias is None or one.id in used]
    plan.currencies = matcher.currencies
    plan.closes = [*matcher.rate_closes, *_closes(statement, bank, matcher)]
    reported = {one.instrument.key: _known(matcher, one.instrument) for one in statement.positions}
    plan.reported = {key: known.id for key, known in reported.items() if known is not None}
    return plan


def _bookings(
    entry: Entry, reference: str, statement: Statement, base: str, matcher: Matcher
) -> tuple[StatementBooking, ...]:
    made = make_bookings(entry, reference, matcher.instrument, _rates(statement, base))
    for one in made:
        matcher.require_currency(one.currency)
    return tuple(made)


def _is_new(
    made: tuple[StatementBooking, ...], booked: Mapping[str, Booked], taken: dict[str, tuple[StatementBooking, ...]]
) -> bool:
    """Say whether bookings are new; refuses what has the reference of another, in the ledger or in the statement."""
    known = [booked.get(one.reference) for one in made]
    if made[0].reference in taken:
        if taken[made[0].reference] == made:
            return False
        raise RowRefused("reference_repeated", f"another row has the reference {made[0].reference} too")
    taken[made[0].reference] = made
    if not any(known):
        return True
    for one, found in zip(made, known, strict=True):
        if found is None or found != Booked(one.type, one.amount, one.currency, one.quantity):
            was = f"{found.type} of {found.amount:f} {found.currency}" if found else "nothing"
            detail = f"{one.reference} is booked as {was}, the row makes it {one.type} of {one.amount:f} {one.currency}"
            raise RowRefused("differs_from_booked", detail)
    return False


def _rates(statement: Statement, base: str) -> Callable[[str, datetime], Decimal | None]:
    def rate_of(code: str, moment: datetime) -> Decimal | None:
        if code == base:
            return ONE
        for back in range(RATE_FOR_DAYS):
            found = statement.rates.get((code, moment.date() - timedelta(days=back)))
            if found is not None:
                return found
        return None

    return rate_of


def _dollar_closes(statement: Statement, base: str, bank: BankView) -> dict[str, dict[date, Decimal]]:
    """Return what one unit of each currency was worth in dollars, by date, as the statement's rates say.

    Where the statement does not value the dollar, the bank's newest rate of the base currency stands in.
    """
    in_base: dict[tuple[str, date], Decimal] = dict(statement.rates)
    for entry in statement.entries:
        if entry.rate_to_base is not None:
            in_base.setdefault((entry.currency, entry.moment.date()), entry.rate_to_base)
    found: dict[str, dict[date, Decimal]] = defaultdict(dict)
    for (code, day), rate in in_base.items():
        dollar = ONE if base == DOLLAR else in_base.get((DOLLAR, day))
        if dollar is not None:
            found[code][day] = rate / dollar
            found[base][day] = ONE / dollar
        elif base in bank.dollars:
            found[code][day] = rate * bank.dollars[base]
    return found


def _closes(statement: Statement, bank: BankView, matcher: Matcher) -> list[tuple[int, date, Decimal]]:
    """Return the statement's prices of what imports made."""
    ours = {one.id for one in bank.instruments if one.imported} | {one.id for one in matcher.instruments}
    prices: dict[tuple[int, date], Decimal] = {}
    for close in sorted(statement.closes, key=lambda one: one.date):
        known = _known(matcher, close.instrument)
        if known is not None and known.id in ours:
            price = close.price * close.instrument.price_factor / known.price_factor
            prices[known.id, close.date] = price.quantize(PRICE_STEP)
    return [(number, day, price) for (number, day), price in prices.items() if price > ZERO]


def _known(matcher: Matcher, ref: InstrumentRef) -> Known | None:
    try:
        return matcher.instrument(ref, True)
    except RowRefused:  # the rows that hold it are refused for the same reason, and listed
        return None


def _refs(entry: Entry) -> Iterator[InstrumentRef]:
    if entry.instrument is not None:
        yield entry.instrument
    if entry.counterpart is not None and entry.counterpart.instrument is not None:
        yield entry.counterpart.instrument
