"""Keep within the quota of calls that IBOSS states, and keep some of them for signing in.

A session may end at any time, and without a call to sign in again everything stands still until the window ends. So
the last calls of a window are kept for `Authenticate`; all others slow down before them and then wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SCARCE_SHARE = 0.2  # below this share of the window's calls the rest is spread over its time
RESERVED_SHARE = 0.02
FEWEST_RESERVED = 2  # to sign in, and once more where that answer was lost
LONGEST_WINDOW_S = 86_400.0
LONGEST_WAIT_S = 3600.0  # of what Retry-After asks; then one call finds out


@dataclass(frozen=True, slots=True)
class Quota:
    """Hold what an answer said at `heard_at_s`: calls a window, calls left, and when (monotonic s) the window ends."""

    limit: int
    remaining: int
    resets_at_s: float
    heard_at_s: float = 0.0

    @property
    def reserved(self) -> int:
        """Return how many calls of a window are for signing in only: never more than half of them."""
        return min(max(FEWEST_RESERVED, int(self.limit * RESERVED_SHARE)), self.limit // 2)


def parse_quota(headers: Mapping[str, str], now_s: float) -> Quota | None:
    """Read `X-Quota-Limit`, `-Remaining` and `-Reset` (seconds); None where absent or not numbers."""
    try:
        limit, remaining = int(headers["X-Quota-Limit"]), int(headers["X-Quota-Remaining"])
        reset_s = float(headers["X-Quota-Reset"])
    except (KeyError, ValueError):
        return None
    if limit <= 0 or not 0 <= reset_s <= LONGEST_WINDOW_S:  # also refuses NaN
        return None
    return Quota(limit, max(remaining, 0), now_s + reset_s, now_s)


def pause_before_call(quota: Quota | None, now_s: float, *, signing_in: bool = False) -> float:
    """Return how many seconds to wait before the next call.

    None while there is plenty, then the calls are spread evenly over the rest of the window, but for those that are
    reserved: only signing in may use them, and it is never slowed down while one is left.
    """
    if quota is None or now_s >= quota.resets_at_s:
        return 0.0
    until_reset_s = quota.resets_at_s - now_s
    if signing_in:
        return 0.0 if quota.remaining > 0 else until_reset_s
    usable = quota.remaining - quota.reserved
    if usable > quota.limit * SCARCE_SHARE:
        return 0.0
    if usable <= 0:
        return until_reset_s
    each_s = (quota.resets_at_s - quota.heard_at_s) / usable
    return max(0.0, quota.heard_at_s + each_s - now_s)


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read `Retry-After`, seconds or an HTTP date, as seconds, at most an hour; None where absent or nonsense."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        moment = _http_date(text)
        if moment is None:
            return None
        seconds = max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
    return min(seconds, LONGEST_WAIT_S) if seconds >= 0 else None  # also refuses NaN


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
