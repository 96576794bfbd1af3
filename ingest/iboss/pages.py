"""Read bookings a page at a time, and never for ever: whatever pages repeat, a poll has an end. Pure."""

from __future__ import annotations

from ingest.iboss.errors import UnreadableAnswer
from ingest.iboss.records import TransactionsPage

MOST_PAGES = 200  # of a thousand bookings; then positions have their turn before the history goes on
MOST_EMPTY = 10


class BookingPages:
    """Follow the pages of one poll from a cursor: whether there are `more` to read now, and whether it is the end."""

    def __init__(self, cursor: str | None) -> None:
        self._cursors = {cursor}
        self._pages = 0
        self._empty = 0
        self.more = True
        self.at_end = False

    def take(self, page: TransactionsPage) -> TransactionsPage:
        """Return a page that leads on; raises `UnreadableAnswer` where more is announced and does not come."""
        self._pages += 1
        self._empty = 0 if page.bookings or page.refused else self._empty + 1
        if page.more and page.cursor in self._cursors:
            raise UnreadableAnswer("more bookings are announced, but the cursor does not advance")
        if page.more and self._empty >= MOST_EMPTY:
            raise UnreadableAnswer(f"more bookings are announced, but {MOST_EMPTY} pages in a row had none")
        self._cursors.add(page.cursor)
        self.at_end = not page.more
        self.more = page.more and self._pages < MOST_PAGES
        return page
