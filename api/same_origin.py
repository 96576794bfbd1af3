"""Tell requests of our own pages from those that other sites make a browser send."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def is_same_origin(headers: Mapping[str, str], own_origins: Collection[str]) -> bool:
    """Say whether a browser says that our own page made this request.

    `Sec-Fetch-Site` decides where a browser sends it, and no page can forge it; older ones send `Origin`.
    With neither the answer is no.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return headers.get("origin") in own_origins


def is_json(headers: Mapping[str, str]) -> bool:
    """Say whether the body claims to be JSON, which no plain form can do."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
