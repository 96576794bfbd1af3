"""The doctor says whether IBOSS signs our user in, tries it once, and says what to do where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes_iboss import API_KEY, SERVICE, open_service, open_simulator
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from alhambra.doctor import iboss_finding
from alhambra.ports import free_port
from alhambra.settings import DoorSettings


def given(url: str, password: str = SERVICE.password) -> DoorSettings:
    return DoorSettings(
        iboss_api_url=f"{url}/soap",
        iboss_api_key=SecretStr(API_KEY),
        iboss_username=SERVICE.username,
        iboss_password=SecretStr(password),
    )


async def test_an_iboss_that_signs_us_in_is_well(tmp_path: Path) -> None:
    async with open_simulator(tmp_path) as simulator:
        found = await iboss_finding(given(simulator.url))
    assert found.ok
    assert "signs us in, in" in found.seen


async def test_an_expired_password_and_a_wrong_one_are_told_with_what_to_do(tmp_path: Path) -> None:
    async with open_simulator(tmp_path) as simulator:
        wrong = await iboss_finding(given(simulator.url, "geheim"))
        await simulator.control(expire_password=SERVICE.username)
        expired = await iboss_finding(given(simulator.url))
    assert (wrong.ok, expired.ok) == (False, False)
    assert "PasswordExpired" in expired.seen
    assert expired.advice.startswith("Renew the password at IBOSS")
    assert "IBOSS_PASSWORD" in wrong.advice
    assert "geheim" not in repr(wrong)


async def test_it_signs_in_once_whatever_happens() -> None:
    posted = []

    async def serve(request: Request) -> Response:
        if request.method == "GET":
            return Response("<definitions/>")
        posted.append(1)
        return Response("busy", 503)

    async with open_service(serve) as address:
        found = await iboss_finding(given(address.url.removesuffix("/soap")))
    assert (found.ok, len(posted)) == (False, 1)
    assert "HTTP 503" in found.seen


@pytest.mark.parametrize("settings", [DoorSettings(), given(f"http://127.0.0.1:{free_port()}")])
async def test_without_iboss_nothing_is_needed_and_one_that_is_away_is_a_fault(settings: DoorSettings) -> None:
    found = await iboss_finding(settings)
    assert found.ok is (None if settings.iboss_api_url is None else False)
