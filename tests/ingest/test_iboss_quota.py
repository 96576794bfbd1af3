"""The client stays within the quota that IBOSS states, and ignores statements that make no sense."""

from __future__ import annotations

import pytest

from ingest.iboss.client import error_of_status, retry_wait
from ingest.iboss.errors import CredentialsRefused, QuotaExceeded, SourceUnavailable
from ingest.iboss.quota import Quota, parse_quota, parse_retry_after, pause_before_call


def headers(limit: str, remaining: str, reset: str) -> dict[str, str]:
    return {"X-Quota-Limit": limit, "X-Quota-Remaining": remaining, "X-Quota-Reset": reset}


def test_the_quota_is_read_from_its_headers() -> None:
    assert parse_quota(headers("100", "40", "30"), now_s=1000.0) == Quota(100, 40, 1030.0)


@pytest.mark.parametrize("bad", ["x 1 1", "0 1 1", "10 1 nan", "10 1 -1", "10 1 1e9"])
def test_a_quota_that_makes_no_sense_is_ignored(bad: str) -> None:
    assert parse_quota(headers(*bad.split()), 0.0) is None
    assert parse_quota({}, 0.0) is None


def test_calls_are_not_slowed_while_there_is_plenty_then_spread_then_wait_for_the_window() -> None:
    assert pause_before_call(None, 0.0) == 0
    assert pause_before_call(Quota(100, 21, 30.0), 0.0) == 0
    assert pause_before_call(Quota(100, 10, 30.0), 0.0) == 3.0
    assert pause_before_call(Quota(100, 0, 30.0), 10.0) == 20.0
    assert pause_before_call(Quota(100, 0, 30.0), 30.0) == 0


def test_retry_after_is_honoured_where_it_is_a_number_of_seconds() -> None:
    assert parse_retry_after({"Retry-After": "2.5"}) == 2.5
    assert parse_retry_after({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None
    assert parse_retry_after({}) is None


def test_only_what_may_pass_is_retried_and_not_for_longer_than_bearable() -> None:
    assert retry_wait(SourceUnavailable("away")) is True
    assert retry_wait(QuotaExceeded("full", 2.0)) == 2.0
    assert retry_wait(QuotaExceeded("full", 600.0)) is False
    assert retry_wait(CredentialsRefused("no")) is False


def test_a_status_without_a_readable_fault_still_says_what_to_do() -> None:
    assert isinstance(error_of_status(503, None), SourceUnavailable)
    assert isinstance(error_of_status(429, 3.0), QuotaExceeded)
    assert error_of_status(200, None) is None
