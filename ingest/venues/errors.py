"""Say what can go wrong before a venue is met.

VenueError
└── VenueUnclear   stop: there is no such venue, or its options or keys cannot be used; the message says how
"""

from __future__ import annotations


class VenueError(Exception):
    """Stand above all errors of the venues."""


class VenueUnclear(VenueError):
    """Say that a venue cannot be set up as it was asked for; the message never holds a key."""
