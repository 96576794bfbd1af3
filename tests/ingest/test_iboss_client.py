"""The client over real HTTP on loopback: sessions, retries, quotas, and a service that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes_iboss import API_KEY, CLIENT, QUICK, SERVICE, Simulator, envelope, open_service, open_simulator
from starlette.requests import Request
from starlette.responses import Response

from alhambra.bank.model import IbossUser
from ingest.iboss import errors
from ingest.iboss.client import IbossAddress, Retries, open_iboss
from ingest.iboss.contract import read_contract
from ingest.iboss.transport import SoapTransport, create_http


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    async with open_simulator(tmp_path) as running:
        yield running


async def test_accounts_positions_cash_and_bookings_are_read(simulator: Simulator) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        accounts = await client.accounts()
        positions = await client.positions([one.account_id for one in accounts.accounts])
        cash = await client.cash_balances(["IB1"])
        page = await client.transactions()
    assert [one.account_id for one in accounts.accounts] == ["IB1", "IB2", "IB3"]
    assert {line.symbol: line.quantity for line in positions.portfolios[0].lines} == {"IBM": 10, "USD": 9000}
    assert [line.symbol for line in cash.portfolios[0].lines] == ["USD"]
    assert [one.type for one in page.bookings] == ["deposit", "buy"] * 3
    assert not positions.refused + page.refused


async def test_the_contract_can_be_read_from_the_service_itself(simulator: Simulator) -> None:
    address = IbossAddress(f"{simulator.url}/soap", SERVICE.username, SERVICE.password, API_KEY, own_wsdl=True)
    async with open_iboss(address, QUICK) as client:
        assert len((await client.accounts()).accounts) == 3


async def test_a_session_that_expires_is_renewed_once_without_anyone_noticing(simulator: Simulator) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        await client.accounts()
        await simulator.control(expire_sessions=True)
        assert len((await client.accounts()).accounts) == 3


async def test_sessions_that_never_last_are_an_error_and_not_a_loop(simulator: Simulator) -> None:
    await simulator.control(session_seconds=0)
    async with open_iboss(simulator.address(), QUICK) as client:
        with pytest.raises(errors.SessionExpired):
            await client.accounts()


@pytest.mark.parametrize("failure", ["fault", "http", "hang_up"])
async def test_a_service_that_fails_for_a_moment_is_asked_again(simulator: Simulator, failure: str) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        await simulator.control(fail_next=2, failure=failure)
        assert len((await client.accounts()).accounts) == 3


@pytest.mark.parametrize("failure", ["fault", "http", "hang_up"])
async def test_a_service_that_goes_on_failing_is_unavailable(simulator: Simulator, failure: str) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        await simulator.control(fail_next=100, failure=failure)
        with pytest.raises(errors.SourceUnavailable):
            await client.accounts()
        await simulator.control(fail_next=0)
        assert len((await client.accounts()).accounts) == 3


@pytest.mark.parametrize("failure", ["garbage", "truncated", "dtd"])
async def test_an_unreadable_answer_is_said_at_once_and_not_asked_for_again(simulator: Simulator, failure: str) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        await client.authenticate()
        await simulator.control(fail_next=1, failure=failure)
        with pytest.raises(errors.UnreadableAnswer):
            await client.accounts()


async def test_credentials_api_key_and_expired_passwords_are_told_apart(simulator: Simulator) -> None:
    await _expect(simulator.address(IbossUser("service", "wrong", None)), errors.CredentialsRefused)
    await _expect(simulator.address(api_key="wrong"), errors.AccessDenied)
    await simulator.control(expire_password=SERVICE.username)
    await _expect(simulator.address(), errors.PasswordExpired)


async def test_a_client_sees_its_own_account_and_no_other(simulator: Simulator) -> None:
    async with open_iboss(simulator.address(CLIENT), QUICK) as client:
        assert [one.account_id for one in (await client.accounts()).accounts] == ["IB2"]
        assert {one.account_id for one in (await client.transactions()).bookings} == {"IB2"}
        with pytest.raises(errors.AccessDenied):
            await client.positions(["IB2", "IB1"])


async def test_an_exceeded_quota_says_how_long_to_wait(simulator: Simulator) -> None:
    await simulator.control(quota_per_minute=1)
    async with open_iboss(simulator.address(), Retries(attempts=1)) as other:
        await other.authenticate()
    async with open_iboss(simulator.address(), Retries(attempts=1)) as client:
        with pytest.raises(errors.QuotaExceeded) as caught:
            await client.accounts()
    assert 0 < caught.value.retry_after_s <= 60


async def test_a_quota_that_frees_itself_is_waited_for() -> None:
    session = "<SessionToken>t</SessionToken><ExpiresInSeconds>60</ExpiresInSeconds>"
    answers = [
        Response("too many", 429, {"Retry-After": "0.05"}),
        Response(envelope(f"<AuthenticateResponse>{session}</AuthenticateResponse>"), media_type="text/xml"),
        Response(envelope("<LogoutResponse/>"), media_type="text/xml"),
    ]

    async def serve(_request: Request) -> Response:
        return answers.pop(0)

    async with open_service(serve) as address, open_iboss(address, QUICK) as client:
        await client.authenticate()
    assert answers == []


async def test_more_accounts_than_the_contract_allows_are_refused_before_anything_is_sent(simulator: Simulator) -> None:
    async with open_iboss(simulator.address(), QUICK) as client:
        with pytest.raises(errors.RequestRefused):
            await client.positions([f"IB{number}" for number in range(51)])


async def test_nobody_listening_is_unavailable(simulator: Simulator) -> None:
    address = IbossAddress("http://127.0.0.1:1/soap", "user", "password", "key")
    await _expect(address, errors.SourceUnavailable)


async def test_an_endless_answer_is_cut(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.iboss.transport.MAX_ANSWER_BYTES", 100)
    await _expect(simulator.address(), errors.UnreadableAnswer)


async def test_a_foreign_wsdl_is_refused_and_nothing_it_imports_is_fetched() -> None:
    asked = []

    async def serve(request: Request) -> Response:
        asked.append(request.url.path)
        return Response("", 404)

    async with open_service(serve) as address:
        transport = SoapTransport(lambda: create_http("key"))
        wsdl = f"""<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn:x">
            <wsdl:import namespace="urn:y" location="{address.url}/other.wsdl"/></wsdl:definitions>"""
        for document in (wsdl.encode(), b"<!DOCTYPE a><a/>", b"<html/>", b"garbage"):
            with pytest.raises(errors.UnreadableAnswer):
                await asyncio.to_thread(read_contract, document, address.url, transport)
        await transport.aclose()
    assert asked == []


async def test_secrets_are_in_no_repr(simulator: Simulator) -> None:
    address = IbossAddress("http://127.0.0.1:1/soap", "user", "pass-geheim", "key-geheim")
    async with open_iboss(address, QUICK) as client:
        assert "geheim" not in f"{address!r} {client!r}"


async def _expect(address: IbossAddress, error: type[Exception]) -> None:
    async with open_iboss(address, QUICK) as client:
        with pytest.raises(error):
            await client.accounts()
