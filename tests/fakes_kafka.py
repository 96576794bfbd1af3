"""Run Apache Kafka for the tests, and stream workers as processes that a test may kill, hold or end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import httpx
import platformdirs
import pytest
from fakes import eventually, open_server
from fakes_stream import Stage

from alhambra.embedded.broker import kafka_answers
from alhambra.launch import Launch, python_module
from alhambra.ports import free_port
from stream.messages import POSITIONS_TOPIC
from stream.restore import partition_of

VERSION = "4.1.0"
FETCH_SECONDS = 300
PARTITIONS = 4
# The broker with all it needs, and what writes its log to standard output
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>alhambra</groupId><artifactId>kafka-under-test</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
    </dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version></dependency>
  </dependencies>
</project>
"""


def fetched_kafka() -> Path:
    """Return the folder of the broker's jars, fetched once by Maven; where that cannot be, see `do_without`."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            do_without(f"needs {program} to run Apache Kafka, or KAFKA_BOOTSTRAP_SERVERS")
    folder = Path(platformdirs.user_cache_dir("alhambra")) / f"kafka-{VERSION}"
    if not (folder / "libs").is_dir():
        _fetch(folder)
    return folder / "libs"


def do_without(reason: str) -> NoReturn:
    """Skip on a laptop; fail under CI, which would otherwise pass without having tested anything."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM)
    unfinished = folder / f"libs.{os.getpid()}"
    command = ["mvn", "-B", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={unfinished}"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS)
        unfinished.rename(folder / "libs")
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stdout", None) or str(error)).strip().splitlines()
        do_without(f"Maven cannot fetch Apache Kafka: {said[0] if said else error}")


class ApacheKafka:
    """A broker that is its own controller (KRaft), which a test may end and begin again with what it holds."""

    def __init__(self, folder: Path, libraries: Path) -> None:
        self._folder = folder
        self._libraries = libraries
        self._port, self._controller_port = free_port(), free_port()
        self._running = ExitStack()

    @property
    def servers(self) -> str:
        """Return the bootstrap servers."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Begin, and wait until it answers; the first time its folder is made."""
        if not self._folder.exists():
            self._format()
        launch = Launch(self._java("512M", "kafka.Kafka", str(self._folder / "server.properties")))
        self._running.enter_context(open_server(launch, self._folder / "server.log"))
        await eventually(lambda: kafka_answers(self.servers), "Apache Kafka answers", 60)

    def stop(self) -> None:
        """End it; what it holds stays on disk."""
        self._running.close()

    def _format(self) -> None:
        self._folder.mkdir(parents=True)
        configuration = self._folder / "server.properties"
        configuration.write_text(self._configuration())
        identity = subprocess.run(
            self._java("128M", "kafka.tools.StorageTool", "random-uuid"),
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout.split()[-1]  # fmt: skip
        subprocess.run(
            self._java("256M", "kafka.tools.StorageTool", "format", "-t", identity, "-c", str(configuration)),
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip

    def _java(self, memory: str, main: str, *arguments: str) -> tuple[str, ...]:
        return (str(shutil.which("java")), f"-Xmx{memory}", "-cp", f"{self._libraries}/*", main, *arguments)

    def _configuration(self) -> str:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self._folder / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "log.retention.check.interval.ms": 500,
            "log.initial.task.delay.ms": 500,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())


@dataclass
class Crew:
    """Stream workers as real processes of one group on one stage, and who of them owns which portfolio."""

    stage: Stage
    log: Path
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _metrics: dict[str, int] = field(default_factory=dict)
    _running: ExitStack = field(default_factory=ExitStack)

    async def counted(self, name: str, metric: str) -> float:
        """Return what a worker has counted, over all labels."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{self._metrics[name]}/metrics")
        lines = (line for line in answer.text.splitlines() if line.startswith(metric))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def join(self, name: str) -> None:
        """Start a worker; it is not yet one of the group when this returns."""
        settings = self.stage.settings
        environment = {
            "DATABASE_URL": settings.database_url.get_secret_value(),
            "REDIS_URL": settings.redis_url.get_secret_value(),
            "KAFKA_BOOTSTRAP_SERVERS": self.stage.servers,
            "CONSUMER_GROUP": settings.consumer_group,
            "WORKER_NAME": name,
            "METRICS_PORT": str(self._metrics.setdefault(name, free_port())),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        launch = Launch(python_module("stream"), environment)
        self.workers[name] = self._running.enter_context(open_server(launch, self.log))

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a worker a signal."""
        self.workers[name].send_signal(number)

    def end(self) -> None:
        """End all workers, those too that are held."""
        for worker in self.workers.values():
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
        self._running.close()

    async def gather(self, *names: str) -> None:
        """Start workers, and wait until they share the portfolios and value them all."""
        for name in names:
            self.join(name)
        await eventually(lambda: self.is_shared(*names), f"{' and '.join(names)} own everything", 40)
        await eventually(self.all_right, "they value everything", 30)

    async def is_shared(self, *names: str) -> bool:
        """Say whether these workers, each with a part, own all portfolios."""
        return set((await self.owners()).values()) == set(names)

    async def all_taken_since(self, before: Mapping[int, int]) -> bool:
        """Say whether every partition has been taken over since these epochs."""
        epochs = await self.epochs()
        return all(epochs[partition] > epoch for partition, epoch in before.items())

    async def epochs(self) -> dict[int, int]:
        """Return the newest epoch of every partition that was ever taken."""
        return {number: epoch for number, (epoch, _) in (await self._taken()).items()}

    async def owners(self) -> dict[str, str]:
        """Return who owns each portfolio of the bank, by the partition it falls into."""
        taken = await self._taken()
        found = {one: taken.get(partition_of(one, PARTITIONS)) for one in self.stage.bank.records}
        return {portfolio: owner for portfolio, (_, owner) in ((one, has or (0, "")) for one, has in found.items())}

    async def all_right(self) -> bool:
        """Say whether every portfolio is valued rightly, under the newest epoch of its partition."""
        epochs = await self.epochs()
        for portfolio in self.stage.bank.records:
            found = await self.stage.is_right(portfolio)
            if found is None or found.epoch != epochs.get(partition_of(portfolio, PARTITIONS)):
                return False
        return True

    async def totals_are(self, *names: str) -> bool:
        """Say whether the newest totals of these workers together hold each portfolio once, and rightly."""
        held: list[str] = []
        owners = await self.owners()
        for name in names:
            totals, layout = await self.stage.live.totals(name), await self.stage.live.layout(name)
            if totals is None or layout is None or totals.epoch != layout.epoch:
                return False
            held += [portfolio for portfolio in layout.portfolios if owners[portfolio] == name]
            if len(layout.portfolios) != sum(owner == name for owner in owners.values()):
                return False
        return sorted(held) == sorted(self.stage.bank.records)

    async def _taken(self) -> dict[int, tuple[int, str]]:
        rows = await self.stage.bank.pool.fetch(
            "select partition, epoch, owner from partition_epochs where topic = $1", POSITIONS_TOPIC
        )
        return {partition: (epoch, owner) for partition, epoch, owner in rows}
