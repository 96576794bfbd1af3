"""Read a mapping: what the columns of a CSV export are, and what each kind of its rows is with us. Pure."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from ingest.statements.errors import MappingUnclear
from ingest.statements.model import INCOME

COUNTERPART = "counterpart"
CLASSES = frozenset({"equity", "etf", "fund", "bond", "crypto"})
MAX_BYTES = 100_000


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name the columns; those of `kind` are joined by a slash. What has no default must be there."""

    kind: tuple[str, ...]
    moment: str
    amount: str
    currency: str
    asset_class: str = ""
    symbol: str = ""
    isin: str = ""
    name: str = ""
    quantity: str = ""
    price: str = ""
    commission: str = ""
    tax: str = ""
    rate: str = ""
    reference: str = ""
    description: str = ""

    def names(self) -> list[str]:
        """Return every column that is named."""
        return [*self.kind, *(found for name in self.__struct_fields__[1:] if (found := getattr(self, name)))]


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say what a kind of row is.

    `side` gives a trade's quantity its sign, whatever the column says. `accrued` are the classes whose deal holds
    accrued interest beside quantity times price. `of_instrument` is the kind where the row names an instrument.
    A `counterpart` books nothing: the row of kind `of` with the same symbol and quantity does, and must be there.
    """

    kind: str
    side: Literal["", "buy", "sell"] = ""
    accrued: tuple[str, ...] = ()
    of_instrument: str = ""
    of: str = ""


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a mapping; `base_currency` is empty where whoever imports must say it."""

    title: str
    columns: Columns
    kinds: dict[str, Kind]
    classes: dict[str, str] = {}  # msgspec copies it: no two mappings share it
    delimiters: tuple[str, ...] = (",", ";")
    decimal: Literal[".", ","] = "."
    amounts: Literal["gross", "net"] = "net"
    charges: Literal["signed", "positive"] = "signed"
    price_in_percent: tuple[str, ...] = ()
    time_zone: str = "UTC"
    base_currency: str = ""


def parse_mapping(content: bytes) -> Mapping:
    """Return a mapping out of TOML; raises `MappingUnclear` with what is wrong in it."""
    if len(content) > MAX_BYTES:
        raise MappingUnclear("The mapping is longer than any mapping.")
    try:
        mapping = msgspec.toml.decode(content, type=Mapping)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MappingUnclear(f"The mapping cannot be read: {error}.") from error
    for name, kind in mapping.kinds.items():
        _require_kind(name, kind, mapping)
    unknown = sorted({*mapping.classes.values(), *mapping.price_in_percent} - CLASSES)
    if unknown:
        raise MappingUnclear(f"The mapping names classes {', '.join(unknown)}; there are {', '.join(sorted(CLASSES))}.")
    if any(len(one) != 1 for one in mapping.delimiters) or not mapping.delimiters:
        raise MappingUnclear("The mapping's delimiters must be single characters.")
    try:
        ZoneInfo(mapping.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise MappingUnclear(f"The mapping's time zone {mapping.time_zone!r} is not known.") from error
    return mapping


def _require_kind(name: str, kind: Kind, mapping: Mapping) -> None:
    known = {"trade", "flow", "split", "delivery", COUNTERPART, *INCOME}
    used = {kind.kind} | ({kind.of_instrument} if kind.of_instrument else set())
    if not used <= known:
        raise MappingUnclear(
            f"The mapping makes {name} a {'/'.join(sorted(used))}; kinds are {', '.join(sorted(known))}."
        )
    if kind.kind == COUNTERPART and kind.of not in mapping.kinds:
        raise MappingUnclear(f"The mapping makes {name} the counterpart of {kind.of!r}, which it does not know.")
    if kind.kind in ("trade", "split", "delivery", COUNTERPART) and not (
        mapping.columns.quantity and mapping.columns.symbol + mapping.columns.isin
    ):
        raise MappingUnclear(f"The mapping has {name}, but no columns for symbol and quantity.")
