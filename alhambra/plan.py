"""Plan a run: which servers are started here, which are given, and how every process is started."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from alhambra.child import Child
from alhambra.data_folder import DataFolder, Secrets
from alhambra.demonstration import Demonstration
from alhambra.embedded.broker import BrokerServer
from alhambra.embedded.postgres import PostgresServer
from alhambra.embedded.valkey import ValkeyServer
from alhambra.http_probe import http_answers
from alhambra.launch import Launch, python_module
from alhambra.options import UpOptions
from alhambra.ports import LOOPBACK, free_port
from alhambra.settings import DoorSettings, revealed
from db.live import LiveStore

SERVER_RANK, SOURCE_RANK, WORKER_RANK = 0, 1, 2
TRADE_EVERY_S = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold what a run consists of. A server that is None is not ours: its address is in `settings`."""

    options: UpOptions
    settings: DoorSettings
    folder: DataFolder
    secrets: Secrets
    postgres: PostgresServer | None
    valkey: ValkeyServer | None
    broker: BrokerServer | None
    iboss_port: int | None

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"http://{LOOPBACK}:{self.options.port}"

    @property
    def database_url(self) -> str:
        """Return the address of the database."""
        return self.postgres.url() if self.postgres else revealed(self.settings.database_url) or ""

    @property
    def redis_url(self) -> str:
        """Return the address of Redis."""
        return self.valkey.url if self.valkey else revealed(self.settings.redis_url) or ""

    @property
    def kafka_servers(self) -> str:
        """Return the bootstrap servers now: an embedded broker moves when it is started again."""
        return self.broker.servers if self.broker else self.settings.kafka_bootstrap_servers or ""

    @property
    def iboss_url(self) -> str:
        """Return the address of IBOSS."""
        if self.iboss_port is None:
            return self.settings.iboss_api_url or ""
        return f"http://{LOOPBACK}:{self.iboss_port}/soap"

    def environment(self, bank: Demonstration) -> dict[str, str]:
        """Return the environment of the workers, the same names as in production."""
        given, first = self.settings, bank.iboss_logins[0]
        logins = msgspec.json.encode(bank.logins).decode()
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka_servers,
            "IBOSS_API_URL": self.iboss_url,
            "IBOSS_API_KEY": revealed(given.iboss_api_key) or self.secrets.iboss_api_key,
            "IBOSS_USERNAME": given.iboss_username or first.username,
            "IBOSS_PASSWORD": revealed(given.iboss_password) or first.password,
            "JWT_SECRET": revealed(given.jwt_secret) or self.secrets.jwt_secret,
            "JWT_EXPIRES_IN": given.jwt_expires_in,
            "REFRESH_TOKEN_EXPIRES_IN": given.refresh_token_expires_in,
            "FRONTEND_URL": given.frontend_url or self.url,
            "MARKET_FEED": self.options.feed,
            "LOG_LEVEL": given.log_level,
            "PORT": str(self.options.port),
            "DEMO_LOGINS": logins,
        }


def create_plan(options: UpOptions, settings: DoorSettings, folder: DataFolder) -> Plan:
    """Plan a run: what has no address in the environment is started here, on a free port."""
    secrets = folder.secrets()
    place = folder.path
    return Plan(
        options,
        settings,
        folder,
        secrets,
        None if settings.database_url else PostgresServer(place / "postgres", free_port(), secrets.postgres_password),
        None if settings.redis_url else ValkeyServer(place / "valkey", free_port(), secrets.valkey_password),
        None if settings.kafka_bootstrap_servers else BrokerServer(folder.run / "broker.address"),
        None if settings.iboss_api_url else free_port(),
    )


def postgres_child(server: PostgresServer) -> Child:
    """Describe the database as a child; SIGINT is its fast shutdown, which waits for nobody."""
    return Child("postgres", _prepared(server), server.answers, rank=SERVER_RANK, stop_signal=signal.SIGINT)


def server_children(plan: Plan) -> list[Child]:
    """Describe the other servers that are started here."""
    servers = {"valkey": plan.valkey, "broker": plan.broker}
    return [
        Child(name, _prepared(server), server.answers, rank=SERVER_RANK)
        for name, server in servers.items()
        if server is not None
    ]


def iboss_child(plan: Plan) -> list[Child]:
    """Describe the IBOSS simulator, where it is started here."""
    if plan.iboss_port is None:
        return []
    options = ["--port", str(plan.iboss_port), "--data", str(plan.folder.path / "iboss")]
    options += ["--today", datetime.now(UTC).date().isoformat(), "--trade-every", str(TRADE_EVERY_S)]
    if plan.options.portfolios is not None:
        options += ["--portfolios", str(plan.options.portfolios)]
    command = python_module("alhambra.iboss_sim", *options)
    secret = revealed(plan.settings.iboss_api_key) or plan.secrets.iboss_api_key

    def launch() -> Launch:
        (plan.folder.path / "iboss").mkdir(mode=0o700, exist_ok=True)
        return Launch(command, {"IBOSS_API_KEY": secret, "REDIS_URL": plan.redis_url})

    return [Child("iboss", launch, http_answers(f"{plan.iboss_url}?wsdl"), rank=SOURCE_RANK)]


def worker_children(plan: Plan, bank: Demonstration, store: LiveStore) -> list[Child]:
    """Describe the processes that production runs too, but for the one that polls IBOSS."""
    api_answers = http_answers(f"{plan.url}/api/health")
    return [
        _reporting(plan, bank, store, "ingest-market", ("ingest", "market"), "market:"),
        _reporting(plan, bank, store, "stream", ("stream",), "stream"),
        Child("api", lambda: Launch(python_module("api"), plan.environment(bank)), api_answers, rank=WORKER_RANK),
    ]


def iboss_worker(plan: Plan, bank: Demonstration, store: LiveStore) -> Child:
    """Describe the process that polls IBOSS; started after IBOSS, so that it need not wait out a back-off."""
    return _reporting(plan, bank, store, "ingest-iboss", ("ingest", "iboss"), "iboss")


def _reporting(
    plan: Plan, bank: Demonstration, store: LiveStore, name: str, module: tuple[str, ...], component: str
) -> Child:
    """Describe a worker that is ready once it has reported on `component` (a beginning) since it was started."""
    started_ns = 0
    metrics_port = str(free_port())

    def launch() -> Launch:
        nonlocal started_ns
        started_ns = time.time_ns()
        return Launch(python_module(*module), {**plan.environment(bank), "METRICS_PORT": metrics_port})

    async def answers() -> bool:
        reports = await store.health()
        fresh = (one for one in reports.values() if one.reported_ns > started_ns)
        return any(one.component.startswith(component) for one in fresh)

    follows = ("broker",) if plan.broker else ()
    return Child(name, launch, answers, follows, WORKER_RANK)


def _prepared(server: PostgresServer | ValkeyServer | BrokerServer) -> Callable[[], Launch]:
    def launch() -> Launch:
        server.prepare()
        return server.launch()

    return launch
