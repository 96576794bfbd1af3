"""Know whether a market is open now, from the table of sessions. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from analytics.sessions import Session

Span = tuple[int, int]


class OpenHours:
    """Hold the sessions of exchanges; one of which there are none counts as always open."""

    def __init__(self, sessions: Iterable[Session] = ()) -> None:
        self._spans: dict[str, list[Span]] = {}
        for one in sessions:
            span = (round(one.opens_at.timestamp() * 1e9), round(one.closes_at.timestamp() * 1e9))
            self._spans.setdefault(one.exchange, []).append(span)
        for spans in self._spans.values():
            spans.sort()

    def opened_ns(self, exchange: str | None, now_ns: int) -> int | None:
        """Return when the session that runs now opened, 0 where the market never closes, None where it is closed."""
        spans = self._spans.get(exchange or "")
        if not spans:
            return 0
        found = bisect_right(spans, now_ns, key=lambda span: span[0]) - 1
        if found < 0 or now_ns >= spans[found][1]:
            return None
        return spans[found][0]
