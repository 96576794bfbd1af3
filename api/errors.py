"""Name what a request can be refused for; each error carries its HTTP meaning, one handler renders them."""

from __future__ import annotations

import math

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from api.json_response import JsonResponse
from db.postgres import DATABASE_AWAY

log = structlog.get_logger()

# What asyncpg, redis-py and the network raise when a server is away; the request may be tried again.
UNAVAILABLE = (*DATABASE_AWAY, RedisError)


class ApiError(Exception):
    """Refuse a request with a status and a sentence for whoever made it.

    ApiError
    ├── BadRequest        400  the request is wrong
    ├── Unauthorised      401  nobody is signed in, or no longer
    ├── Forbidden         403  the token or the role is wrong
    ├── NotFound          404  it does not exist, or is not the caller's to see
    ├── PayloadTooLarge   413  the body is larger than we take
    ├── TooManyRequests   429  a limit is reached; says when to come back
    └── Unavailable       503  something that is needed is away; try again
    """

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to the refusal."""
        return {}


class BadRequest(ApiError):
    """Say that the request is wrong."""

    status = 400


class Unauthorised(ApiError):
    """Say that nobody is signed in, or no longer."""

    status = 401

    def headers(self) -> dict[str, str]:
        """Return the challenge that a 401 must carry."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ApiError):
    """Say that the token or the role is wrong."""

    status = 403


class NotFound(ApiError):
    """Say that something does not exist, or is not the caller's to see: the two are not told apart."""

    status = 404


class PayloadTooLarge(ApiError):
    """Say that the body is larger than we take."""

    status = 413


class Unavailable(ApiError):
    """Say that something that is needed is away."""

    status = 503

    def headers(self) -> dict[str, str]:
        """Return when to try again."""
        return {"Retry-After": "2"}


class TooManyRequests(ApiError):
    """Say that a limit is reached, which, and when to come back."""

    status = 429

    def __init__(self, limit: int, window_s: float, retry_after_s: float) -> None:
        super().__init__(f"Too many requests: the limit is {limit} in {window_s / 60:g} minutes.")
        self.limit = limit
        self.retry_after_s = max(1, math.ceil(retry_after_s))

    def headers(self) -> dict[str, str]:
        """Return the limit and when to try again."""
        return {"Retry-After": str(self.retry_after_s), "X-RateLimit-Limit": str(self.limit)}


def add_error_handlers(app: FastAPI) -> None:
    """Render every error as JSON `{"error": …}`."""
    app.add_exception_handler(ApiError, _render_api_error)
    app.add_exception_handler(HTTPException, _render_http_error)
    app.add_exception_handler(RequestValidationError, _render_invalid)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, _render_unavailable)


def render(error: ApiError) -> JsonResponse:
    """Return the answer that an error means."""
    return JsonResponse({"error": error.message}, error.status, error.headers())


async def _render_api_error(_request: Request, error: Exception) -> JsonResponse:
    assert isinstance(error, ApiError)
    return render(error)


async def _render_http_error(_request: Request, error: Exception) -> JsonResponse:
    assert isinstance(error, HTTPException)
    message = "Route not found" if error.status_code == 404 else str(error.detail)
    return JsonResponse({"error": message}, error.status_code, dict(error.headers or {}))


async def _render_invalid(_request: Request, error: Exception) -> JsonResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
    return JsonResponse({"error": f"{place}: {first['msg']}" if place else first["msg"]}, 400)


async def _render_unavailable(request: Request, error: Exception) -> JsonResponse:
    log.warning("something needed is away", path=request.url.path, error=repr(error))
    return JsonResponse(
        {"error": "The service cannot answer at the moment. Please try again."}, 503, {"Retry-After": "2"}
    )
