"""Name every entry of a statement for ever, so that the same row of two statements is booked once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from ingest.statements.model import Entry


def name_entries(entries: Iterable[Entry]) -> list[tuple[str, Entry]]:
    """Return each entry with its reference, in order of time.

    That is the broker's own number, or else a digest of what the row says, with its ordinal among rows that say the
    same. Rows that say the same have the same moment, so a statement has all of them or none.
    """
    seen: Counter[str] = Counter()
    named = []
    for entry in sorted(entries, key=lambda one: one.moment):
        reference = entry.reference
        if reference is None:
            digest = content_digest(entry)
            seen[digest] += 1
            reference = f"content:{digest}:{seen[digest]}"
        named.append((reference, entry))
    return named


def content_digest(entry: Entry) -> str:
    """Return a digest of what an entry says, whatever order or form its fields had in the file."""
    other = entry.counterpart
    said = (
        entry.kind,
        entry.moment.isoformat(),
        entry.currency,
        *(format(one.normalize(), "f") for one in (entry.gross, entry.commission, entry.tax)),
        entry.instrument.key if entry.instrument else "",
        format(entry.quantity.normalize(), "f") if entry.quantity is not None else "",
        f"{format(other.amount.normalize(), 'f')} {other.currency}" if other else "",
        entry.description,
    )
    return blake2b("\x1f".join(said).encode(), digest_size=12).hexdigest()
