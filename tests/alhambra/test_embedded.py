from pathlib import Path

import asyncpg
import pytest
from aiokafka import TopicPartition
from fakes import eventually, open_server

from alhambra.embedded.broker import BrokerServer, kafka_answers
from alhambra.embedded.postgres import PostgresServer
from alhambra.ports import free_port
from db.live import create_redis
from stream.kafka import open_consumer, open_producer


async def test_postgres_keeps_its_data_and_its_password_over_a_restart(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", free_port(), "secret", (("fsync", "off"),))
    for expected in (0, 1):
        server.prepare()
        with open_server(server.launch(), tmp_path / "log"):
            await eventually(server.answers, "PostgreSQL answers")
            await server.create_database()
            connection = await asyncpg.connect(server.url())
            await connection.execute("create table if not exists kept (id int)")
            assert await connection.fetchval("select count(*) from kept") == expected
            await connection.execute("insert into kept values (1)")
            await connection.close()


async def test_postgres_refuses_a_wrong_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.url("postgres").replace(":test@", ":wrong@"))


async def test_postgres_starts_although_its_old_pid_now_belongs_to_another_process(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", free_port(), "secret")
    server.prepare()
    (server.folder / "postmaster.pid").write_text("1\n")
    server.prepare()
    with open_server(server.launch(), tmp_path / "log"):
        await eventually(server.answers, "PostgreSQL answers")


async def test_an_interrupted_initialisation_is_begun_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    PostgresServer(tmp_path / "postgres", free_port(), "secret").prepare()
    assert (tmp_path / "postgres" / "postgresql.conf").exists()
    assert not half.exists()


async def test_valkey_wants_the_password(redis_url: str) -> None:
    client = create_redis(redis_url, "test")
    await client.set("key", "value")
    assert await client.get("key") == b"value"
    await client.aclose()
    stranger = create_redis(redis_url.replace(":test@", ":wrong@"), "test")
    with pytest.raises(Exception, match="username-password"):
        await stranger.get("key")
    await stranger.aclose()


async def test_the_broker_process_says_its_address_and_carries_records(tmp_path: Path) -> None:
    broker = BrokerServer(tmp_path / "run" / "broker.address")
    broker.prepare()
    with open_server(broker.launch(), tmp_path / "log"):
        await eventually(broker.answers, "the broker answers")
        async with open_producer(broker.servers, "test") as producer, open_consumer(broker.servers, "test") as consumer:
            await producer.send_and_wait("topic", b"record", partition=0)
            partition = TopicPartition("topic", 0)
            consumer.assign([partition])
            consumer.seek(partition, 0)
            assert (await consumer.getone()).value == b"record"


async def test_a_broker_that_is_not_there_does_not_answer() -> None:
    assert not await kafka_answers(f"127.0.0.1:{free_port()}")
