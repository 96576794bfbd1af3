"""Say in words what no type says: the rules of the stream, its limits, and when each code comes."""

from __future__ import annotations

from api.live.client import LIMIT_BYTES
from api.live.codes import (
    BAD_REQUEST,
    FORBIDDEN_STREAM,
    GOING_AWAY,
    MESSAGE_TOO_LARGE,
    NOT_AUTHENTICATED,
    SERVER_ERROR,
    SLOW,
    TEMPORARILY_UNAVAILABLE,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_REQUESTS,
    TOO_MANY_STREAMS,
    UNAUTHORISED,
)
from api.live.protocol import DEFAULT_HZ, LARGEST_REQUEST, LARGEST_WINDOW, MAX_HZ, MAX_STREAMS
from api.live.rhythm import Rhythm
from api.live.session import REQUESTS_AT_ONCE, REQUESTS_PER_S, TOO_MANY_FOR_S

VERSION = "1.0.0"  # of the protocol; its first number is the one in the address of the raw WebSocket
GUIDE = """\
What portfolios are worth, as it changes. You subscribe to streams; each begins with a `snapshot`, its whole state, and
goes on with `delta`s, what has changed.

**Continuity.** Take a `delta` only if its `epoch` is yours and its `prev` is the `seq` you hold; otherwise subscribe
again with the epoch and seq you hold. Do the same after every reconnect. The answer's `recovered` says whether what
you hold is good; there is no partial recovery. A `heartbeat` says where each stream stands for you: if you do not hold
that a moment later, subscribe again.

**Conflation.** The server keeps no queue of what you have not taken. A message brings you from what you hold to the
newest state, however many changes lie between: the newest state is never lost, and `seq` may skip numbers. Alerts are
never conflated, and come again until you acknowledge them.

**Consistency.** After each message, in what you hold, totals equal the sum of the rows, to the cent.

**Codes.** From 3000 to 3499: try again, after a pause that grows. From 3500: trying again changes nothing.

**Numbers.** Times are integers, nanoseconds since 1970; JavaScript reads them with an error of at most 256 ns. Amounts
are rounded to the minor unit of their currency. New streams, messages and fields may be added: ignore what you do not
know."""

CODE_TEXTS = {
    GOING_AWAY: "The server stops. Connect again: another one answers.",
    SERVER_ERROR: "A fault of ours.",
    TEMPORARILY_UNAVAILABLE: "Something that the server needs is away.",
    TOO_MANY_REQUESTS: "You ask faster than is allowed; this request was not read.",
    SLOW: "You do not read what is sent. A request: read, and ask again. The connection: come back with your position.",
    NOT_AUTHENTICATED: "Nobody has said in time who this is.",
    TOO_MANY_CONNECTIONS: "This user has too many connections open.",
    BAD_REQUEST: "The request is not what this page asks for; the message says where.",
    UNAUTHORISED: "Nobody is signed in, or no longer. Sign in again.",
    FORBIDDEN_STREAM: "The stream does not exist, or is not yours to see: the two are not told apart.",
    TOO_MANY_STREAMS: "You follow as many streams as one connection may.",
    MESSAGE_TOO_LARGE: "A message of yours was too large to read.",
}


def limits(rhythm: Rhythm) -> tuple[tuple[str, str, str], ...]:
    """Return what is limited at a server with this rhythm, how much of it there may be, and what happens beyond."""
    return (
        ("Time until `auth`", f"{rhythm.door_s:g} s", f"closed with {NOT_AUTHENTICATED}"),
        ("Connections of a user", f"{rhythm.connections}", f"refused with {TOO_MANY_CONNECTIONS}"),
        ("Connections of guests", f"{rhythm.guests}", f"refused with {TOO_MANY_CONNECTIONS}"),
        ("Streams of a connection", f"{MAX_STREAMS}", f"refused with {TOO_MANY_STREAMS}"),
        ("Messages a second of a stream", f"{DEFAULT_HZ:g} unless told, {MAX_HZ:g} at most", "more are conflated"),
        (
            "Your requests",
            f"{REQUESTS_PER_S:g} a second, {REQUESTS_AT_ONCE:g} at once",
            f"refused with {TOO_MANY_REQUESTS}; after {TOO_MANY_FOR_S:g} s of it closed",
        ),
        ("A message of yours", f"{LARGEST_REQUEST // 1024} KiB", f"closed with {MESSAGE_TOO_LARGE}"),
        ("Rows in a view of a floor", f"{LARGEST_WINDOW}", f"refused with {BAD_REQUEST}"),
        (
            "What you have not read",
            f"{LIMIT_BYTES // 1024**2} MiB, or {rhythm.stalled_s:g} s without reading",
            f"cut; our log names {SLOW}",
        ),
    )
