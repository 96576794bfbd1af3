"""Write data and aria attributes, whose names Python cannot spell."""

from __future__ import annotations

from typing import Any


def attributes(**named: str) -> dict[str, Any]:
    """Return the attributes with their dashes: `data_stream` is `data-stream`."""
    return {name.replace("_", "-"): value for name, value in named.items()}
