"""Gather what a feed refuses into dead letters, at most one a second and reason, however much is wrong."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import structlog

from ingest.market.source import Refuse
from stream.messages import QUOTES_TOPIC, DeadLetter, QuoteBatch, encode_quotes

LOG_EVERY_S = 10.0
PAYLOAD_BYTES = 4096

log = structlog.get_logger()


@dataclass(slots=True)
class _Gathered:
    """Hold the first of one reason since the last letter, and how many there were."""

    topic: str
    detail: str
    payload: bytes
    received_ns: int
    count: int = 0


class Quarantine:
    """Take what cannot be used, at once; `flush` hands on letters with the first sample and the number of each reason.

    `reasons` counts all since the beginning. Memory is bounded by the number of reasons, which venues' decoders and
    the checks name, and not what is received.
    """

    def __init__(self, source: str, refuse: Refuse) -> None:
        self.reasons: Counter[str] = Counter()
        self._source = source
        self._refuse = refuse
        self._gathered: dict[tuple[str, str], _Gathered] = {}
        self._logged_s: dict[str, float] = {}

    def add_record(self, reason: str, detail: str, record: bytes, received_ns: int) -> None:
        """Take a record of the venue that cannot be read, or a part of it."""
        self._add(f"venue:{self._source}", reason, detail, record[:PAYLOAD_BYTES], received_ns, 1)

    def add_quotes(self, reason: str, detail: str, quotes: QuoteBatch) -> None:
        """Take quotes that were read and cannot be used; the letter can be put back on the topic of quotes."""
        self._add(QUOTES_TOPIC, reason, detail, encode_quotes(quotes), time.time_ns(), len(quotes))

    async def flush(self) -> None:
        """Hand the letters on."""
        gathered, self._gathered = self._gathered, {}
        for (_, reason), one in gathered.items():
            self._log(reason, one)
            detail = f"{one.detail} ({one.count} of {self._source} since the last letter)"
            await self._refuse(
                DeadLetter(one.topic, -1, -1, reason, detail, one.payload, one.received_ns, count=one.count)
            )

    def _log(self, reason: str, gathered: _Gathered) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s.get(reason, -LOG_EVERY_S) >= LOG_EVERY_S:
            self._logged_s[reason] = now_s
            log.warning(
                "quarantined", source=self._source, reason=reason, detail=gathered.detail, so_far=self.reasons[reason]
            )

    def _add(self, topic: str, reason: str, detail: str, payload: bytes, received_ns: int, count: int) -> None:
        self.reasons[reason] += count
        found = self._gathered.get((topic, reason))
        if found is None:
            found = self._gathered[(topic, reason)] = _Gathered(topic, detail, payload, received_ns)
        found.count += count
