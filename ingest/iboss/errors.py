"""Name what can go wrong between us and IBOSS; the type says retry, refuse or stop.

IbossError
├── SourceUnavailable     it does not answer, or says it cannot: try again after `retry_after_s`
│   ├── CircuitOpen       it was not asked, because it failed too often just now
│   └── UnknownFault      it answered with a code that we know nothing of; tried again, but not to sign in
├── QuotaExceeded         it answers nothing more before `retry_after_s`
├── CredentialsRefused    user name, password or API key is wrong: somebody must correct the configuration
├── PasswordExpired       the password must be renewed at IBOSS first
├── SessionExpired        the session ended; the client signs in again once by itself
├── AccessDenied          the session may not see what was asked for
├── RequestRefused        IBOSS does not understand our request: a fault of ours or a changed contract
│   └── GatewayRefused    something in front of IBOSS refuses us, or it is not IBOSS that answers there
└── UnreadableAnswer      what came is not an answer of the contract: garbage, truncated, a DTD, too large
"""

from __future__ import annotations


class IbossError(Exception):
    """Say that IBOSS did not give what was asked for; `advice` is what somebody must do, empty where nobody must."""

    advice = ""


class SourceUnavailable(IbossError):
    """Say that IBOSS is away for now; `retry_after_s` is its own wish in seconds, or None."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CircuitOpen(SourceUnavailable):
    """Say that IBOSS was not asked, because it failed too often just now."""


class UnknownFault(SourceUnavailable):
    """Say that IBOSS answered with a code of its own that we know nothing of."""


class QuotaExceeded(IbossError):
    """Say that the quota of calls is used up for `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CredentialsRefused(IbossError):
    """Say that IBOSS does not accept the user name, the password or the API key, or has locked the account."""

    advice = "Correct IBOSS_USERNAME and IBOSS_PASSWORD, unlock the account at IBOSS if need be, and restart ingest."


class PasswordExpired(IbossError):
    """Say that the IBOSS password has expired and must be renewed there."""

    advice = "Renew the password at IBOSS, set IBOSS_PASSWORD to the new one and restart ingest."


class SessionExpired(IbossError):
    """Say that the session is no longer valid."""


class AccessDenied(IbossError):
    """Say that the session may not see what was asked for, or that the API key or address is not let in."""

    advice = "Check IBOSS_API_KEY, and at IBOSS what the user may see and from which addresses."


class RequestRefused(IbossError):
    """Say that IBOSS refused the request as malformed."""


class GatewayRefused(RequestRefused):
    """Say that what answered refused the request without a word of IBOSS."""

    advice = "Check that IBOSS_API_URL is the address of the service, IBOSS_API_KEY, and the gateway in front of it."


class UnreadableAnswer(IbossError):
    """Say that the answer could not be read; nothing of it was used."""
