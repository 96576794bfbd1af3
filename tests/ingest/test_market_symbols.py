import pytest

from db.instrument_symbols import ListedSymbol
from db.instruments import Instrument
from ingest.market.symbols import Mapped, SymbolMap, Wanted, map_symbols, unit_factor
from ingest.venues.registry import create_venue
from ingest.venues.venue import Keys

COINBASE = create_venue("coinbase", {}, Keys())


def instrument(number: int, symbol: str, asset_class: str = "crypto", currency: str = "USD", isin: str | None = None):
    return Instrument(number, symbol, isin, symbol, asset_class, "none", "US", currency, None, 1.0, 0.01, "test")


BITCOIN, ETHER = instrument(1, "BTC/USD"), instrument(2, "ETH/USD")
LLOYDS = instrument(3, "LLOY", "equity", "GBP", "GB0008706128")
BANK = (BITCOIN, ETHER, LLOYDS, instrument(4, "USD", "cash"))


def mapped(rows: tuple[ListedSymbol, ...] = (), wanted: Wanted | None = None) -> SymbolMap:
    return map_symbols(COINBASE, BANK, rows, wanted or Wanted())


def test_a_venues_own_rule_names_what_it_quotes():
    assert mapped() == SymbolMap({"BTC-USD": Mapped(BITCOIN), "ETH-USD": Mapped(ETHER)})


def test_a_row_of_the_bank_wins_over_the_rule_and_brings_unit_and_rank():
    found = mapped((ListedSymbol("coinbase", "XBT", 1, None, 0), ListedSymbol("coinbase", "LLOY-GBX", 3, "GBX", 2)))
    assert found.mapped["XBT"] == Mapped(BITCOIN, 1.0, 0)
    assert found.mapped["LLOY-GBX"] == Mapped(LLOYDS, 0.01, 2)
    assert "BTC-USD" not in found.mapped


def test_another_currency_than_the_instruments_is_refused_with_the_reason_and_nothing_is_guessed_instead():
    found = mapped((ListedSymbol("coinbase", "BTC-EUR", 1, "EUR", None),))
    assert found.refused == {"BTC-EUR": "quoted in EUR, and BTC/USD is priced in USD"}
    assert set(found.mapped) == {"ETH-USD"}


def test_an_alias_names_an_instrument_by_symbol_or_isin():
    found = mapped(wanted=Wanted(aliases={"LLY": "GB0008706128", "BTC": "BTC/USD", "NO": "NOBODY"}))
    assert (found.mapped["LLY"].instrument, found.mapped["BTC"].instrument) == (LLOYDS, BITCOIN)
    assert found.refused == {"NO": "the bank has no instrument NOBODY"}


def test_only_what_is_wanted_is_asked_for_and_what_nobody_knows_is_said():
    found = mapped(wanted=Wanted(("ETH-USD", "DOGE-USD")))
    assert list(found.mapped) == ["ETH-USD"]
    assert found.refused == {"DOGE-USD": "no instrument of the bank goes by this symbol"}


def test_two_instruments_of_one_symbol_are_not_mixed():
    twice = (BITCOIN, instrument(9, "BTC/USD", isin="XX0000000009"))
    found = map_symbols(COINBASE, twice, (), Wanted())
    assert found.mapped["BTC-USD"].instrument is BITCOIN
    assert found.refused == {"BTC/USD": "BTC-USD is BTC/USD already"}


@pytest.mark.parametrize(
    ("quoted_in", "currency", "factor"),
    [(None, "USD", 1.0), ("USD", "USD", 1.0), ("GBX", "GBP", 0.01), ("GBp", "GBP", 0.01), ("ZAc", "ZAR", 0.01)],
)
def test_a_minor_unit_is_converted(quoted_in: str | None, currency: str, factor: float):
    assert unit_factor(quoted_in, currency) == factor


@pytest.mark.parametrize(("quoted_in", "currency"), [("USDT", "USD"), ("GBX", "USD"), ("gbp", "GBP")])
def test_another_currency_is_not(quoted_in: str, currency: str):
    assert unit_factor(quoted_in, currency) is None
