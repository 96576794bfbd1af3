"""Keep the newest document of a stream, and since when each of its fields stands.

A document is totals (a flat object) and rows (of the same fields, by key). Because every field
carries the seq at which it last changed, the delta from any position that a client can hold is exact,
however many documents were conflated in between.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import msgspec

from api.live.message import Message
from api.live.selection import EVERYTHING, Selection
from stream.stages import Stage

POSITIONS_KEPT = 512
NEVER = -1  # before every seq

Fields = Mapping[str, Any]
Values = tuple[Any, ...]
Position = tuple[int, int]

_sent = Stage("sent")


class Document(msgspec.Struct, frozen=True):
    """Hold the full content of a stream at (epoch, seq): rows are values in the order of `columns`, by key.

    Rows carry their key as one of their values. All documents of a stream have the same fields in totals and the
    same columns, in one order.
    """

    epoch: int
    seq: int
    event_ns: int
    totals: Fields
    columns: Sequence[str]
    rows: Mapping[str, Values]


@dataclass(slots=True)
class _Record:
    """Hold a row or the totals, since when each field stands, and what the newest change changed.

    Whoever has seen the change before the newest one lacks just `latest`, and that is nearly everybody.
    """

    values: Values
    changed: dict[str, int]
    born: int
    newest: int
    before: int
    latest: dict[str, Any]

    def take(self, names: Sequence[str], values: Values, seq: int) -> None:
        """Note what is different at `seq`."""
        held, changed = self.values, self.changed
        latest = {}
        for index, value in enumerate(values):
            if value != held[index]:
                name = names[index]
                latest[name] = value
                changed[name] = seq
        self.latest, self.values, self.before, self.newest = latest, values, self.newest, seq

    def since(self, prev: int, names: Sequence[str]) -> dict[str, Any]:
        """Return what changed after `prev`, which is before the newest change."""
        if prev >= self.before:
            return self.latest
        return {name: value for name, value in zip(names, self.values, strict=True) if self.changed[name] > prev}


class StreamState:
    """Hold a stream's newest document and answer what a client at a position lacks."""

    __slots__ = (
        *("_before", "_document", "_encoded", "_gone", "_key", "_names", "_rows", "_seqs", "_totals"),
        *("position", "stream"),
    )

    def __init__(self, stream: str, key: str) -> None:
        self.stream = stream
        self.position: Position = (0, 0)  # of the newest document; (0, 0) where there is none yet
        self._before: Position | None = None  # of the one before it in its epoch, where nearly all clients stand
        self._key = key
        self._document: Document | None = None
        self._names: tuple[str, ...] = ()
        self._totals: _Record | None = None
        self._rows: dict[str, _Record] = {}
        # of keys that are gone: from which seq to which they were there, so that only who holds one is told;
        # those that went last stand last, for through a window many rows come and go
        self._gone: dict[str, list[tuple[int, int]]] = {}
        self._seqs = array("q")  # at which a client can stand, ascending
        self._encoded: dict[tuple[int | None, Selection], Message | None] = {}

    def keys(self) -> Set[str]:
        """Return the keys of the newest document's rows."""
        return self._rows.keys()

    def apply(self, document: Document) -> bool:
        """Take a newer document; returns False, and changes nothing, where it is not newer by (epoch, seq)."""
        position = document.epoch, document.seq
        if self._document is not None and position <= self.position:
            return False
        self._before = self.position
        if self._document is None or document.epoch != self._document.epoch:
            self._before, self._totals, self._rows, self._gone, self._seqs = None, None, {}, {}, array("q")
        self._take_totals(document)
        if document.rows or self._rows:
            self._take_rows(document)
        self._document, self.position = document, position
        self._seqs.append(document.seq)
        if len(self._seqs) > POSITIONS_KEPT:
            del self._seqs[0]
            self._forget_gone()
        self._encoded = {}
        return True

    def can_continue(self, position: Position | None) -> bool:
        """Say whether a client at this position can go on with a delta."""
        if position is None or position == self._before:
            return position is not None
        return position[0] == self.position[0] and self._knows(position[1])

    def message_after(
        self, position: Position | None, sent_ns: int, selection: Selection = EVERYTHING
    ) -> Message | None:
        """Return what a client at (epoch, seq) lacks: a delta, or a snapshot where it cannot continue, or None.

        `sent_ns` stands in the message when it is encoded by this call; clients at one position share a message.
        """
        if self._document is None or position == self.position:
            return None
        prev = position[1] if position is not None and self.can_continue(position) else None
        asked = prev, selection
        if asked not in self._encoded:
            if prev is not None:  # a snapshot may be of any age
                _sent.passed(self._document.event_ns)
            found = self.snapshot(sent_ns, selection) if prev is None else self._delta(prev, sent_ns, selection)
            self._encoded[asked] = found
            return found
        return self._encoded[asked]

    def forget_messages(self) -> None:
        """Let go of the messages encoded since the newest document came."""
        self._encoded = {}

    def snapshot(self, sent_ns: int, selection: Selection = EVERYTHING) -> Message:
        """Encode the whole document; raises `LookupError` where there is none yet."""
        document, _ = self._newest()
        rows = [dict(zip(document.columns, row, strict=True)) for row in document.rows.values()]
        content = {
            "stream": self.stream,
            "epoch": document.epoch + selection.salt,
            "seq": document.seq,
            "event_ns": document.event_ns,
            "sent_ns": sent_ns,
            "totals": selection.of_totals(document.totals),
            "rows": [selection.of_row(row, self._key) for row in rows],
        }
        return Message("snapshot", content)

    def delta_since(self, prev: int, sent_ns: int, selection: Selection = EVERYTHING) -> Message | None:
        """Encode what changed since `prev`, or return None where nothing selected did.

        Raises `LookupError` where `prev` is no position of this epoch.
        """
        if not self._knows(prev):
            raise LookupError(f"{prev} is no position of {self.stream}")
        return self._delta(prev, sent_ns, selection)

    def _delta(self, prev: int, sent_ns: int, selection: Selection) -> Message | None:
        document, record = self._newest()
        totals = selection.of_totals(record.since(prev, self._names)) if record.newest > prev else {}
        rows = self._rows_since(prev, document.columns, selection) if self._rows else []
        gone = self._removed_since(prev) if self._gone else []
        if selection is not EVERYTHING and not (totals or rows or gone):
            return None
        content = {
            "stream": self.stream,
            "epoch": document.epoch + selection.salt,
            "seq": document.seq,
            "event_ns": document.event_ns,
            "sent_ns": sent_ns,
            "prev": prev,
            "totals": totals,
            "rows": rows,
            "removed": gone,
        }
        return Message("delta", content)

    def _rows_since(self, prev: int, columns: Sequence[str], selection: Selection) -> list[dict[str, Any]]:
        found = []
        for key, row in self._rows.items():
            if row.newest > prev:
                changes = row.since(prev, columns)
                if selection.wants(changes, is_new=row.born > prev):
                    found.append({self._key: key, **selection.of_row(changes, self._key)})
        return found

    def _knows(self, seq: int) -> bool:
        at = bisect_left(self._seqs, seq)
        return at < len(self._seqs) and self._seqs[at] == seq

    def _newest(self) -> tuple[Document, _Record]:
        if self._document is None or self._totals is None:
            raise LookupError(f"{self.stream} has no document yet")
        return self._document, self._totals

    def _removed_since(self, prev: int) -> list[str]:
        went = takewhile(lambda key: self._gone[key][-1][1] > prev, reversed(self._gone))
        return [key for key in went if key not in self._rows and self._was_there(key, prev)]

    def _was_there(self, key: str, seq: int) -> bool:
        return any(born <= seq < gone for born, gone in self._gone[key])

    def _forget_gone(self) -> None:
        """Forget what went before the oldest position at which a client can stand."""
        while self._gone and self._gone[first := next(iter(self._gone))][-1][1] <= self._seqs[0]:
            del self._gone[first]

    def _take_totals(self, document: Document) -> None:
        values = tuple(document.totals.values())
        if self._totals is None:
            self._names = tuple(document.totals)
            self._totals = _born(self._names, values, document.seq)
        elif values != self._totals.values:
            self._totals.take(self._names, values, document.seq)

    def _take_rows(self, document: Document) -> None:
        for key in self._rows.keys() - document.rows.keys():
            row = self._rows.pop(key)
            oldest = self._seqs[0]  # who stood before is not answered with a delta
            there = [one for one in self._gone.pop(key, ()) if one[1] > oldest]
            self._gone[key] = [*there, (row.born, document.seq)]
        for key, values in document.rows.items():
            held = self._rows.get(key)
            if held is None:
                self._rows[key] = _born(document.columns, values, document.seq)
            elif held.values != values:
                held.take(document.columns, values, document.seq)


def _born(names: Sequence[str], values: Values, seq: int) -> _Record:
    fields = dict(zip(names, values, strict=True))
    return _Record(values, dict.fromkeys(fields, seq), seq, seq, NEVER, fields)
