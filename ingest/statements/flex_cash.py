"""Read cash transactions and transfers of an IBKR Flex statement. Pure."""

from __future__ import annotations

from ingest.statements.errors import RowRefused
from ingest.statements.fields import shown
from ingest.statements.flex_row import FlexRow
from ingest.statements.model import FLOW, TRANSFER, ZERO, Entry

KIND_OF_TYPE = {
    "Dividends": "dividend",
    "Payment In Lieu Of Dividends": "dividend",
    "Withholding Tax": "tax",
    "871(m) Withholding": "tax",
    "Broker Interest Paid": "interest",
    "Broker Interest Received": "interest",
    "Bond Interest Paid": "coupon",
    "Bond Interest Received": "coupon",
    "Other Fees": "fee",
    "Broker Fees": "fee",
    "Advisor Fees": "fee",
    "Commission Adjustments": "fee",
    "Deposits/Withdrawals": FLOW,
    "Deposits & Withdrawals": FLOW,
}


def parse_cash_transaction(row: FlexRow) -> Entry:
    """Return a flow, an income or a charge; a charge that is paid back is a charge with the other sign."""
    kind = KIND_OF_TYPE.get(row.text("type"))
    if kind is None:
        raise RowRefused("unknown_type", f"a cash transaction of type {shown(row.text('type'))}")
    transaction = row.identity("transactionID")
    return Entry(
        kind=kind,
        moment=row.moment(),
        place=row.place,
        currency=row.currency(),
        gross=row.required("amount"),
        instrument=row.instrument() if kind != FLOW and row.has_supported_instrument() else None,
        rate_to_base=row.rate(),
        reference=f"transaction:{transaction}" if transaction else None,
        description=row.description(),
    )


def parse_transfer(row: FlexRow) -> Entry:
    """Return cash that came from or went to another broker, or securities at the value that the statement gives."""
    transaction = row.identity("transactionID")
    reference = f"transaction:{transaction}" if transaction else None
    cash, quantity = row.number("cashTransfer"), row.number("quantity")
    if cash and row.text("assetCategory") in ("", "CASH"):
        return Entry(
            FLOW,
            row.moment(),
            row.place,
            row.currency(),
            gross=cash,
            rate_to_base=row.rate(),
            reference=reference,
            description=row.description() or "Transfer",
        )
    instrument, value = row.instrument(row.description()), row.number("positionAmount")
    if not quantity or value * quantity <= ZERO:
        raise RowRefused("missing_field", f"a transfer of {quantity:f} {instrument} without its value")
    return Entry(
        kind=TRANSFER,
        moment=row.moment(),
        place=row.place,
        currency=instrument.currency,
        gross=-value,
        instrument=instrument,
        quantity=quantity,
        price=value / quantity / instrument.price_factor,
        rate_to_base=row.rate(),
        reference=reference,
        description=f"Transfer of {instrument}",
    )
