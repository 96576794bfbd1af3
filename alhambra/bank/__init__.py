"""The demonstration bank: clients, instruments and two years of bookings that reconcile."""

from alhambra.bank.bank import create_bank
from alhambra.bank.model import (
    BOOKING_TYPES,
    Account,
    Bank,
    BankBooking,
    ExtraInstrument,
    IbossUser,
    Instrument,
    Person,
)

__all__ = [
    "BOOKING_TYPES",
    "Account",
    "Bank",
    "BankBooking",
    "ExtraInstrument",
    "IbossUser",
    "Instrument",
    "Person",
    "create_bank",
]
