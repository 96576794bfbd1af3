"""Read a CSV export by a mapping into entries, row by row. Pure.

A row of a kind that the mapping does not know is refused as `unknown_type`: nothing is guessed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from zoneinfo import ZoneInfo

from ingest.statements.checks import accrued_interest, require_deal
from ingest.statements.errors import RowRefused, StatementUnreadable
from ingest.statements.fields import (
    parse_code,
    parse_currency,
    parse_isin,
    parse_moment,
    parse_number,
    plain_text,
    shown,
)
from ingest.statements.mapping import COUNTERPART, Kind, Mapping
from ingest.statements.model import (
    ONE,
    REFUSED,
    SPLIT,
    TRADE,
    ZERO,
    Close,
    Entry,
    InstrumentRef,
    Movement,
    Rejection,
    Skipped,
    Statement,
)

MAX_ROWS = 300_000
MAX_COLUMNS = 200
LONGEST_LINE = 64 << 10
PERCENT = Decimal("0.01")
ISIN_LENGTH = 12


def read_csv(content: bytes, mapping: Mapping, name: str, account: str, base_currency: str | None) -> Statement:
    """Return the statement of `account` in an export that `mapping`, known as `name`, describes.

    Raises `StatementUnreadable` where the bytes are no such export: their encoding, their columns, their size.
    """
    lines = list(io.StringIO(_text(content), newline=""))
    if any(len(line) > LONGEST_LINE for line in lines):
        raise StatementUnreadable(f"A line of the file is longer than {LONGEST_LINE >> 10} KiB.")
    rows = list(_rows(lines, mapping))
    found = _Reader(mapping, rows)
    for row in rows:
        found.take(row)
    return Statement(
        source=f"csv:{name}:{account}",
        account=account,
        base_currency=base_currency or mapping.base_currency or None,
        entries=tuple(found.entries),
        rejections=tuple(found.rejections),
        skipped=tuple(found.skipped),
        closes=tuple(
            Close(one.instrument, one.moment.date(), one.price)
            for one in found.entries
            if one.kind == TRADE and one.instrument is not None and one.price
        ),
    )


class _Row:
    """Hold the mapped cells of one line, by our names."""

    def __init__(self, place: str, cells: dict[str, str], kind: str, whole: bool) -> None:
        self.place = place
        self.cells = cells
        self.kind = kind
        self.whole = whole

    def number(self, name: str, decimal: str) -> Decimal | None:
        text = self.cells.get(name, "")
        if not text:
            return None
        return parse_number(name, text.replace(",", ".") if decimal == "," else text)


class _Reader:
    """Turn rows into entries, refusals, and rows that need no booking."""

    def __init__(self, mapping: Mapping, rows: Sequence[_Row]) -> None:
        self.entries: list[Entry] = []
        self.rejections: list[Rejection] = []
        self.skipped: list[Skipped] = []
        self._mapping = mapping
        self._zone = ZoneInfo(mapping.time_zone)
        self._moved = {self._what(row) for row in rows}

    def take(self, row: _Row) -> None:
        """Take one row."""
        try:
            entry = self._entry(row)
        except RowRefused as refused:
            self.rejections.append(Rejection(row.place, refused.reason, str(refused), self._stated(row)))
            return
        if entry is not None:
            self.entries.append(entry)

    def _entry(self, row: _Row) -> Entry | None:
        if not row.whole:
            raise RowRefused("wrong_columns", "the row has not as many cells as the header")
        kind = self._mapping.kinds.get(row.kind)
        if kind is None:
            raise RowRefused("unknown_type", f"the mapping does not know rows of kind {shown(row.kind)}")
        if kind.kind == COUNTERPART:
            self._require_counterpart(row, kind)
            return None
        gross, commission, tax = self._amounts(row)
        currency = row.cells["currency"]
        instrument = self._instrument(row, required=kind.kind in (TRADE, SPLIT, "delivery"))
        quantity, price = self._quantity(row, kind), row.number("price", self._mapping.decimal)
        if not (gross or commission or tax) and kind.kind not in (SPLIT, "delivery"):
            raise RowRefused("missing_field", "the row moves neither money nor securities")
        accrued = ZERO
        if kind.kind == TRADE and instrument is not None and quantity is not None:
            price, accrued = self._deal(kind, instrument, quantity, price, gross)
        if instrument is None and not currency:
            raise RowRefused("missing_field", "the row has no currency")
        return Entry(
            kind=kind.of_instrument if kind.of_instrument and instrument else kind.kind,
            moment=parse_moment("the date", row.cells["moment"], self._zone),
            place=row.place,
            currency=instrument.currency if instrument else parse_currency("currency", currency),
            gross=gross,
            commission=commission,
            tax=tax,
            accrued=accrued,
            instrument=instrument,
            quantity=quantity,
            price=price,
            rate_to_base=row.number("rate", self._mapping.decimal),
            reference=f"row:{reference}" if (reference := row.cells.get("reference", "")) else None,
            description=plain_text(row.cells.get("description", "") or row.cells.get("name", "")),
        )

    def _amounts(self, row: _Row) -> tuple[Decimal, Decimal, Decimal]:
        """Return gross, commission and tax as effects on cash."""
        sign = ONE if self._mapping.charges == "signed" else -ONE
        decimal = self._mapping.decimal
        amount, *charges = (row.number(name, decimal) or ZERO for name in ("amount", "commission", "tax"))
        commission, tax = (sign * charge for charge in charges)
        return (amount if self._mapping.amounts == "gross" else amount - commission - tax), commission, tax

    def _quantity(self, row: _Row, kind: Kind) -> Decimal | None:
        """Return the signed quantity of a row that moves a position, None of others."""
        if kind.kind not in (TRADE, SPLIT, "delivery"):
            return None
        quantity = row.number("quantity", self._mapping.decimal)
        if not quantity:
            raise RowRefused("missing_field", "the row has no quantity")
        if not kind.side:
            return quantity
        return abs(quantity) if kind.side == "buy" else -abs(quantity)

    def _deal(
        self, kind: Kind, instrument: InstrumentRef, quantity: Decimal, price: Decimal | None, gross: Decimal
    ) -> tuple[Decimal, Decimal]:
        """Return the price and the accrued interest of a trade, checked against what was dealt."""
        if gross * quantity > ZERO:
            raise RowRefused("amounts_disagree", f"{quantity:f} for {gross:f}: both go the same way")
        factor = instrument.price_factor
        if price is None:
            return -gross / quantity / factor, ZERO
        if instrument.asset_class in kind.accrued:
            return price, accrued_interest(quantity, price, factor, gross)
        require_deal(quantity, price, factor, gross)
        return price, ZERO

    def _instrument(self, row: _Row, required: bool) -> InstrumentRef | None:
        said = row.cells.get("isin") or row.cells.get("symbol") or ""
        if not said and not required:
            return None
        named = row.cells.get("asset_class", "")
        asset_class = self._mapping.classes.get(named) if self._mapping.columns.asset_class else "equity"
        if asset_class is None:
            if not required:  # income of what we do not value is money like any other
                return None
            raise RowRefused("unsupported_instrument", f"{named or 'no asset class'}: {row.cells.get('name') or said}")
        symbol = parse_code("symbol", row.cells.get("symbol") or said)
        isin = row.cells.get("isin") or (symbol if len(symbol) == ISIN_LENGTH and symbol.isalnum() else "")
        # rows that move securities alone name no currency: the one of the account's other rows is meant
        currency = row.cells["currency"] or self._mapping.base_currency
        currency = parse_currency("currency", currency)
        return InstrumentRef(
            symbol=f"{symbol}/{currency}" if asset_class == "crypto" and "/" not in symbol else symbol,
            currency=currency,
            asset_class=asset_class,
            name=plain_text(row.cells.get("name", "")),
            isin=parse_isin(isin),
            price_factor=PERCENT if asset_class in self._mapping.price_in_percent else ONE,
        )

    def _require_counterpart(self, row: _Row, kind: Kind) -> None:
        _, *what = self._what(row)
        if (kind.of, *what) not in self._moved:
            raise RowRefused("no_counterpart", f"there is no row {kind.of} of the same symbol and quantity")
        self.skipped.append(Skipped(row.place, COUNTERPART))

    def _what(self, row: _Row) -> tuple[str, str, str]:
        quantity = row.cells.get("quantity", "").lstrip("+-")
        return row.kind, row.cells.get("symbol") or row.cells.get("isin") or "", quantity

    def _stated(self, row: _Row) -> tuple[Movement, ...]:
        """Return what a refused row would have done to cash, as far as it can be read."""
        try:
            total = sum(self._amounts(row), ZERO)
            return (Movement(parse_currency("currency", row.cells["currency"]), REFUSED, total),) if total else ()
        except RowRefused:
            return ()


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StatementUnreadable(
            f"The file is not UTF-8 text (byte {error.start:,}): export it as CSV in UTF-8."
        ) from error
    if "\0" in text:
        raise StatementUnreadable("The file holds zero bytes, which no text does.")
    return text


def _rows(lines: list[str], mapping: Mapping) -> Iterator[_Row]:
    """Yield the rows under the first header that holds the mapping's columns."""
    delimiter, header = _header(lines, mapping)
    place = {name: index for index, name in enumerate(header)}
    columns = mapping.columns
    ours = {one: place[named] for one in columns.__struct_fields__[1:] if (named := getattr(columns, one))}
    kinds = [place[one] for one in columns.kind]
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        next(reader)
        for count, cells in enumerate(reader, 1):
            if count > MAX_ROWS:
                raise StatementUnreadable(f"The file has more than {MAX_ROWS:,} rows: export a shorter period.")
            if not cells:
                continue
            whole = len(cells) == len(header)
            cells = [one.strip() for one in cells] + [""] * (len(header) - len(cells))
            _refuse_formulas(reader.line_num, {one: cells[index] for one, index in ours.items()})
            kind = "/".join(cells[index] for index in kinds)
            yield _Row(f"line {reader.line_num}", {one: cells[index] for one, index in ours.items()}, kind, whole)
    except csv.Error as error:
        raise StatementUnreadable(f"Line {reader.line_num} of the file is no CSV: {error}.") from error


def _header(lines: list[str], mapping: Mapping) -> tuple[str, list[str]]:
    wanted = mapping.columns.names()
    missing = wanted
    for delimiter in mapping.delimiters:
        try:
            header = [one.strip() for one in next(csv.reader(lines[:1], delimiter=delimiter, strict=True), [])]
        except csv.Error:  # of another delimiter, then
            continue
        if len(header) > MAX_COLUMNS:
            raise StatementUnreadable(f"The file has more than {MAX_COLUMNS} columns.")
        lacking = [one for one in wanted if one not in header]
        if not lacking:
            return delimiter, header
        missing = min(missing, lacking, key=len)
    raise StatementUnreadable(f"The file is no {mapping.title}: it has no column {shown(missing[0])}.")


def _refuse_formulas(line: int, cells: dict[str, str]) -> None:
    for name, cell in cells.items():
        if cell.startswith("="):
            raise StatementUnreadable(f"Line {line} holds a formula as its {name}: export plain values.")
