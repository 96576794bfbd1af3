"""Read the times of recorded files: a pure parser from a column to nanoseconds since the epoch."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ingest.market.casting import cast_or_null

NO_TIME = np.iinfo(np.int64).min

_NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?\s?(Z|[+-]\d{2}(:?\d{2})?)?")
_ZONE = r":\d{2}(\.\d+)?(Z|[+-]\d{2}(:?\d{2})?)$"
_COMPACT = re.compile(r"\d{8} \d{6}(\d{3})?")
_NUMBER = re.compile(r"\d+(\.\d+)?")


def detect_time_format(text: str) -> str | None:
    """Return which of `mapping.TIME_FORMATS` a time is written in, or None.

    A number is in the unit that puts it between 1973 and 5138: seconds have at most 11 digits,
    milliseconds at most 14, microseconds at most 17.
    """
    if _ISO.fullmatch(text):
        return "iso"
    if _COMPACT.fullmatch(text):
        return "compact"
    if _NUMBER.fullmatch(text):
        digits = len(text.partition(".")[0])
        return "s" if digits <= 11 else "ms" if digits <= 14 else "us" if digits <= 17 else "ns"
    return None


def find_time_format(column: pa.Array) -> str | None:
    """Return the format of the first time of a column that has one; None where no row is readable."""
    if pa.types.is_timestamp(column.type):
        return "iso"
    for value in column.drop_null():
        found = detect_time_format(_text(value.as_py()))
        if found:
            return found
    return None


def parse_times(column: pa.Array, time_format: str, utc_offset_minutes: int = 0) -> npt.NDArray[np.int64]:
    """Return nanoseconds since the epoch, `NO_TIME` where a time is absent or unreadable.

    `utc_offset_minutes` is the offset of times that name no zone. A fraction of an epoch second keeps
    about a quarter of a microsecond.
    """
    shift = utc_offset_minutes * 60 * 10**9
    if pa.types.is_timestamp(column.type):
        times = _nanoseconds(column.cast(pa.timestamp("ns", column.type.tz)))
        return times if column.type.tz else _shifted(times, shift)
    if time_format in _NS_PER:
        return _parse_epochs(column, _NS_PER[time_format])
    text = pc.utf8_trim_whitespace(cast_or_null(column, pa.string()))
    return _parse_compact(text, shift) if time_format == "compact" else _parse_iso(text, shift)


def _parse_iso(text: pa.Array, shift: int) -> npt.NDArray[np.int64]:
    zoned = pc.match_substring_regex(text, _ZONE)
    nothing = pa.scalar(None, pa.string())
    with_zone = cast_or_null(pc.if_else(zoned, text, nothing), pa.timestamp("ns", "UTC"))
    without = cast_or_null(pc.if_else(zoned, nothing, text), pa.timestamp("ns"))
    local = _shifted(_nanoseconds(without), shift)
    return np.where(local == NO_TIME, _nanoseconds(with_zone), local)


def _parse_compact(text: pa.Array, shift: int) -> npt.NDArray[np.int64]:
    """Read `YYYYMMDD HHMMSS` with or without milliseconds by their places."""
    fits = pc.match_substring_regex(text, rf"^{_COMPACT.pattern}$")
    known = pc.if_else(fits, text, pa.scalar(None, pa.string()))
    padded = pc.utf8_slice_codeunits(pc.binary_join_element_wise(known, "000", ""), 0, 18)
    places = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15), (15, 18))
    parts = [pc.utf8_slice_codeunits(padded, start, stop) for start, stop in places]
    date = pc.binary_join_element_wise(*parts[:3], "-")
    clock = pc.binary_join_element_wise(*parts[3:6], ":")
    iso = pc.binary_join_element_wise(pc.binary_join_element_wise(date, clock, " "), parts[6], ".")
    return _shifted(_nanoseconds(cast_or_null(iso, pa.timestamp("ns"))), shift)


def _parse_epochs(column: pa.Array, unit_ns: int) -> npt.NDArray[np.int64]:
    text = column if pa.types.is_integer(column.type) else pc.utf8_trim_whitespace(_as_text(column))
    whole = cast_or_null(text, pa.int64())
    fraction = cast_or_null(text, pa.float64())
    counts = np.asarray(pc.fill_null(whole, NO_TIME), np.int64)
    exact = (counts != NO_TIME) & (np.abs(counts.astype(np.float64)) < 2**63 / unit_ns)
    scaled = np.asarray(pc.fill_null(fraction, np.nan), np.float64) * unit_ns
    fractional = ~exact & (np.abs(scaled) < 2.0**63)  # a comparison with NaN is false
    times = np.full(len(column), NO_TIME, np.int64)
    times[fractional] = scaled[fractional].astype(np.int64)
    times[exact] = counts[exact] * unit_ns
    return times


def _as_text(column: pa.Array) -> pa.Array:
    return cast_or_null(column, pa.string())


def _nanoseconds(times: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(times.cast(pa.int64()), NO_TIME), np.int64)


def _shifted(times: npt.NDArray[np.int64], shift: int) -> npt.NDArray[np.int64]:
    return np.where(times == NO_TIME, NO_TIME, times - shift)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()
