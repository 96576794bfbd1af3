"""Keep the newest document of a stream, and since when each of its fields stands.

A document is totals (a flat object) and rows (of the same fields, by key). Because every field
carries the seq at which it last changed, the delta from any position that a client can hold is exact,
however many documents were conflated in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from api.live.message import Message
from stream.stages import Stage

POSITIONS_KEPT = 4096
NEVER = -1  # before every seq

Fields = Mapping[str, Any]
Values = tuple[Any, ...]
Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """Hold the full content of a stream at (epoch, seq): rows are values in the order of `columns`, by key.

    Rows carry their key as one of their values. All documents of a process have the same fields in totals and the
    same columns.
    """

    epoch: int
    seq: int
    event_ns: int
    totals: Fields
    columns: Sequence[str]
    rows: Mapping[str, Values]


@dataclass(slots=True)
class _Row:
    """Hold a row, since when each field stands, and what its newest change changed.

    Whoever has seen the change before the newest one lacks just `latest`, and that is nearly everybody.
    """

    values: Values
    changed: dict[str, int]
    born: int
    newest: int
    before: int
    latest: dict[str, Any]

    def since(self, prev: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return what changed after `prev`, which is before the newest change."""
        if prev >= self.before:
            return self.latest
        return {name: value for name, value in zip(columns, self.values, strict=True) if self.changed[name] > prev}


class StreamState:
    """Hold a stream's newest document and answer what a client at a position lacks."""

    def __init__(self, stream: str, key: str) -> None:
        self.stream = stream
        self._key = key
        self._document: Document | None = None
        self._totals_changed: dict[str, int] = {}
        self._rows: dict[str, _Row] = {}
        # of keys that are gone: from which seq to which they were there, so that only who holds one is told
        self._gone: dict[str, list[tuple[int, int]]] = {}
        # every seq that a client can stand at, oldest first; a dictionary because it keeps the order
        self._positions: dict[int, None] = {}
        self._encoded: dict[int | None, Message] = {}
        self._sent = Stage("sent")

    @property
    def position(self) -> Position:
        """Return (epoch, seq) of the newest document, (0, 0) where there is none yet."""
        return (0, 0) if self._document is None else (self._document.epoch, self._document.seq)

    def keys(self) -> Set[str]:
        """Return the keys of the newest document's rows."""
        return self._rows.keys()

    def apply(self, document: Document) -> bool:
        """Take a newer document; returns False, and changes nothing, where it is not newer by (epoch, seq)."""
        if self._document is not None and (document.epoch, document.seq) <= self.position:
            return False
        if self._document is None or document.epoch != self._document.epoch:
            self._totals_changed, self._rows, self._gone, self._positions = {}, {}, {}, {}
        self._mark_totals(document)
        self._mark_rows(document)
        self._document = document
        self._positions[document.seq] = None
        if len(self._positions) > POSITIONS_KEPT:
            del self._positions[next(iter(self._positions))]
        self._encoded = {}
        return True

    def can_continue(self, position: Position | None) -> bool:
        """Say whether a client at this position can go on with a delta."""
        return position is not None and position[0] == self.position[0] and position[1] in self._positions

    def message_after(self, position: Position | None, sent_ns: int) -> Message | None:
        """Return what a client at (epoch, seq) lacks: a delta, or a snapshot where it cannot continue, or None.

        `sent_ns` stands in the message when it is encoded by this call; clients at one position share a message.
        """
        if self._document is None or position == self.position:
            return None
        prev = position[1] if position is not None and self.can_continue(position) else None
        if prev not in self._encoded:
            if prev is not None:  # a snapshot may be of any age
                self._sent.passed(self._document.event_ns)
            self._encoded[prev] = self.snapshot(sent_ns) if prev is None else self.delta_since(prev, sent_ns)
        return self._encoded[prev]

    def snapshot(self, sent_ns: int) -> Message:
        """Encode the whole document; raises `LookupError` where there is none yet."""
        document = self._newest()
        columns = document.columns
        rows = [dict(zip(columns, row, strict=True)) for row in document.rows.values()]
        return Message("snapshot", {**self._head(document, sent_ns), "totals": document.totals, "rows": rows})

    def delta_since(self, prev: int, sent_ns: int) -> Message:
        """Encode what changed since `prev`; raises `LookupError` where `prev` is no position of this epoch."""
        document = self._newest()
        if prev not in self._positions:
            raise LookupError(f"{prev} is no position of {self.stream}")
        changed = self._totals_changed
        content = {
            **self._head(document, sent_ns),
            "prev": prev,
            "totals": {name: value for name, value in document.totals.items() if changed[name] > prev},
            "rows": [
                {self._key: key, **row.since(prev, document.columns)}
                for key, row in self._rows.items()
                if row.newest > prev
            ],
            "removed": [key for key in self._gone if key not in self._rows and self._was_there(key, prev)],
        }
        return Message("delta", content)

    def _newest(self) -> Document:
        if self._document is None:
            raise LookupError(f"{self.stream} has no document yet")
        return self._document

    def _head(self, document: Document, sent_ns: int) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "epoch": document.epoch,
            "seq": document.seq,
            "event_ns": document.event_ns,
            "sent_ns": sent_ns,
        }

    def _was_there(self, key: str, seq: int) -> bool:
        return any(born <= seq < gone for born, gone in self._gone[key])

    def _mark_totals(self, document: Document) -> None:
        old = {} if self._document is None else self._document.totals
        for name, value in document.totals.items():
            if name not in self._totals_changed or old[name] != value:
                self._totals_changed[name] = document.seq

    def _mark_rows(self, document: Document) -> None:
        for key in self._rows.keys() - document.rows.keys():
            gone = self._rows.pop(key)
            self._gone.setdefault(key, []).append((gone.born, document.seq))
        for key, values in document.rows.items():
            row = self._rows.get(key)
            if row is None:
                fields = dict(zip(document.columns, values, strict=True))
                since = dict.fromkeys(fields, document.seq)
                self._rows[key] = _Row(values, since, document.seq, document.seq, NEVER, fields)
            elif row.values != values:
                self._mark_row(row, document, values)

    @staticmethod
    def _mark_row(row: _Row, document: Document, values: Values) -> None:
        fields = zip(document.columns, values, row.values, strict=True)
        row.latest = {name: value for name, value, held in fields if value != held}
        row.changed.update(dict.fromkeys(row.latest, document.seq))
        row.values, row.before, row.newest = values, row.newest, document.seq
