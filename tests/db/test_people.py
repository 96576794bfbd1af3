from uuid import uuid4

from db.people import advisors, user_by_email, user_by_id, write_password_hash


async def test_a_user_is_found_by_address_whatever_its_case(bank) -> None:
    found = await user_by_email(bank.connection, "Carol@Example.com")
    assert found is not None
    assert (found.id, found.role, found.status) == (bank.users["carol"], "client", "active")
    assert found == await user_by_id(bank.connection, found.id)


async def test_an_unknown_user_is_none(bank) -> None:
    assert await user_by_email(bank.connection, "nobody@example.com") is None
    assert await user_by_id(bank.connection, uuid4()) is None


async def test_a_replaced_hash_is_read_back_and_never_shown(bank) -> None:
    await write_password_hash(bank.connection, bank.users["carol"], "$argon2id$secret")
    found = await user_by_id(bank.connection, bank.users["carol"])
    assert found is not None
    assert found.password_hash == "$argon2id$secret"
    assert "secret" not in repr(found)


async def test_advisors_are_listed_while_active(bank) -> None:
    await bank.connection.execute("update users set status = 'closed' where id = $1", bank.users["ben"])
    assert [one.id for one in await advisors(bank.connection)] == [bank.users["anna"]]
