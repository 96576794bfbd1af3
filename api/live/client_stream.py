"""Put all portfolios of a client together as one: the document of `client:<id>`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from analytics.returns import percent_of_opening
from api.catalogue import Catalogue
from api.live.quotes import QuoteBoard
from api.live.state import Document
from api.live.stream import LiveStream, unreadable
from api.live.valuation import FIXED, UnreadableValuation, decode_head, fixed_of, read_document
from api.portfolio.combine import Combined, allocation, combine
from api.portfolio.rates import MissingRate, Rate, conversion, dollar_values

if TYPE_CHECKING:
    from api.live.protocol import StreamName
    from stream.messages import Valuation

COLUMNS = (
    "symbol",
    "quantity",
    "price",
    "value",
    "value_local",
    "day_pnl",
    "unrealised_pnl",
    "cost_basis",
    "weight",
    "contribution",
    "price_ns",
    "stale",
    "state",
    *FIXED,
)
TOTALS = (
    "name",
    "base_currency",
    "total_equity",
    "cash",
    "buying_power",
    "day_pnl",
    "day_pnl_pct",
    "unrealised_pnl",
    "realised_pnl_today",
    "stale_share",
    "oldest_price_ns",
    "computed_ns",
    "allocation",
    "portfolios",
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Member:
    """Name a portfolio of a client."""

    portfolio_id: str
    name: str
    base_currency: str


class ClientStream(LiveStream):
    """Hold `client:<id>`: the holdings of all portfolios in the currency of the first, as REST's overview has them.

    Its epoch is this process's own, because it numbers the changes itself. There is nothing to show before every
    portfolio is valued and every rate known.
    """

    def __init__(self, name: StreamName, title: str, catalogue: Catalogue, board: QuoteBoard) -> None:
        super().__init__(name, "symbol")
        self.title = title
        self.members: tuple[Member, ...] = ()
        self._catalogue = catalogue
        self._board = board
        self._valuations: dict[str, Valuation] = {}
        self._arrived: dict[str, bytes] = {}
        self._epoch = time.time_ns() // 1000
        self._seq = 0
        self._dirty = False
        self.rates: frozenset[str] = frozenset()  # the symbols of the rates that convert between the portfolios

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels of the portfolios' valuations."""
        return tuple(f"valuation:{one.portfolio_id}" for one in self.members)

    @property
    def watched(self) -> tuple[str, ...]:
        """Return the portfolios that the stream processor is to publish as they change."""
        return tuple(one.portfolio_id for one in self.members)

    @property
    def has_unknown_symbols(self) -> bool:
        """Say whether the newest state shows a symbol that the catalogue does not know."""
        return not self.state.keys() <= self._catalogue.instruments.keys()

    def offer(self, portfolio: str, valuation: bytes) -> bool:
        """Remember a valuation; returns False where it is not newer. Raises `UnreadableValuation`."""
        head = decode_head(valuation)
        held = self._arrived.get(portfolio)
        known = self._valuations.get(portfolio) if held is None else decode_head(held)
        if known is not None and (head.epoch, head.seq) <= (known.epoch, known.seq):
            return False
        self._arrived[portfolio] = valuation
        return True

    def take_members(self, members: tuple[Member, ...]) -> None:
        """Learn which portfolios there are."""
        self.members = members
        self._dirty = True
        currencies = {one.base_currency for one in members}
        pairs = [one for one in self._catalogue.instruments.values() if one.base_currency is not None]
        wanted = {one.symbol for one in pairs if {one.base_currency, one.currency} & currencies}
        self.rates = frozenset(wanted if len(currencies) > 1 else ())

    def touch(self) -> None:
        """Say that rates have changed."""
        self._dirty = True

    def refresh(self) -> None:
        """Bring the state up to the newest valuations and rates."""
        arrived, self._arrived = self._arrived, {}
        for portfolio, valuation in arrived.items():
            try:
                self._valuations[portfolio] = read_document(valuation)
                self._dirty = True
            except UnreadableValuation as error:
                unreadable(self.name, error)
        found = [self._valuations[one.portfolio_id] for one in self.members if one.portfolio_id in self._valuations]
        if not self._dirty or not found or len(found) < len(self.members):
            return
        self._dirty = False
        try:
            document = self._document(found)
        except MissingRate as error:
            log.warning("a client's portfolios cannot be put together", stream=str(self.name), error=str(error))
            return
        if self.state.apply(document):
            self._seq += 1

    def _document(self, valuations: list[Valuation]) -> Document:
        target = self.members[0].base_currency
        digits = self._catalogue.minor_units.get(target, 2)
        instruments = self._catalogue.instruments
        combined = combine(valuations, self._rates(valuations, target), target, digits, instruments)
        totals = self._totals(combined, valuations)
        rows = {one["symbol"]: tuple(one.values()) for one in _rows(combined)}
        rows = {symbol: row + fixed_of(symbol, instruments) for symbol, row in rows.items()}
        return Document(self._epoch, self._seq + 1, combined.event_ns, totals, COLUMNS, rows)

    def _rates(self, valuations: list[Valuation], target: str) -> Mapping[str, Rate]:
        currencies = {one.base_currency for one in valuations}
        if currencies == {target}:
            return {target: Rate(1.0, 1.0)}
        pairs = [one for one in self._catalogue.instruments.values() if one.base_currency is not None]
        quoted = [(one, self._board.get(one.symbol)) for one in pairs]
        known = [(one.base_currency or "", one.currency, quote) for one, quote in quoted if quote is not None]
        now = dollar_values((base, currency, quote.price) for base, currency, quote in known)
        close = dollar_values((base, currency, quote.prior_close or quote.price) for base, currency, quote in known)
        return {code: Rate(conversion(now, code, target), conversion(close, code, target)) for code in currencies}

    def _totals(self, combined: Combined, valuations: list[Valuation]) -> dict[str, Any]:
        amounts = ("total_equity", "cash", "buying_power", "day_pnl", "unrealised_pnl", "realised_pnl_today")
        parts = allocation(combined, self._catalogue.instruments)
        return {
            "name": self.title,
            "base_currency": combined.currency,
            **{name: combined.amount(getattr(combined, name)) for name in amounts},
            "day_pnl_pct": percent_of_opening(combined.day_pnl, combined.total_equity),
            "stale_share": combined.stale_share,
            "oldest_price_ns": combined.oldest_price_ns,
            "computed_ns": min(one.computed_ns for one in valuations),
            "allocation": {
                dimension: {key: combined.amount(amount) for key, amount in sums.items()}
                for dimension, sums in parts.items()
            },
            "portfolios": [
                {
                    "portfolio_id": member.portfolio_id,
                    "name": member.name,
                    "base_currency": member.base_currency,
                    "total_equity": one.total_equity,
                    "day_pnl": one.day_pnl,
                    "day_pnl_pct": one.day_pnl_pct,
                }
                for member, one in zip(self.members, valuations, strict=True)
            ],
        }


def _rows(combined: Combined) -> list[dict[str, Any]]:
    whole = combined.total_equity
    return [
        {
            "symbol": one.symbol,
            "quantity": one.quantity,
            "price": one.price,
            "value": combined.amount(one.value),
            "value_local": one.value_local,
            "day_pnl": combined.amount(one.day_pnl),
            "unrealised_pnl": combined.amount(one.unrealised_pnl),
            "cost_basis": one.cost_basis,
            "weight": one.value / whole if whole else 0.0,
            "contribution": combined.contribution(one),
            "price_ns": one.price_ns,
            "stale": one.stale,
            "state": one.state,
        }
        for one in combined.holdings
    ]
