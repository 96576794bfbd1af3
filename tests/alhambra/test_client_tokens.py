"""Sessions are kept going, begun anew where they ended, and what the bank says of it is told as it is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alhambra.client.clock import Clock
from alhambra.client.errors import ConnectionLost, Refused
from alhambra.client.pause import Patience
from alhambra.client.tokens import ProvidedTokens, SignedIn, Tokens

URL = "http://bank.example"
REFRESH = "/api/auth/refresh"


def token(number: int, lifetime_s: int = 100) -> str:
    """Return what looks like an access token."""
    claims = {"sub": f"user {number}", "iat": 1_000, "exp": 1_000 + lifetime_s}
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{middle}.seal"


class Desk:
    """Answer as `/api/auth` does, with a new token each time, or refuse."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refusals: dict[str, httpx.Response] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path in self.refusals:
            return self.refusals[request.url.path]
        return httpx.Response(200, json={"token": token(len(self.asked)), "refreshToken": f"r{len(self.asked)}"})


def web(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


async def test_it_signs_in_once_then_refreshes_and_signs_out() -> None:
    desk, tokens = Desk(), SignedIn("a@b.example", "secret")
    async with web(desk) as client:
        await tokens.obtain(client, URL)
        await tokens.obtain(client, URL)
        assert tokens.user_id == "user 1"
        assert 69 < (tokens.renew_in_s() or 0) < 81
        await tokens.renew(client, URL)
        assert tokens.auth() == {"token": token(2)}
        await tokens.end(client, URL)
    assert desk.asked == ["/api/auth/login", REFRESH, "/api/auth/logout"]
    assert "secret" not in repr(tokens)


async def test_a_session_that_ended_is_begun_anew() -> None:
    desk, tokens = Desk(), SignedIn("a@b.example", "secret")
    async with web(desk) as client:
        await tokens.obtain(client, URL)
        desk.refusals[REFRESH] = httpx.Response(401, json={"error": "The session has ended."})
        await tokens.renew(client, URL)
        assert desk.asked[1:] == [REFRESH, "/api/auth/login"]
        assert tokens.forget()
        assert not tokens.forget()
        assert tokens.renew_in_s() is None


@pytest.mark.parametrize(
    ("answer", "code", "message", "wait_s"),
    [
        (httpx.Response(401, json={"error": "Wrong."}), 3501, "Wrong.", 0),
        (httpx.Response(400, json={"error": "email: too long"}), 3500, "email: too long", 0),
        (httpx.Response(429, json={"error": "Slowly."}, headers={"Retry-After": "7"}), 3003, "Slowly.", 7),
        (httpx.Response(503, json={"error": "Away."}), 3002, "Away.", 0),
        (httpx.Response(502, text="<html>"), 3002, f"{URL}/api/auth/login answers 502, and no JSON.", 0),
        (httpx.Response(200, text="<html>"), 3002, f"{URL}/api/auth/login answers 200, and no JSON.", 0),
        (httpx.Response(200, json={}), 3001, f"{URL}/api/auth/login answers without tokens", 0),
        (httpx.Response(404, json={"error": "Route not found"}), 3503, "Route not found", 0),
    ],
)
async def test_a_refusal_is_told_as_it_is(answer: httpx.Response, code: int, message: str, wait_s: float) -> None:
    tokens = SignedIn("a@b.example", "secret")
    async with web(lambda _: answer) as client:
        with pytest.raises(Refused) as refused:
            await tokens.obtain(client, URL)
    assert (refused.value.code, refused.value.message, refused.value.retry_after_s) == (code, message, wait_s)
    assert refused.value.final == (code >= 3500)


async def test_a_refresh_that_cannot_be_answered_now_does_not_sign_in() -> None:
    desk, tokens = Desk(), SignedIn("a@b.example", "secret")
    async with web(desk) as client:
        await tokens.obtain(client, URL)
        desk.refusals[REFRESH] = httpx.Response(503, json={"error": "Away."})
        with pytest.raises(Refused):
            await tokens.renew(client, URL)

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    async with web(away) as client:
        with pytest.raises(ConnectionLost, match="no route"):
            await tokens.renew(client, URL)
    assert desk.asked == ["/api/auth/login", REFRESH]
    assert tokens.token == token(1)


async def test_tokens_are_taken_from_who_provides_them() -> None:
    given_out: list[str] = []

    async def provider() -> str:
        given_out.append(token(len(given_out)))
        return given_out[-1]

    async with web(Desk()) as client:
        asked, fixed, guest = ProvidedTokens(provider), ProvidedTokens("opaque"), Tokens()
        for tokens in (asked, fixed, guest):
            await tokens.obtain(client, URL)
            await tokens.obtain(client, URL)
        assert (len(given_out), asked.renew_in_s() is None) == (1, False)
        await asked.renew(client, URL)
        assert asked.auth() == {"token": given_out[1]}
        assert (fixed.auth(), fixed.renew_in_s(), fixed.user_id) == ({"token": "opaque"}, None, None)
        assert (guest.auth(), guest.renew_in_s(), guest.forget()) == ({"guest": True}, None, False)
        assert (asked.forget(), fixed.forget()) == (True, False)


@given(st.integers(-(10**12), 10**12), st.lists(st.tuples(st.integers(0, 10**9), st.floats(0, 1)), min_size=1))
def test_the_clock_is_wrong_by_half_of_the_shortest_round_trip_at_most(
    offset: int, trips: list[tuple[int, float]]
) -> None:
    clock = Clock()
    for round_trip, share in trips:  # the server looks at its clock anywhere on the way
        clock.add(0, round_trip, offset + int(share * round_trip))
    shortest = min(one for one, _ in trips[-16:])
    assert clock.round_trip_ns == shortest
    assert abs((clock.offset_ns or 0) - offset) <= shortest / 2 + 1
    clock.forget()
    assert (clock.offset_ns, clock.round_trip_ns) == (None, None)


@given(st.integers(0, 10**6), st.floats(0.01, 100))
def test_pauses_grow_to_the_longest_and_are_never_the_same_for_all(attempt: int, longest_s: float) -> None:
    patience = Patience(longest_pause_s=longest_s)
    assert 0 < patience.pause_s(attempt) <= longest_s
    assert patience.pause_s(attempt, 5.0) >= 5.0
    assert len({patience.pause_s(attempt) for _ in range(20)}) > 1
