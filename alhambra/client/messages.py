"""Hold what the server sends on the raw WebSocket, and read it: one JSON object a text frame, `type` first."""

from __future__ import annotations

from typing import Any

import msgspec


class Position(msgspec.Struct, frozen=True):
    """Hold where a stream stands; (0, 0): nothing is known yet."""

    epoch: int
    seq: int


NOTHING_YET = Position(0, 0)


class Snapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """Hold the whole of a stream."""

    stream: str
    epoch: int
    seq: int
    event_ns: int
    sent_ns: int
    totals: dict[str, Any]
    rows: list[dict[str, Any]]


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """Hold what changed since `prev`."""

    stream: str
    epoch: int
    prev: int
    seq: int
    event_ns: int
    sent_ns: int
    totals: dict[str, Any]
    rows: list[dict[str, Any]]
    removed: list[str]


class AlertContent(msgspec.Struct, frozen=True):
    """Hold what a rule raised."""

    id: str
    rule: str
    kind: str
    subject: str
    title: str
    currency: str
    direction: str
    threshold: float
    value: float
    price_source: str
    price_ns: int
    raised_ns: int


class AlertMessage(msgspec.Struct, frozen=True, tag="alert"):
    """Hold an alert with its number."""

    stream: str
    epoch: int
    seq: int
    sent_ns: int
    alert: AlertContent


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """Hold where each stream stands for this client, and whether the server hears its source."""

    sent_ns: int
    source: str
    streams: dict[str, Position]


class Revoked(msgspec.Struct, frozen=True, tag="revoked"):
    """Say that a right went away."""

    stream: str
    code: int
    name: str
    message: str


class Closing(msgspec.Struct, frozen=True, tag="closing"):
    """Say that the server is about to end the connection."""

    code: int
    name: str
    message: str


class Entry(msgspec.Struct, frozen=True):
    """Hold one stream of the full set that an answer carries."""

    stream: str
    epoch: int
    seq: int
    recovered: bool


class ErrorContent(msgspec.Struct, frozen=True):
    """Hold why a request is refused."""

    code: int
    name: str
    message: str


class Answer(msgspec.Struct, frozen=True):
    """Hold what every answer carries; `id` is None where the server could not read the request's."""

    id: int | str | None
    server_ns: int


class Authenticated(Answer, frozen=True, tag="authenticated"):
    """Answer `auth`."""

    role: str


class Subscribed(Answer, frozen=True, tag="subscribed"):
    """Answer `subscribe`."""

    streams: list[Entry]


class Unsubscribed(Answer, frozen=True, tag="unsubscribed"):
    """Answer `unsubscribe`."""

    streams: list[Entry]


class Listed(Answer, frozen=True, tag="listed"):
    """Answer `list`."""

    streams: list[Entry]


class Acknowledged(Answer, frozen=True, tag="acknowledged"):
    """Answer `acknowledge`."""

    seq: int


class ErrorMessage(Answer, frozen=True, tag="error"):
    """Refuse a request."""

    error: ErrorContent


Event = Snapshot | Delta | AlertMessage | Heartbeat | Revoked
Message = Event | Closing | Authenticated | Subscribed | Unsubscribed | Listed | Acknowledged | ErrorMessage

_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


class _Typed(msgspec.Struct, frozen=True):
    type: str


_typed_decoder = msgspec.json.Decoder(_Typed)
_KNOWN = {
    "snapshot",
    "delta",
    "alert",
    "heartbeat",
    "revoked",
    "closing",
    "authenticated",
    "subscribed",
    "unsubscribed",
    "listed",
    "acknowledged",
    "error",
}


class UnreadableMessage(ValueError):
    """Say that a frame is no message of the protocol."""


def parse_message(frame: str | bytes) -> Message | None:
    """Read a frame, or return None for a type of a later version of the protocol. Raises `UnreadableMessage`."""
    if isinstance(frame, bytes):
        raise UnreadableMessage("a binary frame")
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeError) as error:
        if _is_of_a_later_version(frame):
            return None
        raise UnreadableMessage(str(error)) from error


def _is_of_a_later_version(frame: str) -> bool:
    try:
        return _typed_decoder.decode(frame).type not in _KNOWN
    except (msgspec.MsgspecError, UnicodeError):
        return False
