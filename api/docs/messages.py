"""Describe the messages of the live stream, requests, answers and what comes unasked, as types that make schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.docs.contents import (
    NS,
    ClientRow,
    ClientTotals,
    FloorRow,
    FloorTotals,
    PortfolioRow,
    PortfolioTotals,
    QuoteTotals,
    told,
)
from api.live.protocol import (
    AcknowledgeRequest,
    AuthRequest,
    ListRequest,
    RequestId,
    SubscribeRequest,
    UnsubscribeRequest,
)

UUID_TEXT = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

Stream = Annotated[str, told("Name of the stream.")]
Epoch = Annotated[int, told("Names a numbering; where it changes, everything begins anew.")]
Seq = Annotated[int, told("Number of the state that the message brings you to; it may skip some.")]
SentNs = Annotated[int, told("When the server encoded it.", NS)]
ServerNs = Annotated[int, told("The server's clock at the answer; shows how far yours is off.", NS)]
AnsweredId = Annotated[RequestId | None, told("The `id` of the request; null where it had none.")]


class Said(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Be the base of what the server says: no field comes that is not described."""


class Position(Said):
    """Where a stream stands for you: the epoch and seq of the last message sent to you."""

    epoch: Epoch
    seq: Seq


class Followed(Said):
    """One stream that you follow."""

    stream: Stream
    epoch: Annotated[int, told("Where the stream stands; 0 while nothing is known yet.")]
    seq: Annotated[int, told("Where the stream stands; 0 while nothing is known yet.")]
    recovered: Annotated[bool, told("True: what you hold is good. False: a snapshot follows.")]
    max_hz: Annotated[float, told("How many messages a second come at most.")]


class Error(Said):
    """What went wrong: a stable code, its name and a sentence."""

    code: Annotated[int, told("Below 3500: try again after a pause that grows. From 3500: do not.")]
    name: Annotated[str, told("Name of the code.")]
    message: Annotated[str, told("What happened, for people.")]


class Answer(Said):
    """Be the base of every answer."""

    id: AnsweredId
    server_ns: ServerNs


class Authenticated(Answer):
    """You are in; or, later, the connection goes on under the new token."""

    role: Annotated[
        Literal["client", "advisor", "kyc_agent", "compliance", "admin", "guest"], told("What you are here.")
    ]


class Streams(Answer):
    """All that you follow from now on."""

    streams: Annotated[list[Followed], told("The full set, not only what you asked for just now.")]


class Acknowledged(Answer):
    """These alerts will not come again."""

    seq: Annotated[int, told("Every alert up to and including this one is acknowledged now.")]


class Refusal(Answer):
    """The request was refused, wholly; nothing has changed."""

    error: Annotated[Error, told("Why.")]


class Heartbeat(Said):
    """Said each second while nothing else comes to you, and at least every five."""

    sent_ns: SentNs
    source: Annotated[Literal["live", "lost"], told("`lost`: the server hears nothing of the processor itself.")]
    persisted: Annotated[bool, told("False: the database lacks something of what is shown; it is written later.")]
    streams: Annotated[dict[str, Position], told("By stream: what you must hold, or you have missed something.")]


class Revoked(Said):
    """A right went away: nothing more comes of this stream."""

    stream: Stream
    code: Annotated[int, told("3503, or 3501 where the session has ended.")]
    name: Annotated[str, told("Name of the code.")]
    message: Annotated[str, told("What happened, for people.")]


class Closing(Error):
    """The server is about to end the connection; the code says whether to come back."""


