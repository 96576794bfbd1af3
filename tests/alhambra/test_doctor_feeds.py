from pathlib import Path

import pytest
from fakes_certificates import Authority
from fakes_markets import AlpacaMarket, CoinbaseMarket
from fakes_venues import Answer, VenueServer
from pydantic import SecretStr

from alhambra.doctor import Finding
from alhambra.doctor_feeds import examine_feeds
from alhambra.main import doctor_app
from alhambra.options import join_feeds
from alhambra.ports import free_port
from alhambra.settings import DoorSettings

BTC = {"BTC-USD": 68_900.0, "ETH-USD": 3_500.0}


async def look(tmp_path: Path, text: str, settings: DoorSettings | None = None) -> dict[str, Finding]:
    found = await examine_feeds(tmp_path / "nothing", text, settings or DoorSettings())
    return {finding.subject: finding for finding in found}


async def test_a_venue_that_is_well_is_shown_from_its_address_to_its_clock(tmp_path: Path):
    async with VenueServer(CoinbaseMarket(BTC)).open() as server:
        found = await look(tmp_path, f"coinbase?url={server.ws_url};simulated:5")
    assert [name for name, finding in found.items() if finding.ok is False] == []
    assert list(found) == [
        "instruments",
        "coinbase: symbols",
        "coinbase: address",
        "coinbase: connection",
        "coinbase: subscription",
        "coinbase: first quote",
        "coinbase: clock",
        "simulated",
    ]
    assert found["coinbase: symbols"].seen == "2 mapped: BTC-USD, ETH-USD"
    assert "2 instruments live" in found["coinbase: first quote"].seen


async def test_a_venue_that_is_away_or_busy_is_a_fault_with_the_reason(tmp_path: Path):
    away = await look(tmp_path, f"coinbase?url=ws://127.0.0.1:{free_port()}")
    assert (away["coinbase: connection"].ok, "connection refused" in away["coinbase: connection"].seen) == (False, True)
    server = VenueServer(CoinbaseMarket(BTC))
    server.faults.handshakes.extend([Answer(status=429, headers={"Retry-After": "600"})] * 5)
    async with server.open():
        busy = await look(tmp_path, f"coinbase?url={server.ws_url}")
    assert "429" in busy["coinbase: connection"].seen
    assert len(server.handshakes) == 1


async def test_a_certificate_nobody_vouches_for_is_a_fault_and_one_of_a_given_authority_is_none(tmp_path: Path):
    authority = Authority(tmp_path)
    async with VenueServer(CoinbaseMarket(BTC), authority.server()).open() as server:
        unknown = await look(tmp_path, f"coinbase?url={server.ws_url}")
        trusted = await look(tmp_path, f"coinbase?url={server.ws_url}&ca={authority.path}")
    assert "certificate" in unknown["coinbase: connection"].seen
    assert "ca=FILE" in unknown["coinbase: connection"].advice
    assert trusted["coinbase: first quote"].ok


async def test_a_key_that_is_missing_or_wrong_is_a_fault_and_never_shown(tmp_path: Path):
    assert "ALPACA_KEY_ID" in (await look(tmp_path, "alpaca"))["alpaca"].seen
    wrong = DoorSettings(alpaca_key_id=SecretStr("PKWRONG"), alpaca_secret_key=SecretStr("hidden-secret"))
    async with VenueServer(AlpacaMarket({"AAPL": 190.0})).open() as server:
        found = await look(tmp_path, f"alpaca?url={server.ws_url}", wrong)
    faults = [finding for finding in found.values() if finding.ok is False]
    assert faults
    assert not any(secret in str(found) for secret in ("PKWRONG", "hidden-secret"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coinbase?colour=red", "no option"),
        ("coinbase?symbols=NO", "1 mapped"),
        ("coinbase?ca=nowhere.pem", "cannot be"),
    ],
)
async def test_what_is_unclear_is_said(tmp_path: Path, text: str, said: str):
    found = await look(tmp_path, f"{text}&url=ws://127.0.0.1:{free_port()}")
    assert said in " ".join(finding.seen for finding in found.values())


async def test_a_feed_that_does_not_exist_is_said(tmp_path: Path):
    assert not (await look(tmp_path, "reuters"))["MARKET_FEED"].ok


async def test_symbols_are_those_of_the_bank_where_there_is_one(tmp_path: Path, postgres_url: str):
    settings = DoorSettings(database_url=SecretStr(postgres_url))
    found = await look(tmp_path, "coinbase", settings)
    assert found["instruments"].seen == "0 in the bank"
    assert found["coinbase: symbols"].seen == "quotes none of the bank's instruments"


def test_feeds_that_are_named_one_by_one_are_joined_the_best_first():
    assert join_feeds(["coinbase", "simulated:5"]) == "coinbase;simulated:5"
    assert join_feeds(None) == ""
    assert {command.name for command in doctor_app.registered_commands} == {"feeds"}
