"""Write numbers for a terminal, so that columns align and nothing jumps; and draw a small chart of blocks."""

from __future__ import annotations

from collections.abc import Sequence

MINOR_UNITS = {"JPY": 0, "KRW": 0, "CLP": 0, "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3}
MOST_DIGITS = 6  # of prices and quantities
BLOCKS = " ▁▂▃▄▅▆▇█"
EIGHTHS = len(BLOCKS) - 1


def minor_units(currency: str | None) -> int:
    """Return the digits of a currency after the point."""
    return MINOR_UNITS.get(currency or "", 2)


def amount(value: float, digits: int, *, signed: bool = False) -> str:
    """Write an amount with its digits; signed: with + or -, and zero with neither."""
    text = f"{abs(value):,.{digits}f}"
    if not any(character in "123456789" for character in text):
        return text
    return ("-" if value < 0 else "+" if signed else "") + text


def exact(value: float, least: int = 0) -> str:
    """Write a price or a quantity with every digit it has, and at least so many after the point."""
    whole, _, rest = f"{value:,.{MOST_DIGITS}f}".partition(".")
    rest = rest.rstrip("0").ljust(least, "0")
    return f"{whole}.{rest}" if rest else whole


def align(texts: Sequence[str]) -> list[str]:
    """Pad numbers on the right, so that right-aligned their points stand below each other."""
    tails = [len(text) - text.index(".") if "." in text else 0 for text in texts]
    longest = max(tails, default=0)
    return [text + " " * (longest - tail) for text, tail in zip(texts, tails, strict=True)]


def age(seconds: float) -> str:
    """Write how long ago something was, in four characters or a few more."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.1f} s"


def chart(values: Sequence[float], width: int, height: int) -> list[str]:
    """Draw the newest `width` values as columns of blocks, `height` lines high, the lowest value one block high."""
    shown = values[-width:]
    if not shown:
        return [" " * width] * height
    low, high = min(shown), max(shown)
    steps = height * EIGHTHS - 1
    levels = [1 + round(steps * (value - low) / (high - low)) if high > low else 1 for value in shown]
    lines = []
    for floor in range((height - 1) * EIGHTHS, -1, -EIGHTHS):
        lines.append("".join(BLOCKS[min(max(level - floor, 0), EIGHTHS)] for level in levels).rjust(width))
    return lines