class Alert(Said):
    """What a rule raised."""

    id: Annotated[str, told("The alert.")]
    rule: Annotated[str, told("The rule that raised it.")]
    kind: Annotated[
        Literal["price", "price_change_pct", "day_pnl", "day_pnl_pct", "total_equity", "stale"],
        told("What the rule looks at."),
    ]
    subject: Annotated[str, told("The stream that shows what it looks at.")]
    title: Annotated[str, told("Name of that instrument or portfolio.")]
    currency: Annotated[str, told("Currency of amounts and prices here, ISO 4217.")]
    direction: Annotated[Literal["above", "below"], told("Which way the threshold was crossed.")]
    threshold: Annotated[
        float, told("What was crossed: a price, an amount, percent; of `stale` seconds or a fraction.")
    ]
    value: Annotated[float, told("The value that crossed it.")]
    price_source: Annotated[str, told("Where the price came from; empty for a portfolio, which has many.")]
    price_ns: Annotated[int, told("Time of that price; of a portfolio that of its newest.", NS)]
    raised_ns: Annotated[int, told("When it was seen to cross.", NS)]


class AlertMessage(Said):
    """An alert of yours: never conflated, in order, and come again on every subscribe until acknowledged."""

    stream: Annotated[Literal["alerts"], told("`alerts`.")]
    epoch: Annotated[Literal[1], told("Always 1: the numbers never begin anew.")]
    seq: Annotated[
        int,
        told(
            "Number of the alert, yours alone: acknowledge up to it. A missing one is acknowledged, or no more yours."
        ),
    ]
    sent_ns: SentNs
    alert: Annotated[Alert, told("The alert.")]


@dataclass(frozen=True, slots=True)
class Kind:
    """Describe a kind of stream: how it is spelt, what it holds and for whom; alerts are no state, and have no type."""

    name: str
    spelt: str
    pattern: str
    what: str
    who: str
    key: str | None = None
    totals: Any = None
    row: Any = None

    @property
    def title(self) -> str:
        """Return the name with which the types of its messages begin."""
        return self.name.capitalize()


_ITS_PEOPLE = "that client's advisors, compliance, administrators"
KINDS = (
    Kind("portfolio", "portfolio:<id>", f"^portfolio:{UUID_TEXT}$", "One portfolio; rows are its positions.",
         f"its client, {_ITS_PEOPLE}", "symbol", PortfolioTotals, PortfolioRow),
    Kind("client", "client:<id>", f"^client:{UUID_TEXT}$",
         "All portfolios of a client as one, in the currency of the first; rows are positions.",
         f"that client, {_ITS_PEOPLE}", "symbol", ClientTotals, ClientRow),
    Kind("floor", "floor:<advisor id>", f"^floor:{UUID_TEXT}$",
         "An advisor's book; rows are portfolios. With a `view`, only those on the screen; totals are of the whole.",
         "that advisor, compliance, administrators", "portfolio_id", FloorTotals, FloorRow),
    Kind("quote", "quote:<symbol>", "^quote:.+$", "The newest quote; everything is in the totals, there are no rows.",
         "everybody signed in", None, QuoteTotals),
    Kind("alerts", "alerts", "^alerts$", "What your alert rules raised: `alert` messages, and no state.",
         "everybody signed in, their own"),
    Kind("demo", "demo", "^demo$",
         "An invented portfolio that always ticks, in the shape of a portfolio, to try a client with. A row comes and "
         "goes every 30 s, and a new epoch begins every 10 minutes.",
         "everybody, guests too", "symbol", PortfolioTotals, PortfolioRow),
)  # fmt: skip
WITH_STATE = tuple(kind for kind in KINDS if kind.totals is not None)


def snapshot_of(kind: Kind) -> Any:
    """Make the type of a snapshot of this kind."""
    return _document(
        kind,
        "Snapshot",
        "The whole state; it replaces what you hold.",
        [
            ("totals", Annotated[kind.totals, told("Every field, unless you asked for some.")]),
            ("rows", Annotated[_rows(kind), told("Every row, with every field unless you asked for some.")]),
        ],
    )


def delta_of(kind: Kind) -> Any:
    """Make the type of a delta of this kind."""
    return _document(
        kind,
        "Delta",
        "What changed since `prev`. Take it only if `epoch` is yours and `prev` the seq you hold.",
        [
            ("prev", Annotated[int, told("The seq that it follows.")]),
            ("totals", Annotated[kind.totals, told("Fields to overwrite.")]),
            ("rows", Annotated[_rows(kind), told("Fields to overwrite in the row of this key, or a new row.")]),
            ("removed", Annotated[list[str], told("Keys of rows to drop.")]),
        ],
    )


