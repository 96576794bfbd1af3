"""Read durations as the configuration writes them: `15m`, `24h`, `7d`, or seconds."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PATTERN = re.compile(r"^\s*(\d+)\s*([smhd]?)\s*$")


def parse_duration(text: str) -> timedelta:
    """Read a duration; raises `ValueError` where it is none, or nothing at all."""
    found = _PATTERN.match(text)
    if found is None or int(found[1]) == 0:
        raise ValueError(f"'{text}' is no duration: write 15m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
