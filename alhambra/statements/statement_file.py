"""Read a statement's file, whatever it is: Flex XML, also gzipped, or CSV by a mapping."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from ingest.statements.errors import ImportRefused, MappingUnclear, StatementUnreadable
from ingest.statements.flex import looks_like_flex, read_flex
from ingest.statements.mapped_csv import read_csv
from ingest.statements.mapping import Mapping, parse_mapping
from ingest.statements.model import Statement

MAX_BYTES = 32 << 20
GZIP = b"\x1f\x8b"
SHIPPED = files("ingest.statements").joinpath("mappings")
DEFAULT_ACCOUNT = "default"

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(frozen=True, slots=True)
class StatementFile:
    """Hold what was read: the statement, the file's name without its folder, and its SHA-256."""

    statement: Statement
    name: str
    digest: bytes


def read_statement_file(path: Path, mapping: str | None, account: str | None, base: str | None) -> StatementFile:
    """Return the statement in a file.

    `mapping` is the name of one that is shipped or the path of one's own, for CSV only; `account` chooses among those
    of a Flex file, and names the account of a CSV export. Raises what `ingest.statements.errors` names, and `OSError`.
    """
    stored = _read(path)
    content = _unpacked(stored)
    if looks_like_flex(content):
        statement = _choose(read_flex(content), account)
    elif mapping is None:
        shipped = ", ".join(shipped_mappings())
        raise ImportRefused(f"{path.name} is no XML: say with --mapping how to read its columns; there is {shipped}.")
    else:
        name, columns = load_mapping(mapping)
        if account is not None and not _ACCOUNT.fullmatch(account):
            raise ImportRefused(f"{account!r} cannot be the name of an account: letters, digits and . _ - only.")
        statement = read_csv(content, columns, name, account or DEFAULT_ACCOUNT, base)
    return StatementFile(statement, path.name[:200], sha256(stored).digest())


def shipped_mappings() -> list[str]:
    """Return the names of the mappings that come with the program."""
    return sorted(one.name.removesuffix(".toml") for one in SHIPPED.iterdir() if one.name.endswith(".toml"))


def load_mapping(name: str) -> tuple[str, Mapping]:
    """Return a mapping with the name that its bookings' source bears; raises `MappingUnclear`, and `OSError`."""
    if name in shipped_mappings():
        return name, parse_mapping(SHIPPED.joinpath(f"{name}.toml").read_bytes())
    path = Path(name)
    if not path.is_file():
        raise MappingUnclear(
            f"There is no mapping {name!r}: give {', '.join(shipped_mappings())}, or a file of your own."
        )
    if not _NAME.fullmatch(path.stem):
        raise MappingUnclear(f"The mapping's file {path.name!r} must be named with letters, digits, _ and - only.")
    return path.stem, parse_mapping(path.read_bytes())


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise StatementUnreadable(f"{path.name} has more than {MAX_BYTES >> 20} MiB: export a shorter period.")
    if not content.strip():
        raise StatementUnreadable(f"{path.name} is empty.")
    return content


def _unpacked(content: bytes) -> bytes:
    if not content.startswith(GZIP):
        return content
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(content, MAX_BYTES + 1)
    except zlib.error as error:
        raise StatementUnreadable(f"The file cannot be unpacked: {error}.") from error
    if len(unpacked) > MAX_BYTES:
        raise StatementUnreadable(f"The file unpacks to more than {MAX_BYTES >> 20} MiB: export a shorter period.")
    if not unpacker.eof:
        raise StatementUnreadable("The file is cut off in the middle: fetch it again.")
    return unpacked


def _choose(statements: list[Statement], account: str | None) -> Statement:
    accounts = [one.account for one in statements]
    if account is None and len(statements) == 1:
        return statements[0]
    chosen = next((one for one in statements if one.account == account), None)
    if chosen is None:
        wanted = "choose one with --account" if account is None else f"there is no {account}"
        raise ImportRefused(f"The file holds statements of {', '.join(accounts)}: {wanted}.")
    return chosen
