"""Say when to ask a venue again for what was lost: soon, then less and less often."""

from __future__ import annotations

SECOND_NS = 1_000_000_000
PATIENCE_NS = 10 * SECOND_NS  # how long an answer is waited for before it is asked again
LONGEST_NS = 60 * SECOND_NS
CALM_NS = 60 * SECOND_NS


class Resync:
    """Bound how often one symbol is asked for, so that a venue whose answers do not help is not hammered.

    The first time is at once. Whoever asks again within a minute waits 1 s, 2 s, … 60 s between two times.
    """

    __slots__ = ("_asked_ns", "_pause_ns")

    def __init__(self) -> None:
        self._asked_ns = 0
        self._pause_ns = 0

    def due(self, now_ns: int, patience_ns: int = 0) -> bool:
        """Say whether it may be asked now; and if so, take it as asked. `patience_ns` is a least pause."""
        since = now_ns - self._asked_ns
        if since < max(self._pause_ns, patience_ns):
            return False
        calm = since >= max(CALM_NS, 2 * self._pause_ns)
        self._pause_ns = SECOND_NS if calm else min(max(2 * self._pause_ns, SECOND_NS), LONGEST_NS)
        self._asked_ns = now_ns
        return True
