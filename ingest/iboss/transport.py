"""Carry SOAP messages over HTTP: one client with its own time-outs, answers of bounded size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
from lxml import etree
from zeep.transports import AsyncTransport

from ingest.iboss.errors import SourceUnavailable, UnreadableAnswer

MAX_ANSWER_BYTES = 32 << 20
ANSWER_DEADLINE_S = 30.0  # httpx bounds each read; this bounds a server that sends a byte now and then
POOL_TIMEOUTS_ALLOWED = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what came back over HTTP, not yet looked into."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def create_http(api_key: str) -> httpx.AsyncClient:
    """Make the HTTP client: short time-outs, no redirects, the API key in every request."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(5.0, connect=2.0, pool=2.0),
        limits=httpx.Limits(max_connections=4, max_keepalive_connections=2),
        follow_redirects=False,
        trust_env=False,
        headers={"X-API-Key": api_key, "User-Agent": "alhambra-ingest"},
    )


class SoapTransport(AsyncTransport):
    """Send zeep's envelopes and return `Answer`s. Nothing is logged, since messages hold passwords.

    After repeated pool time-outs the HTTP client is made anew: cancelled requests can leak the slots of
    its pool until nothing else is left (httpcore #1093).
    """

    _close_session = False  # read by zeep's finaliser

    def __init__(self, create: Callable[[], httpx.AsyncClient]) -> None:  # zeep's own would make two clients
        self.cache = None
        self._create = create
        self._http = create()
        self._pool_timeouts = 0

    async def post_xml(self, address: str, envelope: etree._Element, headers: dict[str, str]) -> Answer:
        """Post an envelope; raises `SourceUnavailable` or `UnreadableAnswer`."""
        return await self._request("POST", address, etree.tostring(envelope, encoding="utf-8"), headers)

    async def fetch(self, address: str) -> bytes:
        """Return a document such as the service's WSDL; raises as `post_xml` does."""
        answer = await self._request("GET", address, b"", {})
        if answer.status != 200:
            raise SourceUnavailable(f"{address} answered HTTP {answer.status}")
        return answer.content

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _request(self, method: str, address: str, content: bytes, headers: dict[str, str]) -> Answer:
        try:
            async with self._http.stream(method, address, content=content, headers=headers) as response:
                body = await _read_bounded(response)
                answer = Answer(response.status_code, response.headers, body)
        except httpx.PoolTimeout as error:
            await self._renew_after_pool_timeouts()
            raise SourceUnavailable("no free connection to IBOSS") from error
        except (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise SourceUnavailable(f"IBOSS does not answer: {type(error).__name__} {error}".rstrip()) from error
        except httpx.DecodingError as error:
            raise UnreadableAnswer(f"the answer's compression is broken: {error}") from error
        except httpx.InvalidURL as error:
            raise UnreadableAnswer(f"not an address: {error}") from error
        except httpx.HTTPError as error:
            raise SourceUnavailable(f"IBOSS cannot be asked: {error!r}") from error
        self._pool_timeouts = 0
        return answer

    async def _renew_after_pool_timeouts(self) -> None:
        self._pool_timeouts += 1
        if self._pool_timeouts > POOL_TIMEOUTS_ALLOWED:
            self._pool_timeouts = 0
            stale, self._http = self._http, self._create()
            await stale.aclose()


async def _read_bounded(response: httpx.Response) -> bytes:
    deadline = time.monotonic() + ANSWER_DEADLINE_S
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise UnreadableAnswer(f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise SourceUnavailable(f"the answer took longer than {ANSWER_DEADLINE_S:.0f} s")
    return bytes(body)
