from uuid import uuid4

import pytest

from db.portfolios import (
    Viewer,
    portfolios_by_iboss_account,
    visible_portfolio,
    visible_portfolios,
)

SEES = {
    "carol": {"carol"},
    "dora": {"dora"},
    "anna": {"carol"},
    "ben": {"dora"},
    "kyc_agent": set(),
    "compliance": {"carol", "dora"},
    "admin": {"carol", "dora"},
}
ROLES = {"carol": "client", "dora": "client", "anna": "advisor", "ben": "advisor"}


def viewer_of(bank, name: str, role: str | None = None) -> Viewer:
    return Viewer(bank.users[name], ROLES.get(name, name) if role is None else role)


@pytest.mark.parametrize("name", SEES)
async def test_each_role_sees_its_portfolios_and_no_others(bank, name: str) -> None:
    viewer = viewer_of(bank, name)
    expected = {bank.portfolios[client] for client in SEES[name]}
    assert {one.id for one in await visible_portfolios(bank.connection, viewer)} == expected
    for portfolio_id in bank.portfolios.values():
        found = await visible_portfolio(bank.connection, viewer, portfolio_id)
        assert (found is not None) == (portfolio_id in expected)


@pytest.mark.parametrize("role", ["admin", "compliance", "advisor", "nonsense", ""])
async def test_a_role_that_the_user_does_not_have_shows_nothing(bank, role: str) -> None:
    assert await visible_portfolios(bank.connection, viewer_of(bank, "carol", role)) == []


async def test_a_suspended_user_and_an_unknown_one_see_nothing(bank) -> None:
    await bank.connection.execute("update users set status = 'suspended' where id = $1", bank.users["admin"])
    assert await visible_portfolios(bank.connection, viewer_of(bank, "admin")) == []
    assert await visible_portfolios(bank.connection, Viewer(uuid4(), "admin")) == []


async def test_an_advisor_no_longer_sees_a_client_who_was_moved(bank) -> None:
    await bank.connection.execute("delete from advisor_clients where advisor_id = $1", bank.users["anna"])
    assert await visible_portfolios(bank.connection, viewer_of(bank, "anna")) == []


async def test_what_is_known_of_a_portfolio(bank) -> None:
    (found,) = await visible_portfolios(bank.connection, viewer_of(bank, "carol"))
    assert (found.name, found.base_currency, found.client_name) == ("Growth", "USD", "Carol Test")
    assert found.advisor_ids == (bank.users["anna"],)
    assert await portfolios_by_iboss_account(bank.connection) == {
        f"IB-{client}": portfolio_id for client, portfolio_id in bank.portfolios.items()
    }
