"""Look at the market feeds: whether each venue is reached, accepts us, and speaks, and what of the bank it quotes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import asyncpg
from redis import RedisError

from alhambra.doctor import Finding
from alhambra.feed.examples import example_symbols, map_anything
from alhambra.running import read_running
from alhambra.settings import DoorSettings, revealed
from db.feed_reports import FeedReport
from db.live import LiveStore, create_redis
from db.postgres import DATABASE_AWAY, open_pool
from ingest.market.errors import FeedUnclear
from ingest.market.hours import OpenHours
from ingest.market.polling import PolledSource
from ingest.market.quarantine import Quarantine
from ingest.market.source import FeedSpec, parse_feeds
from ingest.market.start import Listing, load_listing
from ingest.market.symbols import SymbolMap, map_symbols
from ingest.market.tops import FeedStatus
from ingest.market.venue_feed import VenueFeed, create_tls, open_venue
from ingest.market.venue_source import VenueSource
from ingest.venues.registry import STREAMS
from ingest.venues.venue import Keys, PolledVenue, StreamVenue
from stream.messages import DeadLetter
from stream.runtime import configure_logging

QUOTE_WITHIN_S = 15.0
CLOCK_S = 4.5  # so long until an offset of clocks can be told
LOOK_EVERY_S = 0.02
SHOWN = 5
CLOCK_IS_OFF_S = 2.0


@dataclass(slots=True)
class Heard:
    """Say what a venue did while it was looked at; moments are seconds since it was begun, None where never."""

    connected_s: float | None = None
    first_record_s: float | None = None
    first_quote_s: float | None = None
    live: int = 0
    trouble: str = ""


async def examine_feeds(data: Path, text: str, settings: DoorSettings) -> list[Finding]:
    """Look at each of the feeds named, side by side, and at those of the platform that runs in the data folder."""
    configure_logging("doctor", "CRITICAL")  # the table says it
    try:
        feeds = parse_feeds(text)
    except FeedUnclear as error:
        return [Finding("MARKET_FEED", False, str(error), "Mend MARKET_FEED, or the option --feed.")]
    listing, bank = await find_listing(data, settings)
    reports = await _reports(data)
    keys = settings.venue_keys()
    found = await asyncio.gather(*(_examine(feed, listing, keys, reports.get(feed.name)) for feed in feeds))
    named = {feed.name for feed in feeds}
    others = [_running_finding(report) for name, report in sorted(reports.items()) if name not in named]
    return [bank, *(finding for findings in found for finding in findings), *others]


async def find_listing(data: Path, settings: DoorSettings) -> tuple[Listing | None, Finding]:
    """Return what the bank has to be quoted, from DATABASE_URL or the platform that runs; None without either."""
    running = read_running(data)
    url = revealed(settings.database_url) or (running.database if running else None)
    if url is None:
        return None, Finding("instruments", None, "no bank at hand: well-known ones are asked for")
    try:
        async with open_pool(url, "alhambra-doctor", 1) as pool:
            listing = await load_listing(pool, datetime.now(UTC).date())
    except (*DATABASE_AWAY, asyncpg.PostgresError) as error:
        seen = f"no answer: {error or type(error).__name__}"
        return None, Finding("instruments", False, seen, "Start the database, mend its URL, or run `alhambra migrate`.")
    return listing, Finding("instruments", True, f"{len(listing.instruments)} in the bank")


async def _examine(feed: FeedSpec, listing: Listing | None, keys: Keys, report: FeedReport | None) -> list[Finding]:
    name = feed.name
    findings = [] if report is None else [_running_finding(report)]
    if not isinstance(feed, VenueFeed):
        return [Finding(name, None, "needs no connection"), *findings]
    try:
        venue, tls = open_venue(feed, keys), create_tls(feed)
    except FeedUnclear as error:
        return [Finding(name, False, str(error), "Mend the feed's options, or set the key.")]
    symbols = _symbols(feed, venue, listing)
    findings.append(_symbols_finding(name, symbols))
    if not symbols.mapped:
        return findings
    address = await _address_finding(name, _url(venue, tuple(symbols.mapped)))
    findings.append(address)
    if address.ok is False:
        return findings
    quarantine = Quarantine(name, _forget)
    source: VenueSource | PolledSource
    if feed.kind in STREAMS:
        source = VenueSource(name, cast(StreamVenue, venue), quarantine, tls, feed.silent_after_s)
    else:
        source = PolledSource(name, cast(PolledVenue, venue), quarantine, tls, feed.silent_after_s)
    hours = listing.hours if listing else OpenHours()
    source.remap(symbols, hours)
    return [*findings, *describe_heard(name, await _listen(source), source, hours)]


async def _listen(source: VenueSource | PolledSource) -> Heard:
    """Follow a venue until it has quoted and its clock is known, or too long."""
    heard, began_s = Heard(), time.monotonic()
    pumping = asyncio.create_task(_drain(source, heard, began_s))
    try:
        while not pumping.done():
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = time.monotonic() - began_s
            if source.connected and heard.connected_s is None:
                heard.connected_s = now_s
            if source.tops.counts.messages and heard.first_record_s is None:
                heard.first_record_s = now_s
            heard.live = max(heard.live, sum(top.state is FeedStatus.LIVE for top in source.tops))
            heard.trouble = source.trouble or heard.trouble
            enough_s = QUOTE_WITHIN_S if heard.first_quote_s is None else heard.first_quote_s + CLOCK_S
            known = heard.first_quote_s is not None and source.offset.offset_ns is not None
            if now_s > enough_s or known or (source.losses and heard.first_quote_s is None):
                break
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)
    return heard


async def _drain(source: VenueSource | PolledSource, heard: Heard, began_s: float) -> None:
    async with aclosing(source.batches()) as batches:
        async for _ in batches:
            if heard.first_quote_s is None:
                heard.first_quote_s = time.monotonic() - began_s


def describe_heard(name: str, heard: Heard, source: VenueSource | PolledSource, hours: OpenHours) -> list[Finding]:
    """Return what was heard of a venue as findings: connection, subscription, first quote, clock, what was refused."""
    if heard.connected_s is None:
        return [Finding(f"{name}: connection", False, heard.trouble or "no answer", _advice(heard.trouble))]
    told = [Finding(f"{name}: connection", True, f"open after {heard.connected_s * 1e3:.0f} ms")]
    if heard.trouble and heard.first_quote_s is None:
        told.append(Finding(f"{name}: subscription", False, heard.trouble, _advice(heard.trouble)))
        return told
    seen = (
        "no record yet" if heard.first_record_s is None else f"first record after {heard.first_record_s * 1e3:.0f} ms"
    )
    told.append(Finding(f"{name}: subscription", heard.first_record_s is not None, seen))
    told.append(_quote_finding(name, heard, source, hours))
    offset_ns = source.offset.offset_ns
    if offset_ns is not None and isinstance(source, VenueSource):
        ahead = offset_ns < -CLOCK_IS_OFF_S * 1e9
        seen = f"{offset_ns / 1e6:+.0f} ms: ours less the venue's, less half a round trip"
        told.append(
            Finding(f"{name}: clock", not ahead, seen, "Check the clock of this machine (NTP)." if ahead else "")
        )
    if source.quarantine.reasons:
        seen = ", ".join(f"{count} {reason}" for reason, count in source.quarantine.reasons.most_common())
        told.append(Finding(f"{name}: refused", False, seen, "Record a session and decode it: `alhambra feed record`."))
    return told


def _quote_finding(name: str, heard: Heard, source: VenueSource | PolledSource, hours: OpenHours) -> Finding:
    subject = f"{name}: first quote"
    if heard.first_quote_s is not None:
        return Finding(subject, True, f"after {heard.first_quote_s * 1e3:.0f} ms; {heard.live} instruments live")
    now_ns = time.time_ns()
    is_open = any(hours.opened_ns(top.mapped.instrument.exchange, now_ns) is not None for top in source.tops)
    always = any(top.mapped.instrument.asset_class == "crypto" for top in source.tops)
    seen = f"none within {QUOTE_WITHIN_S:.0f} s"
    return Finding(subject, False if always else None, seen, "" if always or not is_open else "Is its market open now?")


def _symbols(feed: VenueFeed, venue: StreamVenue | PolledVenue, listing: Listing | None) -> SymbolMap:
    if listing is None:
        return map_anything(feed.wanted.symbols) if feed.wanted.symbols else example_symbols(venue)
    listed = listing.symbols_of(feed.name) or listing.symbols_of(feed.kind)
    return map_symbols(venue, listing.instruments, listed, feed.wanted)


def _symbols_finding(name: str, symbols: SymbolMap) -> Finding:
    shown = ", ".join(list(symbols.mapped)[:SHOWN]) + (" …" if len(symbols.mapped) > SHOWN else "")
    seen = f"{len(symbols.mapped)} mapped: {shown}" if symbols.mapped else "quotes none of the bank's instruments"
    for symbol, reason in list(symbols.refused.items())[:SHOWN]:
        seen += f"; {symbol} is not: {reason}"
    ok = bool(symbols.mapped) and not symbols.refused
    advice = "" if ok else "Name them in the table instrument_symbols, or with the option symbol.THEIRS=OURS."
    return Finding(f"{name}: symbols", ok, seen, advice)


def _url(venue: StreamVenue | PolledVenue, symbols: Sequence[str]) -> str:
    if venue.name in STREAMS:
        return cast(StreamVenue, venue).url(symbols)
    return next((request.url for request in cast(PolledVenue, venue).requests(symbols)), "")


async def _address_finding(name: str, url: str) -> Finding:
    """Look whether the venue's name is known; its address can hold a key, so only its host is shown."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if getproxies() and not proxy_bypass(host):
        return Finding(f"{name}: address", None, f"{host}, through a proxy")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        seen = f"{host} cannot be resolved: {error.strerror or error}"
        return Finding(
            f"{name}: address", False, seen, "Is there a connection to the internet? Check DNS, proxy, firewall."
        )
    addresses = sorted({str(one[4][0]) for one in found})
    return Finding(f"{name}: address", True, f"{host} is {', '.join(addresses[:2])}")


async def _reports(data: Path) -> dict[str, FeedReport]:
    """Return what the platform that runs in the data folder says of its feeds."""
    running = read_running(data)
    if running is None:
        return {}
    redis = create_redis(running.redis, "alhambra-doctor")
    try:
        return await LiveStore(redis).feeds()
    except RedisError:
        return {}
    finally:
        await redis.aclose()


def _running_finding(report: FeedReport) -> Finding:
    quarantined = sum(report.quarantined.values())
    seen = f"{report.detail}; {report.gaps} gaps, {report.reconnects} reconnects, {quarantined} in quarantine"
    return Finding(
        f"{report.source}: as it runs", report.ok, seen, "" if report.ok else "See `alhambra logs ingest-market`."
    )


def _advice(trouble: str) -> str:
    if "key" in trouble:
        return "Check the feed's key in the environment."
    if "certificate" in trouble:
        return "A proxy between? Give its certificate with ca=FILE."
    return "Check internet, proxy and firewall, or the venue's own status page."


async def _forget(letter: DeadLetter) -> None:
    """Keep nothing: what was refused is counted."""
