"""Name the faults that the simulator answers with, as IBOSS would."""

from __future__ import annotations

CODES = (
    "InvalidCredentials",
    "PasswordExpired",
    "SessionExpired",
    "QuotaExceeded",
    "AccessDenied",
    "InvalidRequest",
    "ServerError",
)


class IbossFault(Exception):
    """Stop an operation with one of `CODES`; `status` is that of HTTP, 500 for a SOAP fault but for the quota."""

    def __init__(self, code: str, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
