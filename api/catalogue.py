"""Remember what rarely changes: instruments by symbol and the digits of currencies."""

from __future__ import annotations

import time
from collections.abc import Mapping

import asyncpg

from db.instruments import Instrument, instruments
from db.postgres import acquire

STALE_AFTER_S = 300.0
ASK_AGAIN_AFTER_S = 5.0


class Catalogue:
    """Hold instruments and currencies; read again after five minutes, or sooner when a symbol is unknown."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._instruments: dict[str, Instrument] = {}
        self._minor_units: dict[str, int] = {}
        self._read_at = -STALE_AFTER_S

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Return the instruments known, by symbol."""
        return self._instruments

    @property
    def minor_units(self) -> Mapping[str, int]:
        """Return how many digits an amount of each currency has."""
        return self._minor_units

    async def refresh(self, wanted: bool = False) -> None:
        """Read again where it is time to; `wanted` says that something was not found."""
        age = time.monotonic() - self._read_at
        if age < (ASK_AGAIN_AFTER_S if wanted else STALE_AFTER_S):
            return
        async with acquire(self._pool) as connection:
            found = await instruments(connection)
            digits = await connection.fetch("select code, minor_units from currencies")
        self._instruments = {instrument.symbol: instrument for instrument in found}
        self._minor_units = {row[0]: row[1] for row in digits}
        self._read_at = time.monotonic()
