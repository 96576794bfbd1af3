"""Read what clients send on the live stream; nothing else of it is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec

from api.live.message import BAD_REQUEST

DEFAULT_HZ = 4.0
MAX_HZ = 20.0
MAX_STREAMS = 50
KINDS = ("portfolio", "floor")

StreamText = Annotated[str, msgspec.Meta(max_length=64)]
RequestId = int | Annotated[str, msgspec.Meta(max_length=64)]


class LiveError(Exception):
    """Say why a request on the live stream is refused.

    LiveError        any code; 3000-3499: try again, from 3500: do not
    └── BadRequest   3500: the request itself is wrong
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BadRequest(LiveError):
    """Say that a request is not what the protocol asks for."""

    def __init__(self, message: str) -> None:
        super().__init__(BAD_REQUEST, message)


@dataclass(frozen=True, slots=True)
class StreamName:
    """Name a stream: the kind and whose it is."""

    kind: str
    id: UUID

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class StreamRequest(msgspec.Struct, frozen=True):
    """Hold one stream asked for, with the position the client holds, where it holds one."""

    stream: StreamText
    epoch: int | None = None
    seq: int | None = None

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


def parse_subscribe(data: Any) -> SubscribeRequest:
    """Read a `subscribe`; raises `BadRequest` with the first problem."""
    try:
        return msgspec.convert(data, SubscribeRequest)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error


def parse_unsubscribe(data: Any) -> UnsubscribeRequest:
    """Read an `unsubscribe`; raises `BadRequest` with the first problem."""
    try:
        return msgspec.convert(data, UnsubscribeRequest)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error


def parse_stream(text: str) -> StreamName:
    """Read the name of a stream, `<kind>:<uuid>` in its canonical form; raises `BadRequest`."""
    kind, _, identifier = text.partition(":")
    try:
        name = StreamName(kind, UUID(identifier))
    except ValueError as error:
        raise BadRequest(f"'{text}' names no stream") from error
    if kind not in KINDS or str(name) != text:
        raise BadRequest(f"'{text}' names no stream")
    return name


def request_id(data: Any) -> int | str | None:
    """Return the id of a request that may be malformed, so that its refusal can name it."""
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, int | str) else None
