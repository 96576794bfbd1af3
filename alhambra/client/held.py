"""Hold what a client knows of a stream: a state that is whole, that adds up, and that nobody can change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from alhambra.client.errors import Inconsistent
from alhambra.client.messages import NOTHING_YET, Delta, Position, Snapshot
from alhambra.client.wanted import Wanted

Fields = Mapping[str, Any]
Rows = Mapping[str, Fields]

KEYS = {"portfolio": "symbol", "demo": "symbol", "client": "symbol", "floor": "portfolio_id"}
# Of each kind: the sum of which field of the rows is which field of the totals.
SUMS = {
    "portfolio": (("value", "total_equity"), ("day_pnl", "day_pnl")),
    "client": (("value", "total_equity"), ("day_pnl", "day_pnl")),
    "demo": (("value", "total_equity"), ("day_pnl", "day_pnl")),
    "floor": (("equity_reference", "total_equity"), ("day_pnl_reference", "day_pnl")),
}
HALF_OF_THE_SMALLEST_UNIT = 0.0005  # a thousandth: dinars have three digits
EPSILON = 2.0**-52  # the rounding of each term to a binary number

_NOTHING: Fields = MappingProxyType({})
_NO_ROWS: Rows = MappingProxyType({})


class Held:
    """Hold the state of one stream. A message that does not fit raises `Inconsistent` and changes nothing.

    Mappings are never changed in place but replaced, so what was handed out stays as it was.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.position = NOTHING_YET
        self.event_ns = 0
        self.sent_ns = 0
        self.totals = _NOTHING
        self.rows = _NO_ROWS
        self._wanted = wanted
        self._key = KEYS.get(wanted.kind, "")

    @property
    def is_empty(self) -> bool:
        """Say whether nothing has come yet."""
        return self.position == NOTHING_YET

    def follows(self, delta: Delta) -> bool:
        """Say whether a delta continues from exactly here."""
        return not self.is_empty and self.position == Position(delta.epoch, delta.prev)

    def replace(self, snapshot: Snapshot) -> None:
        """Take a snapshot. Raises `Inconsistent`."""
        rows: dict[str, Fields] = {self._key_of(row): MappingProxyType(row) for row in snapshot.rows}
        if len(rows) != len(snapshot.rows):
            raise Inconsistent(f"{self._wanted.stream} has two rows of one key")
        self._take(snapshot, MappingProxyType(snapshot.totals), rows)

    def merge(self, delta: Delta) -> None:
        """Take a delta that `follows`. Raises `Inconsistent`."""
        if not self.follows(delta):
            raise Inconsistent(f"{self._wanted.stream} is at {self.position}, and the change begins at {delta.prev}")
        rows: dict[str, Fields] = dict(self.rows)
        for key in delta.removed:
            if rows.pop(key, None) is None:
                raise Inconsistent(f"{self._wanted.stream} lost a row that it did not have: {key}")
        for change in delta.rows:
            key = self._key_of(change)
            rows[key] = MappingProxyType(self._changed(self.rows.get(key), change))
        self._take(delta, MappingProxyType({**self.totals, **delta.totals}), rows)

    def _take(self, message: Snapshot | Delta, totals: Fields, rows: dict[str, Fields]) -> None:
        try:
            ordered = self._in_order(totals, rows)
            self._check(totals, ordered.values())
        except (KeyError, TypeError, AttributeError) as error:
            raise Inconsistent(
                f"{self._wanted.stream} came with a field missing or of another kind: {error}"
            ) from error
        self.totals, self.rows = totals, ordered
        self.position = Position(message.epoch, message.seq)
        self.event_ns, self.sent_ns = message.event_ns, message.sent_ns

    def _key_of(self, row: Fields) -> str:
        key = row.get(self._key)
        if not isinstance(key, str):
            raise Inconsistent(f"{self._wanted.stream} has a row without {self._key or 'a key'}")
        return key

    def _changed(self, row: Fields | None, change: dict[str, Any]) -> dict[str, Any]:
        if row is not None:
            return {**row, **change}
        pattern = next(iter(self.rows.values()), None)
        if pattern is not None and not pattern.keys() <= change.keys():
            raise Inconsistent(f"{self._wanted.stream} has a new row without all its fields: {self._key_of(change)}")
        return change

    def _in_order(self, totals: Fields, rows: dict[str, Fields]) -> Rows:
        order = totals.get("view_order") if self._wanted.view is not None else None
        if order is None:
            return MappingProxyType(rows)
        if len(order) != len(rows) or not rows.keys() >= set(order):
            raise Inconsistent(f"{self._wanted.stream} has a window of {len(order)} rows and sent {len(rows)}")
        return MappingProxyType({key: rows[key] for key in order})

    def _check(self, totals: Fields, rows: Iterable[Fields]) -> None:
        """Check that totals are the sums of the rows, where both are whole and wanted."""
        if self._wanted.view is not None:  # rows are a window, totals those of the whole floor
            return
        rows = tuple(rows)
        for field, total in SUMS.get(self._wanted.kind, ()):
            if self._takes(field, total):
                _check_sum(self._wanted.stream, total, totals[total], [row[field] for row in rows])
        for dimension, parts in totals.get("allocation", _NOTHING).items():
            if "total_equity" in totals:
                _check_sum(self._wanted.stream, f"allocation by {dimension}", totals["total_equity"], parts.values())

    def _takes(self, row_field: str, total: str) -> bool:
        fields = self._wanted.fields
        return fields is None or (
            (fields.rows is None or row_field in fields.rows) and (fields.totals is None or total in fields.totals)
        )


def _check_sum(stream: str, name: str, total: float, parts: Iterable[float]) -> None:
    values = list(parts)
    found = math.fsum(values)
    tolerance = HALF_OF_THE_SMALLEST_UNIT + EPSILON * math.fsum(map(abs, values))
    if not abs(found - total) <= tolerance:  # written so that what is not a number fails
        raise Inconsistent(f"{stream}: {name} is {total}, and its rows add up to {found}")
