"""Keep the newest document of a stream, and since when each of its fields stands.

A document is totals (a flat object) and rows (objects of the same fields, by key). Because every field
carries the seq at which it last changed, the delta from any position that a client can hold is exact,
however many documents were conflated in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from api.live.message import Message

POSITIONS_KEPT = 4096

Fields = Mapping[str, Any]
Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """Hold the full content of a stream at (epoch, seq); rows carry their key as one of their fields.

    All documents of an epoch have the same fields in totals, and all rows the same fields.
    """

    epoch: int
    seq: int
    event_ns: int
    totals: Fields
    rows: Mapping[str, Fields]


@dataclass(slots=True)
class _Row:
    fields: Fields
    changed: dict[str, int]
    born: int
    newest: int


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
            self._encoded[prev] = self.snapshot(sent_ns) if prev is None else self.delta_since(prev, sent_ns)
        return self._encoded[prev]

    def snapshot(self, sent_ns: int) -> Message:
        """Encode the whole document; raises `LookupError` where there is none yet."""
        document = self._newest()
        rows = list(document.rows.values())
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
            "rows": [self._row_since(key, row, prev) for key, row in self._rows.items() if row.newest > prev],
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

    def _row_since(self, key: str, row: _Row, prev: int) -> dict[str, Any]:
        return {self._key: key, **{name: row.fields[name] for name, seq in row.changed.items() if seq > prev}}

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
        for key, fields in document.rows.items():
            row = self._rows.get(key)
            if row is None:
                self._rows[key] = _Row(fields, dict.fromkeys(fields, document.seq), document.seq, document.seq)
            elif row.fields != fields:
                self._mark_row(row, fields, document.seq)

    @staticmethod
    def _mark_row(row: _Row, fields: Fields, seq: int) -> None:
        old, changed = row.fields, row.changed
        for name, value in fields.items():
            if name not in old or old[name] != value:
                changed[name] = seq
        row.fields, row.newest = fields, seq
