"""Read what clients send on the live stream; nothing else of it is trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec

from api.live.codes import BadRequest

DEFAULT_HZ = 4.0
MAX_HZ = 20.0
MAX_STREAMS = 50
LARGEST_REQUEST = 16 * 1024
LARGEST_WINDOW = 500
KINDS_WITH_ID = ("portfolio", "client", "floor")
KINDS_ALONE = ("alerts", "demo")
SYMBOL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9 ._=/^-]{0,31}$")

StreamText = Annotated[str, msgspec.Meta(max_length=64)]
FieldText = Annotated[str, msgspec.Meta(max_length=32)]
RequestId = int | Annotated[str, msgspec.Meta(max_length=64)]
Index = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_WINDOW)]
Serial = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, slots=True)
class StreamName:
    """Name a stream: the kind and whose it is, a UUID, a symbol, or nothing where there is one of the kind."""

    kind: str
    key: str = ""

    @property
    def id(self) -> UUID:
        """Return the key of a portfolio, client or floor."""
        return UUID(self.key)

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}" if self.key else self.kind


class Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say which fields of totals and rows are wanted; None: all of them."""

    totals: tuple[FieldText, ...] | None = None
    rows: tuple[FieldText, ...] | None = None


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sort by a column."""

    column: FieldText
    descending: bool = False


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keep the rows whose column compares so with a value."""

    column: FieldText
    op: Literal["=", "<", "<=", ">", ">=", "contains"]
    value: float | Annotated[str, msgspec.Meta(max_length=64)]


class View(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say which rows of a floor are wanted: all conditions hold, in this order, `range` is (first, count).

    Which rows these are, and their order, is decided anew at most every `reorder_s` seconds, so that they can be read.
    """

    sort: Annotated[tuple[Order, ...], msgspec.Meta(max_length=4)] = ()
    filter: Annotated[tuple[Condition, ...], msgspec.Meta(max_length=8)] = ()
    range: tuple[Index, Count] = (0, 100)
    reorder_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


class StreamRequest(msgspec.Struct, frozen=True):
    """Hold one stream asked for, with the position the client holds, where it holds one."""

    stream: StreamText
    epoch: int | None = None
    seq: int | None = None
    fields: Fields = Fields()
    view: View | None = None

    @property
    def position(self) -> tuple[int, int] | None:
        """Return (epoch, seq), or None where the client begins anew."""
        return None if self.epoch is None or self.seq is None else (self.epoch, self.seq)


class SubscribeRequest(msgspec.Struct, frozen=True):
    """Hold a `subscribe`; `max_hz` above 20 means 20."""

    id: RequestId
    streams: Annotated[list[StreamRequest], msgspec.Meta(min_length=1, max_length=MAX_STREAMS)]
    max_hz: Annotated[float, msgspec.Meta(gt=0)] = DEFAULT_HZ


class UnsubscribeRequest(msgspec.Struct, frozen=True):
    """Hold an `unsubscribe`."""

    id: RequestId
    streams: Annotated[list[StreamText], msgspec.Meta(min_length=1, max_length=MAX_STREAMS)]


class ListRequest(msgspec.Struct, frozen=True):
    """Hold a `list`."""

    id: RequestId


class AcknowledgeRequest(msgspec.Struct, frozen=True):
    """Hold an `acknowledge`: of all alerts up to and including `seq`."""

    id: RequestId
    seq: Serial


class AuthRequest(msgspec.Struct, frozen=True):
    """Hold an `auth`: with a token, as a guest, or with neither, where the cookie of a page says who it is."""

    id: RequestId | None = None
    token: Annotated[str, msgspec.Meta(max_length=8192)] | None = None
    guest: bool = False


Request = TypeVar("Request")


def parse(data: Any, kind: type[Request]) -> Request:
    """Read a request; raises `BadRequest` with the first problem."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error


def parse_stream(text: str) -> StreamName:
    """Read the name of a stream: `<kind>:<uuid>` in its canonical form, `quote:<symbol>`, `alerts` or `demo`.

    Raises `BadRequest`.
    """
    kind, _, key = text.partition(":")
    name = StreamName(kind, key)
    right = (
        (kind in KINDS_WITH_ID and _is_canonical(key))
        or (kind in KINDS_ALONE and not key)
        or (kind == "quote" and SYMBOL.match(key))
    )
    if not right or str(name) != text:
        raise BadRequest(f"'{text}' names no stream")
    return name


def request_id(data: Any) -> int | str | None:
    """Return the id of a request that may be malformed, so that its refusal can name it."""
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, int | str) else None


def _is_canonical(key: str) -> bool:
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False
