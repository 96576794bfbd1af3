import asyncpg
import pytest

from db.instrument_symbols import ListedSymbol, listed_symbols
from db.postgres import open_pool


async def test_symbols_are_read_as_they_are_listed_and_belong_to_instruments_there_are(postgres_url: str):
    async with open_pool(postgres_url, "test", size=1) as pool, pool.acquire() as connection:
        await connection.execute("insert into currencies (code, name, minor_units) values ('GBP', 'Pound', 2)")
        await connection.execute(
            "insert into instruments (id, symbol, name, asset_class, sector, country, currency) "
            "values (7, 'VOD', 'Vodafone', 'equity', 'none', 'GB', 'GBP')"
        )
        await connection.execute(
            "insert into instrument_symbols values ('http', 'VOD.L', 7, 'GBX', 0), ('alpaca', 'VOD', 7, null, null)"
        )
        assert await listed_symbols(connection) == [
            ListedSymbol("alpaca", "VOD", 7, None, None),
            ListedSymbol("http", "VOD.L", 7, "GBX", 0),
        ]
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await connection.execute("insert into instrument_symbols values ('http', 'X', 99, null, null)")
