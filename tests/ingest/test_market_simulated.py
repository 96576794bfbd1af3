from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import pytest
from fakes_market import FakeClock

from ingest.market.model import MarketModel, create_model
from ingest.market.simulated import SimulatedMarket, SimulatedSource
from ingest.market.source import SimulatedFeed
from ingest.market.validation import check_quotes
from stream.messages import QuoteBatch

DAYS = 500


@dataclass(frozen=True)
class Instrument:
    id: int
    asset_class: str
    tick_size: float = 0.01


INSTRUMENTS = [
    Instrument(1, "equity"),
    Instrument(2, "equity"),
    Instrument(3, "etf", 0.05),
    Instrument(4, "bond", 0.001),
    Instrument(5, "index"),
    Instrument(6, "cash"),
    Instrument(7, "fx", 0.0001),
    Instrument(8, "fx", 0.0001),  # pegged
    Instrument(9, "equity"),  # without history
    Instrument(10, "equity"),  # without any price
]


def closes() -> np.ndarray:
    """Two equities and a basket that move together, a bond by itself, one rate that floats and one that does not."""
    random = np.random.default_rng(5)
    common = random.normal(0, 0.01, DAYS)
    returns = np.zeros((DAYS, len(INSTRUMENTS)))
    returns[:, 0] = common + random.normal(0, 0.01, DAYS)
    returns[:, 1] = common + random.normal(0, 0.02, DAYS)
    returns[:, 2] = returns[:, 4] = (returns[:, 0] + returns[:, 1]) / 2
    returns[:, 3] = random.normal(0, 0.003, DAYS)
    returns[:, 6] = random.normal(0, 0.005, DAYS)
    start = np.array([180.0, 40.0, 75.0, 98.5, 5000.0, 1.0, 1.1, 3.6725, np.nan, np.nan])
    return start * np.exp(np.cumsum(returns, axis=0))


@pytest.fixture(scope="module")
def model() -> MarketModel:
    return create_model(closes(), INSTRUMENTS, {1: 200.0, 9: 12.5})


async def run(
    model: MarketModel, rate: float, seconds: float, seed: int = 1, clock: FakeClock | None = None
) -> list[QuoteBatch]:
    """Run a source for `seconds` of a clock that does not wait."""
    clock = clock or FakeClock()
    found = []
    async with aclosing(SimulatedSource(SimulatedFeed(rate, seed), model, clock).batches()) as batches:
        async for batch in batches:
            found.append(batch)
            if clock.slept_ns >= seconds * 1e9:
                break
    return found


class DrowsyClock(FakeClock):
    """A clock on a laptop that is closed for an hour after two seconds."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + (3600.0 if 2e9 < self.slept_ns < 3e9 else 0.0))


def test_cash_and_what_has_no_price_are_not_quoted(model: MarketModel):
    assert model.instrument.tolist() == [1, 2, 3, 4, 5, 7, 8, 9]


def test_prices_start_from_the_newest_known_else_the_last_close(model: MarketModel):
    assert model.start[0] == 200.0
    assert model.start[1] == closes()[-1, 1]
    assert model.start[-1] == 12.5


def test_a_simulated_day_moves_as_the_history_does(model: MarketModel):
    days = 3_000
    market = SimulatedMarket(model, seed=2)
    levels = np.empty((days, len(model)))
    for day in range(days):
        market.advance(6.5 * 3600)  # one step a trading day: the walk is the same at every step
        levels[day] = np.log(market.prices)
    moves = np.diff(levels, axis=0)
    history = np.diff(np.log(closes()[:, :4]), axis=0)
    assert moves[:, :4].std(axis=0) == pytest.approx(history.std(axis=0), rel=0.08)
    assert np.corrcoef(moves[:, :4].T) == pytest.approx(np.corrcoef(history.T), abs=0.08)


def test_a_day_of_a_crypto_asset_has_twenty_four_hours():
    share, coin = (create_model(closes()[:, :1], [Instrument(1, name)], {}) for name in ("equity", "crypto"))
    assert coin.volatility[0] == pytest.approx(share.volatility[0] * np.sqrt(6.5 / 24))


def test_rates_of_exchange_move_by_themselves_and_a_peg_holds(model: MarketModel):
    market = SimulatedMarket(model, seed=3)
    levels = []
    for _ in range(5_000):
        market.advance(10.0)
        levels.append(np.log(market.prices))
    moves = np.diff(np.array(levels), axis=0)
    assert abs(np.corrcoef(moves[:, 0], moves[:, 5])[0, 1]) < 0.08
    pegged = np.exp(np.array(levels)[:, 6])
    assert 0 < np.abs(pegged / 3.6725 - 1).max() < 1e-4


def test_without_history_the_volatility_is_that_of_its_class(model: MarketModel):
    assert model.volatility[7] == pytest.approx(np.median(model.volatility[[0, 1]]))


def test_quotes_lie_on_the_tick_and_the_last_price_between_bid_and_ask(model: MarketModel):
    batch = SimulatedMarket(model, seed=4).draw(5_000, 10**18, 20_000_000)
    tick = {one.id: one.tick_size for one in INSTRUMENTS}
    sizes = np.array([tick[number] for number in batch.instrument.tolist()])
    index = batch.instrument == 5
    assert (np.isnan(batch.bid) == index).all()
    assert (np.isnan(batch.ask) == index).all()
    assert (batch.bid < batch.ask)[~index].all()
    assert ((batch.bid <= batch.last) & (batch.last <= batch.ask))[~index].all()
    for price in (batch.bid[~index] / sizes[~index], batch.ask[~index] / sizes[~index], batch.last / sizes):
        assert np.abs(price - np.round(price)).max() < 1e-6
    cents = batch.last[np.isin(batch.instrument, [1, 2])].tolist()
    assert all(price == float(f"{price:.2f}") for price in cents)


async def test_every_quote_is_one_that_the_stream_accepts(model: MarketModel):
    known = np.ones(11, bool)
    for batch in await run(model, 5_000, 1.0):
        assert check_quotes(batch, known)[0].all()
        assert (np.diff(batch.event_ns) >= 0).all()
        assert batch.event_ns[-1] == batch.received_ns


@pytest.mark.parametrize("rate", [1, 50, 500, 33_333, 100_000])
async def test_the_rate_is_kept_without_drift(model: MarketModel, rate: int):
    seconds = 5.0
    assert sum(map(len, await run(model, rate, seconds))) == pytest.approx(rate * seconds, abs=max(1, rate * 0.02))


async def test_no_instrument_waits_more_than_seconds_at_the_usual_rate(model: MarketModel):
    batches = await run(model, 500, 20.0)
    instrument = np.concatenate([batch.instrument for batch in batches])
    event_ns = np.concatenate([batch.event_ns for batch in batches])
    for number in model.instrument:
        assert np.diff(event_ns[instrument == number]).max() < 3e9


async def test_a_seed_repeats_the_walk(model: MarketModel):
    first, second, other = [await run(model, 500, 0.5, seed) for seed in (1, 1, 2)]
    assert [batch.last.tolist() for batch in first] == [batch.last.tolist() for batch in second]
    assert [batch.last.tolist() for batch in first] != [batch.last.tolist() for batch in other]


async def test_ticks_missed_while_the_machine_slept_are_left_out(model: MarketModel):
    batches = await run(model, 1_000, 3_604.0, clock=DrowsyClock())
    assert sum(map(len, batches)) < 5_000
    assert max(map(len, batches)) <= 1_000
