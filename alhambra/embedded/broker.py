"""Run a Kafka-protocol broker: librdkafka's in-process cluster, which serves one laptop and keeps nothing.

`python -m alhambra.embedded.broker ADDRESS_FILE` writes `host:port` into the file once it serves. The port is new
at each start and the topics are empty: see docs/decisions/0003-embedded-servers.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from alhambra.launch import Launch, python_module

PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class BrokerServer:
    """Describe the broker process that says its address in `address_file`."""

    address_file: Path

    def prepare(self) -> None:
        """Forget the address of an earlier broker."""
        self.address_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.address_file.unlink(missing_ok=True)

    def launch(self) -> Launch:
        """Return how the broker is started; `prepare` must have been called."""
        return Launch(python_module("alhambra.embedded.broker", str(self.address_file)))

    @property
    def servers(self) -> str:
        """Return the bootstrap servers, or an empty string while the broker has not said them."""
        return self.address_file.read_text() if self.address_file.exists() else ""

    async def answers(self) -> bool:
        """Say whether the broker has said its address and answers a metadata request there."""
        return bool(self.servers) and await kafka_answers(self.servers)


async def kafka_answers(servers: str) -> bool:
    """Say whether a Kafka cluster answers a metadata request within two seconds."""
    return await asyncio.to_thread(_has_brokers, servers)


def _has_brokers(servers: str) -> bool:
    client = AdminClient({"bootstrap.servers": servers, "log_level": 0, "socket.timeout.ms": 2000})
    try:
        return bool(client.list_topics(timeout=PROBE_SECONDS).brokers)
    except KafkaException:
        return False


@contextmanager
def open_broker() -> Iterator[str]:
    """Serve a cluster of one broker inside this process; gives its bootstrap servers."""
    holder = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0})
    brokers = holder.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{one.host}:{one.port}" for one in brokers)
    del holder  # the cluster lives as long as the client that holds it


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the library's threads begin, so that they inherit it
    address_file = Path(sys.argv[1])
    with open_broker() as servers:
        unfinished = address_file.with_suffix(".new")
        unfinished.write_text(servers)
        unfinished.rename(address_file)
        signal.sigwait(ends)
    sys.stderr.flush()
    os._exit(0)  # the library waits seconds for requests that nobody answers any more


if __name__ == "__main__":
    main()
