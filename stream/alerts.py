"""Raise alerts: judge the rules of what this worker holds, and write each crossing into PostgreSQL, once.

Judging never waits. What was seen to cross is kept until PostgreSQL takes it, one crossing a rule at most: a rule whose
alert is on its way neither trips again nor is armed. So what waits has a bound, and nothing in it need be given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import structlog
from redis import RedisError

from db.alert_rules import ChangedRule, changed_rules, rearm
from db.alerts import Crossing, raise_alerts
from db.epochs import PartitionsLost, lost_partitions
from db.live import LiveStore
from db.postgres import DATABASE_AWAY, acquire
from stream.alert_rules import TRIPPED, Rule, RuleBook
from stream.messages import POSITIONS_TOPIC
from stream.metrics import ALERT_RULES, ALERTS_RAISED, ALERTS_WAITING, FENCED_WRITES, OUTAGES
from stream.processor import Processor
from stream.tenure import wanted

log = structlog.get_logger()

JUDGE_EVERY_NS = 250_000_000
READ_EVERY_S = 1.0
RETRY_S = 1.0
RULES_OF_INSTRUMENTS = 0  # whoever has this partition raises them: every worker knows all prices, and one is enough


class Alerts:
    """Keep the rules of one assignment (`epochs`: partition → epoch), and what is to be written of them."""

    def __init__(self, pool: asyncpg.Pool, store: LiveStore, processor: Processor, epochs: Mapping[int, int]) -> None:
        self._pool = pool
        self._store = store
        self._epochs = epochs
        self._rules = RuleBook(processor, with_instruments=RULES_OF_INSTRUMENTS in epochs)
        self._version = 0
        self._judged_ns = 0
        self._crossed: dict[UUID, Crossing] = {}
        self._armed: dict[UUID, int] = {}
        self._news = asyncio.Event()
        self._is_away = False

    @property
    def waiting(self) -> int:
        """Return how many alerts PostgreSQL has not taken yet."""
        return len(self._crossed)

    def judge(self, now_ns: int) -> None:
        """Judge all rules by the revaluation that has just been made, at most four times a second."""
        if now_ns - self._judged_ns < JUDGE_EVERY_NS:
            return
        self._judged_ns = now_ns
        tripped, armed = self._rules.judge(now_ns)
        if not tripped and not armed:
            return
        raised_at = datetime.fromtimestamp(now_ns / 1e9, UTC)
        for one in tripped:
            rule = one.rule
            self._crossed[rule.id] = Crossing(
                rule.id, rule.version, one.value, one.price_source, one.price_ns, raised_at
            )
        self._armed.update({rule.id: rule.version for rule in armed})
        self._news.set()

    async def run(self) -> None:
        """Read rules as they change and write what was seen, until cancelled; raises `PartitionsLost`."""
        while wanted():
            self._news.clear()
            try:
                await self.read()
                await self.write()
            except DATABASE_AWAY as error:
                self._say_away(error)
                await asyncio.sleep(RETRY_S)
                continue
            self._is_away = False
            try:
                async with asyncio.timeout(READ_EVERY_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def read(self) -> None:
        """Take the rules that users have changed since; what was seen of their earlier versions no longer counts."""
        async with acquire(self._pool) as connection:
            changed = await changed_rules(connection, self._version)
        for one in changed:
            self._version = one.version
            self._crossed.pop(one.id, None)
            self._armed.pop(one.id, None)
            if one.active and (one.armed or one.repeat == "each_time"):
                self._rules.put(_rule(one))
            else:
                self._rules.drop(one.id)
        ALERT_RULES.set(len(self._rules))
        ALERTS_WAITING.set(self.waiting)

    async def write(self) -> None:
        """Write what was seen: rules armed again, then alerts, in one transaction; then tell the web processes."""
        crossed, armed = tuple(self._crossed.values()), dict(self._armed)
        if not crossed and not armed:
            return
        async with acquire(self._pool) as connection, connection.transaction():
            await self._require_ours(connection)
            await rearm(connection, armed)
            raised = await raise_alerts(connection, crossed)
        for rule_id in armed:
            del self._armed[rule_id]
        for one in crossed:
            del self._crossed[one.rule_id]
            self._settle(one.rule_id, is_raised=one.rule_id in raised)
        ALERTS_RAISED.inc(len(raised))
        ALERTS_WAITING.set(self.waiting)
        await self._announce(set(raised.values()))

    async def _require_ours(self, connection: asyncpg.Connection) -> None:
        lost = await lost_partitions(connection, POSITIONS_TOPIC, self._epochs)
        if lost:
            FENCED_WRITES.labels("postgres").inc(self.waiting)
            raise PartitionsLost(f"another worker has taken partitions {sorted(lost)}")

    def _settle(self, rule_id: UUID, *, is_raised: bool) -> None:
        """Go on with a rule whose crossing PostgreSQL has taken or refused.

        It refuses where the user may not see the portfolio now, where the rule has changed or where another worker was
        first: all this may pass, so the rule is tripped here, also one that is for once, and tried again when its value
        has been back.
        """
        if is_raised and not self._rules.repeats(rule_id):
            self._rules.drop(rule_id)
        else:
            self._rules.set_state(rule_id, TRIPPED)

    async def _announce(self, users: Collection[UUID]) -> None:
        try:
            await self._store.announce_alerts(users)
        except RedisError as error:
            OUTAGES.labels("redis").inc()
            log.warning("redis did not take word of alerts; web processes find them by themselves", error=repr(error))

    def _say_away(self, error: BaseException) -> None:
        OUTAGES.labels("postgres").inc()
        ALERTS_WAITING.set(self.waiting)
        if not self._is_away:  # once an outage: it is tried each second
            log.warning("PostgreSQL does not take alerts; they are kept", waiting=self.waiting, error=repr(error))
        self._is_away = True


def _rule(changed: ChangedRule) -> Rule:
    return Rule(
        changed.id,
        changed.version,
        changed.kind,
        changed.instrument_id,
        None if changed.portfolio_id is None else str(changed.portfolio_id),
        1 if changed.direction == "above" else -1,
        float(changed.threshold),
        changed.repeat == "each_time",
        changed.armed,
    )
