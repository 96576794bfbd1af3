"""Keep within the quota of calls that IBOSS states in its headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SCARCE_SHARE = 0.2  # below this share of the window's calls the rest is spread over its time
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Quota:
    """Hold what the last answer said: calls a window, calls left, and when (monotonic s) the window ends."""

    limit: int
    remaining: int
    resets_at_s: float


def parse_quota(headers: Mapping[str, str], now_s: float) -> Quota | None:
    """Read `X-Quota-Limit`, `-Remaining` and `-Reset` (seconds); None where absent or not numbers."""
    try:
        limit, remaining = int(headers["X-Quota-Limit"]), int(headers["X-Quota-Remaining"])
        reset_s = float(headers["X-Quota-Reset"])
    except (KeyError, ValueError):
        return None
    if limit <= 0 or not 0 <= reset_s <= 3600:  # also refuses NaN
        return None
    return Quota(limit, max(remaining, 0), now_s + reset_s)


def pause_before_call(quota: Quota | None, now_s: float) -> float:
    """Return how many seconds to wait before the next call: none while there is plenty, then spread evenly."""
    if quota is None or now_s >= quota.resets_at_s or quota.remaining > quota.limit * SCARCE_SHARE:
        return 0.0
    left_s = quota.resets_at_s - now_s
    pause_s = left_s if quota.remaining == 0 else left_s / quota.remaining
    return min(pause_s, LONGEST_WAIT_S)


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After` in seconds; None where it is absent, a date or nonsense."""
    try:
        seconds = float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds <= 3600 else None
