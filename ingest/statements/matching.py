"""Find what a statement's instruments and currencies are with us, or say what would have to be made. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from babel.numbers import get_currency_name, get_currency_precision

from ingest.statements.bookings import Known
from ingest.statements.errors import RowRefused
from ingest.statements.model import ONE, InstrumentRef

DOLLAR = "USD"
QUOTED_IN_DOLLARS = frozenset({"EUR", "GBP", "AUD", "NZD"})  # the market says EUR/USD, but USD/CHF
RATE_STEP = Decimal("0.00000001")
HELD = frozenset({"equity", "etf", "bond", "fund", "crypto"})
NO_COUNTRY = "ZZ"  # left to users by ISO 3166; X… and EU in an ISIN name no country either


@dataclass(frozen=True, slots=True)
class BankInstrument:
    """Hold what matching must know of an instrument of ours; `imported` says that an import made it."""

    id: int
    symbol: str
    isin: str | None
    currency: str
    asset_class: str
    price_factor: Decimal
    imported: bool = False


@dataclass(frozen=True, slots=True)
class BankView:
    """Hold what of the bank a plan goes by.

    `aliases` are instrument ids by what this broker calls them. `cash` and `rated` are the currencies that have a cash
    instrument and a rate of exchange; `dollars` is what one unit was worth in US dollars at the newest close.
    """

    instruments: tuple[BankInstrument, ...]
    aliases: Mapping[str, int]
    cash: frozenset[str]
    rated: frozenset[str]
    dollars: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class NewInstrument:
    """Hold an instrument that an import makes, with its number; the fields are the columns of `instruments`."""

    id: int
    symbol: str
    name: str
    asset_class: str
    sector: str
    country: str
    currency: str
    isin: str | None = None
    base_currency: str | None = None
    price_factor: Decimal = ONE
    exchange: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class NewCurrency:
    """Hold a currency that an import makes."""

    code: str
    name: str
    minor_units: int


@dataclass(slots=True)
class Matcher:
    """Match references, and where `create` says so propose what is missing; proposals are numbered on from ours."""

    bank: BankView
    create: bool
    labels: Mapping[str, InstrumentRef]  # by key, the newest name that the statement has
    dollar_closes: Mapping[str, Mapping[date, Decimal]]  # what the statement says of currencies
    instruments: list[NewInstrument] = field(default_factory=list)
    currencies: list[NewCurrency] = field(default_factory=list)
    rate_closes: list[tuple[int, date, Decimal]] = field(default_factory=list)
    _known: dict[str, Known] = field(default_factory=dict)

    def instrument(self, ref: InstrumentRef, in_currency: bool) -> Known:
        """Return our instrument; raises `RowRefused` as unknown_instrument, or unknown_currency where it is made."""
        if ref.key not in self._known:
            found = self._find(ref)
            if found is None or (in_currency and found.currency != ref.currency):
                found = self._propose(ref)
            if found.currency != ref.currency:
                return found  # good for this row alone
            self._known[ref.key] = found
        return self._known[ref.key]

    def require_currency(self, code: str) -> None:
        """Refuse a currency that has no cash or no rate with us, or propose both."""
        made = {one.code for one in self.currencies}
        if code in made or (code in self.bank.cash and code in self.bank.rated):
            return
        closes = self.dollar_closes.get(code, {})
        name = get_currency_name(code, locale="en")
        if not self.create or name == code or not (closes or code in self.bank.rated):
            raise RowRefused("unknown_currency", f"{code} has no rate of exchange here, nor in the statement")
        self.currencies.append(NewCurrency(code, name, get_currency_precision(code)))
        if code not in self.bank.cash:
            self._add(NewInstrument(self._next(), code, name, "cash", "Cash", code[:2], code))
        if code not in self.bank.rated:
            self._add_rate(code, name, closes)

    def _find(self, ref: InstrumentRef) -> Known | None:
        ours = [one for one in self.bank.instruments if one.asset_class in HELD]
        alias = self.bank.aliases.get(ref.key)
        rules: tuple[Callable[[BankInstrument], bool], ...] = (
            lambda one: one.id == alias,
            lambda one: ref.isin is not None and one.isin == ref.isin and one.currency == ref.currency,
            lambda one: (one.symbol, one.currency) == (ref.symbol, ref.currency) and not _differ(one.isin, ref.isin),
            lambda one: ref.isin is not None and one.isin == ref.isin,
            lambda one: one.symbol == ref.symbol and not _differ(one.isin, ref.isin),
        )
        found = next((one for fits in rules for one in ours if fits(one)), None)
        return None if found is None else Known(found.id, found.symbol, found.currency, found.price_factor)

    def _propose(self, ref: InstrumentRef) -> Known:
        if not self.create:
            raise RowRefused("unknown_instrument", f"{ref} in {ref.currency} is not among the bank's instruments")
        self.require_currency(ref.currency)
        label = self.labels.get(ref.key, ref)
        isins = {one.isin for one in self.bank.instruments} | {one.isin for one in self.instruments}
        made = NewInstrument(
            id=self._next(),
            symbol=self._free_symbol(label),
            name=label.name or label.symbol,
            asset_class=ref.asset_class,
            sector="Unclassified",
            country=_country(ref.isin),
            currency=ref.currency,
            isin=None if ref.isin in isins else ref.isin,  # an ISIN is one listing's here
            price_factor=ref.price_factor,
            exchange="24/7" if ref.asset_class == "crypto" else None,
            alias=ref.key,
        )
        self._add(made)
        return Known(made.id, made.symbol, made.currency, made.price_factor)

    def _free_symbol(self, label: InstrumentRef) -> str:
        taken = {one.symbol for one in self.bank.instruments} | {one.symbol for one in self.instruments}
        candidates = (label.symbol, f"{label.symbol}.{label.currency}", label.isin or "", label.key)
        return next((one for one in candidates if one and one not in taken), f"{label.symbol}.{self._next()}")

    def _add_rate(self, code: str, name: str, closes: Mapping[date, Decimal]) -> None:
        direct = code in QUOTED_IN_DOLLARS
        made = NewInstrument(
            id=self._next(),
            symbol=f"{code}/{DOLLAR}" if direct else f"{DOLLAR}/{code}",
            name=f"{name} in US dollars" if direct else f"US dollar in {name}",
            asset_class="fx",
            sector="Currency",
            country=code[:2] if direct else DOLLAR[:2],
            currency=DOLLAR if direct else code,
            base_currency=code if direct else DOLLAR,
            exchange="24/5",
        )
        self._add(made)
        for day, dollars in closes.items():
            self.rate_closes.append((made.id, day, (dollars if direct else ONE / dollars).quantize(RATE_STEP)))

    def _add(self, made: NewInstrument) -> None:
        self.instruments.append(made)

    def _next(self) -> int:
        newest = max((one.id for one in self.bank.instruments), default=0)
        return newest + len(self.instruments) + 1


def newest_labels(refs: Iterable[InstrumentRef]) -> dict[str, InstrumentRef]:
    """Return by key the last of the references, in their order, with a name where any of them has one."""
    found: dict[str, InstrumentRef] = {}
    for ref in refs:
        before = found.get(ref.key)
        if before is not None and before.name and not ref.name:
            ref = InstrumentRef(
                ref.symbol, ref.currency, ref.asset_class, before.name, ref.isin, ref.contract, ref.price_factor
            )
        found[ref.key] = ref
    return found


def _differ(ours: str | None, theirs: str | None) -> bool:
    return ours is not None and theirs is not None and ours != theirs


def _country(isin: str | None) -> str:
    code = isin[:2] if isin else NO_COUNTRY
    return NO_COUNTRY if code.startswith("X") or code == "EU" else code
