import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes_market import FakeClock, Letters

from ingest.market.errors import RecordingUnreadable
from ingest.market.recorded import RecordedSource
from ingest.market.source import RecordedFeed, parse_feed
from stream.messages import QuoteBatch

FAULTS = Path(__file__).parents[1] / "data" / "quotes_with_faults.csv"
MAPPING = "map=time=time,symbol=symbol,bid=bid,ask=ask,last=last,volume=size"
IDS = {"ALHA": 1, "ALHB": 2}


def source_of(text: str, clock: FakeClock, letters: Letters) -> RecordedSource:
    feed = parse_feed(f"recorded:{text}")
    assert isinstance(feed, RecordedFeed)
    return RecordedSource(feed, IDS, letters.refuse, clock)


async def replay(text: str, clock: FakeClock | None = None, letters: Letters | None = None) -> list[QuoteBatch]:
    source = source_of(text, clock or FakeClock(), letters if letters is not None else Letters())
    return [batch async for batch in source.batches()]


def trades(folder: Path, rows: int, step_ms: int = 1000) -> Path:
    path = folder / "trades.csv"
    path.write_text("t,p\n" + "".join(f"{1_700_000_000_000 + row * step_ms},{row + 1}\n" for row in range(rows)))
    return path


@pytest.mark.parametrize(("speed", "seconds"), [("1", 2.5), ("10", 0.25), ("max", 0.0)])
async def test_a_replay_takes_as_long_as_its_speed_says(speed: str, seconds: float):
    clock = FakeClock()
    await replay(f"{FAULTS}?{MAPPING}&speed={speed}", clock)
    assert clock.slept_ns / 1e9 == pytest.approx(seconds, abs=0.011)  # rows due within 10 ms go out together


async def test_restamped_quotes_keep_their_distances_and_are_never_in_the_future():
    clock = FakeClock()
    batches = await replay(f"{FAULTS}?{MAPPING}", clock)
    events = np.concatenate([batch.event_ns for batch in batches])
    assert (np.diff(events) // 10**6).tolist() == [250, 1750, 500]
    assert all((batch.event_ns <= batch.received_ns).all() for batch in batches)
    assert clock.now_ns() - events[-1] <= 10_000_000


async def test_without_restamp_the_event_times_are_those_of_the_file(tmp_path: Path):
    batches = await replay(f"{trades(tmp_path, 3)}?map=time=t,last=p&symbol=ALHA&restamp=off&speed=max")
    assert np.concatenate([batch.event_ns for batch in batches]).tolist() == [
        (1_700_000_000_000 + row * 1000) * 10**6 for row in range(3)
    ]


async def test_a_long_file_comes_in_batches_of_bounded_size_and_loses_nothing(tmp_path: Path):
    batches = await replay(f"{trades(tmp_path, 120_000)}?map=time=t,last=p&symbol=ALHA&speed=max")
    assert max(map(len, batches)) <= 1_000
    assert np.concatenate([batch.last for batch in batches]).tolist() == list(range(1, 120_001))


async def test_what_is_refused_becomes_one_dead_letter_a_reason():
    letters = Letters()
    clock = FakeClock()
    source = source_of(f"{FAULTS}?{MAPPING}&speed=max", clock, letters)
    assert [len(batch) async for batch in source.batches()] == [4]
    assert {letter.reason: letter.count for letter in letters} == dict(source.progress.refused)
    assert len(letters) == 7
    assert {letter.topic for letter in letters} == {"recorded:quotes_with_faults.csv"}
    assert (source.progress.rows, source.progress.quotes, source.progress.finished) == (14, 4, True)


async def test_compressed_and_parquet_files_replay_the_same(tmp_path: Path):
    plain = trades(tmp_path, 50)
    packed = tmp_path / "trades.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "trades.parquet"
    times = pa.array([1_700_000_000_000 + row * 1000 for row in range(50)], pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table({"t": times, "p": pa.array(range(1, 51), pa.int32())}), table)
    prices, events = [], []
    for path in (plain, packed, table):
        batches = await replay(f"{path}?map=time=t,last=p&symbol=ALHA&speed=max&restamp=off")
        prices.append(np.concatenate([batch.last for batch in batches]).tolist())
        events.append(np.concatenate([batch.event_ns for batch in batches]).tolist())
    assert prices[0] == prices[1] == prices[2] == list(range(1, 51))
    assert events[0] == events[1] == events[2]


async def test_a_file_without_header_is_read_by_column_number(tmp_path: Path):
    path = tmp_path / "ticks.txt"
    path.write_text("20200101 170000065;1.1212;1.1214;0\n20200101 170010447;1.1213;1.1215;0\n")
    batches = await replay(
        f"{path}?map=time=0,bid=1,ask=2&header=no&delimiter=semicolon&symbol=ALHA&restamp=off&speed=max&utc_offset=-05:00"
    )
    assert batches[0].bid.tolist() == [1.1212, 1.1213]
    assert batches[0].event_ns[0] == 1_577_916_000_065_000_000  # 22:00 in Greenwich


async def test_a_truncated_file_is_replayed_to_the_break_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Arrow reads up to 32 blocks ahead, and what it finds there comes before what it has read already.
    monkeypatch.setattr("ingest.market.recording.CHUNK_BYTES", 4096)
    whole = gzip.compress(trades(tmp_path, 200_000).read_bytes())
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    source = source_of(f"{path}?map=time=t,last=p&symbol=ALHA&speed=max", FakeClock(), Letters())
    with pytest.raises(RecordingUnreadable, match=r"broken\.csv\.gz cannot be read after row"):
        async for _ in source.batches():
            pass
    assert source.progress.quotes > 0
    assert not source.progress.finished


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("missing.csv", None, "time=t,last=p", "there is no file"),
        ("a.csv", "t,p\n1,2\n", "time=t,last=price", "price"),
        ("empty.csv", "", "time=t,last=p", "cannot be read"),
        ("a.parquet", "t,p\n1,2\n", "time=t,last=p", "cannot be read"),
    ],
)
async def test_a_file_that_is_not_what_it_should_be_is_one_clear_error(
    tmp_path: Path, name: str, content: str | None, columns: str, message: str
):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(RecordingUnreadable, match=message):
        await replay(f"{tmp_path / name}?map={columns}&symbol=ALHA")


async def test_a_mapping_that_misses_every_row_refuses_them_and_ends(tmp_path: Path):
    letters = Letters()
    assert await replay(f"{trades(tmp_path, 5)}?map=time=p,last=t,symbol=p&speed=max", None, letters) == []
    assert {(letter.reason, letter.count) for letter in letters} == {("unknown_symbol", 5)}
