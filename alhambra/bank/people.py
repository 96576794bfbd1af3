"""Name the people of the demonstration bank. All of them are invented, and their addresses lead nowhere."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from alhambra.bank.model import IbossUser, Person

DOMAIN = "alhambra.example"
SERVICE_USER = IbossUser("alhambraservice", "iboss-demo-service", None)

# Role, first name, last name, country, language. All of them can sign in.
_STAFF = """
advisor    | Elena    | Marchetti | CH | en
advisor    | James    | Whitfield | GB | en
advisor    | Layla    | Haddad    | AE | ar
kyc_agent  | Jonas    | Keller    | CH | en
compliance | Margaret | Osei      | GB | en
admin      | Ruben    | Navarro   | ES | es
"""

# First name, last name, country, language. The first three can sign in: one of each advisor's clients.
_CLIENTS = """
Sofia     | Ferrer        | ES | es
William   | Ashdown       | GB | en
Omar      | Al Mansoori   | AE | ar
Katharina | Vogel         | DE | en
Ethan     | Caldwell      | US | en
Noura     | Al Qahtani    | SA | ar
Lukas     | Brunner       | CH | en
Olivia    | Prescott      | US | en
Wei       | Zhang         | CN | zh
Beatrice  | Aeschbacher   | CH | en
Charlotte | Penrose       | GB | en
Mariam    | Al Suwaidi    | AE | ar
Friedrich | Hartmann      | DE | en
Grace     | Holloway      | US | en
Li Na     | Chen          | CN | zh
Alejandro | Ibarra        | MX | es
Rajesh    | Krishnan      | SG | en
Faisal    | Al Otaibi     | SA | ar
Isabel    | Montero       | ES | es
Daniel    | Rosenfeld     | US | en
Mei Ling  | Tan           | SG | zh
Stefanie  | Lindner       | DE | en
Oliver    | Thornbury     | GB | en
Hessa     | Al Falasi     | AE | ar
Marc      | Zürcher       | CH | en
Valentina | Castañeda     | MX | es
Jun       | Wang          | CN | zh
Camille   | Delacourt     | FR | en
Nathan    | Brooks        | US | en
Sultan    | Al Dosari     | SA | ar
Carlos    | Quintana      | ES | es
Hannah    | Sinclair      | GB | en
Khalid    | Al Marri      | AE | ar
Annika    | Böhm          | DE | en
Samuel    | Whitaker      | US | en
Xiaoming  | Liu           | CN | zh
Giulia    | Ferrante      | IT | en
Wei Jie   | Lim           | SG | zh
Reem      | Al Harbi      | SA | ar
Thomas    | Aubert        | FR | en
Lucía     | Villanueva    | MX | es
Henrik    | Steiger       | CH | en
"""
_ASSIGNED_PASSWORDS = 3
_CALLING_CODES = {
    "AE": "971",
    "CH": "41",
    "CN": "86",
    "DE": "49",
    "ES": "34",
    "FR": "33",
    "GB": "44",
    "IT": "39",
    "MX": "52",
    "SA": "966",
    "SG": "65",
    "US": "1",
}


@dataclass(frozen=True, slots=True)
class People:
    """Hold who is there; `clients` in order, the first three with passwords and one of each advisor's."""

    staff: tuple[Person, ...]
    clients: tuple[Person, ...]

    @property
    def advisors(self) -> tuple[Person, ...]:
        """Return the advisors."""
        return tuple(person for person in self.staff if person.role == "advisor")


def create_people(generated: int = 0) -> People:
    """Make the staff, the named clients, and `generated` more who cannot sign in."""
    staff = tuple(
        _person(role, first, last, country, language, _password(first))
        for role, first, last, country, language in _rows(_STAFF)
    )
    named = tuple(
        _person("client", first, last, country, language, _password(first) if place < _ASSIGNED_PASSWORDS else None)
        for place, (first, last, country, language) in enumerate(_rows(_CLIENTS))
    )
    return People(staff, named + tuple(_generated(number, named) for number in range(generated)))


def stable_id(kind: str, name: str) -> UUID:
    """Derive an id that is the same in every bank: a version 5 UUID of what it stands for."""
    return uuid5(NAMESPACE_URL, f"https://{DOMAIN}/{kind}/{name}")


def create_iboss_user(client: Person, accounts: tuple[str, ...]) -> IbossUser:
    """Make the IBOSS login of a client who can sign in: letters only, for IBOSS takes no others."""
    first, last = _plain(client.first_name), _plain(client.last_name)
    return IbossUser(f"{first}{last}", f"iboss-demo-{first}", accounts)


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _person(role: str, first: str, last: str, country: str, language: str, password: str | None) -> Person:
    email = f"{_plain(first)}.{_plain(last)}@{DOMAIN}"
    user_id = stable_id("users", email)
    phone = f"+{_CALLING_CODES[country]} 555 {user_id.int % 10_000_000:07d}"
    return Person(user_id, email, password, first, last, phone, country, language, role)


def _generated(number: int, named: tuple[Person, ...]) -> Person:
    """Combine the first name of one client with the last name of another; the address carries the number."""
    first = named[number % len(named)]
    last = named[(number * 5 + 1 + number // len(named)) % len(named)]
    email = f"client{number + 1:05d}@{DOMAIN}"
    return Person(
        stable_id("users", email),
        email,
        None,
        first.first_name,
        last.last_name,
        f"+{_CALLING_CODES[last.country]} 555 {number:07d}",
        last.country,
        last.language,
        "client",
    )


def _password(first: str) -> str:
    return f"alhambra-demo-{_plain(first)}"


def _plain(name: str) -> str:
    """Return the ASCII letters of a name, lower case."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(letter for letter in letters.lower() if letter.isalpha())
