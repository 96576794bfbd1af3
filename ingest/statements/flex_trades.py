"""Read the trades of an IBKR Flex statement: securities, and exchanges of currencies. Pure."""

from __future__ import annotations

from decimal import Decimal

from ingest.statements.checks import require_deal, require_net
from ingest.statements.errors import RowRefused
from ingest.statements.fields import parse_currency
from ingest.statements.flex_row import FlexRow
from ingest.statements.model import EXCHANGE, TRADE, ZERO, Close, Counterpart, Entry

FOREX = "CASH"


def parse_trade(row: FlexRow) -> Entry:
    """Return a trade; a cancellation is a trade the other way, as the statement has it."""
    return _parse_exchange(row) if row.text("assetCategory") == FOREX else _parse_security(row)


def parse_close(row: FlexRow, entry: Entry) -> Close | None:
    """Return the price that a trade tells: the day's close where the row has it, else what was paid."""
    price = row.number("closePrice") or entry.price or ZERO
    if entry.instrument is None or price <= ZERO:
        return None
    return Close(entry.instrument, entry.moment.date(), price)


def trade_identity(row: FlexRow) -> str | None:
    """Return what names a trade for ever, by the best of what the statement was set up to hold."""
    trade, transaction = row.identity("tradeID"), row.identity("transactionID")
    if trade:
        return f"trade:{trade}"
    return f"transaction:{transaction}" if transaction else None


def _parse_security(row: FlexRow) -> Entry:
    instrument = row.instrument(row.description())
    quantity, price = _signed_quantity(row), row.required("tradePrice")
    gross, tax = row.required("proceeds"), row.number("taxes")
    commission, currency = row.number("ibCommission"), _commission_currency(row)
    apart = currency is not None and currency != instrument.currency
    net = row.number_or_none("netCash")
    if net is not None:
        require_net(net, gross, tax, ZERO if apart else commission)
    require_deal(quantity, price, instrument.price_factor, gross)
    return Entry(
        kind=TRADE,
        moment=row.moment(),
        place=row.place,
        currency=instrument.currency,
        gross=gross,
        commission=commission,
        tax=tax,
        commission_currency=currency if apart else None,
        instrument=instrument,
        quantity=quantity,
        price=price,
        rate_to_base=row.rate(),
        reference=trade_identity(row),
        description=_words(row, quantity, instrument.name or instrument.symbol, price),
    )


def _parse_exchange(row: FlexRow) -> Entry:
    """Read a deal such as `CHF.USD`: the quantity is in the first currency, the proceeds are in the second."""
    first, _, second = row.text("symbol").partition(".")
    currency = row.currency()
    if second != currency:
        raise RowRefused("unsupported_instrument", f"an exchange of {row.text('symbol')} in {currency}")
    bought, paid = _signed_quantity(row), row.required("proceeds")
    require_deal(bought, row.required("tradePrice"), Decimal(1), paid)
    return Entry(
        kind=EXCHANGE,
        moment=row.moment(),
        place=row.place,
        currency=currency,
        gross=paid,
        commission=row.number("ibCommission"),
        commission_currency=_commission_currency(row),
        price=row.required("tradePrice"),
        rate_to_base=row.rate(),
        counterpart=Counterpart(bought, parse_currency("symbol", first)),
        reference=trade_identity(row),
        description=_words(row, bought, first, row.required("tradePrice")),
    )


def _signed_quantity(row: FlexRow) -> Decimal:
    """Return the quantity; one that goes against the side, of a trade that is not cancelled, is refused."""
    quantity, side = row.required("quantity"), row.text("buySell")
    if quantity == ZERO:
        raise RowRefused("missing_field", "the quantity is 0")
    if (
        side in ("BUY", "SELL")
        and (side == "BUY") != (quantity > ZERO)
        and row.text("transactionType") != "TradeCancel"
    ):
        raise RowRefused("amounts_disagree", f"{side} of {quantity:f}")
    return quantity


def _commission_currency(row: FlexRow) -> str | None:
    found = row.text("ibCommissionCurrency")
    return parse_currency("ibCommissionCurrency", found) if found else None


def _words(row: FlexRow, quantity: Decimal, what: str, price: Decimal) -> str:
    done = "Bought" if quantity > ZERO else "Sold"
    if row.text("transactionType") == "TradeCancel":
        done = f"Cancelled: {done.lower()}"
    return f"{done} {abs(quantity):f} {what} at {price:f}"
