"""Say what can go wrong before a venue is met, and with documents of days that are over.

VenueError
├── VenueUnclear         stop: there is no such venue, or its options or keys cannot be used; the message says how
└── DocumentUnreadable   refuse: a venue's history of prices is not what its documents say
"""

from __future__ import annotations


class VenueError(Exception):
    """Stand above all errors of the venues."""


class VenueUnclear(VenueError):
    """Say that a venue cannot be set up as it was asked for; the message never holds a key."""


class DocumentUnreadable(VenueError):
    """Say that a document cannot be read, and where."""
