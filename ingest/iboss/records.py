"""Hold what IBOSS says in its own terms: account ids and symbols, before they become ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Say where a message holds the token of a session: in element `name`, in the body or in a header.

    `header` is what the contract calls that header, None for the body; `within` is the name that a request gives to
    the element inside it, None where the header itself is the token.
    """

    name: str
    header: str | None = None
    within: str | None = None

    def arguments(self, token: str) -> dict[str, Any]:
        """Return what to add to a request."""
        if self.header is None:
            return {self.name: token}
        return {"_soapheaders": {self.header: token if self.within is None else {self.within: token}}}


@dataclass(frozen=True, slots=True)
class IbossSession:
    """Hold a session; the token stays out of reprs. `expires_in_s` is None where IBOSS does not say."""

    token: str
    expires_in_s: int | None

    def __repr__(self) -> str:
        return f"IbossSession(token='***', expires_in_s={self.expires_in_s})"


@dataclass(frozen=True, slots=True)
class AccountVersion:
    """Say which version an account's positions have; versions are global to IBOSS and only grow."""

    account_id: str
    name: str
    base_currency: str
    version: int


@dataclass(frozen=True, slots=True)
class PositionLine:
    """Hold one line of an account; for cash the symbol is the currency's code and the quantity its amount.

    `day_traded_base` is None where IBOSS does not say.
    """

    symbol: str
    quantity: Decimal
    cost_basis: Decimal
    cost_basis_base: Decimal
    opening_quantity: Decimal
    day_traded: Decimal
    realised_today: Decimal = Decimal(0)
    day_traded_base: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AccountPositions:
    """Hold the full positions and cash of an account at a version; `raw` is the answer's own XML.

    `time_zone` is that in which IBOSS counts the account's day, None where it does not say.
    """

    account_id: str
    base_currency: str
    version: int
    as_of_ns: int
    lines: tuple[PositionLine, ...]
    raw: bytes
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class AccountBooking:
    """Hold one booking of an account; `raw` is the answer's own XML.

    `rate_to_base` is units of the account's base currency for one of `currency`, None where IBOSS does not say.
    """

    account_id: str
    reference: str
    version: int
    type: str
    booked_ns: int
    symbol: str | None
    quantity: Decimal | None
    price: Decimal | None
    amount: Decimal
    currency: str
    description: str
    raw: bytes
    rate_to_base: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AnnouncedAction:
    """Hold what a company does to its shares; `ratio` is new ones for one old, `raw` the answer's own XML."""

    reference: str
    version: int
    symbol: str
    kind: str
    ex_date: date
    effective_ns: int
    ratio: Decimal
    raw: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Hold one part of an answer that cannot be used; `reason` is a stable word, `detail` is for people.

    `identity` tells whether the same part is met again, such as an account and version read once a minute.
    """

    operation: str
    identity: str
    reason: str
    detail: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class AccountsPage:
    """Hold accounts in order of id; `next` is where the following page begins, None on the last."""

    accounts: tuple[AccountVersion, ...]
    refused: tuple[Refused, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class PositionsPage:
    """Hold the positions of the accounts asked for."""

    portfolios: tuple[AccountPositions, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class TransactionsPage:
    """Hold bookings in the order they were booked; `cursor` continues after them, `more` says at once."""

    bookings: tuple[AccountBooking, ...]
    refused: tuple[Refused, ...]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class ActionsPage:
    """Hold corporate actions in the order of change; `changed_after` continues after them, `more` says at once."""

    actions: tuple[AnnouncedAction, ...]
    refused: tuple[Refused, ...]
    changed_after: int
    more: bool
