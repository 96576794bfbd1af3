"""Read the WSDL into a contract: which operations there are, how a request is written, where the session stands.

zeep checks every request against the schema and builds the envelope; the answers are read by
`ingest.iboss.envelope` and `ingest.iboss.parsing` instead, for two reasons. One unreadable line must cost
that line and not the page, which a schema-driven reader cannot do. And a page of 1,000 bookings takes
zeep a second and lxml a few hundredths.

Services differ in where the session's token comes back and where it is sent: in a header or in the body, bare or
inside another element. The binding declares it, so nobody has to configure it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from zeep import AsyncClient, Settings
from zeep.exceptions import Error as ZeepError
from zeep.proxy import AsyncServiceProxy
from zeep.transports import AsyncTransport
from zeep.wsdl.bindings import Soap11Binding

from ingest.iboss.errors import RequestRefused, UnreadableAnswer
from ingest.iboss.records import TokenPlace
from ingest.iboss.transport import Answer

SIGN_IN = "Authenticate"
NEEDED = (SIGN_IN, "GetAccounts", "GetPositions", "GetTransactions")
IN_SESSION = NEEDED[1:]
TOKEN_NAMES = frozenset({"sessiontoken", "sessionid", "sessionkey", "session", "token", "ticket", "authtoken"})
ZEEP_CLIENT: Any = AsyncClient  # zeep's constructors carry no annotations
ZEEP_SERVICE: Any = AsyncServiceProxy
SOAP_11: Any = Soap11Binding
STRICT = {"strict": True, "forbid_dtd": True, "forbid_entities": True, "forbid_external": True, "xml_huge_tree": False}


@dataclass(frozen=True, slots=True)
class Operation:
    """Hold what the contract says of one operation: what its answer is called, and where a session goes in."""

    answer: str
    session: TokenPlace | None


class Contract:
    """Send requests as the WSDL wants them; `signed_in` is where the answer of signing in holds the token."""

    def __init__(self, service: Any, operations: Mapping[str, Operation], signed_in: TokenPlace) -> None:
        self._service = service
        self._operations = operations
        self.signed_in = signed_in

    def offers(self, operation: str) -> bool:
        """Return whether there is such an operation."""
        return operation in self._operations

    def answer_of(self, operation: str) -> str:
        """Return the local name of the element that answers an operation."""
        return self._operations[operation].answer

    def session_of(self, operation: str) -> TokenPlace | None:
        """Return where an operation wants the session's token, None where it wants none."""
        return self._operations[operation].session

    async def request(self, operation: str, asked: Mapping[str, Any], token: str | None) -> Answer:
        """Send a request, with the session where there is one; raises `RequestRefused` for what does not fit."""
        if operation not in self._operations:
            raise RequestRefused(f"the WSDL of IBOSS has no operation {operation}")
        place = self.session_of(operation)
        session = place.arguments(token) if place is not None and token is not None else {}
        try:
            answer: Answer = await self._service[operation](**asked, **session)
        except ZeepError as error:
            raise RequestRefused(f"{operation} does not fit the contract: {error}") from error
        return answer


def packaged_wsdl() -> bytes:
    """Return our own copy of the contract, which needs no service to be there."""
    return files("ingest.iboss").joinpath("iboss.wsdl").read_bytes()


def read_contract(wsdl: bytes, address: str, transport: AsyncTransport) -> Contract:
    """Return the contract that a WSDL declares, its requests going to `address` through `transport`.

    Takes about 30 ms of processor time, so call it off the event loop. Nothing that the document refers
    to is fetched. Raises `UnreadableAnswer` where it is not the WSDL of a service that this client can use.
    """
    try:
        client = ZEEP_CLIENT(io.BytesIO(wsdl), transport=transport, settings=Settings(**STRICT, raw_response=True))
        binding = _binding(client.wsdl.bindings.values())
        service = ZEEP_SERVICE(client, binding, address=address)
        operations = {name: _operation(name, one) for name, one in binding.all().items()}
        signed_in = _token_place(binding.all()[SIGN_IN].output)
    except (ZeepError, KeyError, ValueError, AttributeError) as error:  # zeep meets foreign XML with either
        raise UnreadableAnswer(f"not the WSDL of IBOSS: {error!r}") from error
    homeless = [name for name in IN_SESSION if operations[name].session is None]
    if signed_in is None or homeless:
        where = ", ".join(homeless) or f"the answer of {SIGN_IN}"
        raise UnreadableAnswer(f"the WSDL declares no place for the session's token in {where}")
    return Contract(service, operations, signed_in)


def _binding(bindings: Iterable[Any]) -> Any:
    for one in bindings:
        if isinstance(one, SOAP_11) and set(NEEDED) <= one.all().keys():
            return one
    raise ValueError(f"no SOAP 1.1 binding has {', '.join(NEEDED)}")


def _operation(name: str, operation: Any) -> Operation:
    body = operation.output.body if operation.output is not None else None
    answer = f"{name}Response" if body is None else body.qname.localname
    return Operation(answer, None if name == SIGN_IN else _token_place(operation.input))


def _token_place(message: Any) -> TokenPlace | None:
    """Return where a message declares a token: a header first, bare or around it, then an element of the body."""
    for part, header in _children(message.header):
        if not list(_children(header)):
            if _names_token(header):
                return TokenPlace(header.qname.localname, part)
            continue
        for name, child in _children(header):
            if _names_token(child):
                return TokenPlace(child.qname.localname, part, within=name)
    return next((TokenPlace(one.qname.localname) for _, one in _children(message.body) if _names_token(one)), None)


def _children(element: Any) -> Iterator[tuple[str, Any]]:
    """Yield the elements declared inside one, each with the name that a request gives it; none for a simple type."""
    if element is not None:
        yield from (pair for pair in getattr(element.type, "elements", ()) if getattr(pair[1], "qname", None))


def _names_token(element: Any) -> bool:
    return str(element.qname.localname).lower() in TOKEN_NAMES
