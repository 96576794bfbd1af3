"""Say where a request comes from, as an IP address."""

from __future__ import annotations

import ipaddress

from starlette.types import Scope

UNKNOWN = "0.0.0.0"  # noqa: S104  an address to count by, not one to listen on


def client_address(scope: Scope) -> str:
    """Return the peer's address from the ASGI scope; behind trusted proxies uvicorn has put the client's there."""
    client = scope.get("client")
    try:
        return str(ipaddress.ip_address(client[0])) if client else UNKNOWN
    except ValueError:
        return UNKNOWN
