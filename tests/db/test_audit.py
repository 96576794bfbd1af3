import asyncio

import asyncpg
import pytest

from db.audit import record, verify_chain


async def write_three(bank) -> None:
    await record(bank.connection, None, "started")
    await record(bank.connection, bank.users["carol"], "signed in", "session", {"device": "phone"}, "2001:db8::1")
    await record(bank.connection, bank.users["anna"], "viewed", "portfolio")


async def tamper(bank, statement: str) -> None:
    await bank.connection.execute("alter table audit_events disable trigger user")
    await bank.connection.execute(statement)
    await bank.connection.execute("alter table audit_events enable trigger user")


async def test_an_untouched_chain_is_whole(bank) -> None:
    assert (await verify_chain(bank.connection)).last_hash == b""
    await write_three(bank)
    state = await verify_chain(bank.connection)
    assert (state.events, state.last_id, state.broken_at, len(state.last_hash)) == (3, 3, None, 32)


@pytest.mark.parametrize(
    "statement", ["update audit_events set action = 'x'", "delete from audit_events", "truncate audit_events"]
)
async def test_events_can_be_neither_changed_nor_removed(bank, statement: str) -> None:
    await write_three(bank)
    with pytest.raises(asyncpg.RaiseError, match="append only"):
        await bank.connection.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        "update audit_events set detail = '{}' where id = 2",
        "update audit_events set actor_id = null where id = 2",
        "update audit_events set address = '::2' where id = 2",
        "update audit_events set at = at + interval '1 microsecond' where id = 2",
        "update audit_events set action = 'signed', subject = 'in|session' where id = 2",
        "update audit_events set hash = sha256('x') where id = 2",
    ],
)
async def test_a_change_behind_the_triggers_shows(bank, change: str) -> None:
    await write_three(bank)
    await tamper(bank, change)
    assert (await verify_chain(bank.connection)).broken_at == 2


async def test_a_removed_event_shows_at_the_next_one(bank) -> None:
    await write_three(bank)
    await tamper(bank, "delete from audit_events where id = 2")
    assert (await verify_chain(bank.connection)).broken_at == 3


async def test_an_event_goes_with_the_change_that_it_tells_of(bank) -> None:
    change = bank.connection.transaction()
    await change.start()
    await record(bank.connection, None, "failed")
    await change.rollback()
    assert (await verify_chain(bank.connection)).events == 0


async def test_writers_at_the_same_time_make_one_chain(own_bank, postgres_url: str) -> None:
    others = [await asyncpg.connect(postgres_url) for _ in range(3)]
    await asyncio.gather(*(record(one, None, "tick") for one in [own_bank.connection, *others]))
    for one in others:
        await one.close()
    state = await verify_chain(own_bank.connection)
    assert (state.events, state.broken_at) == (4, None)
