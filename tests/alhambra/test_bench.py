from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import numpy as np
import pytest

from alhambra.bench.bank import BankSize, create_record, issue_tokens, portfolio_id, write_bank
from alhambra.bench.drain import TICKS_A_ROUND, measure_drain
from alhambra.bench.fanout import FanoutLoad, measure_fanout
from alhambra.bench.pipeline import Load, measure_pipeline
from alhambra.bench.socket_client import CLIENTS
from alhambra.embedded.broker import open_broker
from api.auth.sessions import token_identity
from api.auth.tokens import AccessTokens
from api.live.message import Message
from db.migrate import migrate
from stream.messages import decode_positions
from stream.restore import load_positions
from stream.roll import restore_days

SECRET = "a secret of this test, long enough to sign with"
ASKED = {"rate", "portfolios", "clients", "sustained_ticks_per_s", "p50_ms", "p99_ms", "cpu_share"}

FANOUT = ("clients", "hz", "rooms", "transport", "messages_per_s", "messages_per_core_s")
FANOUT += ("p50_ms", "p99_ms", "kb_per_client", "lost")


async def test_the_synthetic_bank_is_one_that_the_stream_values(postgres_url: str) -> None:
    await migrate(postgres_url)
    await write_bank(postgres_url, BankSize(7, instruments=300), clients=2)
    connection = await asyncpg.connect(postgres_url)
    now_ns = round(datetime.now(UTC).timestamp()) * 10**9
    processor, _ = await restore_days(connection, now_ns)
    async for partition, stored in load_positions(connection, [0], 1):
        assert processor.apply_positions(decode_positions(stored.record), partition, 1)
    processor.revalue(now_ns)
    valuations = [processor.take(index, now_ns) for index in range(len(processor.book))]
    assert {one.portfolio_id for one in valuations} == {str(portfolio_id(number)) for number in range(7)}
    assert all(len(one.rows) == 20 and one.total_equity > 0 for one in valuations)
    tokens = AccessTokens(SECRET, timedelta(minutes=1))
    for token in issue_tokens(SECRET, 2):
        claims = tokens.read(token)
        assert await token_identity(connection, claims.user_id, claims.family_id) is not None
    await connection.close()


def test_no_portfolio_holds_an_instrument_twice() -> None:
    random = np.random.default_rng(5)
    for number in range(200):
        held = [line.instrument for line in create_record(number, BankSize(1), random, 1).positions]
        assert len(set(held)) == len(held) == 20


async def test_what_is_drained_from_a_broker_is_all_that_was_sent() -> None:
    with open_broker() as servers:
        figures = await measure_drain(servers, 20, 0.01)
    assert figures.ticks >= TICKS_A_ROUND
    assert figures.ticks % TICKS_A_ROUND == 0
    assert figures.ticks_per_core_s > 0


def frame(transport: str, message: Message) -> bytes:
    return message.socketio_frame if transport == "socketio" else message.websocket_frame


class Written:
    """Stand for a connection: keep what is written."""

    def __init__(self) -> None:
        self.bytes = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.bytes += data

    def abort(self) -> None:
        self.aborted = True


def delta(seq: int, prev: int | None = None, more: int = 0) -> Message:
    following = {} if prev is None else {"prev": prev}
    head = {"stream": "portfolio:x", "epoch": 1, "seq": seq, "event_ns": 5, "sent_ns": 6}
    return Message("snapshot" if prev is None else "delta", {**head, **following, "totals": {"name": "é" * more}})


@pytest.mark.parametrize("transport", CLIENTS)
@pytest.mark.parametrize("step", [1, 7, 65_536])
async def test_a_client_of_the_swarm_reads_what_the_server_writes_however_it_is_cut(transport: str, step: int) -> None:
    client, connection = CLIENTS[transport]("host", "token", "portfolio:x", 4.0), Written()
    client.connection_made(connection)  # type: ignore[arg-type]  # all of a transport that it uses
    said = [
        delta(1),
        Message("heartbeat", {"streams": {}}),
        delta(3, 1, more=100),
        delta(4, 3, more=40_000),
        delta(9, 5),
    ]
    frames = b"".join(frame(transport, message) for message in said)
    heard = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frames
    for begin in range(0, len(heard), step):
        client.data_received(heard[begin : begin + step])
    assert len(client.latencies_ms) == client.updates == 4
    assert (client.gaps, client.newest_ns, client.bytes) == (1, 5, len(frames))
    assert client.arrived.is_set()
    assert not connection.aborted


REFUSALS = {
    "socketio": b'44/live,{"message":"please sign in","data":{"code":3501}}',
    "websocket": b'{"type":"error","id":1,"error":{"code":3503}}',
}


@pytest.mark.parametrize("transport", CLIENTS)
async def test_a_client_that_is_refused_ends_and_knows_why(transport: str) -> None:
    for answer in (
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81" + bytes([len(REFUSALS[transport])]) + REFUSALS[transport],
    ):
        client, connection = CLIENTS[transport]("host", "token", "portfolio:x", 4.0), Written()
        client.connection_made(connection)  # type: ignore[arg-type]  # all of a transport that it uses
        client.data_received(answer)
        assert connection.aborted
        assert "403" in client.reason or "350" in client.reason


@pytest.mark.parametrize(("rooms", "transport"), [("shared", "socketio"), ("own", "websocket")])
async def test_a_short_fan_out_says_all_that_was_asked_for_and_loses_nothing(rooms: Any, transport: Any) -> None:
    run = await measure_fanout(FanoutLoad(25, 8.0, rooms, transport), 1.5)
    said = msgspec.json.decode(msgspec.json.encode(run.figures))
    assert tuple(said) == FANOUT
    assert (said["clients"], said["hz"], said["rooms"], said["transport"]) == (25, 8.0, rooms, transport)
    assert said["lost"] == 0
    assert 0.2 * 25 * 8.0 < said["messages_per_s"] < 1.5 * 25 * 8.0
    assert 0 < said["p50_ms"] <= said["p99_ms"]
    assert 0 < run.circumstances.bytes_per_message < 600


async def test_a_short_measurement_says_all_that_was_asked_for() -> None:
    figures = await measure_pipeline(Load(2_000.0, 30, 3, 4.0), 2.0)
    said = msgspec.json.decode(msgspec.json.encode(figures))
    assert said.keys() >= ASKED
    assert (said["portfolios"], said["clients"], said["gaps"], said["lost_clients"]) == (30, 3, 0, 0)
    assert 0.5 * 2_000 < said["sustained_ticks_per_s"] < 1.5 * 2_000
    assert 0 < said["p50_ms"] <= said["p99_ms"]
    assert {"stream", "api", "ingest-market", "broker", "valkey", "postgres", "clients"} == said["cpu_share"].keys()
    assert said["broker_to_book_ticks_per_core_s"] > 0
