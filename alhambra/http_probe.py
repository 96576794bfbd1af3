"""Ask an HTTP server on this machine how it is, with nothing that takes long to import."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

PROBE_SECONDS = 3.0


async def http_get(url: str) -> tuple[int, bytes] | None:
    """Return status and body of a plain `http://` address, or None where nothing speaks HTTP there."""
    return await asyncio.to_thread(_get, url)


def http_answers(url: str) -> Callable[[], Awaitable[bool]]:
    """Return a probe that says whether anything speaks HTTP at `url`, be it to report trouble."""

    async def answers() -> bool:
        return await http_get(url) is not None

    return answers


def _get(url: str) -> tuple[int, bytes] | None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
