from __future__ import annotations

import asyncio

import asyncpg
import httpx
import jwt
import pytest
from fakes_api import PASSWORD, SECRET, Cast, RunningApi, api_settings, email, open_api
from pydantic import ValidationError


async def login(web: httpx.AsyncClient, name: str = "ana", password: str = PASSWORD) -> httpx.Response:
    return await web.post("/api/auth/login", json={"email": email(name), "password": password})


async def refresh(web: httpx.AsyncClient, token: str) -> httpx.Response:
    return await web.post("/api/auth/refresh", json={"refreshToken": token})


async def test_a_login_answers_tokens_and_the_user(web: httpx.AsyncClient, cast: Cast) -> None:
    answer = await login(web)
    assert answer.status_code == 200
    assert answer.json()["user"]["id"] == str(cast.ana)
    assert set(answer.json()) == {"token", "refreshToken", "user"}
    claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 900


async def test_the_user_name_may_stand_in_username_and_in_any_case(web: httpx.AsyncClient, cast: Cast) -> None:
    answer = await web.post("/api/auth/login", json={"username": " ANA@Alhambra.test ", "password": PASSWORD})
    assert answer.status_code == 200


async def test_wrong_passwords_unknown_and_suspended_users_are_told_the_same(
    web: httpx.AsyncClient, cast: Cast
) -> None:
    answers = [await login(web, "ana", "wrong"), await login(web, "nobody"), await login(web, "suspended")]
    assert {(one.status_code, one.text) for one in answers} == {(401, '{"error":"The name or the password is wrong."}')}


async def test_a_body_that_is_wrong_says_its_first_problem(web: httpx.AsyncClient) -> None:
    answer = await web.post("/api/auth/login", json={"email": email("ana")})
    assert (answer.status_code, answer.json()) == (400, {"error": "password: Field required"})
    assert (await web.post("/api/auth/login", content=b"{")).status_code == 400


async def test_refreshing_rotates_and_the_new_tokens_work(web: httpx.AsyncClient, cast: Cast) -> None:
    first = (await login(web)).json()["refreshToken"]
    second = (await refresh(web, first)).json()
    assert second["refreshToken"] != first
    answer = await web.get("/api/portfolio/overview", headers={"Authorization": f"Bearer {second['token']}"})
    assert answer.status_code == 503  # signed in, but nothing is valued in this module


async def test_refreshes_at_the_same_time_all_get_the_same_successor(web: httpx.AsyncClient, cast: Cast) -> None:
    first = (await login(web)).json()["refreshToken"]
    answers = await asyncio.gather(*(refresh(web, first) for _ in range(3)))
    assert [one.status_code for one in answers] == [200] * 3
    assert len({one.json()["refreshToken"] for one in answers}) == 1


async def test_using_a_replaced_token_again_ends_the_whole_family(
    web: httpx.AsyncClient, cast: Cast, module_postgres_url: str
) -> None:
    first = (await login(web)).json()["refreshToken"]
    second = (await refresh(web, first)).json()["refreshToken"]
    third = (await refresh(web, second)).json()["refreshToken"]
    assert (await refresh(web, first)).status_code == 401  # its successor has been used: no retry, a thief
    assert (await refresh(web, third)).status_code == 401
    connection = await asyncpg.connect(module_postgres_url)
    assert await connection.fetchval("select count(*) from audit_events where action = 'refresh_reused'") == 1
    await connection.close()


async def test_a_retry_after_thirty_seconds_ends_the_family(
    web: httpx.AsyncClient, cast: Cast, module_postgres_url: str
) -> None:
    first = (await login(web)).json()["refreshToken"]
    second = (await refresh(web, first)).json()["refreshToken"]
    connection = await asyncpg.connect(module_postgres_url)
    await connection.execute(
        "update refresh_tokens set replaced_at = now() - interval '31 s' where replaced_at > now() - interval '5 s'"
    )
    await connection.close()
    assert (await refresh(web, first)).status_code == 401
    assert (await refresh(web, second)).status_code == 401


async def test_logout_ends_the_family_and_soon_its_access_tokens(web: httpx.AsyncClient, cast: Cast) -> None:
    tokens = (await login(web)).json()
    assert (await web.post("/api/auth/logout", json={"refreshToken": tokens["refreshToken"]})).status_code == 200
    assert (await refresh(web, tokens["refreshToken"])).status_code == 401
    answer = await web.get("/api/portfolio/overview", headers={"Authorization": f"Bearer {tokens['token']}"})
    assert answer.status_code == 401


async def test_the_table_alone_gives_nobody_a_token(
    web: httpx.AsyncClient, cast: Cast, module_postgres_url: str
) -> None:
    first = (await login(web)).json()["refreshToken"]
    second = (await refresh(web, first)).json()["refreshToken"]
    connection = await asyncpg.connect(module_postgres_url)
    rows = await connection.fetch("select token_hash, successor_sealed from refresh_tokens")
    await connection.close()
    stored = b"".join(value for row in rows for value in row.values() if value)
    assert first.encode() not in stored
    assert second.encode() not in stored


