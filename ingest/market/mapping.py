"""Say which column of a recorded file means what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.market.errors import FeedUnclear

ROLES = ("time", "bid", "ask", "last", "volume", "symbol")
TIME_FORMATS = ("iso", "compact", "s", "ms", "us", "ns")
ANY_SYMBOL = "*"
_SYNONYMS = {"price": "last", "offer": "ask", "timestamp": "time", "size": "volume"}
_EXAMPLE = "for example time=ts_utc,bid=BID,ask=OFR,symbol=SYMBOL,symbol.XXX=AAPL"


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Name the column of each role (`ROLES`; of a file without header its number, from 0).

    `aliases` turns a symbol of the file into ours; the alias `*` stands for every symbol, so a file
    of one instrument needs no column of symbols.
    """

    columns: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def instrument_ids(self, instruments: Mapping[str, int]) -> dict[str, int]:
        """Return symbol of the file → instrument id, for all of `instruments` (ours → id) and their aliases."""
        known = dict(instruments)
        known.update({theirs: instruments[ours] for theirs, ours in self.aliases.items() if ours in instruments})
        return known


def parse_mapping(text: str) -> ColumnMapping:
    """Parse `role=column` pairs between commas; `symbol.XXX=AAPL` is an alias, `symbol.*=AAPL` names all rows.

    Raises `FeedUnclear` when a role is unknown, or when there is no time, no price or no symbol.
    """
    columns: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise FeedUnclear(f"{pair!r} is not role=column; {_EXAMPLE}")
        _put(columns, aliases, name.strip(), value.strip())
    _require_complete(columns, aliases)
    return ColumnMapping(columns, aliases)


def _put(columns: dict[str, str], aliases: dict[str, str], name: str, value: str) -> None:
    if name.startswith("symbol."):
        aliases[name.removeprefix("symbol.")] = value
        return
    role = _SYNONYMS.get(name, name)
    if role not in ROLES:
        raise FeedUnclear(f"{name!r} is not a role; the roles are {', '.join(ROLES)}")
    if role in columns:
        raise FeedUnclear(f"the role {role} is mapped twice, to {columns[role]} and {value}")
    columns[role] = value


def _require_complete(columns: Mapping[str, str], aliases: Mapping[str, str]) -> None:
    if "time" not in columns:
        raise FeedUnclear(f"the mapping names no column for time; {_EXAMPLE}")
    if "last" not in columns and not {"bid", "ask"} <= columns.keys():
        raise FeedUnclear(f"the mapping names no price: it needs last, or bid and ask; {_EXAMPLE}")
    if "symbol" not in columns and ANY_SYMBOL not in aliases:
        raise FeedUnclear("the mapping names no symbol: it needs symbol=COLUMN, or symbol.*=AAPL for all rows")
