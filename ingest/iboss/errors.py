"""Name what can go wrong between us and IBOSS; the type says retry, refuse or stop.

IbossError
├── SourceUnavailable     it does not answer, or says it cannot: try again after `retry_after_s`
├── QuotaExceeded         it answers nothing more before `retry_after_s`
├── CredentialsRefused    user name, password or API key is wrong: somebody must correct the configuration
├── PasswordExpired       the password must be renewed at IBOSS first
├── SessionExpired        the session ended; the client signs in again once by itself
├── AccessDenied          the session may not see what was asked for
├── RequestRefused        IBOSS does not understand our request: a fault of ours or a changed contract
└── UnreadableAnswer      what came is not an answer of the contract: garbage, truncated, a DTD, too large
"""

from __future__ import annotations


class IbossError(Exception):
    """Say that IBOSS did not give what was asked for."""


class SourceUnavailable(IbossError):
    """Say that IBOSS is away for now; `retry_after_s` is its own wish in seconds, or None."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaExceeded(IbossError):
    """Say that the quota of calls is used up for `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CredentialsRefused(IbossError):
    """Say that IBOSS does not accept the user name, the password or the API key."""


class PasswordExpired(IbossError):
    """Say that the IBOSS password has expired and must be renewed there."""


class SessionExpired(IbossError):
    """Say that the session is no longer valid."""


class AccessDenied(IbossError):
    """Say that the session may not see the account that was asked for."""


class RequestRefused(IbossError):
    """Say that IBOSS refused the request as malformed."""


class UnreadableAnswer(IbossError):
    """Say that the answer could not be read; nothing of it was used."""
