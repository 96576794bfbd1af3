"""Say what can be wrong with a statement.

StatementError
├── StatementUnreadable   the file as a whole: nothing of it is used; the message is a sentence for people
├── MappingUnclear        a mapping of CSV columns cannot be used; the message says which part of it
├── ImportRefused         the statement does not fit where it is to go; the message says what to do
└── RowRefused            one row: the others go on; `reason` is a stable word, the message says what was found
"""

from __future__ import annotations


class StatementError(Exception):
    """Stand above all errors of statements."""


class StatementUnreadable(StatementError):
    """Say why nothing of a file is used."""


class MappingUnclear(StatementError):
    """Say what in a mapping cannot be used."""


class ImportRefused(StatementError):
    """Say why a statement cannot go where it was asked to."""


class RowRefused(StatementError):
    """Say why one row is not booked."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
