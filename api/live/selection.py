"""Choose fields of a stream: who wants two numbers gets two numbers."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from api.live.codes import BadRequest
from api.live.protocol import Fields

SELECTIONS_KEPT = 4096  # of more, equal ones may be made twice: their followers then do not share messages


@dataclass(frozen=True, slots=True, eq=False)  # each is made once, and asked for with every message
class Selection:
    """Hold the names of the fields wanted of totals and of rows; None: all.

    `salt` is added to the epochs that its messages name, so that a position held with these fields is never continued
    with others: what was left out before would be missing for good.
    """

    totals: frozenset[str] | None = None
    rows: frozenset[str] | None = None
    salt: int = 0

    def of_totals(self, totals: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is wanted of these totals."""
        if self.totals is None:
            return totals
        return {name: value for name, value in totals.items() if name in self.totals}

    def of_row(self, row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """Return what is wanted of a row; its key always is."""
        if self.rows is None:
            return row
        return {name: value for name, value in row.items() if name in self.rows or name == key}

    def wants(self, changes: Mapping[str, Any], *, is_new: bool) -> bool:
        """Say whether a row is to be told of: one that is new always is, so that its key is known."""
        return is_new or self.rows is None or not self.rows.isdisjoint(changes)


EVERYTHING = Selection()


def select(fields: Fields, totals: Collection[str], rows: Collection[str]) -> Selection:
    """Return the selection of these fields; raises `BadRequest` naming one that the stream does not have."""
    for asked, known, where in ((fields.totals, totals, "totals"), (fields.rows, rows, "rows")):
        for name in asked or ():
            if name not in known:
                raise BadRequest(f"{where} of this stream have no field '{name}'")
    if fields.totals is None and fields.rows is None:
        return EVERYTHING
    return _selection(_names(fields.totals), _names(fields.rows))


@lru_cache(SELECTIONS_KEPT)
def _selection(totals: frozenset[str] | None, rows: frozenset[str] | None) -> Selection:
    named = repr([None if names is None else sorted(names) for names in (totals, rows)])
    return Selection(totals, rows, zlib.crc32(named.encode()))


def _names(fields: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if fields is None else frozenset(fields)
