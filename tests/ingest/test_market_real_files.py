"""Parse the public recordings; the counts are those of the files (see their SOURCES.md), found independently."""

from collections import Counter
from pathlib import Path

import pytest

from ingest.market.recording import open_recording
from ingest.market.rows import parse_rows
from ingest.market.source import RecordedFeed, parse_feed
from ingest.market.times import find_time_format

ONE = "symbol.*=ALHA"
FILES = {
    "NYSE quotes": (
        "taq-highfrequency/quotes_raw_XXX_2018-01-02_03.csv.gz?map=time=ts_utc,bid=BID,ask=OFR,symbol=SYMBOL,symbol.XXX=ALHA",
        131_401,
        {"no_price": 96},  # one side is 0.0: no quote
        1514883853125000000,
    ),
    "NYSE trades": (
        "taq-highfrequency/trades_raw_XXX_2018-01-02_03.csv.gz?map=time=ts_utc,last=PRICE,volume=SIZE,symbol=SYMBOL,symbol.XXX=ALHA",
        77_263,
        {},
        1514887281479000000,
    ),
    "trades of three symbols, two of them not ours": (
        "taq-highfrequency/trades_ETF_AAA_BBB_2014-09-17.csv.gz?map=time=ts_utc,last=PRICE,symbol=SYMBOL,symbol.ETF=ALHA",
        43_581,
        {"unknown_symbol": 27_388},
        1410946200531657000,
    ),
    "TrueFX": (f"ticks-nautilus/usdjpy-truefx-2013-01-01.csv?map=time=timestamp,bid=bid,ask=ask,{ONE}", 1_000, {}, 0),
    "HistData": (
        f"ticks-nautilus/eurusd-histdata-2020-01-01.csv.gz?header=no&utc_offset=-05:00&map=time=0,bid=1,ask=2,{ONE}",
        9_500,
        {},
        1577916000065000000,
    ),
    "Binance quotes": (
        "ticks-nautilus/binance-btcusdt-quotes.csv.gz?map=time=timestamp,bid=bid,ask=ask,symbol=symbol,symbol.BTC/USDT=ALHA",
        451,
        {},
        1610064001076000000,
    ),
    "Binance trades": (
        f"ticks-nautilus/binance-btcusdt-trades.csv.gz?map=time=timestamp,last=price,volume=quantity,{ONE}",
        2_001,
        {},
        1610064000278000000,
    ),
    "IEX": (
        f"iex-tops-20170710/quotes_trades.csv.gz?map=time=ts_ns,bid=bid_px,ask=ask_px,last=trade_px,volume=trade_size,{ONE}",
        33_607,
        {"no_price": 24_431},  # updates with one side or none
        0,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_public_recording_is_read_row_by_row(shared_data: Path, name: str):
    text, rows, refused, first_ns = FILES[name]
    feed = parse_feed(f"recorded:{shared_data}/{text}")
    assert isinstance(feed, RecordedFeed)
    ids = feed.mapping.instrument_ids({"ALHA": 1})
    reader = open_recording(feed)
    seen, good, reasons, events, time_format = 0, 0, Counter[str](), [], None
    while (raw := reader.read()) is not None:
        time_format = time_format or find_time_format(raw.columns["time"])
        parsed = parse_rows(raw, ids, time_format or "iso", feed.utc_offset_minutes)
        seen, good = seen + len(raw), good + len(parsed)
        reasons.update({rows.reason: rows.count for rows in parsed.refused})
        events.extend(parsed.event_ns.tolist())
    assert (seen, good, dict(reasons)) == (rows, rows - sum(refused.values()), refused)
    assert first_ns in (0, events[0])
