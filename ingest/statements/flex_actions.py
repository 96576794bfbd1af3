"""Read the corporate actions of an IBKR Flex statement: each is one row, or two that belong together. Pure.

    one row, quantity and no money            split, or delivery (a spin-off, rights, a delisting) by its type
    one row, quantity and money               trade: a merger for cash, a maturity, a subscription of rights
    one row, money and no quantity            dividend
    two rows, one out and one in, no money    conversion: the new instrument takes the cost of the old

What is anything else is refused as `unclear_action`, all its rows together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from ingest.statements.errors import RowRefused
from ingest.statements.flex_row import FlexRow
from ingest.statements.model import CONVERSION, DELIVERY, SPLIT, TRADE, ZERO, Counterpart, Entry

SPLIT_TYPES = frozenset({"FS", "RS", "SD"})
DELIVERY_TYPES = frozenset({"SO", "RI", "DI", "DW"})
# What the description says, for statements that were not set up to hold the type.
SPLIT_WORDS = (" SPLIT ", " STOCK DIVIDEND ")
DELIVERY_WORDS = (" SPINOFF ", " SPIN-OFF ", " RIGHTS ISSUE ", " DELISTED ")


def group_actions(rows: Iterable[FlexRow]) -> list[list[FlexRow]]:
    """Put the rows of one action together: by its number, else by moment and description without the instrument."""
    groups: dict[tuple[str, ...], list[FlexRow]] = {}
    for row in rows:
        number = row.identity("actionID")
        head = row.description().rpartition(" (")[0] or row.description()
        key = ("number", number) if number else (row.text("dateTime"), row.text("reportDate"), head)
        groups.setdefault(key, []).append(row)
    return list(groups.values())


def parse_action(rows: Sequence[FlexRow]) -> Entry:
    """Return what the rows of one action do together."""
    if len(rows) == 1:
        return _parse_single(rows[0])
    if len(rows) == 2:
        quantities = [row.number("quantity") for row in rows]
        if quantities[0] * quantities[1] < ZERO and not any(row.number("proceeds") for row in rows):
            return _parse_conversion(*sorted(rows, key=lambda row: row.number("quantity")))
    raise RowRefused("unclear_action", f"{len(rows)} rows that make no conversion: {rows[0].description()}")


def action_place(rows: Sequence[FlexRow]) -> str:
    """Say where the rows of an action stand."""
    return " and ".join(row.place for row in rows)


def _parse_single(row: FlexRow) -> Entry:
    quantity, proceeds = row.number("quantity"), row.number("proceeds")
    if quantity and proceeds:
        if quantity * proceeds > ZERO:
            raise RowRefused("amounts_disagree", f"{quantity:f} for {proceeds:f}: {row.description()}")
        return _entry(row, TRADE, quantity, gross=proceeds)
    if proceeds:
        return _entry(row, "dividend", None, gross=proceeds)
    if not quantity:
        raise RowRefused("unclear_action", f"neither quantity nor money: {row.description()}")
    return _entry(row, _kind_without_money(row), quantity)


def _kind_without_money(row: FlexRow) -> str:
    said, words = row.text("type"), f" {row.description().upper()} "
    if said in SPLIT_TYPES or (not said and any(one in words for one in SPLIT_WORDS)):
        return SPLIT
    if said in DELIVERY_TYPES or (not said and any(one in words for one in DELIVERY_WORDS)):
        return DELIVERY
    raise RowRefused("unclear_action", f"{said or 'no type'}: {row.description()}")


def _parse_conversion(out: FlexRow, into: FlexRow) -> Entry:
    old, new = out.instrument(_named(out)), into.instrument(_named(into))
    if old.currency != new.currency:
        raise RowRefused("unclear_action", f"from {old.currency} into {new.currency}: {out.description()}")
    entry = _entry(out, CONVERSION, out.number("quantity"))
    return Entry(
        kind=CONVERSION,
        moment=entry.moment,
        place=action_place((out, into)),
        currency=old.currency,
        instrument=old,
        quantity=entry.quantity,
        rate_to_base=entry.rate_to_base,
        counterpart=Counterpart(into.number("quantity"), new.currency, new),
        reference=entry.reference,
        description=entry.description,
    )


def _entry(row: FlexRow, kind: str, quantity: Decimal | None, gross: Decimal = ZERO) -> Entry:
    instrument, transaction = row.instrument(_named(row)), row.identity("transactionID")
    price = None
    if kind == TRADE and quantity:
        price = -gross / quantity / instrument.price_factor
    return Entry(
        kind=kind,
        moment=row.moment(),
        place=row.place,
        currency=instrument.currency,
        gross=gross,
        instrument=instrument,
        quantity=quantity,
        price=price,
        rate_to_base=row.rate(),
        reference=f"transaction:{transaction}" if transaction else None,
        description=row.description(),
    )


def _named(row: FlexRow) -> str:
    """Return the name of the row's instrument: between symbol and ISIN in the parentheses that end a description."""
    _, _, last = row.description().rpartition(" (")
    words = last.removesuffix(")").split(", ")
    return ", ".join(words[1:-1]) if len(words) > 2 else ""
