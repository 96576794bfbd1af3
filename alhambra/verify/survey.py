"""Survey a recorded file before it is sent: its symbols, and the instruments that the bank needs for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from babel.numbers import list_currencies

from alhambra.bank import ExtraInstrument
from analytics.revaluation import REFERENCE_CURRENCY
from ingest.market.mapping import ANY_SYMBOL
from ingest.market.recording import open_recording
from ingest.market.rows import parse_rows
from ingest.market.source import RecordedFeed
from ingest.market.times import find_time_format
from stream.messages import QuoteBatch

PAIR = re.compile(r"^([A-Z]{3})/([A-Z]{3})$")
NOTE_PRICE = 100.0


class NothingToVerify(Exception):
    """Say in one sentence why the file cannot prove anything."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Hold the first good mark of each of our symbols that the file quotes, in order of appearance."""

    first_marks: Mapping[str, float]


def survey_file(feed: RecordedFeed) -> Survey:
    """Read the file once; raises `RecordingUnreadable`, or `NothingToVerify` where it holds no good quote."""
    numbers: dict[str, int] = {}
    first: dict[int, float] = {}
    reader = open_recording(feed)
    time_format = feed.time_format
    while (raw := reader.read()) is not None:
        time_format = time_format or find_time_format(raw.columns["time"])
        for symbol in _symbols(raw.columns.get("symbol")):
            numbers.setdefault(symbol, len(numbers))
        parsed = parse_rows(raw, numbers, time_format or "iso", feed.utc_offset_minutes)
        marks = np.where(np.isnan(parsed.last), 0.5 * (parsed.bid + parsed.ask), parsed.last)
        for number, row in zip(*np.unique(parsed.instrument, return_index=True), strict=True):
            first.setdefault(int(number), float(marks[row]))
    if not first:
        raise NothingToVerify(f"{feed.path} holds no quote that can be used")
    return Survey({_ours(symbol, feed): first[number] for symbol, number in numbers.items() if number in first})


def _symbols(column: object) -> Collection[str]:
    if column is None:
        return (ANY_SYMBOL,)
    values = column.unique().to_pylist()  # type: ignore[attr-defined]  # an Arrow array, which has no types
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values if value]


def _ours(symbol: str, feed: RecordedFeed) -> str:
    return feed.mapping.aliases.get(symbol, feed.mapping.aliases.get(ANY_SYMBOL, symbol))


def extra_instruments(survey: Survey, known: Collection[str], currency: str) -> list[ExtraInstrument]:
    """Return what the bank lacks so that every symbol moves a portfolio, rates before what needs them.

    `EUR/USD` and its like are rates of exchange; anything else is a share in `currency`. A rate of a
    currency that is none of the bank's comes with a note in that currency, which every portfolio holds.
    """
    rates, shares = [], []
    for symbol, mark in survey.first_marks.items():
        if symbol in known:
            continue
        pair = parse_pair(symbol)
        if pair is None:
            shares.append(ExtraInstrument(symbol, currency, mark))
            continue
        base, quoted = pair
        rates.append(ExtraInstrument(symbol, quoted, mark, "fx", base))
        foreign = base if quoted == REFERENCE_CURRENCY else quoted
        shares.append(ExtraInstrument(f"{foreign} note", foreign, NOTE_PRICE, "bond"))
    return [*rates, *shares]


def parse_pair(symbol: str) -> tuple[str, str] | None:
    """Return (base, quoted) of a rate of exchange, or None where the symbol is none.

    Raises `NothingToVerify` for a cross rate: the stream measures every currency against the reference.
    """
    found = PAIR.match(symbol)
    if found is None or not {found[1], found[2]} <= list_currencies():
        return None
    if REFERENCE_CURRENCY not in (found[1], found[2]):
        raise NothingToVerify(f"{symbol} is a cross rate; only rates against {REFERENCE_CURRENCY} move a valuation")
    return found[1], found[2]


class Tap:
    """Keep the newest mark of each instrument from the batches that pass, in plain Python and apart from the stream."""

    def __init__(self) -> None:
        self.marks: dict[int, float] = {}
        self.quotes = 0
        self._event_ns: dict[int, int] = {}

    def take(self, batch: QuoteBatch) -> None:
        """Take a batch of good quotes; of equal event times the later one counts."""
        self.quotes += len(batch)
        columns: Sequence[Sequence[float]] = [
            column.tolist() for column in (batch.instrument, batch.event_ns, batch.bid, batch.ask, batch.last)
        ]
        for instrument, event_ns, bid, ask, last in zip(*columns, strict=True):
            if event_ns >= self._event_ns.get(int(instrument), 0):
                self._event_ns[int(instrument)] = int(event_ns)
                self.marks[int(instrument)] = last if last == last else 0.5 * (bid + ask)
