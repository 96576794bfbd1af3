"""Check that what a row says of itself agrees: net with its parts, and the deal with quantity times price. Pure."""

from __future__ import annotations

from decimal import Decimal

from ingest.statements.errors import RowRefused
from ingest.statements.model import ZERO

CENT = Decimal("0.01")
PRICE_STEP = Decimal("0.0001")  # prices are averages of executions: their last digit is rounded, but not sooner
LARGEST_ACCRUED = Decimal("0.10")  # of the deal: more than a year's coupon, and it is something else


def require_net(net: Decimal, *parts: Decimal) -> None:
    """Refuse a row whose net amount is not the sum of its parts, to the cent."""
    total = sum(parts, ZERO)
    if abs(net - total) >= CENT:
        sums = " ".join(f"{part:+f}" for part in parts if part)
        raise RowRefused("amounts_disagree", f"the net amount is {net:f}, but {sums} make {total:f}")


def require_deal(quantity: Decimal, price: Decimal, factor: Decimal, gross: Decimal) -> None:
    """Refuse a row where quantity times price is not what was dealt, within what rounding of the price allows."""
    rest = deal_rest(quantity, price, factor, gross)
    if abs(rest) > _tolerance(quantity, price, factor):
        worth = -quantity * price * factor
        raise RowRefused("amounts_disagree", f"{quantity:f} at {price:f} are {worth:f}, but {gross:f} was dealt")


def accrued_interest(quantity: Decimal, price: Decimal, factor: Decimal, gross: Decimal) -> Decimal:
    """Return what of a bond's deal is interest: all beyond quantity times price; refuses what cannot be interest.

    It is paid by who buys and received by who sells, so it has the sign of the deal.
    """
    rest = deal_rest(quantity, price, factor, gross)
    if abs(rest) <= _tolerance(quantity, price, factor):
        return ZERO
    if rest * gross < ZERO or abs(rest) > LARGEST_ACCRUED * abs(gross):
        raise RowRefused("amounts_disagree", f"{quantity:f} at {price:f}, but {gross:f} was dealt: {rest:f} is left")
    return rest


def deal_rest(quantity: Decimal, price: Decimal, factor: Decimal, gross: Decimal) -> Decimal:
    """Return by how much the amount dealt (signed as cash) exceeds quantity times price."""
    return gross + quantity * price * factor


def _tolerance(quantity: Decimal, price: Decimal, factor: Decimal) -> Decimal:
    exponent = price.as_tuple().exponent
    step = Decimal(1).scaleb(exponent) if isinstance(exponent, int) else PRICE_STEP
    return CENT + min(step, PRICE_STEP) / 2 * abs(quantity) * factor
