"""Check the options of a venue: pure, with a sentence for each that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from ingest.venues.errors import VenueUnclear


def check_options(venue: str, options: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise `VenueUnclear` where there is an option that the venue does not know."""
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise VenueUnclear(f"{venue} has no option {unknown[0]!r}; its options are {', '.join(sorted(known))}")


def check_address(venue: str, address: str, schemes: Sequence[str]) -> str:
    """Return an address that names a host under one of the schemes, without user or password."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise VenueUnclear(f"{venue}: url is not an address that begins with {' or '.join(f'{s}://' for s in schemes)}")
    if parts.username is not None or parts.password is not None:
        raise VenueUnclear(f"{venue}: the address holds a user or a password; keys belong into the environment")
    return address


def take_count(venue: str, options: Mapping[str, str], name: str, default: int) -> int:
    """Return an option that is a whole number of at most nine digits, 0 or more."""
    text = options.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise VenueUnclear(f"{venue}: {name} is {text!r}; it is a whole number, 0 or more")
    return int(text)


def take_seconds(venue: str, options: Mapping[str, str], name: str, default: float, least: float) -> float:
    """Return an option that is a number of seconds, at least `least` and at most a day."""
    text = options.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= 86_400.0:
        raise VenueUnclear(f"{venue}: {name} is {text!r}; it is a number of seconds from {least:g} to 86400")
    return seconds


def take_flag(venue: str, options: Mapping[str, str], name: str) -> bool:
    """Return an option that is yes or no; no where it is not given."""
    text = options.get(name, "no")
    if text not in ("yes", "no"):
        raise VenueUnclear(f"{venue}: {name} is {text!r}; it is yes or no")
    return text == "yes"
