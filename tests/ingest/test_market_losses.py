import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from ingest.market.errors import VenueLost
from ingest.market.losses import explain_loss, explain_status, pause_s
from ingest.market.rate_limit import RateLimit, parse_retry_after

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "said", "lasting"),
    [
        (socket.gaierror(-2, "Name or service not known"), "cannot be resolved", False),
        (ConnectionRefusedError(111, "refused"), "connection refused", False),
        (TimeoutError(), "does not answer in time", False),
        (httpx.ReadTimeout(""), "does not answer in time", False),
        (ssl.SSLCertVerificationError(1, "bad"), "certificate is refused", True),
        (ConnectionClosedError(Close(1012, "restart"), None), "code 1012 'restart'", False),
        (ConnectionClosedError(None, Close(1009, "too big")), "larger than is allowed", False),
        (ConnectionClosedError(None, None), "broke off", False),
        (httpx.InvalidURL("https://user:secret@host"), "InvalidURL", False),
    ],
)
def test_a_loss_is_said_in_words_without_addresses(error: Exception, said: str, lasting: bool):
    loss = explain_loss(error)
    assert said in str(loss)
    assert "secret" not in str(loss)
    assert loss.lasting is lasting


def test_what_a_library_wraps_is_found_behind_it():
    wrapped = httpx.ConnectError("connect to https://host?token=secret")
    wrapped.__cause__ = ConnectionRefusedError(111, "refused")
    assert str(explain_loss(wrapped)) == "nothing listens there: connection refused"


@pytest.mark.parametrize(
    ("status", "lasting"),
    [(401, True), (403, True), (404, True), (451, True), (429, False), (503, False), (500, False)],
)
def test_a_status_says_whether_trying_again_is_of_use(status: int, lasting: bool):
    assert explain_status(status).lasting is lasting


def test_what_a_busy_venue_asks_for_is_kept():
    assert explain_status(429, "7").pause_s == 7.0
    assert 7.0 <= pause_s(1, explain_status(429, "7")) <= 8.0


def test_pauses_grow_to_thirty_seconds_with_jitter_and_lasting_ones_are_a_minute():
    pauses = [pause_s(attempt, VenueLost("away")) for attempt in range(1, 50) for _ in range(20)]
    assert min(pauses) > 0.0
    assert max(pause_s(1, VenueLost("away")) for _ in range(100)) <= 1.0
    assert 20.0 < max(pauses) <= 30.0
    assert len({round(one, 6) for one in pauses}) > 900
    assert pause_s(1, VenueLost("wrong key", lasting=True)) >= 60.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12.0),
        (" 0 ", 0.0),
        ("999999999999", 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None):
    assert parse_retry_after(text, NOW) == seconds


def test_a_limit_lets_so_many_calls_through_in_any_window():
    limit = RateLimit(2, 60.0)
    limit.take(0.0)
    limit.take(10.0)
    assert limit.wait_s(20.0) == 40.0
    assert limit.wait_s(60.0) == 0.0
    limit.take(60.0)
    assert limit.wait_s(61.0) == 9.0


def test_no_calls_are_no_bound():
    limit = RateLimit(0, 60.0)
    for _ in range(1000):
        limit.take(0.0)
    assert limit.wait_s(0.0) == 0.0
