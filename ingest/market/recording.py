"""Read a recorded file of quotes or trades in chunks, so that its size does not matter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ingest.market.errors import RecordingUnreadable
from ingest.market.source import RecordedFeed

CHUNK_BYTES = 1 << 20
CHUNK_ROWS = 16_384
_PARQUET_SUFFIXES = (".parquet", ".pq")

Batches: TypeAlias = Iterator[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class RawRows:
    """Hold rows as they stand in the file: a column of bytes (or of Parquet's own type) by role.

    `first` is the number of the first row, from 0. `malformed` are lines whose number of fields is wrong.
    """

    first: int
    columns: dict[str, pa.Array]
    malformed: tuple[str, ...]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class RecordingReader:
    """Read one file from its beginning to its end; blocking, so to be called from a thread."""

    def __init__(self, path: str, roles: dict[str, str], batches: Batches, malformed: list[str]) -> None:
        self._path = path
        self._roles = roles
        self._batches = batches
        self._malformed = malformed
        self._rows = 0

    def read(self) -> RawRows | None:
        """Return the next rows, or None at the end; raises `RecordingUnreadable` where the file is broken."""
        try:
            batch = next(self._batches, None)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise RecordingUnreadable(f"{self._path} cannot be read after row {self._rows:,}: {error}") from error
        if batch is None:
            return None
        first = self._rows
        self._rows += batch.num_rows
        malformed = tuple(self._malformed)
        self._malformed.clear()
        return RawRows(first, {role: batch.column(name) for role, name in self._roles.items()}, malformed)


def open_recording(feed: RecordedFeed) -> RecordingReader:
    """Open a CSV file (also compressed: .gz, .bz2, .zst) or a Parquet file; blocking.

    Raises `RecordingUnreadable` where there is no such file or it lacks a mapped column.
    """
    if not os.path.isfile(feed.path):
        raise RecordingUnreadable(f"there is no file {feed.path}")
    roles = dict(feed.mapping.columns)
    malformed: list[str] = []
    try:
        if feed.path.endswith(_PARQUET_SUFFIXES):
            batches = _open_parquet(feed, roles)
        else:
            roles = roles if feed.header else {role: f"f{column}" for role, column in roles.items()}
            batches = _open_csv(feed, sorted(set(roles.values())), malformed)
    except (pa.ArrowException, OSError, EOFError, KeyError) as error:
        raise RecordingUnreadable(f"{feed.path} cannot be read with this mapping: {error}") from error
    return RecordingReader(feed.path, roles, batches, malformed)


def _open_csv(feed: RecordedFeed, columns: Sequence[str], malformed: list[str]) -> Batches:
    """Read fields as bytes, unparsed, so that one unreadable field costs its row and not the file."""
    reader = pacsv.open_csv(
        pa.input_stream(feed.path, compression="detect"),
        pacsv.ReadOptions(use_threads=False, block_size=CHUNK_BYTES, autogenerate_column_names=not feed.header),
        pacsv.ParseOptions(delimiter=feed.delimiter, invalid_row_handler=_skip_into(malformed)),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.binary()),
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    return iter(reader)


def _skip_into(malformed: list[str]) -> Callable[[Any], str]:
    def skip(row: Any) -> str:
        malformed.append(f"{row.actual_columns} fields instead of {row.expected_columns}: {row.text}")
        return "skip"

    return skip


def _open_parquet(feed: RecordedFeed, roles: dict[str, str]) -> Batches:
    file = pq.ParquetFile(feed.path)
    missing = sorted(set(roles.values()) - set(file.schema_arrow.names))
    if missing:
        raise KeyError(f"no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)}")
    batches: Batches = file.iter_batches(CHUNK_ROWS, columns=sorted(set(roles.values())))
    return batches
