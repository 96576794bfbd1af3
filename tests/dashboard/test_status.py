"""The status page tells staff which part is how, and a client in one sentence what it means."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes_dashboard import ADVISOR, AGENT, CLIENT, FakeData
from plotly.utils import PlotlyJSONEncoder

from dashboard.data import Component, Health
from dashboard.pages.notice import no_live_view
from dashboard.pages.shell import navigation
from dashboard.pages.status import label, status_page
from dashboard.pages.turn import turn_to
from dashboard.routes import StatusPage, parse_route
from dashboard.viewer import Viewer

SENTENCES = {
    "ok": "All is well.",
    "delayed": "Prices are delayed at the moment.",
    "failed": "Parts of the service do not work at the moment.",
}


def shown(summary: str, viewer: Viewer) -> str:
    components = (
        Component("kafka", "failed", "the broker does not answer"),
        Component("stream", "ok", "84 portfolios"),
    )
    return json.dumps(status_page(Health(summary, components), viewer), cls=PlotlyJSONEncoder)


def test_the_address_names_the_page() -> None:
    assert parse_route("/status") == StatusPage()


def test_staff_sees_each_part_in_words() -> None:
    page = shown("delayed", ADVISOR)
    for part in ("Message broker", "Failed", "the broker does not answer", "Valuation", "Well", "84 portfolios"):
        assert part in page


@pytest.mark.parametrize("summary", SENTENCES)
def test_a_client_sees_one_sentence_and_no_part(summary: str) -> None:
    page = shown(summary, CLIENT)
    assert SENTENCES[summary] in page
    assert "broker" not in page


async def test_a_kyc_agent_has_no_status_to_look_at() -> None:
    found = await turn_to(StatusPage(), AGENT, FakeData())
    assert json.dumps(found, cls=PlotlyJSONEncoder) == json.dumps(no_live_view(), cls=PlotlyJSONEncoder)


@pytest.mark.parametrize("role", ["advisor", "compliance", "admin"])
def test_staff_is_led_there_and_a_client_is_not(role: str) -> None:
    assert [link.href for link in navigation(replace(ADVISOR, role=role), "/status") if link.className] == ["/status"]
    assert [link.href for link in navigation(replace(ADVISOR, role=role), "/") if link.className] == ["/floor"]
    assert "/status" not in [link.href for link in navigation(CLIENT, "/")]


def test_of_several_of_a_kind_each_is_named() -> None:
    assert label("market:simulated") == "Market prices · simulated"
    assert label("something new") == "something new"
