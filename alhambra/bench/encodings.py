"""Measure how quote batches could be encoded: the table behind docs/decisions/0004-quote-batches.md.

`python -m alhambra.bench.encodings` prints it for this machine. Every encoding is decoded to what the
stream needs (NumPy columns, in the types of `QuoteBatch`), so that none wins by leaving work undone.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from stream.messages import QuoteBatch, decode_quotes, encode_quotes

SIZES = (100, 1_000)
ROUNDS = 5
ROUND_S = 0.1
DTYPE = np.dtype(
    [("instrument", "<u4"), ("bid", "<f8"), ("ask", "<f8"), ("last", "<f8"), ("volume", "<f8"), ("event_ns", "<i8")]
)
COLUMNS = tuple(DTYPE.names or ())
SCHEMA = pa.schema([(name, pa.from_numpy_dtype(DTYPE[name])) for name in COLUMNS])


@dataclass(frozen=True, slots=True)
class Encoding:
    """Name a way to write a batch and to read it back."""

    name: str
    encode: Callable[[QuoteBatch], bytes]
    decode: Callable[[bytes], QuoteBatch]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Hold ticks a second of one core (median of five rounds of CPU time, as others may work) and bytes a tick."""

    name: str
    size: int
    encoded_per_s: float
    decoded_per_s: float
    bytes_per_tick: float


class JsonColumns(msgspec.Struct):
    """Hold a batch as JSON writes it: lists of numbers, null where absent."""

    source: str
    received_ns: int
    instrument: list[int]
    bid: list[float | None]
    ask: list[float | None]
    last: list[float | None]
    volume: list[float | None]
    event_ns: list[int]


class JsonTick(msgspec.Struct):
    """Hold one tick as JSON writes it, in a list of its own kind."""

    instrument: int
    bid: float | None
    ask: float | None
    last: float | None
    volume: float | None
    event_ns: int


_json_encoder = msgspec.json.Encoder()
_columns_decoder = msgspec.json.Decoder(JsonColumns)
_ticks_decoder = msgspec.json.Decoder(list[JsonTick])


def encodings() -> tuple[Encoding, ...]:
    """Return what is compared, the simplest first."""
    return (
        Encoding("JSON rows (msgspec)", _encode_rows, _decode_rows),
        Encoding("JSON columns (orjson)", _encode_orjson, _decode_orjson),
        Encoding("JSON columns (msgspec)", _encode_msgspec, _decode_msgspec),
        Encoding("Arrow IPC stream", _encode_arrow, _decode_arrow),
        Encoding("Arrow IPC, schema apart", _encode_arrow_bare, _decode_arrow_bare),
        Encoding("NumPy structured rows", _encode_structured, _decode_structured),
        Encoding("packed columns in msgpack (ours)", encode_quotes, decode_quotes),
    )


def create_batch(size: int) -> QuoteBatch:
    """Make a batch as the simulated feed does: two-sided quotes, one in twenty with a last price only."""
    random = np.random.default_rng(1)
    bid = np.round(random.uniform(10, 400, size), 2)
    bid[random.random(size) < 0.05] = np.nan
    instrument = random.integers(1, 5_000, size).astype(np.uint32)
    now = 1_790_000_000_000_000_000
    volume = random.integers(1, 500, size).astype(np.float64)
    return QuoteBatch(
        "simulated", now, instrument, bid, bid + 0.02, np.round(bid + 0.01, 2), volume, now + np.arange(size) * 10_000
    )


def measure(encoding: Encoding, batch: QuoteBatch) -> Measurement:
    """Measure one encoding on one batch."""
    record = encoding.encode(batch)
    return Measurement(
        encoding.name,
        len(batch),
        _rate(lambda: encoding.encode(batch)) * len(batch),
        _rate(lambda: encoding.decode(record)) * len(batch),
        len(record) / len(batch),
    )


