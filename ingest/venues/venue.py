"""Say what every venue is to the feeds: where it is, what it is told, and how its records are read. No I/O.

A `StreamVenue` speaks over a WebSocket, a `PolledVenue` answers requests. Whoever owns the connection
(`ingest.market`) asks these objects what to send and hands them what came; so a recorded session, a test and the
live venue run the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from ingest.venues.events import Event


@dataclass(frozen=True, slots=True)
class Send:
    """Ask for a text frame to be sent on the connection."""

    frame: str = field(repr=False)  # it can hold a key


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask for a document over HTTP, such as the snapshot of a book; the answer goes to `Decoder.fetched`."""

    url: str
    symbol: str


Wish: TypeAlias = Send | Fetch


@dataclass(frozen=True, slots=True)
class Limits:
    """Hold what the venue allows and promises, as its documents say.

    A connection takes `symbols` at most (0: any number), frames of `frame_bytes`, `sends_a_second` from us and
    `connects_a_minute`. A connection on which nothing has come for `silent_after_s` is dead.
    """

    symbols: int = 0
    frame_bytes: int = 4 << 20
    sends_a_second: float = 4.0
    connects_a_minute: int = 30
    silent_after_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Keys:
    """Hold what signs us in at venues, empty where there is none."""

    alpaca_key_id: str = field(default="", repr=False)
    alpaca_secret_key: str = field(default="", repr=False)
    finnhub_token: str = field(default="", repr=False)
    http_authorization: str = field(default="", repr=False)  # the header of that name, for the feed `http`


class Listed(Protocol):
    """Say what a venue must know of one of our instruments to name it."""

    @property
    def symbol(self) -> str:
        """Return our symbol, such as `AAPL`, `EUR/USD` or `BTC/USD`."""
        ...

    @property
    def asset_class(self) -> str:
        """Return equity, etf, bond, fund, cash, fx, index or crypto."""
        ...

    @property
    def currency(self) -> str:
        """Return the currency of its price."""
        ...

    @property
    def exchange(self) -> str | None:
        """Return the market identifier code of where it is listed, or None."""
        ...


class Decoder(Protocol):
    """Read the records of one connection; made anew for each, because books and sequences begin anew with it."""

    def decode(self, frame: str | bytes, received_ns: int) -> Sequence[Event]:
        """Return what a frame says, in its order. What cannot be read is a `Refused`: this never raises."""
        ...

    def fetched(self, wish: Fetch, body: bytes, received_ns: int) -> Sequence[Event]:
        """Return what a document says that was fetched for this decoder."""
        ...

    def wishes(self) -> Sequence[Wish]:
        """Return what the decoder wants done now, once: an answer to a challenge, a snapshot after a gap."""
        ...


class StreamVenue(Protocol):
    """Describe a venue that streams over a WebSocket."""

    @property
    def name(self) -> str:
        """Return the venue's name, as in `--feed`, metrics and health."""
        ...

    @property
    def limits(self) -> Limits:
        """Return what the venue allows."""
        ...

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return what the venue calls an instrument by its own rule of naming, None where it does not quote it."""
        ...

    def url(self, symbols: Sequence[str]) -> str:
        """Return where to connect for these symbols."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Return headers of the handshake; they can hold a key."""
        ...

    def greeting(self, symbols: Sequence[str]) -> Sequence[Send]:
        """Return what is sent first: a sign-in, subscriptions."""
        ...

    def decoder(self, symbols: Sequence[str]) -> Decoder:
        """Return a decoder for a connection that begins now."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for one document; `headers` can hold a key."""

    url: str
    symbols: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Budget:
    """Hold how often a polled venue is asked: each document every `every_s`, at most so many calls a minute and a day.

    Zero is no bound. A document that has not changed still costs a call.
    """

    every_s: float
    calls_a_minute: int = 0
    calls_a_day: int = 0


class PolledVenue(Protocol):
    """Describe a venue that answers requests over HTTP."""

    @property
    def name(self) -> str:
        """Return the venue's name, as in `--feed`, metrics and health."""
        ...

    @property
    def budget(self) -> Budget:
        """Return how often it is asked."""
        ...

    def venue_symbol(self, instrument: Listed) -> str | None:
        """Return what the venue calls an instrument by its own rule of naming, None where it does not quote it."""
        ...

    def requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return the documents that tell of these symbols."""
        ...

    def decode(self, request: Request, body: bytes, received_ns: int) -> Sequence[Event]:
        """Return what a document says. What cannot be read is a `Refused`: this never raises."""
        ...
