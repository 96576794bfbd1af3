"""Answer in JSON, encoded by orjson."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
from starlette.responses import Response


class JsonResponse(Response):
    """Carry JSON; NaN and infinity become null, UUIDs and times their standard text."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"Cache-Control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return orjson.dumps(content, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, UUID):  # asyncpg's own kind of UUID, which orjson does not know
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
