"""Serve `/session`: sign in and out of the pages with a plain form and a cookie."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.auth.authenticator import cookie_token
from api.auth.sessions import COOKIE, PAGE_SESSION_LIFETIME
from api.client_address import client_address
from api.errors import Forbidden, TooManyRequests, Unauthorised
from api.same_origin import is_same_origin
from api.state import WebState, web_state

router = APIRouter(tags=["session"], include_in_schema=False)
State = Annotated[WebState, Depends(web_state)]
SEE_OTHER = 303


async def from_our_pages(request: Request, state: State) -> None:
    """Refuse forms that another site's page sends; raises `Forbidden`."""
    if not is_same_origin(request.headers, state.settings.own_origins):
        raise Forbidden("This form was not sent by our own page.")


@router.post("/session", dependencies=[Depends(from_our_pages)])
async def begin_session(
    request: Request, state: State, email: Annotated[str, Form()] = "", password: Annotated[str, Form()] = ""
) -> Response:
    """Sign in and go to the first page; a refusal goes back to the form, which says why."""
    try:
        token = await state.sign_in.by_page(email, password, client_address(request.scope))
    except Unauthorised:
        return RedirectResponse("/sign-in?error=credentials", SEE_OTHER)
    except TooManyRequests as error:
        return RedirectResponse("/sign-in?error=limit", SEE_OTHER, headers=error.headers())
    response = RedirectResponse("/", SEE_OTHER)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(PAGE_SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=state.settings.cookies_secure,
        httponly=True,
        samesite="lax",
    )
    return response


@router.delete("/session", dependencies=[Depends(from_our_pages)])
@router.post("/session/end", dependencies=[Depends(from_our_pages)])
async def end_session(request: Request, state: State) -> Response:
    """Sign out: the session ends, the cookie goes, and the sign-in page follows."""
    token = cookie_token(request.headers.get("cookie", ""))
    if token is not None:
        await state.sign_in.end_page(token, client_address(request.scope))
        state.authenticator.forget_cookie(token)
    response = RedirectResponse("/sign-in", SEE_OTHER)
    response.delete_cookie(COOKIE, path="/", secure=state.settings.cookies_secure, httponly=True, samesite="lax")
    return response
