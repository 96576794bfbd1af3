import asyncio
import gzip
import io
import os
import signal
from pathlib import Path

import msgspec
import pytest
from fakes import eventually
from fakes_documents import QuoteDocuments
from fakes_feeds import KEYS, SECRETS, quotes_at
from fakes_markets import AlpacaMarket, CoinbaseMarket
from fakes_venues import VenueServer

from alhambra.errors import CannotStart
from alhambra.feed.decode import decode_session, open_reader
from alhambra.feed.record import Recording, record_session
from ingest.venues.session_file import open_session, read_session


def decoded(venue: str, path: Path) -> dict[str, int]:
    out, complaints = io.BytesIO(), io.StringIO()
    with open_session(str(path)) as file:
        decode_session(open_reader(venue), read_session(file), out, complaints)
    assert complaints.getvalue() == ""
    return msgspec.json.decode(out.getvalue().splitlines()[-1])


async def test_what_is_recorded_can_be_decoded(tmp_path: Path):
    path = tmp_path / "session.txt.gz"
    async with VenueServer(CoinbaseMarket({"BTC-USD": 68_900.0})).open() as server:
        wanted = Recording(f"coinbase?url={server.ws_url}", ("BTC-USD",), 1.5, path)
        recorded = await record_session(wanted, KEYS)
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    counts = decoded("coinbase", path)
    assert counts["messages"] == recorded.records > 0
    assert counts["quotes"] > 0


async def test_keys_do_not_stand_in_a_recording(tmp_path: Path):
    path = tmp_path / "session.txt"
    async with VenueServer(AlpacaMarket({"AAPL": 190.0})).open() as server:
        await record_session(Recording(f"alpaca?url={server.ws_url}", ("AAPL",), 1.5, path), KEYS)
    text = path.read_text()
    assert '"auth"' in text
    assert not any(secret in text for secret in SECRETS)
    assert decoded("alpaca", path)["quotes"] > 0


async def test_a_connection_that_breaks_is_made_again_in_the_same_recording(tmp_path: Path):
    path = tmp_path / "session.txt"
    async with VenueServer(CoinbaseMarket({"BTC-USD": 68_900.0})).open() as server:
        wanted = Recording(f"coinbase?url={server.ws_url}", ("BTC-USD",), 4.0, path)
        recording = asyncio.create_task(record_session(wanted, KEYS))
        await eventually(lambda: server.wires, "it is recorded")
        server.break_off()
        await recording
    assert path.read_text().count(" <-> ") >= 2


async def test_ctrl_c_ends_a_recording_properly(tmp_path: Path):
    path = tmp_path / "session.txt.gz"
    async with VenueServer(CoinbaseMarket({"BTC-USD": 68_900.0})).open() as server:
        wanted = Recording(f"coinbase?url={server.ws_url}", ("BTC-USD",), None, path)
        recording = asyncio.create_task(record_session(wanted, KEYS))
        await eventually(lambda: server.wires, "it is recorded")
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(recording, 5)
    assert b" <-> " in gzip.decompress(path.read_bytes())


async def test_documents_are_recorded_too(tmp_path: Path):
    path = tmp_path / "documents.txt"
    async with VenueServer(QuoteDocuments({"AAPL": (190.0, 190.1)})).open() as server:
        options = "&".join(f"{name}={value.replace('&', '%26')}" for name, value in quotes_at(server).items())
        recorded = await record_session(Recording(f"http?{options}", ("AAPL",), 1.6, path), KEYS)
    assert recorded.records >= 2
    assert " -> " in path.read_text()


@pytest.mark.parametrize(
    ("venue", "symbols", "said"),
    [
        ("reuters", (), "no feed"),
        ("simulated:5", (), "no venue"),
        ("coinbase?colour=red", (), "no option"),
        ("binance?dollar=none", (), "which symbols"),
    ],
)
async def test_what_cannot_be_recorded_is_said(tmp_path: Path, venue: str, symbols: tuple[str, ...], said: str):
    with pytest.raises(CannotStart, match=said):
        await record_session(Recording(venue, symbols, 1.0, tmp_path / "x"), KEYS)


async def test_a_file_that_is_there_is_not_written_over(tmp_path: Path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(CannotStart, match="is there already"):
        await record_session(Recording("coinbase", (), 1.0, tmp_path / "x"), KEYS)
