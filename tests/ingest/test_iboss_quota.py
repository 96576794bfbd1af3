"""The client stays within the quota that IBOSS states, and ignores statements that make no sense."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.iboss.client import error_of_status, retry_wait
from ingest.iboss.errors import (
    CircuitOpen,
    CredentialsRefused,
    GatewayRefused,
    QuotaExceeded,
    SessionExpired,
    SourceUnavailable,
)
from ingest.iboss.quota import Quota, parse_quota, parse_retry_after, pause_before_call

NOW = datetime(2026, 10, 21, 7, 27, 30, tzinfo=UTC)


def headers(limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {"X-Quota-Limit": limit, "X-Quota-Remaining": remaining, "X-Quota-Reset": reset}


def test_the_quota_is_read_from_its_headers() -> None:
    assert parse_quota(headers("100", "40", "30"), now_s=1000.0) == Quota(100, 40, 1030.0, 1000.0)


@pytest.mark.parametrize("bad", ["x 1 1", "0 1 1", "10 1 nan", "10 1 -1", "10 1 1e9"])
def test_a_quota_that_makes_no_sense_is_ignored(bad: str) -> None:
    assert parse_quota(headers(*bad.split()), 0.0) is None
    assert parse_quota({}, 0.0) is None


def test_calls_are_not_slowed_while_there_is_plenty_then_spread_then_wait_for_the_window() -> None:
    assert pause_before_call(None, 0.0) == 0
    assert pause_before_call(Quota(100, 23, 30.0), 0.0) == 0
    assert pause_before_call(Quota(100, 12, 30.0), 0.0) == 3.0
    assert pause_before_call(Quota(100, 12, 30.0), 2.0) == 1.0
    assert pause_before_call(Quota(100, 12, 30.0), 5.0) == 0
    assert pause_before_call(Quota(100, 0, 30.0), 10.0) == 20.0
    assert pause_before_call(Quota(100, 0, 30.0), 30.0) == 0


def test_the_last_calls_of_a_window_are_kept_for_signing_in() -> None:
    last = Quota(100, 2, 30.0)
    assert last.reserved == 2
    assert pause_before_call(last, 0.0) == 30.0
    assert pause_before_call(last, 0.0, signing_in=True) == 0
    assert pause_before_call(Quota(100, 0, 30.0), 0.0, signing_in=True) == 30.0


@given(limit=st.integers(1, 10_000), window_s=st.floats(1, 3600), every_s=st.floats(0.01, 5))
def test_however_often_is_polled_a_call_is_left_to_sign_in_with(limit: int, window_s: float, every_s: float) -> None:
    left, now_s, heard_at_s = limit, 0.0, 0.0
    for _ in range(min(2 * limit, 500)):
        quota = Quota(limit, left, window_s, heard_at_s)
        now_s += pause_before_call(quota, now_s)
        if now_s >= window_s:
            return
        left, heard_at_s = left - 1, now_s
        now_s += every_s
        assert left >= quota.reserved
        assert limit == 1 or pause_before_call(Quota(limit, left, window_s), now_s, signing_in=True) == 0


def test_retry_after_is_honoured_in_seconds_and_as_a_date_and_for_an_hour_at_most() -> None:
    assert parse_retry_after({"Retry-After": "2.5"}) == 2.5
    assert parse_retry_after({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, NOW) == 30.0
    assert parse_retry_after({"Retry-After": "Wed, 21 Oct 2026 07:00:00 GMT"}, NOW) == 0.0
    assert parse_retry_after({"Retry-After": "Thu, 21 Oct 2027 07:28:00 GMT"}, NOW) == 3600.0
    assert parse_retry_after({"Retry-After": "86400"}) == 3600.0
    assert parse_retry_after({}) is None


@pytest.mark.parametrize("nonsense", ["", "soon", "nan", "-3", "Wed, 99 Oct 2026 07:28:00 GMT"])
def test_a_retry_after_that_makes_no_sense_is_ignored(nonsense: str) -> None:
    assert parse_retry_after({"Retry-After": nonsense}, NOW) is None


def test_only_what_may_pass_is_retried_and_not_for_longer_than_bearable() -> None:
    assert retry_wait(SourceUnavailable("away")) is True
    assert retry_wait(QuotaExceeded("full", 2.0)) == 2.0
    assert retry_wait(QuotaExceeded("full", 600.0)) is False
    assert retry_wait(CircuitOpen("failed too often", 2.0)) is False
    assert retry_wait(CredentialsRefused("no")) is False


def test_a_status_without_a_readable_fault_still_says_what_to_do() -> None:
    assert isinstance(error_of_status(503, None, "GetAccounts"), SourceUnavailable)
    assert isinstance(error_of_status(429, 3.0, "GetAccounts"), QuotaExceeded)
    assert isinstance(error_of_status(403, None, "Authenticate"), GatewayRefused)
    assert isinstance(error_of_status(401, None, "Authenticate"), CredentialsRefused)
    assert isinstance(error_of_status(401, None, "GetAccounts"), SessionExpired)
    assert error_of_status(200, None, "GetAccounts") is None
