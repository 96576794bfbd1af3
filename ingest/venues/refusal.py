"""Say why a record of a venue cannot be read, in words that are the same for all venues."""

from __future__ import annotations

import msgspec

from ingest.venues.events import Refused

MOST_CHARACTERS = 200  # of what a venue says, in what we say of it

# All that decoding untrusted JSON can raise: not JSON or not the shape, not UTF-8, nested beyond the stack, and a
# number or a time that no type of ours can hold (a ValueError or an OverflowError).
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def refuse(error: Exception, symbol: str | None = None) -> Refused:
    """Return the refusal that an error of decoding stands for."""
    return Refused("unreadable", clean(str(error)), symbol)


def clean(text: str) -> str:
    """Return what a venue says on one line, bounded, and writable everywhere."""
    shown = text[:MOST_CHARACTERS].encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else " " for character in shown)
