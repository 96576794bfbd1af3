"""What comes over the wire is opened strictly, and faults become errors of ours."""

from __future__ import annotations

import pytest
from fakes_iboss import SOAP_ENVELOPE, envelope
from hypothesis import given
from hypothesis import strategies as st

from ingest.iboss import errors
from ingest.iboss.envelope import open_envelope, unknown_obligations

BILLION_LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>' + envelope(
    "<LogoutResponse>&c;</LogoutResponse>"
)
EXTERNAL_ENTITY = b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + envelope(
    "<LogoutResponse>&x;</LogoutResponse>"
)


def fault(code: str, message: str = "because") -> bytes:
    detail = f"<detail><IbossFault><Code>{code}</Code><Message>{message}</Message></IbossFault></detail>"
    return envelope(f"<s:Fault><faultcode>s:Client</faultcode><faultstring>x</faultstring>{detail}</s:Fault>")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff<not xml",
        b"<html><body>Bad gateway</body></html>",
        envelope("<LogoutResponse/>")[:-9],
        envelope(""),
        envelope("<GetAccountsResponse/>"),
        envelope("<LogoutResponse>&undefined;</LogoutResponse>"),
        f'<Envelope xmlns="{SOAP_ENVELOPE}"/>'.encode(),
        BILLION_LAUGHS,
        EXTERNAL_ENTITY,
        BILLION_LAUGHS.decode().encode("utf-16"),
        b"<!DOCTYPE s:Envelope>" + envelope("<LogoutResponse/>"),
    ],
    ids=[
        "nothing",
        "garbage",
        "a page of a proxy",
        "truncated",
        "an empty body",
        "the answer to another question",
        "an undefined entity",
        "no body",
        "an entity bomb",
        "an external entity",
        "an entity bomb in another encoding",
        "a mere DTD",
    ],
)
def test_what_is_not_an_answer_is_unreadable(content: bytes) -> None:
    with pytest.raises(errors.UnreadableAnswer):
        open_envelope(content, "Logout")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_own_errors(content: bytes) -> None:
    with pytest.raises(errors.IbossError):
        open_envelope(content, "Logout")


@given(st.integers(min_value=0, max_value=400), st.binary(max_size=6))
def test_no_damage_to_an_answer_raises_anything_but_our_own_errors(place: int, damage: bytes) -> None:
    whole = fault("SessionExpired")
    place %= len(whole)
    try:
        open_envelope(whole[:place] + damage + whole[place + len(damage) :], "Logout")
    except errors.IbossError:
        return
    pytest.fail("a fault was taken for an answer")


def test_an_answer_is_found_whatever_its_prefix_or_namespace() -> None:
    assert open_envelope(envelope("<LogoutResponse/>"), "Logout").tag == "LogoutResponse"
    assert open_envelope(envelope('<a:LogoutResponse xmlns:a="urn:a"/>'), "Logout").tag == "{urn:a}LogoutResponse"
    assert open_envelope(envelope('<LogoutResponse xmlns="urn:a"/>'), "Logout").tag == "{urn:a}LogoutResponse"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("InvalidCredentials", errors.CredentialsRefused),
        ("PasswordExpired", errors.PasswordExpired),
        ("SessionExpired", errors.SessionExpired),
        ("QuotaExceeded", errors.QuotaExceeded),
        ("AccessDenied", errors.AccessDenied),
        ("InvalidRequest", errors.RequestRefused),
        ("ServerError", errors.SourceUnavailable),
        ("SomethingNew", errors.RequestRefused),
        ("100004", errors.SessionExpired),
        ("100005", errors.PasswordExpired),
    ],
)
def test_each_fault_becomes_the_error_that_says_what_to_do(code: str, expected: type[Exception]) -> None:
    with pytest.raises(expected, match=f"{code}: because"):
        open_envelope(fault(code), "Logout")


def test_a_fault_without_detail_is_judged_by_its_fault_code() -> None:
    plain = envelope("<s:Fault><faultcode>s:Server.Busy</faultcode><faultstring>later</faultstring></s:Fault>")
    with pytest.raises(errors.SourceUnavailable, match="later") as caught:
        open_envelope(plain, "Logout", retry_after_s=7.0)
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("name", ["Code", "ErrorCode", "ErrorNumber"])
def test_a_business_code_is_found_under_the_names_that_services_give_it(name: str) -> None:
    detail = f'<detail><f:ServiceFault xmlns:f="urn:f"><f:{name}>100005</f:{name}></f:ServiceFault></detail>'
    plain = envelope(f"<s:Fault><faultcode>s:Server</faultcode><faultstring>renew it</faultstring>{detail}</s:Fault>")
    with pytest.raises(errors.PasswordExpired, match="100005: renew it"):
        open_envelope(plain, "Authenticate")


def test_a_code_of_the_server_that_nobody_knows_may_pass_and_says_that_it_is_unknown() -> None:
    detail = "<detail><IbossFault><Code>4711</Code></IbossFault></detail>"
    with pytest.raises(errors.UnknownFault, match="4711: odd"):
        open_envelope(
            envelope(f"<s:Fault><faultcode>s:Server</faultcode><faultstring>odd</faultstring>{detail}</s:Fault>"),
            "Logout",
        )


def test_headers_are_ignored_and_those_that_want_to_be_understood_are_named() -> None:
    headers = (
        '<s:Header xmlns:o="urn:o"><o:ActivityId CorrelationId="1">x</o:ActivityId>'
        '<o:Security s:mustUnderstand="1"><o:Timestamp/></o:Security>'
        '<o:SessionId s:mustUnderstand="1">t</o:SessionId></s:Header>'
    )
    answer = open_envelope(envelope("<LogoutResponse/>").replace(b"<s:Body>", headers.encode() + b"<s:Body>"), "Logout")
    assert unknown_obligations(answer, "SessionId") == ["Security"]
