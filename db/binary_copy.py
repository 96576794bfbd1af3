"""Lay rows out as PostgreSQL's binary COPY takes them, as one numpy array: no Python object a row, no conversion.

The format is documented at COPY: a header, then each row as a count of fields and each field as its length and its
bytes, big-endian. Where all fields have a fixed width, that is a structured array.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]

BIGINT, REAL, UUID_BYTES = ">i8", ">f4", "V16"
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class CopyLayout:
    """Describe fixed-width columns, name → numpy type in PostgreSQL's byte order, none of them ever null."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = tuple(columns)
        fields = [part for name, kind in columns.items() for part in ((f"{name} length", ">i4"), (name, kind))]
        self.kind = np.dtype([("fields", ">i2"), *fields])

    def rows(self, count: int) -> Rows:
        """Return rows whose columns are yet to be filled in, by name."""
        found = np.empty(count, self.kind)
        found["fields"] = len(self.columns)
        for name in self.columns:
            found[f"{name} length"] = self.kind[name].itemsize
        return found

    async def copy(self, connection: asyncpg.Connection, table: str, rows: Rows) -> None:
        """Append rows to a table; raises what asyncpg raises, and then nothing is appended."""
        data = b"".join((_HEADER, rows.tobytes(), _TRAILER))
        # a memoryview, because asyncpg takes bytes for the path of a file
        await connection.copy_to_table(table, source=memoryview(data), columns=self.columns, format="binary")


def timestamp(at: datetime) -> int:
    """Return a timestamptz as the wire has it: microseconds since the beginning of 2000."""
    return (at - _POSTGRES_EPOCH) // timedelta(microseconds=1)
