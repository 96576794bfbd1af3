"""Day P&L is right through whatever is booked during the day: worked by hand, and for any sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from analytics.positions import DerivedPosition, derive_positions
from analytics.revaluation import PRECISION, ExactRow, Rates, Terms, revalue
from stream.messages import Position

OPENING = datetime(2026, 11, 20, tzinfo=UTC)
YESTERDAY = OPENING - timedelta(hours=12)
TODAY = OPENING + timedelta(hours=9)
CENTS = {"USD": 2, "EUR": 2, "CHF": 2}


@dataclass(frozen=True)
class Entry:
    """Book on an account that is kept in dollars, unless its rate says otherwise."""

    type: str
    amount: Decimal
    symbol: str | None = None
    quantity: Decimal | None = None
    currency: str = "USD"
    rate_to_base: Decimal = Decimal(1)
    booked_at: datetime = TODAY


def book(
    kind: str,
    amount: str,
    symbol: str | None = None,
    quantity: str | None = None,
    currency: str = "USD",
    rate: str = "1",
) -> Entry:
    size = None if quantity is None else Decimal(quantity)
    return Entry(kind, Decimal(amount), symbol, size, currency, Decimal(rate))


def held(amount: str, symbol: str | None = None, quantity: str | None = None, currency: str = "USD") -> Entry:
    """Book yesterday, so that it stands at the prior close."""
    kind = "deposit" if symbol is None else "buy"
    return replace(book(kind, amount, symbol, quantity, currency), booked_at=YESTERDAY)


def price(now: str, close: str, currency: str = "USD", factor: str = "1") -> Terms:
    return Terms(currency, False, Decimal(factor), Decimal(now), Decimal(close))


def rates(**pairs: tuple[str, str]) -> Rates:
    """Make rates from (now, at the prior close) in dollars."""
    known = {"USD": ("1", "1")} | pairs
    now, close = ({code: Decimal(pair[place]) for code, pair in known.items()} for place in (0, 1))
    return Rates(now, close, CENTS)


def line(position: DerivedPosition, number: int) -> Position:
    return Position(
        number,
        position.quantity,
        position.cost_basis,
        position.cost_basis_base,
        position.opening_quantity,
        position.day_traded,
        position.realised_today,
        position.day_traded_base,
    )


def value(
    entries: Sequence[Entry], prices: Mapping[str, Terms], rates: Rates, base: str = "USD"
) -> tuple[dict[str, tuple[Decimal, Decimal]], dict[str, ExactRow]]:
    """Return by symbol the day P&L and its price effect in units of base, and the rows before rounding."""
    positions = derive_positions(entries, OPENING)
    one = Decimal(1)
    terms = {
        number: prices.get(position.symbol) or Terms(position.symbol, True, one, one, one)
        for number, position in enumerate(positions)
    }
    found = revalue(base, [line(position, number) for number, position in enumerate(positions)], terms, rates)
    symbols = [position.symbol for position in positions]
    amounts = [(Decimal(row.day_pnl) / 100, Decimal(row.day_pnl_price) / 100) for row in found.rows]
    return dict(zip(symbols, amounts, strict=True)), dict(zip(symbols, found.exact, strict=True))


def day(entries: Sequence[Entry], prices: Mapping[str, Terms], moved: Rates | None = None) -> dict[str, float]:
    """Return the day P&L by symbol, only what is not zero."""
    return {symbol: float(pnl) for symbol, (pnl, _) in value(entries, prices, moved or rates())[0].items() if pnl}


def test_what_is_held_earns_the_move_of_its_price() -> None:
    assert day([held("-1000", "A", "10")], {"A": price("103", "100")}) == {"A": 30}


def test_a_purchase_earns_from_its_price_on_and_a_sale_up_to_it() -> None:
    """10 held from 100 to 103; 5 more bought at 101 earn 2 each, 4 sold at 105 earned 2 more than the 103 now."""
    entries = [held("-1000", "A", "10"), book("buy", "-505", "A", "5"), book("sell", "420", "A", "-4")]
    assert day(entries, {"A": price("103", "100")}) == {"A": 30 + 10 + 8}


def test_deposits_and_withdrawals_are_no_profit() -> None:
    assert day([held("500"), book("deposit", "1000"), book("withdrawal", "-300")], {}) == {}


def test_a_dividend_is_the_profit_of_the_share_that_paid_it_and_its_tax_the_loss() -> None:
    """The price falls by the dividend of 2: 10 x -2 + 20 - 3 withheld = -3; cash shows nothing."""
    entries = [held("-1000", "A", "10"), book("dividend", "20", "A"), book("tax", "-3", "A")]
    assert day(entries, {"A": price("98", "100")}) == {"A": -3}


def test_a_coupon_is_the_profit_of_the_bond_even_after_it_was_sold() -> None:
    """10,000 nominal at 99 percent are sold at 99.5: 50; the coupon is 200."""
    entries = [held("-9900", "B", "10000"), book("sell", "9950", "B", "-10000"), book("coupon", "200", "B")]
    assert day(entries, {"B": price("97", "99", factor="0.01")}) == {"B": 250}


def test_a_fee_for_a_trade_costs_its_instrument_and_interest_and_custody_fees_are_of_cash() -> None:
    entries = [book("fee", "-7", "A"), book("interest", "12"), book("fee", "-2"), book("tax", "-1")]
    assert day(entries, {"A": price("100", "100")}) == {"A": -7, "USD": 9}


def test_a_split_is_no_profit() -> None:
    """10 at 100 become 40 at 25.50: 40 x 25.50 - 10 x 100 = 20, what 2 percent on 1,000 are."""
    assert day([held("-900", "A", "10"), book("split", "0", "A", "30")], {"A": price("25.5", "100")}) == {"A": 20}


def test_a_reverse_split_with_cash_in_lieu_of_the_fraction_is_no_profit() -> None:
    """81 at 5 become 10.125 at 40; 0.125 are sold at 40 for 5: 10 x 40 + 5 = 81 x 5."""
    entries = [held("-400", "A", "81"), book("split", "0", "A", "-70.875"), book("sell", "5", "A", "-0.125")]
    assert day(entries, {"A": price("40", "5")}) == {}
    position = next(one for one in derive_positions(entries, OPENING) if one.symbol == "A")
    assert (position.quantity, position.opening_quantity, position.cost_basis) == (10, 81, Decimal("395.061728"))


def test_a_trade_before_a_split_of_the_same_day_counts_in_old_shares_and_after_it_in_new() -> None:
    """5 bought at 102 become 10 at 51 with the 10 held, 20; 4 new are sold at 53: (52-50) x 20 + (52-51) x 10 + 4."""
    entries = [
        held("-1000", "A", "10"),
        book("buy", "-510", "A", "5"),
        book("split", "0", "A", "15"),
        book("sell", "212", "A", "-4"),
    ]
    assert day(entries, {"A": price("52", "100")}) == {"A": 40 + 10 + 4}


def test_a_short_position_earns_the_fall_while_it_is_opened_increased_and_closed() -> None:
    """Short 10 from 100; 5 more sold at 98, 3 bought back at 96, the price now 97: 30 + 5 + 3 x 1."""
    entries = [held("1000", "A", "-10"), book("sell", "490", "A", "-5"), book("buy", "-288", "A", "3")]
    assert day(entries, {"A": price("97", "100")}) == {"A": 30 + 5 + 3}


def test_a_position_that_crosses_zero_earns_on_both_sides() -> None:
    """10 held from 100 and 15 sold at 104: +40; the 5 short from 104 to 101: +15. Then closed at 102: -5 x 1 less."""
    crossed = [held("-1000", "A", "10"), book("sell", "1560", "A", "-15")]
    assert day(crossed, {"A": price("101", "100")}) == {"A": 55}
    closed = [*crossed, book("buy", "-510", "A", "5")]
    assert day(closed, {"A": price("101", "100")}) == {"A": 50}
    assert next(one for one in derive_positions(closed, OPENING) if one.symbol == "A").realised_today == 50


def test_short_shares_that_split_stay_short_at_the_same_value() -> None:
    entries = [held("1000", "A", "-10"), book("split", "0", "A", "-10")]
    assert day(entries, {"A": price("49", "100")}) == {"A": 20}


def test_who_is_short_pays_the_dividend() -> None:
    assert day([held("1000", "A", "-10"), book("dividend", "-20", "A")], {"A": price("98", "100")}) == {}


def test_a_currency_that_was_exchanged_today_gains_when_its_rate_moves_after_it() -> None:
    """100 euros bought at 1.10, now 1.12: 2 dollars, though the rate was 1.05 at the prior close."""
    entries = [
        held("500"),
        book("fx_out", "-110"),
        book("fx_in", "100", currency="EUR", rate="1.10"),
    ]
    assert day(entries, {}, rates(EUR=("1.12", "1.05"))) == {"EUR": 2}


def test_what_an_exchange_costs_over_the_middle_rate_is_a_loss_of_the_day() -> None:
    """100 euros are dealt at 1.11 with the middle at 1.10."""
    entries = [held("500"), book("fx_out", "-111"), book("fx_in", "100", currency="EUR", rate="1.11")]
    assert day(entries, {}, rates(EUR=("1.10", "1.10"))) == {"EUR": -1}


def test_a_foreign_share_gains_by_its_price_and_by_the_rate_which_add_up() -> None:
    """10 x 103 x 1.12 - 10 x 100 x 1.10 = 53.60: 30 x 1.10 = 33 by the price, 1030 x 0.02 = 20.60 by the rate."""
    entries = [held("-1000", "A", "10", "EUR")]
    pnl, price_effect = value(entries, {"A": price("103", "100", "EUR")}, rates(EUR=("1.12", "1.10")))[0]["A"]
    assert (pnl, price_effect) == (Decimal("53.60"), Decimal("33.00"))


def test_a_foreign_share_bought_today_gains_from_its_own_price_and_rate_on() -> None:
    """10 at 100 and 1.11, now 102 and 1.12: 1020 x 1.12 - 1000 x 1.11 = 32.40; the euros paid lose 1000 x 0.01."""
    entries = [held("1000", currency="EUR"), book("buy", "-1000", "A", "10", "EUR", "1.11")]
    found = day(entries, {"A": price("102", "99", "EUR")}, rates(EUR=("1.12", "1.10")))
    assert found == {"A": 32.40, "EUR": 10.0}  # the euros were worth 1.10 at the close and left at 1.11


PRICES = st.decimals("0.01", "999", places=2)
RATES = st.decimals("0.50", "2.00", places=2)
SHARES = {"A": "USD", "B": "EUR", "C": "CHF", "D": "EUR"}
CURRENCIES = st.sampled_from(["USD", "EUR", "CHF"])
AMOUNTS = st.decimals("0.01", "99999", places=2)
NEGATIVE = frozenset({"withdrawal", "fee", "tax"})


@st.composite
def sequences(draw: st.DrawFn, base: str) -> list[Entry]:
    """Draw bookings of all types in order of time, in several currencies whose rates move from one to the next."""
    entries: list[Entry] = []
    quantities = dict.fromkeys(SHARES, Decimal(0))
    days = sorted(draw(st.lists(st.sampled_from([YESTERDAY, TODAY]), max_size=25)))
    for at in days:
        kind = draw(st.sampled_from(["trade", "trade", "split", "income", "flow", "charge", "exchange"]))
        symbol = draw(st.sampled_from(sorted(SHARES)))
        currency = SHARES[symbol] if kind in ("trade", "split", "income") else draw(CURRENCIES)
        rate = Decimal(1) if currency == base else draw(RATES)
        if kind == "trade":
            quantity = Decimal(draw(st.integers(-50, 50).filter(bool)))
            amount = -quantity * draw(PRICES)
            quantities[symbol] += quantity
            name = "buy" if quantity > 0 else "sell"
            entries.append(Entry(name, amount, symbol, quantity, currency, rate, at))
        elif kind == "split" and quantities[symbol]:
            change = quantities[symbol] * draw(st.sampled_from([Decimal(3), Decimal("0.5"), Decimal("-0.75")]))
            quantities[symbol] += change
            entries.append(Entry("split", Decimal(0), symbol, change, currency, rate, at))
        elif kind in ("income", "charge", "flow"):
            names = {"income": ["dividend", "coupon", "tax", "fee"], "charge": ["interest", "fee", "tax"]}
            name = draw(st.sampled_from(names.get(kind, ["deposit", "withdrawal"])))
            amount = draw(AMOUNTS) * (-1 if name in NEGATIVE else 1)
            entries.append(Entry(name, amount, symbol if kind == "income" else None, None, currency, rate, at))
        elif kind == "exchange":
            entries += _exchange(draw, base, currency, rate, at)
    return entries


def _exchange(draw: st.DrawFn, base: str, sold: str, rate: Decimal, at: datetime) -> list[Entry]:
    """Draw both bookings of an exchange, worth exactly the same: so much of each as the other's rate says."""
    bought = draw(CURRENCIES.filter(lambda one: one != sold))
    other = Decimal(1) if bought == base else draw(RATES)
    size = draw(AMOUNTS)
    out = Entry("fx_out", -size * other, None, None, sold, rate, at)
    return [out, Entry("fx_in", size * rate, None, None, bought, other, at)]


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[str, list[Entry], dict[str, Terms], Rates]:
    base = draw(CURRENCIES)
    prices = {
        symbol: price(str(draw(PRICES)), str(draw(PRICES)), currency, "0.01" if symbol == "D" else "1")
        for symbol, currency in SHARES.items()
    }
    moved = rates(EUR=(str(draw(RATES)), str(draw(RATES))), CHF=(str(draw(RATES)), str(draw(RATES))))
    return base, draw(sequences(base)), prices, moved


