"""Make the AsyncAPI 3 document of the live stream from the types that read requests and describe messages.

The same messages travel on both transports. On the raw WebSocket each is one JSON object that names itself in `type`;
on Socket.IO the name is the event's, and an answer is the acknowledgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from api.auth.sessions import COOKIE
from api.docs.guide import CODE_TEXTS, GUIDE, VERSION, limits
from api.docs.messages import (
    EXCHANGES,
    KINDS,
    REQUEST_TEXTS,
    WITH_STATE,
    AlertMessage,
    Closing,
    Error,
    Heartbeat,
    Refusal,
    Revoked,
    delta_of,
    snapshot_of,
)
from api.live.codes import FIRST_FINAL, NAMES
from api.live.message import NAMESPACE
from api.live.rhythm import Rhythm
from api.live.websocket import PATH

Json = dict[str, Any]
Examples = Mapping[str, Sequence[Json]]

SCHEMA = "#/components/schemas/{name}"
WEBSOCKET, SOCKETIO = "websocket", "socketio"
CHANNELS = {
    WEBSOCKET: "Each message is one JSON object in a text frame and names itself in `type`. The first one is `auth`; "
    "where it is refused, `closing` says why, and its code is the close code.",
    SOCKETIO: "The name of a message is the event; an answer is the acknowledgement. Connect with `auth`, as the "
    "message of that name has it but for the `id`; where it is refused, `connect_error` carries why as its `data`. The "
    "event `auth` renews the token.",
}


@dataclass(frozen=True, slots=True)
class Spoken:
    """Hold a message: its name in the document, its name on the wire, and its type."""

    key: str
    event: str
    kind: Any

    @property
    def text(self) -> str:
        """Return what the message says, in a sentence."""
        return REQUEST_TEXTS.get(self.kind.__name__, {}).get("") or " ".join((self.kind.__doc__ or "").split())


REQUESTS = tuple(Spoken(one.name, one.name, one.request) for one in EXCHANGES)
ANSWERS = (*(Spoken(one.answer, one.answer, one.answered) for one in EXCHANGES), Spoken("error", "error", Refusal))
PUSHED = (
    *(
        Spoken(kind.name + event.capitalize(), event, make(kind))
        for kind in WITH_STATE
        for event, make in (("snapshot", snapshot_of), ("delta", delta_of))
    ),
    Spoken("alert", "alert", AlertMessage),
    Spoken("heartbeat", "heartbeat", Heartbeat),
    Spoken("revoked", "revoked", Revoked),
    Spoken("closing", "closing", Closing),
)
# What Socket.IO says while it connects, before there are events: the request carries no name of ours.
CONNECT_ERROR = Spoken("connect_error", "connect_error", Error)


def create_document(origin: str, rhythm: Rhythm, examples: Examples) -> Json:
    """Return the AsyncAPI document of a server at `origin`, such as `https://bank.example`, with its own limits.

    `examples` are messages by their keys here, as Socket.IO carries them.
    """
    schemas = describe_schemas([one.kind for one in (*REQUESTS, *ANSWERS, *PUSHED, CONNECT_ERROR)])
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Alhambra, the live stream", "version": VERSION, "description": GUIDE},
        "defaultContentType": "application/json",
        "servers": _servers(origin),
        "channels": {WEBSOCKET: _channel(WEBSOCKET), SOCKETIO: _channel(SOCKETIO)},
        "operations": {**_operations(WEBSOCKET), **_operations(SOCKETIO)},
        "components": {
            "schemas": schemas,
            "messages": {**_messages(WEBSOCKET, schemas, examples), **_messages(SOCKETIO, schemas, examples)},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "In `auth`."},
                "page": {"type": "httpApiKey", "in": "cookie", "name": COOKIE, "description": "Our own pages only."},
            },
            "correlationIds": {"id": {"location": "$message.payload#/id", "description": "The request's `id`."}},
        },
        "x-streams": [
            {"stream": one.spelt, "what": one.what, "who": one.who, "key": one.key, "type": one.title} for one in KINDS
        ],
        "x-codes": [
            {"code": code, "name": name, "retry": code < FIRST_FINAL, "when": CODE_TEXTS[code]}
            for code, name in sorted(NAMES.items())
        ],
        "x-limits": [{"limit": limit, "value": value, "beyond": beyond} for limit, value, beyond in limits(rhythm)],
    }


def describe_schemas(kinds: Iterable[Any]) -> Json:
    """Return the JSON schemas (draft 7, as AsyncAPI has it) of types and of all they use, by name."""
    _, schemas = msgspec.json.schema_components(kinds, ref_template=SCHEMA)
    for name, schema in schemas.items():
        texts = REQUEST_TEXTS.get(name, {})
        for field, sentence in texts.items():
            if field:
                schema["properties"][field]["description"] = sentence
            else:
                schema["description"] = sentence
    return {name: _draft_7(schema) for name, schema in sorted(schemas.items())}


def messages_of(transport: str) -> tuple[Spoken, ...]:
    """Return every message that a transport carries."""
    connecting = (CONNECT_ERROR,) if transport == SOCKETIO else ()
    return (*REQUESTS, *ANSWERS, *PUSHED, *connecting)


def _servers(origin: str) -> Json:
    parts = urlsplit(origin)
    secure = "s" if parts.scheme == "https" else ""
    security = [{"$ref": "#/components/securitySchemes/token"}, {"$ref": "#/components/securitySchemes/page"}]
    return {
        WEBSOCKET: {
            "host": parts.netloc,
            "protocol": f"ws{secure}",
            "description": f"A raw WebSocket at `{PATH}`: one JSON object a text frame.",
            "security": security,
        },
        SOCKETIO: {
            "host": parts.netloc,
            "protocol": f"ws{secure}",
            "protocolVersion": "socket.io 5",
            "pathname": "/socket.io/",
            "description": f"Socket.IO, namespace `{NAMESPACE}`, transport `websocket` only.",
            "security": security,
        },
    }


def _channel(transport: str) -> Json:
    return {
        "address": PATH if transport == WEBSOCKET else NAMESPACE,
        "title": "Raw WebSocket" if transport == WEBSOCKET else "Socket.IO",
        "description": CHANNELS[transport],
        "servers": [{"$ref": f"#/servers/{transport}"}],
        "messages": {
            one.key: {"$ref": f"#/components/messages/{_name(transport, one)}"} for one in messages_of(transport)
        },
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


def _operations(transport: str) -> Json:
    channel = {"$ref": f"#/channels/{transport}"}

    def said(*keys: str) -> list[Json]:
        return [{"$ref": f"#/channels/{transport}/messages/{key}"} for key in keys]

    asked = {
        f"{transport}-{one.name}": {
            "action": "receive",
            "channel": channel,
            "summary": REQUEST_TEXTS[one.request.__name__][""],
            "messages": said(one.name),
            "reply": {"channel": channel, "messages": said(one.answer, "error")},
        }
        for one in EXCHANGES
    }
    told = {
        "action": "send",
        "channel": channel,
        "summary": "What comes unasked, once you follow something.",
        "messages": said(*(one.key for one in PUSHED)),
    }
    return {**asked, f"{transport}-updates": told}


def _name(transport: str, one: Spoken) -> str:
    return f"{transport}-{one.key}"


def _messages(transport: str, schemas: Json, examples: Examples) -> Json:
    return {_name(transport, one): _message(transport, one, schemas, examples) for one in messages_of(transport)}


def _message(transport: str, one: Spoken, schemas: Json, examples: Examples) -> Json:
    named = transport == WEBSOCKET
    name = one.kind.__name__
    described: Json = {
        "name": one.event,
        "title": one.key,
        "summary": one.text,
        "payload": with_type(one.event, schemas[name]) if named else {"$ref": SCHEMA.format(name=name)},
    }
    if "id" in schemas[name]["properties"]:
        described["correlationId"] = {"$ref": "#/components/correlationIds/id"}
    if one.key in examples:
        head: Json = {"type": one.event} if named else {}
        described["examples"] = [{"payload": head | payload} for payload in examples[one.key]]
    return described


def with_type(event: str, schema: Json) -> Json:
    """Return the schema of a message that names itself first, as on the raw WebSocket."""
    named = {"type": {"const": event, "type": "string", "description": "Name of the message."}}
    return {
        **schema,
        "properties": {**named, **schema["properties"]},
        "required": ["type", *schema.get("required", [])],
    }


def _draft_7(schema: Any) -> Any:
    """Return a schema with its tuples spelt as draft 7 does."""
    if isinstance(schema, list):
        return [_draft_7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _draft_7(value) for name, value in schema.items()}
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
        found["additionalItems"] = False
    return found
