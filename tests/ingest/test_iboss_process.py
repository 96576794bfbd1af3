"""The ingest process says in one sentence what its command line or environment lacks, and no secret."""

from __future__ import annotations

import pytest

from ingest.__main__ import Misconfigured, parse_sources, read_settings

COMPLETE = {
    "DATABASE_URL": "postgresql://localhost/x",
    "REDIS_URL": "redis://localhost",
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "IBOSS_API_URL": "http://localhost/soap",
    "IBOSS_USERNAME": "service",
    "IBOSS_PASSWORD": "geheim",
    "IBOSS_API_KEY": "geheim",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_all_sources_run_unless_some_are_named() -> None:
    assert parse_sources([]) == ("iboss", "market")
    assert parse_sources(["market", "market"]) == ("market",)
    with pytest.raises(Misconfigured, match="stonks"):
        parse_sources(["stonks"])


def test_a_complete_environment_is_read_and_its_secrets_stay_hidden(environment: pytest.MonkeyPatch) -> None:
    settings = read_settings(("iboss",))
    assert settings.iboss_password.get_secret_value() == "geheim"
    assert "geheim" not in repr(settings)


def test_what_is_missing_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("IBOSS_PASSWORD")
    with pytest.raises(Misconfigured, match="IBOSS_PASSWORD"):
        read_settings(("iboss",))
    assert read_settings(("market",)).iboss_username == "service"
    environment.delenv("DATABASE_URL")
    with pytest.raises(Misconfigured, match="DATABASE_URL"):
        read_settings(("market",))


def test_what_is_wrong_is_named_without_its_value(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("IBOSS_POLL_SECONDS", "geheim")
    with pytest.raises(Misconfigured, match="IBOSS_POLL_SECONDS") as caught:
        read_settings(("iboss",))
    assert "geheim" not in str(caught.value)
