"""What the stream's compiled pass made of a random book follows, to the minor unit, from what was stored of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from books import MINOR_UNITS, SPECS, quotes
from fakes_stream import SmallBank, open_small_bank

from analytics.splits import create_splits
from api.portfolio.past import NotRebuilt, nanoseconds, rebuild
from db.corporate_actions import CorporateAction, insert_actions, splits
from db.epochs import take_epochs
from db.instruments import instruments
from db.ledger import PositionSet, store
from db.time_machine import Moment, read_moment
from stream.messages import POSITIONS_TOPIC, PortfolioPositions, Position, encode_message
from stream.recorder import Recorder
from stream.roll import restore_days

pytestmark = pytest.mark.integration
MINUTE = datetime(2026, 1, 7, 15, tzinfo=UTC)  # a Wednesday
NOW_NS = nanoseconds(MINUTE)
DAY_NS = 86_400 * 10**9
QUOTED = [spec for spec in SPECS if spec.asset_class != "cash"]


def amount(random: np.random.Generator, most: int, places: int = 2) -> Decimal:
    return Decimal(int(random.integers(-most, most))).scaleb(-places)


def random_positions(random: np.random.Generator, portfolio: str, base: str) -> PortfolioPositions:
    """Return positions in everything that can be held, short ones too, of today or of yesterday."""
    lines = tuple(
        Position(
            spec.id,
            amount(random, 10**9, 6),
            amount(random, 10**8),
            amount(random, 10**8),
            amount(random, 10**9, 6),
            amount(random, 10**7),
            amount(random, 10**6),
            amount(random, 10**7) if random.random() < 0.5 else None,
        )
        for spec in SPECS
        if spec.asset_class not in ("fx", "index") and random.random() < 0.8
    )
    event_ns = NOW_NS - int(random.integers(0, DAY_NS))
    return PortfolioPositions(portfolio, 1, base, lines, event_ns, event_ns, str(random.choice(["UTC", "Asia/Dubai"])))


async def record_minute(bank: SmallBank, seed: int) -> list[Moment]:
    """Record a minute of random portfolios in every currency, and read it back."""
    random = np.random.default_rng(seed)
    before = MINUTE.date() - timedelta(days=1)
    for spec in QUOTED:
        await bank.add_close(spec.id, before, spec.prior_close)
    portfolios = {base: await bank.add_portfolio(base) for base in MINOR_UNITS}
    async with bank.pool.acquire() as connection:
        await take_epochs(connection, POSITIONS_TOPIC, [0], "this")
        processor, days = await restore_days(connection, NOW_NS)
        for base, portfolio in portfolios.items():
            record = random_positions(random, portfolio, base)
            stored = PositionSet(UUID(portfolio), 1, MINUTE, MINUTE, encode_message(record))
            await store(connection, None, [stored], [])
            processor.apply_positions(record, 0, 1)
        moved = [(spec.id, round(spec.prior_close * random.uniform(0.9, 1.1), 3)) for spec in QUOTED]
        processor.apply_quotes(quotes(*moved, event_ns=NOW_NS), NOW_NS)
        processor.revalue(NOW_NS)
        recorder = Recorder(bank.pool, processor, {0: 1}, 1, days)
        recorder.keep(MINUTE)
        await recorder.write()
        found = [await read_moment(connection, UUID(one), MINUTE + timedelta(hours=1)) for one in portfolios.values()]
    return [moment for moment in found if moment is not None]


@pytest.mark.parametrize("seed", range(2))
async def test_every_total_equals_its_recomputation_and_the_sum_of_its_rows(postgres_url: str, seed: int) -> None:
    async with open_small_bank(postgres_url) as bank:
        moments = await record_minute(bank, seed)
        async with bank.pool.acquire() as connection:
            known = await instruments(connection)
    assert [moment.base_currency for moment in moments] == list(MINOR_UNITS)
    for moment in moments:
        found = rebuild(moment, known, MINOR_UNITS)
        assert found.differences == ()
        scale = 10 ** MINOR_UNITS[moment.base_currency]
        for name, total in (("value", "total_equity"), ("day_pnl", "day_pnl"), ("unrealised_pnl", "unrealised_pnl")):
            rows = sum(round(getattr(row, name) * scale) for row in found.valuation.rows)
            assert rows == getattr(moment.totals, total)


async def test_an_instrument_of_which_nothing_is_known_is_named(postgres_url: str) -> None:
    async with open_small_bank(postgres_url) as bank:
        moment = (await record_minute(bank, 0))[0]
    with pytest.raises(NotRebuilt, match="nothing was known then of"):
        rebuild(moment, [], MINOR_UNITS)


async def test_each_worker_is_held_to_its_own_prices(postgres_url: str) -> None:
    """Two workers end the same minute at different instants: the price of the one is not that of the other."""
    async with open_small_bank(postgres_url) as bank, bank.pool.acquire() as connection:
        await bank.add_close(3, MINUTE.date() - timedelta(days=1), 150.0)
        await take_epochs(connection, POSITIONS_TOPIC, [0, 1], "both")
        found = []
        for partition, price in ((0, 155.0), (1, 156.0)):
            portfolio = await bank.add_portfolio("USD")
            record = await bank.book(portfolio, "USD", 1, (3, "10"), event_ns=NOW_NS)
            processor, days = await restore_days(connection, NOW_NS)
            processor.apply_positions(record, partition, 1)
            processor.apply_quotes(quotes((3, price), event_ns=NOW_NS), NOW_NS)
            processor.revalue(NOW_NS)
            recorder = Recorder(bank.pool, processor, {partition: 1}, 100 + partition, days)
            recorder.keep(MINUTE)
            await recorder.write()
            found.append(UUID(portfolio))
        known = await instruments(connection)
        moments = [await read_moment(connection, one, MINUTE + timedelta(minutes=1)) for one in found]
    rebuilt = [rebuild(moment, known, MINOR_UNITS) for moment in moments if moment is not None]
    assert [(one.valuation.rows[0].price, one.differences) for one in rebuilt] == [(155.0, ()), (156.0, ())]


async def test_minutes_of_before_and_after_a_split_are_rebuilt_in_their_own_shares(postgres_url: str) -> None:
    effective = MINUTE + timedelta(seconds=30)
    split = CorporateAction("iboss", "A", 1, 3, "split", MINUTE.date(), effective, Decimal("0.04"))
    async with open_small_bank(postgres_url) as bank, bank.pool.acquire() as connection:
        for spec in QUOTED:
            await bank.add_close(spec.id, MINUTE.date() - timedelta(days=1), spec.prior_close)
        await insert_actions(connection, [split])
        await take_epochs(connection, POSITIONS_TOPIC, [0], "this")
        portfolio = await bank.add_portfolio("CHF")
        await bank.book(portfolio, "CHF", 1, (3, "250"), (2, "1000"), event_ns=NOW_NS - 1000)
        processor, days = await restore_days(connection, NOW_NS)
        processor.apply_positions(bank.records[portfolio], 0, 1)
        processor.apply_quotes(quotes((3, 151.0), event_ns=NOW_NS), NOW_NS)
        recorder = Recorder(bank.pool, processor, {0: 1}, 1, days)
        for minutes in (0, 1):
            processor.revalue(NOW_NS + minutes * 60 * 10**9)
            recorder.keep(MINUTE + timedelta(minutes=minutes - 1))
            await recorder.write()
        moments = [await read_moment(connection, UUID(portfolio), MINUTE + timedelta(minutes=one)) for one in (0, 1)]
        known, all_splits = await instruments(connection), create_splits(await splits(connection))
    found = [rebuild(moment, known, MINOR_UNITS, all_splits) for moment in moments if moment is not None]
    rows = [one.valuation.rows[0] for one in found]
    assert [(one.quantity, one.price, round(one.prior_close, 6)) for one in rows] == [
        (250.0, 151.0, 150.0),
        (10.0, 3775.0, 3750.0),
    ]
    assert [one.differences for one in found] == [(), ()]
    assert rows[0].day_pnl == rows[1].day_pnl != 0.0