def _rows(kind: Kind) -> Any:
    return Annotated[list[Any], Meta(max_length=0)] if kind.row is None else list[kind.row]  # type: ignore[name-defined]


def _document(kind: Kind, event: str, text: str, members: list[Any]) -> Any:
    head = [
        ("stream", Annotated[str, Meta(pattern=kind.pattern, description=f"`{kind.spelt}`.")]),
        ("epoch", Epoch),
        ("seq", Seq),
        ("event_ns", Annotated[int, told("Time of the newest price in it.", NS)]),
        ("sent_ns", SentNs),
    ]
    made = msgspec.defstruct(
        f"{kind.title}{event}", head + members, module=__name__, kw_only=True, frozen=True, forbid_unknown_fields=True
    )
    made.__doc__ = text
    return made


@dataclass(frozen=True, slots=True)
class Exchange:
    """Describe a request and its answer."""

    name: str
    request: type
    answer: str
    answered: type


EXCHANGES = (
    Exchange("auth", AuthRequest, "authenticated", Authenticated),
    Exchange("subscribe", SubscribeRequest, "subscribed", Streams),
    Exchange("unsubscribe", UnsubscribeRequest, "unsubscribed", Streams),
    Exchange("list", ListRequest, "listed", Streams),
    Exchange("acknowledge", AcknowledgeRequest, "acknowledged", Acknowledged),
)

# The types that parse requests say nothing for people; these are their fields' sentences, by type and field.
REQUEST_TEXTS: Mapping[str, Mapping[str, str]] = {
    "AuthRequest": {
        "": "Who you are, said first of all: a token, a guest, or neither, where the cookie of our own page says it. "
        "Later: a new token.",
        "id": "Yours: it comes back in the answer.",
        "token": "The access token that signing in gave.",
        "guest": "Come in as nobody: `demo` may be followed.",
    },
    "SubscribeRequest": {
        "": "Follow streams, all of these or none. A stream that you follow already is followed anew.",
        "id": "Yours: it comes back in the answer.",
        "streams": "What to follow.",
        "max_hz": "How many messages a second of each stream at most; 20 is the most there is.",
    },
    "StreamRequest": {
        "": "A stream, and what you hold of it.",
        "stream": "Name of the stream.",
        "epoch": "The epoch that you hold, where you hold something.",
        "seq": "The seq that you hold, where you hold something.",
        "fields": "Which fields you want.",
        "view": "Of a floor: which rows you want.",
    },
    "Fields": {
        "": "Which fields are wanted. The key of a row always comes.",
        "totals": "Names of totals; null: all.",
        "rows": "Names of the rows' fields; null: all.",
    },
    "View": {
        "": "Which rows of a floor are wanted, and in which order.",
        "sort": "By which columns, the first before the second.",
        "filter": "Only rows of which all this is true.",
        "range": "Place of the first row, from 0, and how many.",
        "reorder_s": "Which rows these are, and their order, is decided anew no more often.",
    },
    "Order": {
        "": "A column to sort by.",
        "column": "A field of the rows, `label` (client and name), `abs_day_pnl_pct` or `abs_day_pnl_reference`.",
        "descending": "Whether the largest comes first.",
    },
    "Condition": {
        "": "What must be true of a row.",
        "column": "Its name, as to sort by.",
        "op": "How it compares; `contains` is for texts, in capitals or not.",
        "value": "With what.",
    },
    "UnsubscribeRequest": {
        "": "Follow streams no longer; one that you do not follow is no error.",
        "id": "Yours: it comes back in the answer.",
        "streams": "Their names.",
    },
    "ListRequest": {"": "Ask what you follow.", "id": "Yours: it comes back in the answer."},
    "AcknowledgeRequest": {
        "": "Say which alerts have been seen: they will not come again.",
        "id": "Yours: it comes back in the answer.",
        "seq": "All up to and including this one.",
    },
}
