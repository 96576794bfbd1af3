"""Stand before the REST routes: who is asking, may they, and how often."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from api.auth.authenticator import bearer_token
from api.auth.identity import Identity
from api.client_address import client_address
from api.errors import Forbidden, Unauthorised
from api.state import WebState, web_state

State = Annotated[WebState, Depends(web_state)]


async def authenticated(request: Request, state: State) -> Identity:
    """Return who holds the bearer token; raises `Unauthorised` or `Forbidden`."""
    token = bearer_token(request.headers)
    if token is None:
        raise Unauthorised("A bearer token is required.")
    return await state.authenticator.by_token(token)


async def counted(request: Request, state: State) -> None:
    """Count the request of its user, or of its address where nobody is signed in; raises `TooManyRequests`."""
    try:
        identity = await authenticated(request, state)
    except (Unauthorised, Forbidden):
        await state.limiters.count_request(f"address/{client_address(request.scope)}")
        raise
    await state.limiters.count_request(f"user/{identity.user_id}")


def require_role(*roles: str) -> Callable[[Identity], Awaitable[Identity]]:
    """Make the dependency that lets only these roles pass; it raises `Forbidden`."""

    async def check(identity: Annotated[Identity, Depends(authenticated)]) -> Identity:
        if identity.role not in roles:
            raise Forbidden("Your role has no access to this.")
        return identity

    return check