def equity(
    entries: Sequence[Entry], prices: Mapping[str, Decimal], dollars: Mapping[str, Decimal], base: str
) -> Decimal:
    """Return what all bookings up to now leave, at these prices: worked out from the bookings alone."""
    total = Decimal(0)
    for entry in entries:
        rate = dollars[entry.currency] / dollars[base]
        total += entry.amount * rate
        if entry.symbol is not None and entry.quantity is not None:
            total += entry.quantity * prices[entry.symbol] * rate
    return total


@given(scenarios())
def test_the_day_is_what_equity_changed_by_less_what_flowed_in(
    scenario: tuple[str, list[Entry], dict[str, Terms], Rates],
) -> None:
    base, entries, prices, moved = scenario
    with localcontext() as context:
        context.prec = PRECISION
        now = equity(entries, {s: t.price * t.factor for s, t in prices.items()}, moved.now, base)
        before = [entry for entry in entries if entry.booked_at < OPENING]
        close = equity(before, {s: t.prior_close * t.factor for s, t in prices.items()}, moved.close, base)
        today = [entry for entry in entries if entry.booked_at >= OPENING]
        flows = sum(e.amount * e.rate_to_base for e in today if e.type in ("deposit", "withdrawal"))
        amounts, exact = value(entries, prices, moved, base)
        profit = sum((row.value - row.opening - row.traded for row in exact.values()), Decimal(0))
        assert abs(profit - (now - close - flows)) < Decimal("1e-20")
        assert abs(sum(pnl for pnl, _ in amounts.values()) - profit) <= Decimal("0.015") * max(1, len(amounts))