def write_table(measurements: Sequence[Measurement]) -> str:
    """Return a Markdown table of measurements."""
    lines = [
        "| encoding | quotes a record | decoded, M ticks/s | encoded, M ticks/s | bytes a tick |",
        "|---|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one.name} | {one.size:,} | {one.decoded_per_s / 1e6:.2f} | {one.encoded_per_s / 1e6:.2f} "
        f"| {one.bytes_per_tick:.1f} |"
        for one in measurements
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every encoding at every size and print the table."""
    found = [measure(encoding, create_batch(size)) for size in SIZES for encoding in encodings()]
    sys.stdout.write(write_table(found))


def _rate(act: Callable[[], Any]) -> float:
    """Return how often a second `act` runs: the median of the rounds."""
    act()
    rates = []
    for _ in range(ROUNDS):
        count, start = 0, time.thread_time()
        while (elapsed := time.thread_time() - start) < ROUND_S:
            act()
            count += 1
        rates.append(count / elapsed)
    return statistics.median(rates)


def _encode_rows(batch: QuoteBatch) -> bytes:
    columns = (getattr(batch, name).tolist() for name in COLUMNS)
    return _json_encoder.encode([JsonTick(*row) for row in zip(*columns, strict=True)])


def _decode_rows(record: bytes) -> QuoteBatch:
    ticks = _ticks_decoder.decode(record)
    columns = [np.array([getattr(tick, name) for tick in ticks], DTYPE[name]) for name in COLUMNS]
    return QuoteBatch("", 0, *columns)


def _lists(batch: QuoteBatch) -> JsonColumns:
    columns = (getattr(batch, name).tolist() for name in COLUMNS)
    return JsonColumns(batch.source, batch.received_ns, *columns)


def _arrays(columns: JsonColumns) -> QuoteBatch:
    arrays = [np.array(getattr(columns, name), DTYPE[name]) for name in COLUMNS]
    return QuoteBatch(columns.source, columns.received_ns, *arrays)


def _encode_orjson(batch: QuoteBatch) -> bytes:
    fields = {name: np.ascontiguousarray(getattr(batch, name)) for name in COLUMNS}
    return orjson.dumps(
        {"source": batch.source, "received_ns": batch.received_ns, **fields}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def _decode_orjson(record: bytes) -> QuoteBatch:
    return _arrays(JsonColumns(**orjson.loads(record)))


def _encode_msgspec(batch: QuoteBatch) -> bytes:
    return _json_encoder.encode(_lists(batch))


def _decode_msgspec(record: bytes) -> QuoteBatch:
    return _arrays(_columns_decoder.decode(record))


def _record_batch(batch: QuoteBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(getattr(batch, name)) for name in COLUMNS], schema=SCHEMA)


def _from_record_batch(source: str, received_ns: int, rows: pa.RecordBatch) -> QuoteBatch:
    return QuoteBatch(source, received_ns, *(column.to_numpy(zero_copy_only=True) for column in rows.columns))


def _encode_arrow(batch: QuoteBatch) -> bytes:
    schema = SCHEMA.with_metadata({"source": batch.source, "received_ns": str(batch.received_ns)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(_record_batch(batch).replace_schema_metadata(schema.metadata))
    return bytes(sink.getvalue())


def _decode_arrow(record: bytes) -> QuoteBatch:
    reader = pa.ipc.open_stream(record)
    metadata = reader.schema.metadata
    return _from_record_batch(metadata[b"source"].decode(), int(metadata[b"received_ns"]), reader.read_next_batch())


def _encode_arrow_bare(batch: QuoteBatch) -> bytes:
    return bytes(_record_batch(batch).serialize())


def _decode_arrow_bare(record: bytes) -> QuoteBatch:
    return _from_record_batch("", 0, pa.ipc.read_record_batch(pa.py_buffer(record), SCHEMA))


def _encode_structured(batch: QuoteBatch) -> bytes:
    rows = np.empty(len(batch), DTYPE)
    for name in COLUMNS:
        rows[name] = getattr(batch, name)
    return rows.tobytes()


def _decode_structured(record: bytes) -> QuoteBatch:
    rows = np.frombuffer(record, DTYPE)
    return QuoteBatch("", 0, *(np.ascontiguousarray(rows[name]) for name in COLUMNS))


if __name__ == "__main__":
    main()
