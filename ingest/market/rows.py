"""Parse rows of a recorded file into quotes: pure, column by column, with a reason for every row refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.market.casting import cast_or_null
from ingest.market.mapping import ANY_SYMBOL
from ingest.market.recording import RawRows
from ingest.market.times import NO_TIME, parse_times
from ingest.market.validation import REASONS as PRICE_REASONS
from ingest.market.validation import judge_prices

REASONS = (*PRICE_REASONS, "unreadable_price", "unreadable_time", "unknown_symbol")
UNREADABLE_PRICE, UNREADABLE_TIME, UNKNOWN_SYMBOL = range(len(PRICE_REASONS), len(REASONS))
MALFORMED = "unreadable_row"
SAMPLE_ROWS = 5

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RefusedRows:
    """Say how many rows were refused for one reason, with the number of the first and a sample for people."""

    reason: str
    count: int
    first_row: int
    sample: bytes


@dataclass(frozen=True, slots=True)
class ParsedRows:
    """Hold the quotes of the rows that are good, in the file's order, in columns like those of `QuoteBatch`."""

    instrument: npt.NDArray[np.uint32]
    bid: Floats
    ask: Floats
    last: Floats
    volume: Floats
    event_ns: npt.NDArray[np.int64]
    refused: tuple[RefusedRows, ...]

    def __len__(self) -> int:
        return len(self.instrument)


def parse_rows(
    raw: RawRows, instruments: Mapping[str, int], time_format: str, utc_offset_minutes: int = 0
) -> ParsedRows:
    """Turn rows into quotes; `instruments` maps a symbol of the file (`*`: any) to its id.

    A bid or ask of zero is an absent side. An unreadable or negative volume is absent: it moves no
    valuation, so the price is kept. Of several faults of a row, the first of time, symbol, price counts.
    """
    size = len(raw)
    event_ns = parse_times(raw.columns["time"], time_format, utc_offset_minutes)
    instrument = _parse_symbols(raw.columns.get("symbol"), instruments, size)
    bid, bad_bid = _parse_prices(raw.columns.get("bid"), size, zero_is_absent=True)
    ask, bad_ask = _parse_prices(raw.columns.get("ask"), size, zero_is_absent=True)
    last, bad_last = _parse_prices(raw.columns.get("last"), size, zero_is_absent=False)
    volume, _ = _parse_prices(raw.columns.get("volume"), size, zero_is_absent=False)
    volume[~((volume >= 0) & np.isfinite(volume))] = np.nan

    codes = judge_prices(bid, ask, last)
    codes[bad_bid | bad_ask | bad_last] = UNREADABLE_PRICE
    codes[instrument < 0] = UNKNOWN_SYMBOL
    codes[event_ns == NO_TIME] = UNREADABLE_TIME
    good = np.flatnonzero(codes == 0)
    return ParsedRows(
        instrument[good].astype(np.uint32),
        bid[good],
        ask[good],
        last[good],
        volume[good],
        event_ns[good],
        (*_refused_lines(raw), *_refused_rows(raw, codes)),
    )


def _parse_symbols(column: pa.Array | None, instruments: Mapping[str, int], size: int) -> npt.NDArray[np.int64]:
    """Return instrument ids, −1 where the symbol is not known."""
    fallback = instruments.get(ANY_SYMBOL, -1)
    if column is None:
        return np.full(size, fallback, np.int64)
    words = cast_or_null(column, pa.string()).dictionary_encode()
    ids = [instruments.get(_strip(word), fallback) for word in words.dictionary.to_pylist()]
    index = np.asarray(pc.fill_null(words.indices, len(ids)), np.int64)
    return np.array([*ids, fallback], np.int64)[index]


def _strip(word: str | None) -> str:
    return "" if word is None else word.strip()


def _parse_prices(column: pa.Array | None, size: int, *, zero_is_absent: bool) -> tuple[Floats, Flags]:
    """Return numbers with NaN where absent, and which fields hold something that is no finite number."""
    if column is None:
        return np.full(size, np.nan), np.zeros(size, bool)
    text = column
    if pa.types.is_binary(column.type) or pa.types.is_string(column.type):
        text = pc.utf8_trim_whitespace(cast_or_null(column, pa.string()))
    numbers = cast_or_null(text, pa.float64())
    values = np.array(pc.fill_null(numbers, np.nan), np.float64)
    absent = np.asarray(pc.is_null(column), bool)
    if zero_is_absent:
        values[values == 0.0] = np.nan
        return values, ~absent & np.asarray(pc.is_null(numbers, nan_is_null=True), bool)
    return values, ~absent & np.isnan(values)


def _refused_rows(raw: RawRows, codes: npt.NDArray[np.uint8]) -> list[RefusedRows]:
    refused = []
    for code in np.unique(codes[codes > 0]).tolist():
        rows = np.flatnonzero(codes == code)
        sample = msgspec.json.encode([_row(raw, row) for row in rows[:SAMPLE_ROWS].tolist()])
        refused.append(RefusedRows(REASONS[code], len(rows), raw.first + int(rows[0]), sample))
    return refused


def _refused_lines(raw: RawRows) -> list[RefusedRows]:
    if not raw.malformed:
        return []
    sample = msgspec.json.encode(list(raw.malformed[:SAMPLE_ROWS]))
    return [RefusedRows(MALFORMED, len(raw.malformed), raw.first, sample)]


def _row(raw: RawRows, row: int) -> dict[str, str | None]:
    """Write a row for people: the mapped fields by role, the row's number first."""
    fields: dict[str, str | None] = {"row": str(raw.first + row)}
    for role, column in raw.columns.items():
        value = column[row].as_py()
        fields[role] = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) if value else None
    return fields
