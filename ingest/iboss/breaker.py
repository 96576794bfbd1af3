"""Stop asking a service that fails, and find out with one call at a time whether it is back: a circuit breaker.

    closed ── so many failures within a window ──> open ── the pause is over ──> half open
      ^                                             ^                               │ one probe
      └──────────── the probe succeeds ─────────────┼───────────────────────────────┤
                                                    └── the probe fails, pause x 2 ─┘

Written here, though there are libraries: aiobreaker and pybreaker count failures in a row and not in a window, and
their pause does not grow; purgatory's neither; stamina retries a call and remembers nothing between two; and each of
them reads the clock itself, so that its states cannot be tested in a moment and for every order of events.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Say whether a call may be made; all times are seconds of a monotonic clock, given by the caller.

    Ask `admit` before a call and report its end by exactly one of `succeeded`, `failed`, `abandoned`. Calls take
    turns: with several at once the outcome of an older one would be taken for that of the probe.
    """

    def __init__(
        self, failures: int = 5, window_s: float = 60.0, pause_s: float = 2.0, longest_pause_s: float = 30.0
    ) -> None:
        self._window_s = window_s
        self._first_pause_s = self._pause_s = pause_s
        self._longest_pause_s = longest_pause_s
        self._failed_at_s: deque[float] = deque(maxlen=failures)
        self._opens_at_s: float | None = None  # when the next probe may be made; None while closed
        self._probing = False

    def state(self, now_s: float) -> State:
        """Return the present state."""
        if self._opens_at_s is None:
            return "closed"
        return "half_open" if now_s >= self._opens_at_s else "open"

    def admit(self, now_s: float) -> float:
        """Return 0.0 where a call may be made now, else the seconds to wait; in half open one call may, the probe."""
        if self._opens_at_s is None:
            return 0.0
        if now_s < self._opens_at_s:
            return self._opens_at_s - now_s
        if self._probing:
            return self._pause_s
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """Note that the service answered; a probe that did closes the circuit."""
        if self._probing:
            self._probing = False
            self._opens_at_s = None
            self._pause_s = self._first_pause_s
            self._failed_at_s.clear()

    def failed(self, now_s: float) -> None:
        """Note that the service did not answer, or answered that it cannot."""
        if self._probing:
            self._probing = False
            self._pause_s = min(2 * self._pause_s, self._longest_pause_s)
            self._opens_at_s = now_s + self._pause_s
            return
        self._failed_at_s.append(now_s)
        enough = len(self._failed_at_s) == self._failed_at_s.maxlen
        if self._opens_at_s is None and enough and now_s - self._failed_at_s[0] <= self._window_s:
            self._opens_at_s = now_s + self._pause_s

    def abandoned(self) -> None:
        """Note that a call ended without telling anything, such as by cancellation; the next may be the probe."""
        self._probing = False
