"""Signing in is never repeated so often that it locks the account, whatever the fault is called."""

from __future__ import annotations

import pytest
from fakes_iboss import envelope, open_service
from starlette.requests import Request
from starlette.responses import Response

from ingest.iboss.client import Retries, open_iboss
from ingest.iboss.errors import CredentialsRefused, IbossError, PasswordExpired
from ingest.iboss.guard import CallGuard
from ingest.iboss.sign_ins import PAUSE_S, SignIns

QUICK = Retries(attempts=4, wait_initial_s=0.01, wait_max_s=0.02)


def fault(code: str, kind: str) -> bytes:
    detail = f"<detail><ServiceFault><ErrorCode>{code}</ErrorCode></ServiceFault></detail>"
    return envelope(f"<s:Fault><faultcode>s:{kind}</faultcode><faultstring>no</faultstring>{detail}</s:Fault>")


def test_refused_credentials_are_tried_twice_in_all_and_never_again() -> None:
    sign_ins = SignIns()
    sign_ins.admit(0.0)
    sign_ins.refused(CredentialsRefused("wrong"), 0.0)
    with pytest.raises(CredentialsRefused, match="wrong"):
        sign_ins.admit(PAUSE_S - 1)
    sign_ins.admit(PAUSE_S)
    sign_ins.refused(CredentialsRefused("wrong"), PAUSE_S)
    with pytest.raises(CredentialsRefused):
        sign_ins.admit(1e9)
    assert "restart" in sign_ins.plan(1e9)


def test_an_expired_password_is_tried_each_quarter_of_an_hour_and_forgotten_when_it_is_renewed() -> None:
    sign_ins = SignIns()
    for at_s in (0.0, PAUSE_S, 2 * PAUSE_S):
        sign_ins.admit(at_s)
        sign_ins.refused(PasswordExpired("renew"), at_s)
        with pytest.raises(PasswordExpired):
            sign_ins.admit(at_s + 1)
        assert sign_ins.plan(at_s + 300) == "signing in is tried again in 10 min"
    sign_ins.succeeded()
    sign_ins.admit(2 * PAUSE_S + 1)
    assert sign_ins.plan(0.0) == ""


@pytest.mark.parametrize(("status", "asked"), [(401, 1), (403, 3), (404, 3)])
async def test_what_a_gateway_refuses_is_asked_again_and_a_bare_401_is_not(status: int, asked: int) -> None:
    seen = []

    async def serve(request: Request) -> Response:
        seen.append(request.method)
        return Response("<html>no</html>", status)

    guard = CallGuard()
    async with open_service(serve) as address, open_iboss(address, QUICK, guard) as client:
        for _ in range(3):
            with pytest.raises(IbossError, match=f"HTTP {status}") as caught:
                await client.accounts()
            assert caught.value.advice
    assert len(seen) == asked


@pytest.mark.parametrize("kind", ["Client", "Server"])
@pytest.mark.parametrize("code", ["InvalidCredentials", "100002", "100005", "100001", "NotInOurTable", "4711"])
async def test_whatever_a_refusal_is_called_the_password_is_sent_once(code: str, kind: str) -> None:
    asked = []

    async def serve(request: Request) -> Response:
        asked.append(await request.body())
        return Response(fault(code, kind), 500, media_type="text/xml")

    guard = CallGuard()
    async with open_service(serve) as address:
        for _ in range(5):  # as many clients, since each connection to Kafka makes another
            async with open_iboss(address, QUICK, guard) as client:
                with pytest.raises(IbossError):
                    await client.accounts()
    assert len(asked) == 1
    assert guard.words()
