"""Decide whether to sign in, so that no retry of ours locks the account.

Back offices lock a user after some failed sign-ins, five and for good in the strictest that we know of. So a refused
sign-in is tried once more, a quarter of an hour later, in case the other side was at fault, and then not again with
the same credentials: somebody has to correct them, and the process reads them at its start. An expired password is no
failed sign-in; it is tried each quarter of an hour, in case it was prolonged.
"""

from __future__ import annotations

from ingest.iboss.errors import IbossError, PasswordExpired

REFUSALS = 2
PAUSE_S = 900.0


class SignIns:
    """Remember how signing in went; times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._refusal: IbossError | None = None
        self._refusals = 0
        self._again_at_s = 0.0

    def admit(self, now_s: float) -> None:
        """Raise the last refusal anew while signing in would be useless or do harm."""
        if self._refusal is None or now_s >= self._again_at_s:
            return
        raise type(self._refusal)(str(self._refusal))

    def refused(self, error: IbossError, now_s: float) -> None:
        """Note that IBOSS refused the credentials, or the password because it has expired."""
        self._refusal = error
        if not isinstance(error, PasswordExpired):
            self._refusals += 1
        self._again_at_s = float("inf") if self._refusals >= REFUSALS else now_s + PAUSE_S

    def succeeded(self) -> None:
        """Note that a session was opened."""
        self._refusal = None
        self._refusals = 0

    def plan(self, now_s: float) -> str:
        """Say when signing in is tried again, where it was refused."""
        if self._refusal is None:
            return ""
        if self._again_at_s == float("inf"):
            return "signing in is not tried again before a restart, so that the account is not locked"
        return f"signing in is tried again in {max(0.0, self._again_at_s - now_s) / 60:.0f} min"
