"""Open a SOAP envelope: strict XML without DTD or entities, then the body, or the fault as an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lxml import etree

from ingest import strict_xml
from ingest.iboss.errors import (
    AccessDenied,
    CredentialsRefused,
    IbossError,
    PasswordExpired,
    QuotaExceeded,
    RequestRefused,
    SessionExpired,
    SourceUnavailable,
    UnknownFault,
    UnreadableAnswer,
)

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
DEFAULT_RETRY_AFTER_S = 5.0

CODE_NAMES = ("Code", "ErrorCode", "ErrorNumber", "FaultCode")
MESSAGE_NAMES = ("Message", "ErrorMessage", "Description")
MUST_UNDERSTAND = f"{SOAP}mustUnderstand"

FAULTS: dict[str, Callable[[str], IbossError]] = {
    "InvalidCredentials": CredentialsRefused,
    "AccountLockedOut": CredentialsRefused,
    "PasswordExpired": PasswordExpired,
    "SessionExpired": SessionExpired,
    "AccessDenied": AccessDenied,
    "InvalidRequest": RequestRefused,
    "ServerError": SourceUnavailable,
    "Server": SourceUnavailable,
    "Client": RequestRefused,
    # The numbers of Saxo's CMS, a service of this kind (developer.saxo, "Handling errors").
    "100000": SourceUnavailable,
    "100001": AccessDenied,
    "100002": CredentialsRefused,  # locked after five refused sign-ins, until the bank unlocks it
    "100003": SessionExpired,
    "100004": SessionExpired,
    "100005": PasswordExpired,
    "100006": SessionExpired,  # the address has changed since the sign-in
    # The fault codes of WS-Security and WS-SecureConversation.
    "FailedAuthentication": CredentialsRefused,
    "InvalidSecurityToken": SessionExpired,
    "BadContextToken": SessionExpired,
}


def parse_xml(content: bytes) -> etree._Element:
    """Parse one XML document, or raise `UnreadableAnswer`; a DTD is refused before anything in it counts."""
    try:
        return strict_xml.parse_xml(content)
    except strict_xml.NotStrictXml as error:
        raise UnreadableAnswer(str(error)) from error


def open_envelope(
    content: bytes, operation: str, retry_after_s: float | None = None, expected: str | None = None
) -> etree._Element:
    """Return the answer of `operation` out of its envelope; `expected` is what the contract calls it.

    A SOAP fault is raised as the error that it stands for, `retry_after_s` going with those that wait.
    Raises `UnreadableAnswer` for anything that is not an envelope with that answer or a fault. Headers are not
    looked at here, whatever they say of themselves: see `unknown_obligations`.
    """
    root = parse_xml(content)
    body = root.find(f"{SOAP}Body")
    if root.tag != f"{SOAP}Envelope" or body is None or len(body) == 0:
        raise UnreadableAnswer("not a SOAP envelope with a body")
    answer = body[0]
    if answer.tag == f"{SOAP}Fault":
        raise parse_fault(answer, retry_after_s)
    name = local_name(answer)
    if name != (expected or f"{operation}Response"):
        raise UnreadableAnswer(f"asked for {operation}, got {name}")
    return answer


def envelope_headers(answer: etree._Element) -> list[etree._Element]:
    """Return the headers of the envelope that an answer came in."""
    header = answer.getroottree().getroot().find(f"{SOAP}Header")
    return [] if header is None else list(header)


def unknown_obligations(answer: etree._Element, known: str) -> list[str]:
    """Return the names of headers that the sender wants understood and that are none of ours.

    SOAP 1.1 would have us refuse such an answer. We take it and say so once: what gateways add in this way, mostly
    time stamps and signatures of WS-Security, does not change what the body says, and the alternative is a bank
    without positions until somebody has changed a gateway.
    """
    marked = (one for one in envelope_headers(answer) if one.get(MUST_UNDERSTAND) in ("1", "true"))
    return [local_name(one) for one in marked if all(local_name(inner) != known for inner in one.iter())]


def parse_fault(fault: etree._Element, retry_after_s: float | None = None) -> IbossError:
    """Return the error that a SOAP fault stands for, by the code in its detail or else by its fault code.

    Of an unknown code the fault code says whether trying again is of any use: `Client` never is.
    """
    texts = {local_name(one): (one.text or "").strip() for one in fault.iter() if isinstance(one.tag, str)}
    fault_code = texts.get("faultcode", "").rpartition(":")[2]
    code = _first(texts, CODE_NAMES) or fault_code
    message = _first(texts, MESSAGE_NAMES) or texts.get("faultstring") or "without a message"
    if code == "QuotaExceeded":
        return QuotaExceeded(f"QuotaExceeded: {message}", retry_after_s or DEFAULT_RETRY_AFTER_S)
    error = _kind_of_fault(code, fault_code.partition(".")[0])(f"{code}: {message}")
    if isinstance(error, SourceUnavailable):
        error.retry_after_s = retry_after_s
    return error


def _kind_of_fault(code: str, fault_code: str) -> Callable[[str], IbossError]:
    known = FAULTS.get(code, FAULTS.get(code.partition(".")[0]))
    if known is not None:
        return known
    return RequestRefused if fault_code == "Client" else UnknownFault


def _first(texts: Mapping[str, str], names: Iterable[str]) -> str:
    return next(filter(None, (texts.get(one) for one in names)), "")


def local_name(element: etree._Element) -> str:
    """Return an element's name without its namespace, since services differ in whether they qualify."""
    tag: str = element.tag
    return tag.rpartition("}")[2]
