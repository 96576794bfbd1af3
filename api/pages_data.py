"""Read what the pages show: the web process's side of `dashboard.data.DashboardData`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from api.state import StateHolder
from dashboard.data import Component, DemoLogin, FloorInfo, Health, IntradayPoint, PortfolioInfo, PriceSource
from dashboard.viewer import Viewer as PageViewer
from db.hours import minute_points
from db.postgres import acquire
from stream.messages import decode_valuation

_PORTFOLIOS = """
select p.id, p.name, p.base_currency, p.user_id, u.first_name || ' ' || u.last_name, c.minor_units
  from visible_portfolios($1, $2) v
  join portfolios p on p.id = v.portfolio_id
  join users u on u.id = p.user_id
  join currencies c on c.code = p.base_currency
 where {condition} order by p.created_at, p.name, p.id
"""
_ONE = _PORTFOLIOS.format(condition="p.id = $3")
_OF_CLIENT = _PORTFOLIOS.format(condition="p.user_id = $3")
_FLOORS = """
select a.id, a.first_name || ' ' || a.last_name
  from users v join users a on a.role = 'advisor' and a.status = 'active'
 where v.id = $1 and v.role = $2 and v.status = 'active'
   and (v.role in ('compliance', 'admin') or (v.role = 'advisor' and a.id = v.id))
 order by a.last_name, a.first_name
"""
KINDS = ("simulated", "recorded")


class PageData:
    """Implement `DashboardData`; raises what asyncpg and redis-py raise where their servers are away."""

    def __init__(self, holder: StateHolder) -> None:
        self._holder = holder

    async def portfolio(self, viewer: PageViewer, portfolio_id: UUID) -> PortfolioInfo | None:
        """Return one portfolio, or None where it is unknown or not the viewer's to see."""
        async with acquire(self._pool) as connection:
            row = await connection.fetchrow(_ONE, viewer.user_id, viewer.role, portfolio_id)
        return None if row is None else PortfolioInfo(*row.values())

    async def portfolios(self, viewer: PageViewer, client_id: UUID) -> Sequence[PortfolioInfo]:
        """Return the portfolios of a client that the viewer may see, in the order to show them."""
        async with acquire(self._pool) as connection:
            rows = await connection.fetch(_OF_CLIENT, viewer.user_id, viewer.role, client_id)
        return [PortfolioInfo(*row.values()) for row in rows]

    async def floors(self, viewer: PageViewer) -> Sequence[FloorInfo]:
        """Return the floors the viewer may see: an advisor's own, every advisor's for compliance and admin."""
        async with acquire(self._pool) as connection:
            rows = await connection.fetch(_FLOORS, viewer.user_id, viewer.role)
        return [FloorInfo(*row.values()) for row in rows]

    async def intraday(self, viewer: PageViewer, portfolio_id: UUID) -> Sequence[IntradayPoint]:
        """Return the minutes of the portfolio's day, oldest first; empty where it is not the viewer's to see."""
        async with acquire(self._pool) as connection:
            if await connection.fetchrow(_ONE, viewer.user_id, viewer.role, portfolio_id) is None:
                return []
            now = datetime.now(UTC)
            minutes = await minute_points(connection, portfolio_id, await self._day_start(portfolio_id, now), now)
        return [
            IntradayPoint(int(one.minute.timestamp()) * 1_000_000_000, float(one.day_pnl), float(one.total_equity))
            for one in minutes
        ]

    async def _day_start(self, portfolio_id: UUID, now: datetime) -> datetime:
        """Return when the portfolio's day began, as its newest valuation says; without one, midnight (UTC)."""
        document = await self._holder.state.store.valuation(str(portfolio_id))
        if document is None:
            return now.replace(hour=0, minute=0, second=0, microsecond=0)
        return datetime.fromtimestamp(decode_valuation(document).day_start_ns / 1e9, UTC)

    async def price_source(self) -> PriceSource:
        """Return where the prices come from: what the market worker reports, or the configuration says."""
        state = self._holder.state
        reported = {name.partition(":")[2] for name in await state.store.health() if name.startswith("market:")}
        await state.catalogue.refresh()
        histories = Counter(one.history_source for one in state.catalogue.instruments.values() if one.history_source)
        commonest = histories.most_common(1)
        return PriceSource(price_kind(reported, state.settings.market_feed), commonest[0][0] if commonest else "")

    async def health(self) -> Health:
        """Return how everything is, as `/api/health` says it."""
        _, body = await self._holder.state.health.answer()
        found = {**body["services"], **body["workers"]}
        return Health(
            body["summary"], tuple(Component(name, one["level"], one["detail"]) for name, one in found.items())
        )

    async def demo_logins(self) -> Sequence[DemoLogin]:
        """Return the logins of the demonstration; empty in production."""
        return self._holder.state.settings.logins

    @property
    def _pool(self) -> asyncpg.Pool:
        return self._holder.state.pool


def price_kind(reported: Collection[str], configured: str) -> str:
    """Return what prices are to be called: by the feeds that report, or else by MARKET_FEED.

    What is invented in part is called simulated, and not live.
    """
    sources = reported or {feed.strip().partition(":")[0] for feed in configured.split(";")}
    return next((kind for kind in KINDS if kind in sources), "live")
