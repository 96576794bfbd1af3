"""Stand in for the time and for Kafka where a test of the market feeds needs to hold them in its hand."""

from __future__ import annotations

import asyncio

from stream.messages import DeadLetter


class FakeClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self, now_ns: int = 1_800_000_000_000_000_000) -> None:
        self.wall_ns = now_ns
        self.slept_ns = 0

    def now_ns(self) -> int:
        return self.wall_ns + self.slept_ns

    def monotonic_ns(self) -> int:
        return self.slept_ns

    async def sleep(self, seconds: float) -> None:
        self.slept_ns += round(seconds * 1e9)
        await asyncio.sleep(0)


class HeldProducer:
    """A producer whose broker acknowledges only what the test lets it."""

    def __init__(self, partitions: int = 4) -> None:
        self.records: list[tuple[str, bytes, int | None]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.held = False
        self._partitions = set(range(partitions))

    async def partitions_for(self, topic: str) -> set[int]:
        return self._partitions

    async def send(self, topic: str, value: bytes, partition: int | None = None) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.records.append((topic, value, partition))
        self.waiting.append(future)
        if not self.held:
            self.release()
        return future

    def release(self, failure: Exception | None = None) -> None:
        for future in self.waiting:
            future.set_exception(failure) if failure else future.set_result(None)
        self.waiting.clear()


class Letters(list[DeadLetter]):
    """Dead letters, collected."""

    async def refuse(self, letter: DeadLetter) -> None:
        self.append(letter)
