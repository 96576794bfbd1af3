"""Map a venue's symbols to instruments: pure, with a reason for each that cannot be used."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from db.instrument_symbols import ListedSymbol
from db.instruments import Instrument
from ingest.venues.venue import PolledVenue, StreamVenue

# What exchanges quote in hundredths of a currency, under the codes that venues write.
MINOR_UNITS = {
    "GBX": ("GBP", 0.01),
    "GBp": ("GBP", 0.01),
    "GBPX": ("GBP", 0.01),
    "ZAC": ("ZAR", 0.01),
    "ZAc": ("ZAR", 0.01),
    "ILA": ("ILS", 0.01),
    "ILX": ("ILS", 0.01),
}


@dataclass(frozen=True, slots=True)
class Mapped:
    """Say which instrument a symbol is; its prices times `factor` are in the instrument's currency.

    `priority` is the rank that the bank gives this source for this instrument, None where it gives none.
    """

    instrument: Instrument
    factor: float = 1.0
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class SymbolMap:
    """Hold the symbols that a feed asks for, and why others are not asked for."""

    mapped: Mapping[str, Mapped] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hold what a feed's options say of symbols: those it is to be asked for (none: all), and names that are ours.

    `aliases` turns a venue's symbol into ours, or into an ISIN.
    """

    symbols: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


def map_symbols(
    venue: StreamVenue | PolledVenue,
    instruments: Sequence[Instrument],
    listed: Sequence[ListedSymbol],
    wanted: Wanted,
) -> SymbolMap:
    """Return what the venue is asked for.

    An alias of the feed's options wins over a row of `instrument_symbols`, and that over the venue's own rule of
    naming, which names what has neither. One symbol is one instrument.
    """
    by_id = {one.id: one for one in instruments}
    by_name = {one.isin: one for one in instruments if one.isin} | {one.symbol: one for one in instruments}
    mapped: dict[str, Mapped] = {}
    refused: dict[str, str] = {}
    for theirs, ours in wanted.aliases.items():
        if ours in by_name:
            mapped[theirs] = Mapped(by_name[ours])
        else:
            refused[theirs] = f"the bank has no instrument {ours}"
    for row in listed:
        if row.symbol not in mapped and row.instrument_id in by_id:
            _put_listed(mapped, refused, row, by_id[row.instrument_id])
    named = {one.instrument.id for one in mapped.values()}
    named.update(row.instrument_id for row in listed)  # a row that is refused is no leave to guess
    _put_by_rule(mapped, refused, venue, [one for one in instruments if one.id not in named])
    return _only(wanted.symbols, mapped, refused)


def unit_factor(quoted_in: str | None, currency: str) -> float | None:
    """Return what turns a price in `quoted_in` into one in `currency`, None where only a rate of exchange could."""
    if quoted_in is None or quoted_in == currency:
        return 1.0
    major, factor = MINOR_UNITS.get(quoted_in, ("", 0.0))
    return factor if major == currency else None


def _put_listed(mapped: dict[str, Mapped], refused: dict[str, str], row: ListedSymbol, instrument: Instrument) -> None:
    factor = unit_factor(row.quoted_in, instrument.currency)
    if factor is None:
        refused[row.symbol] = f"quoted in {row.quoted_in}, and {instrument.symbol} is priced in {instrument.currency}"
    else:
        mapped[row.symbol] = Mapped(instrument, factor, row.priority)


def _put_by_rule(
    mapped: dict[str, Mapped],
    refused: dict[str, str],
    venue: StreamVenue | PolledVenue,
    instruments: Sequence[Instrument],
) -> None:
    for one in instruments:
        symbol = None if one.asset_class == "cash" else venue.venue_symbol(one)
        if symbol is None or symbol in refused:
            continue
        if symbol in mapped:
            refused[one.symbol] = f"{symbol} is {mapped[symbol].instrument.symbol} already"
        else:
            mapped[symbol] = Mapped(one)


def _only(wanted: Collection[str], mapped: Mapping[str, Mapped], refused: Mapping[str, str]) -> SymbolMap:
    if not wanted:
        return SymbolMap(dict(mapped), dict(refused))
    kept = {symbol: mapped[symbol] for symbol in wanted if symbol in mapped}
    absent = {symbol: "no instrument of the bank goes by this symbol" for symbol in wanted if symbol not in mapped}
    return SymbolMap(kept, absent | {symbol: refused[symbol] for symbol in wanted if symbol in refused})
