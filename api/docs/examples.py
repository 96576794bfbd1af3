"""Lend examples of every message, as Socket.IO carries them; the test of the document takes them from real sessions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

EXAMPLES = Path(__file__).with_name("examples.json")


def read_examples() -> Mapping[str, list[dict[str, Any]]]:
    """Read the examples, by the keys of the messages in the AsyncAPI document."""
    found: dict[str, list[dict[str, Any]]] = orjson.loads(EXAMPLES.read_bytes())
    return found
