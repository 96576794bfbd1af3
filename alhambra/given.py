"""Check the servers whose addresses are given, before anything is started."""

from __future__ import annotations

from alhambra.embedded.broker import kafka_answers
from alhambra.embedded.postgres import database_answers
from alhambra.embedded.valkey import redis_answers
from alhambra.errors import CannotStart
from alhambra.settings import DoorSettings, revealed


async def require_answers(settings: DoorSettings) -> None:
    """Check that each given server answers; raises `CannotStart` naming the one that does not."""
    checks = (
        ("DATABASE_URL", revealed(settings.database_url), database_answers),
        ("REDIS_URL", revealed(settings.redis_url), redis_answers),
        ("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers, kafka_answers),
    )
    for name, address, answers in checks:
        if address is not None and not await answers(address):
            raise CannotStart(f"{name} is set, but nothing answers there: start it, or unset it to have one started.")
