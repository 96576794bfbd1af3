"""Say what is wanted of a stream: which fields, how often, and of a floor which window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Operator = Literal["=", "<", "<=", ">", ">=", "contains"]
DEFAULT_HZ = 4.0


@dataclass(frozen=True, slots=True)
class Fields:
    """Name the fields wanted of totals and rows, None for all; a row's key always comes."""

    totals: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """Sort by a column."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Keep the rows whose column compares so with a value; `contains` is for text, whatever its case."""

    column: str
    op: Operator
    value: str | float


@dataclass(frozen=True, slots=True)
class View:
    """Choose a window of a floor: the rows that pass every filter, in this order, `count` of them from `first`.

    Which rows these are, and their order, is decided anew at most every `reorder_s` seconds, so that they can be read.
    """

    sort: tuple[Sort, ...] = ()
    filter: tuple[Filter, ...] = ()
    first: int = 0
    count: int = 100
    reorder_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Hold one stream as it is asked for."""

    stream: str
    max_hz: float = DEFAULT_HZ
    fields: Fields | None = None
    view: View | None = None

    @property
    def kind(self) -> str:
        """Return what the stream is of, such as `portfolio`."""
        return self.stream.partition(":")[0]

    def content(self) -> dict[str, Any]:
        """Return the entry of a `subscribe`, without a position."""
        found: dict[str, Any] = {"stream": self.stream}
        if self.fields is not None:
            asked = {"totals": self.fields.totals, "rows": self.fields.rows}
            found["fields"] = {name: names for name, names in asked.items() if names is not None}
        if self.view is not None:
            found["view"] = {
                "sort": [{"column": one.column, "descending": one.descending} for one in self.view.sort],
                "filter": [{"column": one.column, "op": one.op, "value": one.value} for one in self.view.filter],
                "range": [self.view.first, self.view.count],
                "reorder_s": self.view.reorder_s,
            }
        return found
