"""Serve `/api/auth`: sign in, refresh and sign out with tokens."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, model_validator
from starlette.requests import Request

from api.auth.sign_in import LONGEST_NAME, LONGEST_PASSWORD
from api.client_address import client_address
from api.json_response import JsonResponse
from api.state import WebState, web_state
from db.people import User

router = APIRouter(prefix="/api/auth", tags=["auth"])
State = Annotated[WebState, Depends(web_state)]
TokenText = Annotated[str, Field(min_length=1, max_length=200)]


class Credentials(BaseModel):
    """Hold a sign-in: `email`, or `username` with the same content."""

    email: str | None = Field(None, min_length=1, max_length=LONGEST_NAME)
    username: str | None = Field(None, min_length=1, max_length=LONGEST_NAME)
    password: str = Field(min_length=1, max_length=LONGEST_PASSWORD)

    @model_validator(mode="after")
    def _named(self) -> Credentials:
        if self.email is None and self.username is None:
            raise ValueError("email is required")
        return self

    @property
    def name(self) -> str:
        """Return who signs in."""
        return self.email or self.username or ""


class RefreshToken(BaseModel):
    """Hold a refresh token."""

    refreshToken: TokenText


@router.post("/login")
async def login(credentials: Credentials, request: Request, state: State) -> JsonResponse:
    """Sign in: `token` (access, minutes), `refreshToken` (days, used once) and `user`."""
    token, rotation, user = await state.sign_in.by_token(
        credentials.name, credentials.password, client_address(request.scope)
    )
    return JsonResponse({"token": token, "refreshToken": rotation.token, "user": user_shape(user)})


@router.post("/refresh")
async def refresh(body: RefreshToken, request: Request, state: State) -> JsonResponse:
    """Replace a refresh token: a new `token` and the `refreshToken` to use from now on."""
    token, rotation = await state.sign_in.refresh(body.refreshToken, client_address(request.scope))
    return JsonResponse({"token": token, "refreshToken": rotation.token})


@router.post("/logout")
async def logout(body: RefreshToken, request: Request, state: State) -> JsonResponse:
    """End the session of a refresh token, and with it every token of its family."""
    await state.sign_in.end_tokens(body.refreshToken, client_address(request.scope))
    return JsonResponse({"ended": True})


def user_shape(user: User) -> dict[str, Any]:
    """Return what a user is told of themselves."""
    return {
        "id": user.id,
        "email": user.email,
        "firstName": user.first_name,
        "lastName": user.last_name,
        "role": user.role,
        "language": user.language,
    }
