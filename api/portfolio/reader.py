"""Read a viewer's portfolios: rights and the past from PostgreSQL, the present from Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import structlog

from analytics.returns import PeriodReturn
from analytics.splits import Splits, create_splits
from api.catalogue import Catalogue
from api.errors import BadRequest, NotFound, Unavailable
from api.portfolio.combine import Combined, combine
from api.portfolio.history import Past, read_past
from api.portfolio.past import Difference, NotRebuilt, Rebuilt, rebuild
from api.portfolio.performance import Today, performance
from api.portfolio.rates import MissingRate, Rate, conversion, dollar_values
from db.corporate_actions import splits as known_splits
from db.live import LiveStore, StoredQuote
from db.portfolios import PortfolioInfo, Viewer, visible_portfolio, visible_portfolios
from db.postgres import acquire
from db.time_machine import Moment, read_moment
from stream.messages import Valuation

log = structlog.get_logger()

_valuation_decoder = msgspec.json.Decoder(Valuation)


_quote_decoder = msgspec.json.Decoder(StoredQuote)


@dataclass(frozen=True, slots=True)
class Present:
    """Hold the newest valuations of portfolios, in their order, and all of them as one."""

    portfolios: tuple[PortfolioInfo, ...]
    valuations: tuple[Valuation, ...]
    combined: Combined
    dollar_values: dict[str, float]

    def day(self, now: datetime) -> date:
        """Return the newest day that one of them is in: over a weekend it is still Friday."""
        began = [
            datetime.fromtimestamp(one.day_start_ns / 1e9, ZoneInfo(info.time_zone)).date()
            for info, one in zip(self.portfolios, self.valuations, strict=True)
            if one.day_start_ns
        ]
        return max(began, default=now.date())


@dataclass(frozen=True, slots=True)
class Shown:
    """Hold portfolios as they were shown at the end of a minute, and where totals and rows disagree."""

    present: Present
    ended_at: datetime
    differences: tuple[Difference, ...]


class PortfolioReader:
    """Answer for the portfolios that a viewer may see; raises what `api.errors` names."""

    def __init__(self, pool: asyncpg.Pool, store: LiveStore, catalogue: Catalogue) -> None:
        self._pool = pool
        self._store = store
        self._catalogue = catalogue

    async def present(self, viewer: Viewer, portfolio_id: UUID | None) -> Present:
        """Return one portfolio in its base currency, or all of a client's in that of the first one."""
        portfolios = await self._portfolios(viewer, portfolio_id)
        valuations = await self._valuations(portfolios)
        await self._refresh_catalogue(valuations)
        foreign = len({one.base_currency for one in valuations}) > 1
        values = await self._dollar_values() if foreign else {}
        closes = await self._dollar_values(at_close=True) if foreign else {}
        return self._together(portfolios, valuations, values, closes)

    async def shown(self, viewer: Viewer, portfolio_id: UUID | None, at: datetime) -> Shown:
        """Return the same as it was shown at `at`: at the end of the newest minute that had ended by then.

        Several portfolios are put together at the rates of the first one's minute.
        """
        if at > datetime.now(UTC):
            raise BadRequest("at: that is in the future.")
        portfolios = await self._portfolios(viewer, portfolio_id)
        await self._catalogue.refresh()
        async with acquire(self._pool) as connection:
            splits = create_splits(await known_splits(connection, at))
        rebuilt = [self._rebuild(one, splits) for one in await self._moments(portfolios, at)]
        rates = rebuilt[0].rates
        present = self._together(
            portfolios,
            [one.valuation for one in rebuilt],
            {code: float(rate) for code, rate in rates.now.items()},
            {code: float(rate) for code, rate in rates.close.items()},
        )
        differences = tuple(difference for one in rebuilt for difference in one.differences)
        return Shown(_with_stored_totals(present), max(one.ended_at for one in rebuilt), differences)

    async def performance(self, present: Present, until: datetime | None = None) -> dict[str, PeriodReturn | None]:
        """Return what each period up to `until`, which is now unless said otherwise, brought to these portfolios."""
        until = until or datetime.now(UTC)
        currencies = {one.id: one.base_currency for one in present.portfolios}
        several, today = len(set(currencies.values())) > 1, present.day(until)
        async with acquire(self._pool) as connection:
            past = await read_past(connection, list(currencies), several, today, until)
        combined = present.combined
        now = Today(today, combined.amount(combined.total_equity), await self._flow(present, past))
        return performance(past.days, currencies, past.rates, combined.currency, now)

    def _together(
        self,
        portfolios: Sequence[PortfolioInfo],
        valuations: Sequence[Valuation],
        values: dict[str, float],
        closes: dict[str, float],
    ) -> Present:
        target = portfolios[0].base_currency
        try:
            rates = {
                code: Rate(conversion(values, code, target), conversion(closes, code, target))
                for code in {one.base_currency for one in valuations}
            }
        except MissingRate as error:
            raise Unavailable(f"The portfolios cannot be put together: {error}.") from error
        digits = self._catalogue.minor_units.get(target, 2)
        combined = combine(valuations, rates, target, digits, self._catalogue.instruments)
        return Present(tuple(portfolios), tuple(valuations), combined, values)

    async def _moments(self, portfolios: Sequence[PortfolioInfo], at: datetime) -> list[Moment]:
        async with acquire(self._pool) as connection:
            found = [await read_moment(connection, one.id, at) for one in portfolios]
        moments = [one for one in found if one is not None]
        if len(moments) < len(portfolios):
            missing = ", ".join(info.name for info, one in zip(portfolios, found, strict=True) if one is None)
            raise NotFound(
                f"Nothing is stored of {missing} in the month before {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
            )
        return moments

    def _rebuild(self, moment: Moment, splits: Splits) -> Rebuilt:
        try:
            return rebuild(moment, self._catalogue.instruments.values(), self._catalogue.minor_units, splits)
        except NotRebuilt as error:
            raise NotFound(f"The portfolio cannot be shown as it was: {error}.") from error

    async def _flow(self, present: Present, past: Past) -> float:
        target = present.combined.currency
        foreign = past.flows.keys() - {target}
        values = present.dollar_values or (await self._dollar_values() if foreign else {})
        try:
            return sum(float(amount) * conversion(values, code, target) for code, amount in past.flows.items())
        except MissingRate as error:
            raise Unavailable(f"Today's deposits cannot be converted: {error}.") from error

    async def _portfolios(self, viewer: Viewer, portfolio_id: UUID | None) -> list[PortfolioInfo]:
        if portfolio_id is None and viewer.role != "client":
            raise BadRequest("portfolioId is required: only clients have portfolios of their own.")
        async with acquire(self._pool) as connection:
            if portfolio_id is None:
                found = await visible_portfolios(connection, viewer)
            else:
                one = await visible_portfolio(connection, viewer, portfolio_id)
                found = [] if one is None else [one]
        if not found:
            raise NotFound("There is no such portfolio.")
        return found

    async def _valuations(self, portfolios: Sequence[PortfolioInfo]) -> list[Valuation]:
        stored = await self._store.valuations([str(one.id) for one in portfolios])
        found = [_valuation_decoder.decode(one) for one in stored if one is not None]
        if len(found) < len(portfolios):
            raise Unavailable("The portfolio has not been valued yet. Please try again in a moment.")
        return found

    async def _refresh_catalogue(self, valuations: Sequence[Valuation]) -> None:
        symbols = {row.symbol for valuation in valuations for row in valuation.rows}
        await self._catalogue.refresh(wanted=not symbols <= self._catalogue.instruments.keys())

    async def _dollar_values(self, *, at_close: bool = False) -> dict[str, float]:
        quotes = await self._store.quotes()
        pairs = [one for one in self._catalogue.instruments.values() if one.base_currency is not None]
        known = [(one, _quote_decoder.decode(quotes[one.symbol])) for one in pairs if one.symbol in quotes]
        return dollar_values(
            (one.base_currency or "", one.currency, (at_close and quote.prior_close) or quote.price)
            for one, quote in known
        )


def _with_stored_totals(present: Present) -> Present:
    """Show the totals that were stored; rows are put beside them, and what differs is said, not made to fit."""
    combined = present.combined
    if {one.base_currency for one in present.valuations} != {combined.currency}:
        return present  # each is rounded in its own currency: together they are the sum of converted rows
    scale = 10**combined.minor_units
    totals = {
        name: sum(round(getattr(one, name) * scale) for one in present.valuations)
        for name in ("total_equity", "cash", "buying_power", "day_pnl", "unrealised_pnl")
    }
    return replace(present, combined=replace(combined, **totals))


def portfolio_shapes(present: Present) -> list[dict[str, object]]:
    """Return the `portfolios` of an overview, each in its own base currency."""
    return [
        {
            "id": info.id,
            "name": info.name,
            "baseCurrency": info.base_currency,
            "totalEquity": valuation.total_equity,
            "dayPL": valuation.day_pnl,
            "dayPLPercent": valuation.day_pnl_pct,
        }
        for info, valuation in zip(present.portfolios, present.valuations, strict=True)
    ]
