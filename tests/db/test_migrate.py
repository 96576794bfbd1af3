import asyncio
from datetime import date

import asyncpg

from db.migrate import head, migrate, revision

FOREIGN_KEYS_WITHOUT_INDEX = """
select c.conrelid::regclass::text || '(' || string_agg(a.attname, ', ') || ')'
  from pg_constraint c
  join pg_attribute a on a.attrelid = c.conrelid and a.attnum = any(c.conkey)
 where c.contype = 'f'
   and not exists (
        select from pg_index i
         where i.indrelid = c.conrelid and i.indpred is null
           and (i.indkey::smallint[])[0:cardinality(c.conkey) - 1] @> c.conkey)
 group by c.oid, c.conrelid
"""
TABLES_OF_THE_SPECIFICATION = {
    "users",
    "accounts",
    "portfolios",
    "holdings",
    "transactions",
    "kyc_documents",
    "video_kyc_sessions",
}


async def test_an_empty_database_is_brought_to_the_head(empty_postgres_url: str) -> None:
    assert await revision(empty_postgres_url) is None
    assert await migrate(empty_postgres_url) == head()
    assert await revision(empty_postgres_url) == head()


async def test_migrating_again_changes_nothing(postgres_url: str) -> None:
    assert await migrate(postgres_url) == await migrate(postgres_url) == head()


async def test_two_processes_may_migrate_at_once(empty_postgres_url: str) -> None:
    assert await asyncio.gather(*(migrate(empty_postgres_url) for _ in range(2))) == [head(), head()]


async def test_a_password_with_percent_and_at_sign_in_the_url_is_understood(empty_postgres_url: str) -> None:
    admin = await asyncpg.connect(empty_postgres_url)
    await admin.execute("""drop role if exists odd; create role odd superuser login password 'p@ss%w/rd'""")
    await admin.close()
    _, _, place = empty_postgres_url.rpartition("@")
    assert await migrate(f"postgresql://odd:p%40ss%25w%2Frd@{place}") == head()


async def test_every_foreign_key_has_an_index(connection: asyncpg.Connection) -> None:
    assert await connection.fetch(FOREIGN_KEYS_WITHOUT_INDEX) == []


async def test_the_query_for_missing_indexes_finds_one(connection: asyncpg.Connection) -> None:
    await connection.execute("drop index audit_events_actor_idx")
    found = [row[0] for row in await connection.fetch(FOREIGN_KEYS_WITHOUT_INDEX)]
    assert found == ["audit_events(actor_id)"]


async def test_every_table_of_the_specification_is_there_and_email_is_indexed(connection: asyncpg.Connection) -> None:
    tables = {row[0] for row in await connection.fetch("select tablename from pg_tables where schemaname = 'public'")}
    indexes = [row[0] for row in await connection.fetch("select indexdef from pg_indexes where tablename = 'users'")]
    assert tables >= TABLES_OF_THE_SPECIFICATION
    assert any(definition.endswith("(email)") for definition in indexes)


async def test_a_days_partition_is_made_once_and_holds_that_utc_day(connection: asyncpg.Connection) -> None:
    await connection.execute("set timezone to 'Asia/Dubai'")
    for _ in range(2):
        await connection.execute("select ensure_minute_partition($1)", date(2026, 11, 21))
    bounds = await connection.fetchval(
        "select pg_get_expr(relpartbound, oid) from pg_class where relname = 'minute_valuations_20261121'"
    )
    assert bounds == "FOR VALUES FROM ('2026-11-21 04:00:00+04') TO ('2026-11-22 04:00:00+04')"
