"""Say which fields each kind of stream has, and check what a client asks for of them."""

from __future__ import annotations

from api.live import client_stream, floor, quotes, valuation
from api.live.codes import BadRequest
from api.live.floor_view import validate
from api.live.protocol import StreamName, StreamRequest
from api.live.selection import EVERYTHING, Selection, select

PORTFOLIO = ((*valuation.TOTALS, "name"), valuation.COLUMNS)
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # of totals and of rows
    "portfolio": PORTFOLIO,
    "demo": PORTFOLIO,
    "client": (client_stream.TOTALS, client_stream.COLUMNS),
    "floor": (floor.TOTALS, floor.COLUMNS),
    "quote": (quotes.TOTALS, ()),
}


def check(name: StreamName, wanted: StreamRequest) -> Selection:
    """Return the fields that are wanted of a stream; raises `BadRequest` where it has no such fields or views."""
    if wanted.view is not None:
        if name.kind != "floor":
            raise BadRequest("only a floor has views")
        validate(wanted.view)
    if name.kind not in FIELDS:
        return EVERYTHING
    return select(wanted.fields, *FIELDS[name.kind])
