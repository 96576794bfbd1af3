"""Follow the bank's streams from a program: `docs/client.md`. Needs httpx, websockets and msgspec, and nothing of ours.

Whatever an update shows is a state that the bank has sent, whole, and that adds up: messages that do not continue
what is held are not taken, and the stream is asked for again.
"""

from __future__ import annotations

from alhambra.client.client import Client
from alhambra.client.clock import Clock
from alhambra.client.errors import AlreadyFollowed, ClientError, Closed, Inconsistent, Refused, Unreachable
from alhambra.client.pause import Patience
from alhambra.client.state import State
from alhambra.client.update import Alert, Update
from alhambra.client.wanted import Fields, Filter, Sort, View

__all__ = [
    "Alert",
    "AlreadyFollowed",
    "Client",
    "ClientError",
    "Clock",
    "Closed",
    "Fields",
    "Filter",
    "Inconsistent",
    "Patience",
    "Refused",
    "Sort",
    "State",
    "Unreachable",
    "Update",
    "View",
]
