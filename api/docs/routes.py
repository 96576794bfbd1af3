"""Serve the description of the live stream, to everybody: a page for people, the AsyncAPI document for programs."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from api.docs.asyncapi import Json, create_document
from api.docs.examples import read_examples
from api.docs.page import stream_page
from api.docs.samples import SAMPLES
from api.json_response import JsonResponse
from api.live.rhythm import Rhythm
from api.settings import ApiSettings
from dashboard.vendor import read_vendor

PAGE, DOCUMENT = "/docs/stream", "/docs/stream.json"

router = APIRouter(include_in_schema=False)


@router.get(PAGE)
async def stream_description(request: Request) -> Response:
    """Return the page, or the document to who accepts JSON and no HTML."""
    accepted = request.headers.get("accept", "")
    if "json" in accepted and "html" not in accepted:
        return await stream_document(request)
    return HTMLResponse(_page(*_server(request)))


@router.get(DOCUMENT)
async def stream_document(request: Request) -> Response:
    """Return the AsyncAPI document."""
    return JsonResponse(_document(*_server(request)))


def _server(request: Request) -> tuple[str, Rhythm]:
    """Return where this server is reached, as configured: what a request says of it is not to be trusted."""
    settings: ApiSettings = request.app.state.holder.state.settings
    return settings.own_origins[0], settings.rhythm


@cache
def _document(origin: str, rhythm: Rhythm) -> Json:
    return create_document(origin, rhythm, read_examples())


@cache
def _page(origin: str, rhythm: Rhythm) -> str:
    return stream_page(_document(origin, rhythm), SAMPLES, read_vendor())
