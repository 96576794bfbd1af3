"""Back offices of other styles: where the session stands is read from the WSDL, and answers may look otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes_iboss import QUICK, SOAP_ENVELOPE, open_service
from lxml import etree
from starlette.requests import Request
from starlette.responses import Response

from ingest.iboss.client import open_iboss
from ingest.iboss.contract import packaged_wsdl, read_contract
from ingest.iboss.envelope import local_name
from ingest.iboss.errors import UnreadableAnswer
from ingest.iboss.records import TokenPlace
from ingest.iboss.transport import SoapTransport, create_http

DATA = Path(__file__).parents[1] / "data"
HEADER, BODY = "iboss_header_session.wsdl", "iboss_body_session.wsdl"
LEDGER = "urn:example:ledger"
ACCOUNT = (
    "<{p}Account><{p}AccountId>B1</{p}AccountId><{p}Name>N</{p}Name><{p}BaseCurrency>CHF</{p}BaseCurrency>"
    "<{p}PositionsVersion>7</{p}PositionsVersion></{p}Account>"
)


class BackOffice:
    """Serve a WSDL, and answer in its style: sessions of one token each, the first of which has soon expired."""

    def __init__(self, wsdl: str, style: Callable[[str, str], str]) -> None:
        self._wsdl = (DATA / wsdl).read_bytes()
        self._style = style
        self.sign_ins = 0
        self.actions: list[str] = []

    async def serve(self, request: Request) -> Response:
        """Answer one request."""
        if request.method == "GET":
            return Response(self._wsdl, media_type="text/xml")
        self.actions.append(request.headers["SOAPAction"].strip('"'))
        root = etree.fromstring(await request.body())
        (body,) = root.find(f"{{{SOAP_ENVELOPE}}}Body")
        given = {local_name(one): one.text for one in root.iter() if local_name(one) in ("SessionId", "SessionToken")}
        if local_name(body) == "Authenticate":
            self.sign_ins += 1
            return self._answer("sign_in", f"token-{self.sign_ins}")
        if list(given.values()) != ["token-2"]:  # the first has expired
            return self._answer("expired", "")
        return self._answer(local_name(body), "")

    def _answer(self, what: str, token: str) -> Response:
        return Response(self._style(what, token).encode(), media_type="text/xml; charset=utf-8")


def in_headers(what: str, token: str) -> str:
    """Write answers with default namespaces for everything, the token and more in headers, and a nil page."""
    head = '<ActivityId xmlns="urn:diagnostics" CorrelationId="7">x</ActivityId>'
    if what == "sign_in":
        session = f'<SessionId xmlns="urn:example:backoffice:2024:05">{token}</SessionId>'
        head += session + f'<Security xmlns="urn:wsse" xmlns:e="{SOAP_ENVELOPE}" e:mustUnderstand="1"/>'
        body = '<AuthenticateResult xmlns="urn:example:backoffice:2024:05"/>'
    elif what == "expired":
        detail = '<detail xmlns=""><ServiceFault xmlns="urn:f"><ErrorCode>100004</ErrorCode></ServiceFault></detail>'
        body = f'<Fault><faultcode xmlns="">Client</faultcode><faultstring xmlns="">end</faultstring>{detail}</Fault>'
    else:
        nil = '<Next xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>'
        account = ACCOUNT.format(p="")
        body = f'<GetAccountsResult xmlns="urn:example:backoffice:2024:05">{account}{nil}</GetAccountsResult>'
    return f'<Envelope xmlns="{SOAP_ENVELOPE}"><Header>{head}</Header><Body>{body}</Body></Envelope>'


def in_bodies(what: str, token: str) -> str:
    """Write answers with prefixes of their own, the token in the body, and faults by a code in words."""
    if what == "sign_in":
        body = (
            f'<q:AuthenticateResponse xmlns:q="urn:example:ledger"><Ticket> {token} </Ticket></q:AuthenticateResponse>'
        )
    elif what == "expired":
        detail = "<detail><x><Code>SessionExpired</Code></x></detail>"
        body = f"<SOAP-ENV:Fault><faultcode>SOAP-ENV:Client</faultcode><faultstring/>{detail}</SOAP-ENV:Fault>"
    else:
        body = f'<q:GetAccountsResponse xmlns:q="{LEDGER}">{ACCOUNT.format(p="q:")}</q:GetAccountsResponse>'
    return (
        f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_ENVELOPE}"><SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>'
    )


@pytest.mark.parametrize(("wsdl", "style"), [(HEADER, in_headers), (BODY, in_bodies)])
async def test_a_session_is_found_and_sent_where_the_wsdl_says_and_renewed_when_it_expires(
    wsdl: str, style: Callable[[str, str], str]
) -> None:
    office = BackOffice(wsdl, style)
    async with open_service(office.serve) as address, open_iboss(replace(address, own_wsdl=True), QUICK) as client:
        page = await client.accounts()
        again = await client.accounts(limit=5)
        assert not client.offers("Logout")
    assert [(one.account_id, one.base_currency, one.version) for one in page.accounts] == [("B1", "CHF", 7)]
    assert page.next is None
    assert again == page
    assert office.sign_ins == 2
    prefix = "urn:example:" if wsdl == HEADER else ""
    names = ("Authenticate", "GetAccounts", "Authenticate", "GetAccounts", "GetAccounts")
    assert office.actions == [prefix + name for name in names]


@pytest.mark.parametrize(
    ("wsdl", "received", "sent"),
    [
        (packaged_wsdl(), TokenPlace("SessionToken"), TokenPlace("Token", "session", "Token")),
        ((DATA / HEADER).read_bytes(), TokenPlace("SessionId", "ticket"), TokenPlace("SessionId", "ticket")),
        ((DATA / BODY).read_bytes(), TokenPlace("Ticket"), TokenPlace("SessionToken")),
    ],
    ids=["ours", "headers", "bodies"],
)
async def test_each_style_is_read_from_its_binding(wsdl: bytes, received: TokenPlace, sent: TokenPlace) -> None:
    transport = SoapTransport(lambda: create_http("key"))
    contract = read_contract(wsdl, "http://127.0.0.1:1/", transport)
    await transport.aclose()
    assert contract.signed_in == received
    assert contract.session_of("GetAccounts") == sent
    assert contract.session_of("Authenticate") is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            b'<s:header message="b:Headers" part="ticket" use="literal"/><s:body',
            b"<s:body",
            "GetAccounts, GetPositions",
        ),
        (b'operation name="GetTransactions"', b'operation name="GetBookings"', "GetTransactions"),
    ],
    ids=["no place for the session", "an operation is missing"],
)
async def test_a_wsdl_that_cannot_do_is_refused_with_what_it_lacks(old: bytes, new: bytes, said: str) -> None:
    wsdl = (DATA / HEADER).read_bytes().replace(old, new)
    transport = SoapTransport(lambda: create_http("key"))
    with pytest.raises(UnreadableAnswer, match=said):
        read_contract(wsdl, "http://127.0.0.1:1/", transport)
    await transport.aclose()
