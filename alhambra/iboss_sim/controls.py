"""Hold what can be changed about the simulator while it runs, so that a test can make it fail."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec

FAILURES = ("fault", "http", "garbage", "truncated", "dtd", "hang_up")


class ControlOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say what to change; what is absent stays.

    `fail_next` answers of the coming calls fail in the way of `failure` (one of `FAILURES`).
    `expire_sessions` ends all sessions, `expire_password` the password of a user. `trade` books one; `split` announces
    that what all accounts hold of an instrument will split, and its price with it.
    """

    latency_ms: float | None = None
    failure_rate: float | None = None
    session_seconds: float | None = None
    quota_per_minute: int | None = None
    fail_next: int | None = None
    failure: str | None = None
    expire_sessions: bool = False
    expire_password: str | None = None
    trade: TradeOrder | None = None
    split: SplitOrder | None = None


class TradeOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for one trade: a signed quantity of a symbol at a price in its currency."""

    account: str
    symbol: str
    quantity: str
    price: str


class SplitOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for a split: so many new shares, a decimal number, for one old; below 1 it is a reverse split.

    It takes effect in so many seconds: long enough, unless told otherwise, for everybody to learn of it before.
    """

    symbol: str
    ratio: str
    in_seconds: float = 20.0


@dataclass(slots=True)
class Controls:
    """Hold the present settings; `failure_rate` is a share of calls, `failure` how they fail."""

    latency_ms: float = 0.0
    failure_rate: float = 0.0
    session_seconds: float = 900.0
    quota_per_minute: int = 3000
    fail_next: int = 0
    failure: str = "fault"
    chance: random.Random = field(default_factory=lambda: random.Random(7), repr=False)  # noqa: S311  not for secrets

    def apply(self, order: ControlOrder) -> None:
        """Take over the settings that an order names; raises `ValueError` for an unknown way to fail."""
        if order.failure is not None and order.failure not in FAILURES:
            raise ValueError(f"failure is one of {', '.join(FAILURES)}")
        for name in ("latency_ms", "failure_rate", "session_seconds", "quota_per_minute", "fail_next", "failure"):
            value = getattr(order, name)
            if value is not None:
                setattr(self, name, value)

    def next_failure(self) -> str | None:
        """Return how the call at hand is to fail, or None when it is not."""
        if self.fail_next > 0:
            self.fail_next -= 1
            return self.failure
        return self.failure if self.chance.random() < self.failure_rate else None
