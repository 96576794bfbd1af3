"""Open a SOAP envelope: strict XML without DTD or entities, then the body, or the fault as an error of ours."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from ingest.iboss.errors import (
    AccessDenied,
    CredentialsRefused,
    IbossError,
    PasswordExpired,
    QuotaExceeded,
    RequestRefused,
    SessionExpired,
    SourceUnavailable,
    UnreadableAnswer,
)

SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
DEFAULT_RETRY_AFTER_S = 5.0

FAULTS: dict[str, Callable[[str], IbossError]] = {
    "InvalidCredentials": CredentialsRefused,
    "PasswordExpired": PasswordExpired,
    "SessionExpired": SessionExpired,
    "AccessDenied": AccessDenied,
    "InvalidRequest": RequestRefused,
    "ServerError": SourceUnavailable,
    "Server": SourceUnavailable,
    "Client": RequestRefused,
}


def parse_xml(content: bytes) -> etree._Element:
    """Parse one XML document, or raise `UnreadableAnswer`; a DTD is refused before anything in it counts."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnreadableAnswer(f"not XML: {error}") from error
    if root.getroottree().docinfo.doctype:
        raise UnreadableAnswer("the document carries a DTD, which is never accepted")
    return root


def open_envelope(content: bytes, operation: str, retry_after_s: float | None = None) -> etree._Element:
    """Return the answer of `operation` out of its envelope.

    A SOAP fault is raised as the error that it stands for, `retry_after_s` going with those that wait.
    Raises `UnreadableAnswer` for anything that is not an envelope with that answer or a fault.
    """
    root = parse_xml(content)
    body = root.find(f"{SOAP}Body")
    if root.tag != f"{SOAP}Envelope" or body is None or len(body) == 0:
        raise UnreadableAnswer("not a SOAP envelope with a body")
    answer = body[0]
    if answer.tag == f"{SOAP}Fault":
        raise parse_fault(answer, retry_after_s)
    name = local_name(answer)
    if name != f"{operation}Response":
        raise UnreadableAnswer(f"asked for {operation}, got {name}")
    return answer


def parse_fault(fault: etree._Element, retry_after_s: float | None = None) -> IbossError:
    """Return the error that a SOAP fault stands for, by the code in its detail or else by its fault code."""
    texts = {local_name(one): (one.text or "").strip() for one in fault.iter() if isinstance(one.tag, str)}
    code = texts.get("Code") or texts.get("faultcode", "").rpartition(":")[2]
    message = texts.get("Message") or texts.get("faultstring") or "without a message"
    if code == "QuotaExceeded":
        return QuotaExceeded(f"QuotaExceeded: {message}", retry_after_s or DEFAULT_RETRY_AFTER_S)
    error = FAULTS.get(code, FAULTS.get(code.partition(".")[0], SourceUnavailable))(f"{code}: {message}")
    if isinstance(error, SourceUnavailable):
        error.retry_after_s = retry_after_s
    return error


def local_name(element: etree._Element) -> str:
    """Return an element's name without its namespace, since services differ in whether they qualify."""
    tag: str = element.tag
    return tag.rpartition("}")[2]
