"""Prepare the demonstration: migrate the database, seed the bank once, remember who may sign in."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

import db
from alhambra.data_folder import DataFolder
from alhambra.errors import CannotStart
from alhambra.private_file import write_private

MIGRATIONS = Path(db.__file__).parent / "migrations" / "versions"


class Login(msgspec.Struct, frozen=True):
    """Hold who may sign in to the demonstration."""

    role: str
    name: str
    email: str
    password: str


class IbossLogin(msgspec.Struct, frozen=True):
    """Hold who may sign in to the IBOSS simulator; the first one sees all accounts."""

    username: str
    password: str


class Demonstration(msgspec.Struct, frozen=True):
    """Hold what was seeded: the day, the schema it was last brought to, the size, and the logins."""

    today: str
    schema: str
    portfolios: int
    logins: tuple[Login, ...]
    iboss_logins: tuple[IbossLogin, ...]


async def prepare_demonstration(
    url: str, folder: DataFolder, portfolios: int | None, said: Callable[[str], None], kept: bool
) -> Demonstration:
    """Bring the database at `url` to the newest schema, and to the demonstration bank where it is empty.

    `kept` says that the database lives in the data folder: then what was seeded once is not made again.
    """
    found = read_demonstration(folder) if kept else None
    if found is not None and portfolios not in (None, found.portfolios):
        said(f"The data folder holds {found.portfolios} portfolios already; --portfolios is for a new one.")
    if found is not None and found.schema == schema_mark():
        return found  # alembic alone takes a second to import
    await _migrate(url)
    if found is None:
        said("Making the demonstration bank; this happens once.")
        found = await _seed(url, portfolios)
    made = msgspec.structs.replace(found, schema=schema_mark())
    write_private(folder.bank_file, msgspec.json.encode(made))
    return made


def schema_mark() -> str:
    """Return a mark of the schema that this program knows: a digest of the migrations' names and texts."""
    digest = hashlib.sha256()
    for script in sorted(MIGRATIONS.glob("*.sql")) + sorted(MIGRATIONS.glob("*.py")):
        digest.update(script.name.encode() + b"\0" + script.read_bytes() + b"\0")
    return digest.hexdigest()


def read_demonstration(folder: DataFolder) -> Demonstration | None:
    """Return what was seeded into this data folder, or None where nothing was."""
    if not folder.bank_file.exists():
        return None
    try:
        return msgspec.json.decode(folder.bank_file.read_bytes(), type=Demonstration)
    except msgspec.MsgspecError as error:
        raise CannotStart(f"{folder.bank_file} cannot be read: remove it to have it made again.") from error


async def _migrate(url: str) -> None:
    from db.migrate import migrate

    await migrate(url)


async def _seed(url: str, portfolios: int | None) -> Demonstration:
    from alhambra.bank import create_bank  # numpy, and real history: only when a bank is made
    from alhambra.seed import seed
    from stream.runtime import configure_logging

    configure_logging("alhambra", "WARNING")  # to standard error: standard output may be for programs
    today = datetime.now(UTC).date()
    bank = await asyncio.to_thread(create_bank, today, portfolios)
    await seed(url, bank)
    people = [person for person in bank.people if person.password is not None]
    users = sorted(bank.iboss_users, key=lambda user: user.accounts is not None)
    return Demonstration(
        today.isoformat(),
        schema_mark(),
        len(bank.accounts),
        tuple(Login(one.role, f"{one.first_name} {one.last_name}", one.email, one.password or "") for one in people),
        tuple(IbossLogin(user.username, user.password) for user in users),
    )
