"""Read the times that venues write, such as `2021-02-22T15:51:45.335689322Z`, to the nanosecond."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

SECOND_CHARACTERS = len("2021-02-22T15:51:45")
_SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}")
_REST = re.compile(r"(?:\.(?P<fraction>[0-9]{1,9}))?(?:Z|(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-5][0-9]))")


def parse_rfc3339(text: str) -> int:
    """Return the nanoseconds since the epoch of a time with its zone; raises `ValueError` on anything else."""
    second = _second_ns(text[:SECOND_CHARACTERS])
    rest = text[SECOND_CHARACTERS:]
    # What nearly every record has, before the expression that understands all.
    if (
        len(rest) <= 11
        and rest[:1] == "."
        and rest[-1:] == "Z"
        and (digits := rest[1:-1]).isascii()
        and digits.isdigit()
    ):
        return second + int(digits.ljust(9, "0"))
    found = _REST.fullmatch(rest)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a time of RFC 3339 with at most nine digits of a second, and a zone")
    return second + int((found["fraction"] or "").ljust(9, "0")) - _offset_ns(found)


@lru_cache(maxsize=256)  # records come by the thousand within one second
def _second_ns(text: str) -> int:
    if _SECOND.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not the beginning of a time of RFC 3339")
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 10**9


def _offset_ns(found: re.Match[str]) -> int:
    if found["sign"] is None:
        return 0
    ahead = timezone(timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))).utcoffset(None)
    return (1 if found["sign"] == "+" else -1) * round(ahead.total_seconds()) * 10**9