async def overview(web: httpx.AsyncClient, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": token}
    return (await web.get("/api/portfolio/overview", headers=headers)).status_code


async def test_tokens_that_are_none_of_ours_are_refused(web: httpx.AsyncClient, cast: Cast) -> None:
    good = (await login(web)).json()["token"]
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    kid = {"kid": header["kid"]}
    assert await overview(web, None) == 401
    assert await overview(web, "Bearer") == 401
    assert await overview(web, "Basic YTpi") == 401
    assert await overview(web, "Bearer not.a.token") == 403
    assert await overview(web, "Bearer " + good[:-3]) == 403
    assert await overview(web, "Bearer " + jwt.encode(claims, "x" * 40, "HS256", headers=kid)) == 403
    assert await overview(web, "Bearer " + jwt.encode(claims, SECRET, "HS512", headers=kid)) == 403
    assert await overview(web, "Bearer " + jwt.encode(claims, "", "none", headers=kid)) == 403
    assert await overview(web, "Bearer " + jwt.encode(claims, SECRET, "HS256")) == 403
    for change in ({"typ": "refresh"}, {"aud": "other"}, {"iss": "other"}, {"sub": "nobody"}):
        assert await overview(web, "Bearer " + jwt.encode({**claims, **change}, SECRET, "HS256", headers=kid)) == 403
    assert await overview(web, "Bearer " + jwt.encode({**claims, "exp": 1}, SECRET, "HS256", headers=kid)) == 401


async def test_a_role_without_the_right_is_forbidden(web: httpx.AsyncClient, cast: Cast) -> None:
    token = (await login(web, "kyc")).json()["token"]
    assert await overview(web, f"Bearer {token}") == 403


async def test_the_audit_tells_of_sign_ins_and_refusals(
    web: httpx.AsyncClient, cast: Cast, module_postgres_url: str
) -> None:
    await login(web, "ben")
    await login(web, "ben", "wrong")
    connection = await asyncpg.connect(module_postgres_url)
    rows = await connection.fetch("select action from audit_events where actor_id = $1 order by id", cast.ben)
    await connection.close()
    assert [row[0] for row in rows] == ["sign_in", "sign_in_refused"]


async def test_the_sixth_attempt_is_refused_until_later_even_with_the_right_password(
    cast: Cast, module_postgres_url: str, module_redis_url: str
) -> None:
    async with (
        open_api(module_postgres_url, module_redis_url) as api,
        httpx.AsyncClient(base_url=api.url) as web,
    ):
        answers = await asyncio.gather(*(login(web, "compliance", "wrong") for _ in range(8)))
        assert sorted(one.status_code for one in answers) == [401] * 5 + [429] * 3
        refused = await login(web, "compliance")
        assert refused.status_code == 429
        assert "limit is 5 in 15 minutes" in refused.json()["error"]
        assert 0 < int(refused.headers["Retry-After"]) <= 900
        assert (await login(web, "admin")).status_code == 200  # somebody else at the same address is not locked out


async def test_signing_in_often_with_the_right_password_is_no_attempt(
    cast: Cast, module_postgres_url: str, module_redis_url: str
) -> None:
    async with (
        open_api(module_postgres_url, module_redis_url) as api,
        httpx.AsyncClient(base_url=api.url) as web,
    ):
        assert [(await login(web, "other")).status_code for _ in range(7)] == [200] * 7


async def test_rest_is_limited_per_user_and_health_is_not(
    cast: Cast, module_postgres_url: str, module_redis_url: str
) -> None:
    async with (
        open_api(module_postgres_url, module_redis_url, rest_requests=3) as api,
        httpx.AsyncClient(base_url=api.url) as web,
    ):
        token = (await login(web, "stranger")).json()["token"]
        assert [await overview(web, f"Bearer {token}") for _ in range(4)] == [404, 404, 404, 429]
        assert (await web.get("/api/health")).status_code == 503


async def test_without_redis_sign_ins_are_still_limited(cast: Cast, module_postgres_url: str) -> None:
    async with (
        open_api(module_postgres_url, "redis://127.0.0.1:1/0", sign_in_attempts=2) as api,
        httpx.AsyncClient(base_url=api.url, timeout=20) as web,
    ):
        codes = [(await login(web, "ana", "wrong")).status_code for _ in range(3)]
        assert codes == [401, 401, 429]


def test_settings_hide_their_secrets_and_refuse_weak_ones(api: RunningApi) -> None:
    assert SECRET not in repr(api.settings)
    with pytest.raises(ValidationError, match="at least 32 characters"):
        api_settings("postgresql://x", "redis://x", 8000, jwt_secret="short")
    with pytest.raises(ValidationError, match="no duration"):
        api_settings("postgresql://x", "redis://x", 8000, jwt_expires_in="soon")
