"""Answer requests as venues that are polled do: a quote endpoint in JSON, and the ECB's reference rates in XML."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from datetime import date
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit

from fakes_venues import Answer, Dialect, Wire


class Documents:
    """What venues that are polled have in common: nothing is said by themselves, nobody may open a WebSocket."""

    def dialect(self, wire: Wire, path: str) -> Dialect:
        """Refuse: there is nothing to speak here."""
        raise ConnectionRefusedError(path)

    def forget(self, wire: Wire) -> None:
        """Do nothing."""

    async def beat(self) -> None:
        """Say nothing."""


class QuoteDocuments(Documents):
    """A quote endpoint: `/quotes?symbols=A,B` answers with both; unchanged documents answer 304 to their ETag."""

    def __init__(self, tops: Mapping[str, tuple[float, float]]) -> None:
        self._tops = dict(tops)
        self._times = dict.fromkeys(tops, time.time_ns() // 1_000_000)
        self.not_modified = 0
        self.whole = 0

    def top(self, symbol: str) -> tuple[float, float]:
        """Return the bid and ask of a symbol."""
        return self._tops[symbol]

    def quote(self, symbol: str, bid: float, ask: float) -> None:
        """Quote something else from now on."""
        self._tops[symbol] = (bid, ask)
        self._times[symbol] = time.time_ns() // 1_000_000

    def document(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Answer with quotes, or that they are the same."""
        asked = unquote(parse_qs(urlsplit(path).query).get("symbols", [""])[0]).split(",")
        found = [self._quote(symbol) for symbol in asked if symbol in self._tops]
        body = json.dumps({"data": {"quotes": found}}).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if headers.get("if-none-match") == tag:
            self.not_modified += 1
            return Answer(status=304, headers={"ETag": tag})
        self.whole += 1
        return Answer(body, headers={"ETag": tag, "Content-Type": "application/json"})

    def _quote(self, symbol: str) -> dict[str, object]:
        bid, ask = self._tops[symbol]
        return {"symbol": symbol, "quote": {"bid": bid, "ask": ask}, "time": self._times[symbol]}


class ReferenceRates(Documents):
    """The ECB's file of the day, which says since when it is as it is."""

    def __init__(self, day: date, rates: Mapping[str, str]) -> None:
        self.not_modified = 0
        self.whole = 0
        self.publish(day, rates)

    def publish(self, day: date, rates: Mapping[str, str]) -> None:
        """Put out the rates of another day."""
        self._since = formatdate(time.time(), usegmt=True)
        cubes = "".join(f"\t\t\t<Cube currency='{name}' rate='{rate}'/>\n" for name, rate in rates.items())
        self._body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<gesmes:Envelope '
            'xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
            'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n'
            "\t<gesmes:subject>Reference rates</gesmes:subject>\n\t<gesmes:Sender>\n"
            "\t\t<gesmes:name>European Central Bank</gesmes:name>\n\t</gesmes:Sender>\n"
            f"\t<Cube>\n\t\t<Cube time='{day.isoformat()}'>\n{cubes}\t\t</Cube>\n\t</Cube>\n</gesmes:Envelope>"
        ).encode()

    def document(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        """Answer with the rates, or that they are the same."""
        if headers.get("if-modified-since") == self._since:
            self.not_modified += 1
            return Answer(status=304, headers={"Last-Modified": self._since})
        self.whole += 1
        return Answer(self._body, headers={"Last-Modified": self._since, "Content-Type": "text/xml"})
