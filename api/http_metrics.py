"""Count and time requests for Prometheus, by the route's template and never by the path itself."""

from __future__ import annotations

from prometheus_client import Counter, Histogram
from starlette.types import Scope

_LABELS = ["method", "route", "status"]
REQUESTS = Counter("http_requests_total", "Requests answered", _LABELS)
DURATION = Histogram(
    "http_request_duration_seconds",
    "Time to answer a request",
    _LABELS,
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe(scope: Scope, status: int, seconds: float) -> None:
    """Count and time an answered request."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    labels = (method, route_of(scope), str(status))
    REQUESTS.labels(*labels).inc()
    DURATION.labels(*labels).observe(seconds)


def route_of(scope: Scope) -> str:
    """Return the template of the route that answered: a bounded set, whatever is asked for."""
    path: str = scope["path"]
    if path.startswith(("/assets/", "/_dash-component-suites/")):
        return "static"
    if path.startswith("/socket.io"):
        return "/socket.io"
    template = getattr(scope.get("route"), "path", None)
    if template is None:
        return "unmatched"
    return "page" if template in ("{path:path}", "/{path:path}") else str(template)
