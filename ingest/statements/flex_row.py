"""Read the attributes of one row of an IBKR Flex statement: all of them are text, any may be absent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from ingest.statements.errors import RowRefused
from ingest.statements.fields import parse_code, parse_currency, parse_isin, parse_moment, parse_number, plain_text
from ingest.statements.model import ONE, ZERO, InstrumentRef

EASTERN = ZoneInfo("America/New_York")  # in which Flex statements give their times, wherever the exchange is
CLASSES = {"STK": "equity", "FUND": "fund", "BOND": "bond", "BILL": "bond", "CRYPTO": "crypto"}
PERCENT = Decimal("0.01")
ABSENT = frozenset({"", "-", "--"})

_IDENTITY = re.compile(r"\d{4,20}")


class FlexRow:
    """Hold one row: `tag` is its element's name, `place` says where it stands."""

    __slots__ = ("_values", "place", "tag")

    def __init__(self, tag: str, place: str, values: Mapping[str, str]) -> None:
        self.tag = tag
        self.place = place
        self._values = values

    def text(self, name: str) -> str:
        """Return an attribute without what stands for nothing."""
        found = self._values.get(name, "").strip()
        return "" if found in ABSENT else found

    def names(self) -> list[str]:
        """Return the names of the attributes."""
        return list(self._values)

    def number(self, name: str) -> Decimal:
        """Return a number, 0 where it is absent."""
        return self.number_or_none(name) or ZERO

    def number_or_none(self, name: str) -> Decimal | None:
        """Return a number, None where it is absent."""
        found = self.text(name)
        return parse_number(name, found) if found else None

    def required(self, name: str) -> Decimal:
        """Return a number that the row must have."""
        found = self.number_or_none(name)
        if found is None:
            raise RowRefused("missing_field", f"the row has no {name}")
        return found

    def currency(self) -> str:
        """Return the currency of the row."""
        return parse_currency("currency", self.text("currency"))

    def rate(self) -> Decimal | None:
        """Return units of base currency for one of the row's, None where the row does not say."""
        found = self.number_or_none("fxRateToBase")
        return found if found is not None and found > ZERO else None

    def moment(self) -> datetime:
        """Return when it happened: the date and time, or the trade's date with its time apart, or the date."""
        when = self.text("dateTime") or self.text("tradeDate") or self.text("date") or self.text("reportDate")
        clock = self.text("tradeTime")
        if clock and not self.text("dateTime"):
            when = f"{when};{clock}"
        return parse_moment("the date", when, EASTERN)

    def identity(self, name: str) -> str | None:
        """Return an identifier of the broker, None where it is absent or has been made unreadable."""
        found = self.text(name)
        return found if _IDENTITY.fullmatch(found) else None

    def description(self) -> str:
        """Return what the row says of itself, in one line."""
        return plain_text(self.text("actionDescription") or self.text("description"))

    def instrument(self, name: str = "") -> InstrumentRef:
        """Return the instrument of the row; refuses those that are not valued as quantity times price."""
        category, multiplier = self.text("assetCategory"), self.number("multiplier") or ONE
        if category not in CLASSES or multiplier != ONE:
            raise RowRefused("unsupported_instrument", f"{category or 'no asset class'}: {self.text('symbol')}")
        bond = CLASSES[category] == "bond"
        return InstrumentRef(
            symbol=parse_code("symbol", self.text("symbol")),
            currency=self.currency(),
            asset_class="etf" if self.text("subCategory") == "ETF" else CLASSES[category],
            name=name,
            isin=parse_isin(self.text("isin")),
            contract=self.identity("conid"),
            price_factor=PERCENT if bond else ONE,
        )

    def has_supported_instrument(self) -> bool:
        """Say whether the row names an instrument that we value."""
        return self.text("assetCategory") in CLASSES and bool(self.text("symbol"))
