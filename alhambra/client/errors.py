"""Name what keeps a client from following; each message is a sentence for the person who reads it.

ClientError
├── Unreachable      no address answers; raised before the first connection only, later the client tries for ever
├── Refused          the bank says no: `code`, `name` and `message` of the protocol; `.final`: do not try again
├── Inconsistent     what the bank sends does not add up, twice in a row; it is never shown
├── AlreadyFollowed  the stream is followed with other options: one connection follows a stream in one way
└── Closed           the client is not open
"""

from __future__ import annotations

FIRST_FINAL = 3500  # codes from here on: trying again changes nothing
GOING_AWAY = 3000
SERVER_ERROR = 3001
TEMPORARILY_UNAVAILABLE = 3002
TOO_MANY_REQUESTS = 3003
BAD_REQUEST = 3500
UNAUTHORISED = 3501
FORBIDDEN = 3503


class ClientError(Exception):
    """Say what keeps a client from following."""


class Unreachable(ClientError):
    """Say that nothing answers at any of the addresses."""


class Refused(ClientError):
    """Say that the bank refuses, with the protocol's code and name.

    `retry_after_s` is how long to wait where the bank says so.
    """

    def __init__(self, code: int, name: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{message} ({code} {name})")
        self.code = code
        self.name = name
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def final(self) -> bool:
        """Say whether trying again changes nothing."""
        return self.code >= FIRST_FINAL


class Inconsistent(ClientError):
    """Say that a state does not add up, or that a change does not fit it."""


class AlreadyFollowed(ClientError):
    """Say that a stream is followed already, with other options."""


class Closed(ClientError):
    """Say that the client is not open: follow inside `async with`."""


class ConnectionLost(Exception):
    """Say why a connection ended or did not begin; it never leaves the package: the client makes another one.

    `at_once` says that the server announced it, so that there is nothing to wait for.
    """

    def __init__(self, reason: str, *, at_once: bool = False) -> None:
        super().__init__(reason)
        self.at_once = at_once
