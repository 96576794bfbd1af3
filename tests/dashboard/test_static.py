"""Static files come compressed, are kept for ever where their address may be, and are asked for again where not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import brotli
import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dashboard.static import StaticAssets

SCRIPT = b"console.log(1);" * 200


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
async def client(asked: list[str], tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        known = scope["path"].endswith((".js", "page"))
        response = Response(SCRIPT, media_type="text/javascript") if known else Response(b"no", 404)
        await response(scope, receive, send)

    (tmp_path / "built.js.br").write_bytes(brotli.compress(SCRIPT, quality=11))
    transport = httpx.ASGITransport(StaticAssets(app, tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://bank") as found:
        yield found


async def test_a_fingerprinted_script_is_compressed_and_immutable(client: httpx.AsyncClient) -> None:
    answer = await client.get("/_dash-component-suites/grid/x.v1_0m123.js", headers={"accept-encoding": "br"})
    assert answer.headers["content-encoding"] == "br"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.content == SCRIPT


async def test_a_script_without_fingerprint_is_asked_for_again_and_then_not_sent(client: httpx.AsyncClient) -> None:
    first = await client.get("/_dash-component-suites/grid/async.js")
    assert "immutable" not in first.headers["cache-control"]
    again = await client.get("/_dash-component-suites/grid/async.js", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


async def test_our_own_files_are_immutable_under_the_hash_of_their_content(client: httpx.AsyncClient) -> None:
    assert "immutable" in (await client.get("/assets/app.js?v=0123456789ab")).headers["cache-control"]
    assert "immutable" not in (await client.get("/assets/app.js?m=1580601600")).headers["cache-control"]


async def test_who_takes_no_brotli_gets_it_plain(client: httpx.AsyncClient) -> None:
    answer = await client.get("/assets/built.js", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert answer.content == SCRIPT


async def test_other_fingerprints_of_a_file_take_no_more_memory(client: httpx.AsyncClient, asked: list[str]) -> None:
    for number in range(5):
        await client.get(f"/_dash-component-suites/grid/x.v1_0m{number}.js")
    assert len(asked) == 1


async def test_what_is_missing_is_not_kept(client: httpx.AsyncClient, asked: list[str]) -> None:
    for _ in range(2):
        assert (await client.get("/assets/missing.txt")).status_code == 404
    assert len(asked) == 2


async def test_pages_and_posts_pass_through(client: httpx.AsyncClient, asked: list[str]) -> None:
    await client.get("/page")
    await client.post("/assets/built.js")
    assert asked == ["/page", "/assets/built.js"]
