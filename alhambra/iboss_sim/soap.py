"""Read SOAP requests strictly and write answers and faults: the form, not the content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from lxml import etree

from alhambra.iboss_sim.faults import IbossFault
from ingest.iboss.contract import packaged_wsdl
from ingest.iboss.envelope import SOAP, local_name, parse_xml
from ingest.iboss.errors import UnreadableAnswer

SOAP_NAMESPACE = SOAP.strip("{}")
XSD = "{http://www.w3.org/2001/XMLSchema}"
WSDL_ADDRESS = "{http://schemas.xmlsoap.org/wsdl/soap/}address"
OPERATIONS = (
    "Authenticate",
    "GetAccounts",
    "GetPositions",
    "GetCashBalances",
    "GetTransactions",
    "GetCorporateActions",
    "Logout",
)

Value = str | int | Decimal | bool | date | datetime | None


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """Hold a request that fits the schema: its operation, its texts by element name, and the session's token."""

    operation: str
    values: dict[str, list[str]]
    token: str | None

    def first(self, name: str) -> str | None:
        """Return the text of an element, or None where it is absent."""
        found = self.values.get(name)
        return found[0] if found else None

    def integer(self, name: str, default: int, largest: int) -> int:
        """Return an integer between 0 and `largest`, or the default where it is absent."""
        found = self.first(name)
        value = default if found is None else int(found)
        if not 0 <= value <= largest:
            raise IbossFault("InvalidRequest", f"{name} is between 0 and {largest}")
        return value


class SoapReader:
    """Read requests against the schema of the WSDL."""

    def __init__(self, schema: etree.XMLSchema) -> None:
        self._schema = schema

    def read(self, content: bytes) -> SoapRequest:
        """Return the request; raises the fault InvalidRequest for anything else.

        The body's elements may be unqualified, as the contract has them, or in a namespace of the caller's.
        """
        try:
            root = parse_xml(content)
        except UnreadableAnswer as error:
            raise IbossFault("InvalidRequest", str(error)) from error
        body = root.find(f"{SOAP}Body")
        if root.tag != f"{SOAP}Envelope" or body is None or len(body) != 1:
            raise IbossFault("InvalidRequest", "not a SOAP 1.1 envelope with one element in its body")
        request = _unqualified(body[0])
        if request.tag not in OPERATIONS or not self._schema.validate(request):
            problem = self._schema.error_log.last_error
            raise IbossFault("InvalidRequest", problem.message if problem else f"no operation {request.tag}")
        values: dict[str, list[str]] = {}
        for element in request:
            values.setdefault(element.tag, []).append((element.text or "").strip())
        return SoapRequest(request.tag, values, _token(root))


def create_reader() -> SoapReader:
    """Make the reader from the packaged WSDL."""
    schemas = parse_xml(packaged_wsdl()).iter(f"{XSD}schema")
    bodies = next(schema for schema in schemas if schema.get("targetNamespace") is None)
    return SoapReader(etree.XMLSchema(bodies))


def wsdl_at(address: str) -> bytes:
    """Return the WSDL with the address where this service answers."""
    root = parse_xml(packaged_wsdl())
    for element in root.iter(WSDL_ADDRESS):
        element.set("location", address)
    written: bytes = etree.tostring(root, xml_declaration=True, encoding="utf-8")
    return written


def encode_answer(answer: etree._Element) -> bytes:
    """Wrap an answer in an envelope."""
    envelope = etree.Element(f"{SOAP}Envelope", nsmap={"soap": SOAP_NAMESPACE})
    etree.SubElement(envelope, f"{SOAP}Body").append(answer)
    written: bytes = etree.tostring(envelope, xml_declaration=True, encoding="utf-8")
    return written


def encode_fault(fault: IbossFault) -> bytes:
    """Write a SOAP fault, its code and message in the detail as well."""
    element = etree.Element(f"{SOAP}Fault", nsmap={"soap": SOAP_NAMESPACE})
    etree.SubElement(element, "faultcode").text = f"soap:{'Server' if fault.code == 'ServerError' else 'Client'}"
    etree.SubElement(element, "faultstring").text = fault.message
    add(etree.SubElement(element, "detail"), "IbossFault", (("Code", fault.code), ("Message", fault.message)))
    return encode_answer(element)


def add(parent: etree._Element, name: str, fields: Sequence[tuple[str, Value]]) -> etree._Element:
    """Add an element with a child for each field that has a value, in the order given."""
    element = etree.SubElement(parent, name)
    for field, value in fields:
        if value is not None:
            etree.SubElement(element, field).text = _written(value)
    return element


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def _unqualified(element: etree._Element) -> etree._Element:
    plain = etree.Element(local_name(element))
    plain.text = element.text
    plain.extend([_unqualified(child) for child in element if isinstance(child.tag, str)])
    return plain


def _token(root: etree._Element) -> str | None:
    header = root.find(f"{SOAP}Header")
    if header is None:
        return None
    return next((one.text for one in header.iter() if local_name(one) == "Token"), None)
