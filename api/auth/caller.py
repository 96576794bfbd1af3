"""Let in programs by bearer token and our own pages by cookie, for routes that both use."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.auth.authenticator import bearer_token, cookie_token
from api.auth.identity import Identity
from api.client_address import client_address
from api.errors import Forbidden, Unauthorised
from api.same_origin import is_json, is_same_origin
from api.state import WebState, web_state

State = Annotated[WebState, Depends(web_state)]
READS = frozenset({"GET", "HEAD"})


async def caller(request: Request, state: State) -> Identity:
    """Return who asks, and count the request against the limit of REST; a FastAPI dependency.

    A browser adds a cookie to whatever any site makes it send: so a cookie counts only in requests of our own pages,
    and in those that change something only with a JSON body, or with none. Raises `Unauthorised`, `Forbidden` or
    `TooManyRequests`.
    """
    try:
        identity = await _identify(request, state)
    except (Unauthorised, Forbidden):
        await state.limiters.count_request(f"address/{client_address(request.scope)}")
        raise
    await state.limiters.count_request(f"user/{identity.user_id}")
    return identity


async def _identify(request: Request, state: WebState) -> Identity:
    token = bearer_token(request.headers)
    if token is not None:
        return await state.authenticator.by_token(token)
    cookie = cookie_token(request.headers.get("cookie", ""))
    identity = None if cookie is None else await state.authenticator.by_cookie(cookie)
    if identity is None:
        raise Unauthorised("A bearer token is required.")
    has_form = request.method not in READS and "content-type" in request.headers and not is_json(request.headers)
    if has_form or not is_same_origin(request.headers, state.settings.own_origins):
        raise Forbidden("Only our own pages may ask for this.")
    return identity
