"""Turn what goes wrong on the way to a venue into a reason for people, and into how long to wait. Pure."""

from __future__ import annotations

import random
import socket
import ssl
from datetime import UTC, datetime
from http import HTTPStatus

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from ingest.market.errors import VenueLost
from ingest.market.rate_limit import parse_retry_after

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
LASTING_PAUSE_S = 60.0
BUSY = frozenset({418, 425, 429, 500, 502, 503, 504})  # 418 is how Binance says that a 429 was not heeded
TOO_BIG = 1009
MOST_CAUSES = 10

# What comes out of a connection that is lost, whichever library says so.
LOSSES = (VenueLost, WebSocketException, httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ImportError)


def explain_loss(error: Exception) -> VenueLost:
    """Say why a venue was lost; never with an address, which could hold a key."""
    if isinstance(error, VenueLost):
        return error
    if isinstance(error, InvalidStatus):
        headers = error.response.headers
        return explain_status(error.response.status_code, headers.get("Retry-After"))
    if isinstance(error, ConnectionClosed):
        return _explain_close(error)
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return VenueLost("it does not answer in time")
    if isinstance(error, OSError):
        return _explain_system(error)
    if isinstance(error, ImportError):  # of the package that speaks to SOCKS proxies
        return VenueLost(f"the proxy of this machine cannot be used: {error}", lasting=True)
    cause = _first_cause(error)
    return explain_loss(cause) if cause is not None else VenueLost(f"no connection: {type(error).__name__}")


def _explain_system(error: OSError) -> VenueLost:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or "it cannot be verified"  # only OpenSSL sets it
        return VenueLost(f"its certificate is refused: {why}", lasting=True)
    if isinstance(error, ssl.SSLError):
        return VenueLost(f"TLS failed: {error.reason or type(error).__name__}")
    if isinstance(error, socket.gaierror):
        return VenueLost("its name cannot be resolved: is there a connection to the internet?")
    if isinstance(error, ConnectionRefusedError):
        return VenueLost("nothing listens there: connection refused")
    return VenueLost(f"the connection failed: {error.strerror or type(error).__name__}")


def explain_status(status: int, retry_after: str | None = None) -> VenueLost:
    """Say what an HTTP status other than success means for a feed; 4xx do not mend themselves, but for a few."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "unknown"
    if status in BUSY:
        return VenueLost(f"it answers {status} ({phrase})", parse_retry_after(retry_after, datetime.now(UTC)))
    if status in {401, 403}:
        return VenueLost(f"it refuses us: {status} ({phrase}); look at the key", lasting=True)
    if status == 451:
        return VenueLost("it does not serve this country: 451", lasting=True)
    return VenueLost(f"it answers {status} ({phrase})", lasting=400 <= status < 500)


def pause_s(attempt: int, loss: VenueLost) -> float:
    """Return how long to wait before attempt number `attempt` (from 1) after a loss, with full jitter.

    The bound doubles from one second to thirty, so that many clients cut off together do not come back together. What
    the venue asked for is kept, and a little more; what will not mend itself is tried once a minute.
    """
    if loss.pause_s is not None:
        return loss.pause_s + random.uniform(0.0, FIRST_PAUSE_S)  # noqa: S311 - jitter, not a secret
    if loss.lasting:
        return LASTING_PAUSE_S * random.uniform(1.0, 1.2)  # noqa: S311 - the same
    bound = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 10))
    return bound * random.uniform(0.05, 1.0)  # noqa: S311 - the same


def _explain_close(error: ConnectionClosed) -> VenueLost:
    if error.sent is not None and error.sent.code == TOO_BIG and not error.rcvd_then_sent:
        return VenueLost("it sent a frame larger than is allowed")
    if error.rcvd is not None:
        reason = f" {error.rcvd.reason[:100]!r}" if error.rcvd.reason else ""
        return VenueLost(f"it closed the connection: code {error.rcvd.code}{reason}")
    if error.sent is not None:
        return VenueLost(f"the connection broke: {error.sent.reason[:100] or f'code {error.sent.code}'}")
    return VenueLost("the connection broke off")


def _first_cause(error: BaseException) -> Exception | None:
    """Return the operating system's error at the very root of a library's: what stands above it says less."""
    found: Exception | None = None
    seen: BaseException | None = error
    for _ in range(MOST_CAUSES):
        seen = None if seen is None else seen.__cause__ or seen.__context__
        if isinstance(seen, BaseExceptionGroup):  # of several addresses of one name, each failed
            seen = seen.exceptions[0]
        if isinstance(seen, OSError):
            found = seen
    return found
