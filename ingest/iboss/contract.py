"""Read the WSDL into a service that writes our requests as the contract wants them.

zeep checks every request against the schema and builds the envelope; the answers are read by
`ingest.iboss.envelope` and `ingest.iboss.parsing` instead, for two reasons. One unreadable line must cost
that line and not the page, which a schema-driven reader cannot do. And a page of 1,000 bookings takes
zeep a second and lxml a few hundredths.
"""

from __future__ import annotations

import io
from importlib.resources import files
from typing import Any

from zeep import AsyncClient, Settings
from zeep.exceptions import Error as ZeepError
from zeep.proxy import AsyncServiceProxy
from zeep.transports import AsyncTransport

from ingest.iboss.errors import UnreadableAnswer

BINDING = "{urn:iboss:portfolio-tracker}IbossBinding"
ZEEP_CLIENT: Any = AsyncClient  # zeep's constructors carry no annotations
ZEEP_SERVICE: Any = AsyncServiceProxy
STRICT = {"strict": True, "forbid_dtd": True, "forbid_entities": True, "forbid_external": True, "xml_huge_tree": False}


def packaged_wsdl() -> bytes:
    """Return our own copy of the contract, which needs no service to be there."""
    return files("ingest.iboss").joinpath("iboss.wsdl").read_bytes()


def create_service(wsdl: bytes, address: str, transport: AsyncTransport) -> Any:
    """Return the operations of the contract as coroutines that send to `address` through `transport`.

    Takes about 30 ms of processor time, so call it off the event loop. Nothing that the document refers
    to is fetched. Raises `UnreadableAnswer` where it is not the WSDL that this client was written for.
    """
    try:
        settings = Settings(**STRICT, raw_response=True)
        client = ZEEP_CLIENT(io.BytesIO(wsdl), transport=transport, settings=settings)
        return ZEEP_SERVICE(client, client.wsdl.bindings[BINDING], address=address)
    except (ZeepError, KeyError, ValueError, AttributeError) as error:  # zeep meets foreign XML with either
        raise UnreadableAnswer(f"not the WSDL of IBOSS: {error!r}") from error
