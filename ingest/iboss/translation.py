"""Translate what IBOSS says into our records: account to portfolio, symbol to instrument number. Pure."""

from __future__ import annotations

from db.corporate_actions import CorporateAction
from ingest.iboss.directory import Directory
from ingest.iboss.outbox import moment_of
from ingest.iboss.records import AccountBooking, AccountPositions, AnnouncedAction, Refused
from stream.messages import Booking, PortfolioPositions, Position

SOURCE = "iboss"


def translate_positions(
    found: AccountPositions, directory: Directory, received_ns: int
) -> PortfolioPositions | Refused:
    """Return the positions of our portfolio, or why they are refused as a whole.

    A single unknown symbol refuses them: without its line the portfolio's total would be wrong.
    """
    known = directory.portfolios.get(found.account_id)
    if known is None:
        return _refused_positions(found, "unknown_account", f"no portfolio has IBOSS account {found.account_id}")
    if known.base_currency != found.base_currency:
        detail = f"{found.account_id} is kept in {known.base_currency}, IBOSS says {found.base_currency}"
        return _refused_positions(found, "base_currency_differs", detail)
    if found.time_zone is not None and found.time_zone != known.time_zone:  # opening quantities of another moment
        detail = f"{found.account_id} has its day in {known.time_zone}, IBOSS says {found.time_zone}"
        return _refused_positions(found, "time_zone_differs", detail)
    unknown = sorted(line.symbol for line in found.lines if line.symbol not in directory.instruments)
    if unknown:
        detail = f"{found.account_id} holds {', '.join(unknown[:10])}"
        return _refused_positions(found, "unknown_instrument", detail)
    return PortfolioPositions(
        portfolio=str(known.id),
        version=found.version,
        base_currency=found.base_currency,
        positions=tuple(
            Position(
                directory.instruments[line.symbol],
                line.quantity,
                line.cost_basis,
                line.cost_basis_base,
                line.opening_quantity,
                line.day_traded,
                line.realised_today,
                line.day_traded_base,
            )
            for line in found.lines
        ),
        event_ns=found.as_of_ns,
        received_ns=received_ns,
        time_zone=known.time_zone,
    )


def translate_booking(found: AccountBooking, directory: Directory, received_ns: int) -> Booking | Refused:
    """Return our booking, or why it is refused."""
    known = directory.portfolios.get(found.account_id)
    if known is None:
        return _refused_booking(found, "unknown_account", f"no portfolio has IBOSS account {found.account_id}")
    if found.symbol is not None and found.symbol not in directory.instruments:
        return _refused_booking(found, "unknown_instrument", f"{found.reference} moves {found.symbol}")
    if found.currency not in directory.currencies:
        return _refused_booking(found, "unknown_currency", f"{found.reference} is in {found.currency}")
    return Booking(
        source=SOURCE,
        reference=found.reference,
        version=found.version,
        portfolio=str(known.id),
        type=found.type,
        amount=found.amount,
        currency=found.currency,
        event_ns=found.booked_ns,
        received_ns=received_ns,
        instrument=None if found.symbol is None else directory.instruments[found.symbol],
        quantity=found.quantity,
        price=found.price,
        description=found.description,
        rate_to_base=found.rate_to_base,
    )


def translate_action(found: AnnouncedAction, directory: Directory) -> CorporateAction | Refused:
    """Return the action on our instrument, or why it is refused."""
    identity = f"{found.reference}/{found.version}"
    if found.symbol not in directory.instruments:
        detail = f"{found.reference} is a {found.kind} of {found.symbol}"
        return Refused("GetCorporateActions", identity, "unknown_instrument", detail, found.raw)
    return CorporateAction(
        source=SOURCE,
        reference=found.reference,
        version=found.version,
        instrument_id=directory.instruments[found.symbol],
        kind=found.kind,
        ex_date=found.ex_date,
        effective_at=moment_of(found.effective_ns),
        ratio=found.ratio,
    )


def _refused_positions(found: AccountPositions, reason: str, detail: str) -> Refused:
    return Refused("GetPositions", f"{found.account_id}/{found.version}", reason, detail, found.raw)


def _refused_booking(found: AccountBooking, reason: str, detail: str) -> Refused:
    return Refused("GetTransactions", f"{found.reference}/{found.version}", reason, detail, found.raw)
