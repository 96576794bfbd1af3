"""Send what the worker has to say to Kafka, without ever holding the worker up.

Valuations are conflated: the newest of each portfolio waits. Dead letters wait in order, at most ten
thousand; beyond that the oldest goes and is counted.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from stream.messages import DEAD_LETTERS_TOPIC, VALUATIONS_TOPIC, DeadLetter, encode_message
from stream.metrics import DEAD_LETTERS, DROPPED, OUTAGES

log = structlog.get_logger()

LETTERS = 10_000
RETRY_S = 1.0


class Outbox:
    """Keep what is to be sent; `run` sends it."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._valuations: dict[str, bytes] = {}
        self._letters: deque[DeadLetter] = deque()
        self._filled = asyncio.Event()

    def add_valuations(self, valuations: dict[str, bytes]) -> None:
        """Put valuations by portfolio; a newer one takes the place of one that still waits."""
        self._valuations.update(valuations)
        self._filled.set()

    def add_letter(self, letter: DeadLetter) -> None:
        """Put a dead letter, and say so in the log."""
        if len(self._letters) >= LETTERS:
            self._letters.popleft()
            DROPPED.labels("dead_letters").inc()
        self._letters.append(letter)
        self._filled.set()
        DEAD_LETTERS.labels(letter.reason).inc()
        log.warning(
            "record refused",
            reason=letter.reason,
            detail=letter.detail,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            count=letter.count,
        )

    async def run(self) -> None:
        """Send for ever; what could not be sent stays and is tried again each second."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            try:
                await self._send_letters()
                await self._send_valuations()
            except KafkaError as error:
                OUTAGES.labels("kafka").inc()
                log.warning("kafka did not take a record; it is kept", error=repr(error))
                self._filled.set()
                await asyncio.sleep(RETRY_S)

    async def _send_letters(self) -> None:
        while self._letters:
            letter = self._letters.popleft()  # off the queue while it is sent: a full queue may move meanwhile
            try:
                await self._producer.send_and_wait(DEAD_LETTERS_TOPIC, encode_message(letter))
            except MessageSizeTooLargeError:
                DROPPED.labels("dead_letters").inc()
                log.exception("a dead letter is too large for the topic", topic=letter.topic, offset=letter.offset)
            except KafkaError:
                self._letters.appendleft(letter)
                raise

    async def _send_valuations(self) -> None:
        """Send a round; what was not acknowledged waits again, unless a newer one has come meanwhile."""
        waiting, self._valuations = self._valuations, {}
        try:
            await self._send_round(waiting)
        except KafkaError:
            self._valuations = {**waiting, **self._valuations}
            raise

    async def _send_round(self, waiting: dict[str, bytes]) -> None:
        """Hand all over, then wait for the acknowledgements: the producer batches what is handed over together.

        What is acknowledged leaves `waiting`.
        """
        sent = {}
        for portfolio, document in list(waiting.items()):
            try:
                sent[portfolio] = await self._producer.send(VALUATIONS_TOPIC, document, key=portfolio.encode())
            except MessageSizeTooLargeError:
                del waiting[portfolio]
                DROPPED.labels("valuations").inc()
                log.exception("a valuation is too large for the topic", portfolio=portfolio)
        found = await asyncio.gather(*sent.values(), return_exceptions=True)
        failures = [outcome for outcome in found if isinstance(outcome, BaseException)]
        for portfolio, outcome in zip(sent, found, strict=True):
            if not isinstance(outcome, BaseException):
                del waiting[portfolio]
        if failures:
            raise failures[0]
