from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from api.live.codes import BadRequest
from api.live.protocol import SubscribeRequest, UnsubscribeRequest, parse, parse_stream, request_id

ID = "7b6f3c52-1111-4222-8333-444455556666"


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        "subscribe",
        [],
        {},
        {"id": 1},
        {"id": 1, "streams": []},
        {"id": 1, "streams": "portfolio:x"},
        {"id": 1, "streams": ["portfolio:x"]},
        {"id": 1, "streams": [{"stream": 7}]},
        {"id": 1, "streams": [{"stream": "x" * 65}]},
        {"id": 1, "streams": [{"stream": "floor:x"}] * 51},
        {"id": 1, "streams": [{"stream": "floor:x", "seq": "1"}]},
        {"id": 1, "streams": [{"stream": "floor:x"}], "max_hz": 0},
        {"id": 1, "streams": [{"stream": "floor:x"}], "max_hz": -4},
        {"id": 1, "streams": [{"stream": "floor:x"}], "max_hz": "fast"},
        {"id": {"a": 1}, "streams": [{"stream": "floor:x"}]},
        {"id": "x" * 65, "streams": [{"stream": "floor:x"}]},
    ],
)
def test_malformed_subscribes_are_bad_requests(data: Any) -> None:
    with pytest.raises(BadRequest):
        parse(data, SubscribeRequest)


@pytest.mark.parametrize("data", [None, {"id": 1}, {"id": 1, "streams": [{"stream": "x"}]}, {"id": 1, "streams": []}])
def test_malformed_unsubscribes_are_bad_requests(data: Any) -> None:
    with pytest.raises(BadRequest):
        parse(data, UnsubscribeRequest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "portfolio",
        "portfolio:",
        "portfolio:1",
        "quote:",
        "quote:" + "x" * 33,
        "quote:a\nb",
        "demo:",
        "demo:1",
        f"alerts:{ID}",
        f"portfolio:{ID.upper()}A",
        f" portfolio:{ID}",
        f"portfolio:{{{ID}}}",
        f"portfolio:{ID.replace('-', '')}",
        f"Portfolio:{ID}",
        f"portfolio:{ID}:x",
    ],
)
def test_what_names_no_stream_is_a_bad_request(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_stream(text)


def test_a_stream_has_one_name_only() -> None:
    identifier = uuid4()
    assert str(parse_stream(f"floor:{identifier}")) == f"floor:{identifier}"
    with pytest.raises(BadRequest):
        parse_stream(f"floor:{str(identifier).upper()}" if str(identifier) != str(identifier).upper() else "floor:x")


@pytest.mark.parametrize("text", ["demo", "alerts", "quote:AAPL", "quote:EUR/USD", "quote:BRK.B", f"client:{ID}"])
def test_every_kind_of_stream_has_a_name(text: str) -> None:
    assert str(parse_stream(text)) == text


def test_a_position_needs_both_numbers() -> None:
    request = parse(
        {"id": 1, "streams": [{"stream": "a", "epoch": 1, "seq": 2}, {"stream": "b", "seq": 2}]}, SubscribeRequest
    )
    assert [one.position for one in request.streams] == [(1, 2), None]


def test_a_refusal_can_name_the_request_even_when_it_is_malformed() -> None:
    assert request_id({"id": 7, "streams": 1}) == 7
    assert request_id({"id": [1]}) is None
    assert request_id("x") is None
