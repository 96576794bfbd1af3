"""Name the codes of errors and closures: stable numbers, of which 3000-3499 mean try again and 3500 up do not."""

from __future__ import annotations

GOING_AWAY = 3000
SERVER_ERROR = 3001
TEMPORARILY_UNAVAILABLE = 3002
TOO_MANY_REQUESTS = 3003
SLOW = 3008
NOT_AUTHENTICATED = 3009
TOO_MANY_CONNECTIONS = 3010
BAD_REQUEST = 3500
UNAUTHORISED = 3501
FORBIDDEN_STREAM = 3503
TOO_MANY_STREAMS = 3504
MESSAGE_TOO_LARGE = 3505

FIRST_FINAL = 3500  # from here on trying again changes nothing

NAMES = {
    GOING_AWAY: "going_away",
    SERVER_ERROR: "server_error",
    TEMPORARILY_UNAVAILABLE: "temporarily_unavailable",
    TOO_MANY_REQUESTS: "too_many_requests",
    SLOW: "slow",
    NOT_AUTHENTICATED: "not_authenticated",
    TOO_MANY_CONNECTIONS: "too_many_connections",
    BAD_REQUEST: "bad_request",
    UNAUTHORISED: "unauthorised",
    FORBIDDEN_STREAM: "forbidden_stream",
    TOO_MANY_STREAMS: "too_many_streams",
    MESSAGE_TOO_LARGE: "message_too_large",
}


class LiveError(Exception):
    """Say why a request on the live stream is refused.

    LiveError        any code; 3000-3499: try again, from 3500: do not
    └── BadRequest   3500: the request itself is wrong
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def content(self) -> dict[str, int | str]:
        """Return the error as clients get it."""
        return describe(self.code, self.message)


class BadRequest(LiveError):
    """Say that a request is not what the protocol asks for."""

    def __init__(self, message: str) -> None:
        super().__init__(BAD_REQUEST, message)


def describe(code: int, message: str) -> dict[str, int | str]:
    """Return a code as clients get it: the number, its name and a sentence."""
    return {"code": code, "name": NAMES[code], "message": message}
