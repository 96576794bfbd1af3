"""Figures are functions of their data."""

from __future__ import annotations

from dashboard.data import IntradayPoint
from dashboard.figures.allocation import allocation_figure
from dashboard.figures.intraday import intraday_figure
from dashboard.figures.movers import Mover, movers_figure


def test_the_intraday_line_goes_through_every_minute_in_milliseconds() -> None:
    line = intraday_figure(
        [IntradayPoint(60_000_000_000, 5.25, 100.0), IntradayPoint(120_000_000_000, -3.0, 91.75)], "EUR"
    )
    assert list(line.data[0].x) == [60_000, 120_000]
    assert list(line.data[0].y) == [5.25, -3.0]
    assert "EUR" in line.data[0].hovertemplate


def test_a_negative_part_has_no_arc() -> None:
    ring = allocation_figure({"Equities": 120.0, "Cash": -20.0})
    assert list(ring.data[0].values) == [120.0, 0.0]


def test_movers_are_coloured_by_their_direction() -> None:
    bars = movers_figure([Mover("a", 10.0), Mover("b", -4.0)], "USD")
    up, down = bars.data[0].marker.color
    assert up != down


def test_figures_without_data_are_empty_charts_and_not_errors() -> None:
    for figure in (intraday_figure([], "USD"), allocation_figure({}), movers_figure([], "USD")):
        assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"
