"""Open the accounts of the demonstration bank: who has which portfolios, in which currency and strategy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from alhambra.bank.model import Account, Person
from alhambra.bank.people import stable_id

NAMED_ROUNDS = 3  # the named clients have one to three portfolios each
GENERATED_ROUNDS = 2
RECENT_DAYS = 22  # generated clients came within the last month
HOME_CURRENCIES = {
    "AE": "AED",
    "CH": "CHF",
    "DE": "EUR",
    "ES": "EUR",
    "FR": "EUR",
    "GB": "GBP",
    "IT": "EUR",
    "SA": "AED",
}
TIME_ZONES = {
    "AE": "Asia/Dubai",
    "CH": "Europe/Zurich",
    "CN": "Asia/Shanghai",
    "DE": "Europe/Berlin",
    "ES": "Europe/Madrid",
    "FR": "Europe/Paris",
    "GB": "Europe/London",
    "IT": "Europe/Rome",
    "MX": "America/Mexico_City",
    "SA": "Asia/Riyadh",
    "SG": "Asia/Singapore",
    "US": "America/New_York",
}


@dataclass(frozen=True, slots=True)
class Strategy:
    """Say how a portfolio is invested: `mix` is the share of each asset class, the rest stays in cash."""

    name: str
    account_type: str
    mix: dict[str, float]
    holdings: int


STRATEGIES = (
    Strategy("Growth", "discretionary", {"equity": 0.60, "etf": 0.25, "fund": 0.08}, 14),
    Strategy("Income", "advisory", {"equity": 0.30, "bond": 0.45, "fund": 0.15}, 12),
    Strategy("Balanced", "discretionary", {"equity": 0.40, "etf": 0.20, "bond": 0.25, "fund": 0.08}, 15),
    Strategy("Global Equity", "discretionary", {"equity": 0.45, "etf": 0.40, "fund": 0.10}, 13),
    Strategy("Preservation", "advisory", {"equity": 0.10, "etf": 0.10, "bond": 0.60, "fund": 0.10}, 10),
    Strategy("Factor", "discretionary", {"etf": 0.85, "equity": 0.10}, 9),
    Strategy("Conviction", "execution only", {"equity": 0.82, "crypto": 0.12}, 8),
)


@dataclass(frozen=True, slots=True)
class OpenedAccount:
    """Hold an account with what the making of its bookings needs; `day` is the index of its first day."""

    account: Account
    client: Person
    strategy: Strategy
    day: int
    generated: bool


def open_accounts(
    named: tuple[Person, ...], generated: tuple[Person, ...], dates: tuple[date, ...]
) -> tuple[OpenedAccount, ...]:
    """Open one to three portfolios for each named client, then two for each generated one.

    They are numbered round by round, so that the first portfolios belong to as many clients as possible.
    """
    plans = [
        (client, turn, place, False)
        for turn in range(NAMED_ROUNDS)
        for place, client in enumerate(named)
        if turn < _portfolios_of(place)
    ]
    plans += [(client, turn, place, True) for place, client in enumerate(generated) for turn in range(GENERATED_ROUNDS)]
    return tuple(_open(number, *plan, dates) for number, plan in enumerate(plans))


def _portfolios_of(place: int) -> int:
    """Return how many portfolios a named client has: 3, 1, 2, 3, 1, 2…"""
    return (3, 1, 2)[place % 3]


def _open(
    number: int, client: Person, turn: int, place: int, generated: bool, dates: tuple[date, ...]
) -> OpenedAccount:
    home = HOME_CURRENCIES.get(client.country, "USD")
    currency = ("EUR" if home == "USD" else "USD") if turn == 1 else home
    strategy = STRATEGIES[(place + 3 * turn) % len(STRATEGIES)]
    iboss_account_id = f"IB{100_001 + number}"
    day = len(dates) - 1 - RECENT_DAYS + number % 15 if generated else number % 5
    account = Account(
        portfolio_id=stable_id("portfolios", iboss_account_id),
        account_id=stable_id("accounts", iboss_account_id),
        client_id=client.id,
        account_number=f"ALH{7_000_013 + 37 * number}",
        iboss_account_id=iboss_account_id,
        name=strategy.name if currency == home else f"{strategy.name} {currency}",
        account_type=strategy.account_type,
        base_currency=currency,
        opened_on=dates[day],
        time_zone=TIME_ZONES[client.country],
    )
    return OpenedAccount(account, client, strategy, day, generated)
