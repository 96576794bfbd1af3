"""Keep sessions and the quota of calls, in memory: a restart of the simulator ends all sessions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from alhambra.iboss_sim.faults import IbossFault

MAX_SESSIONS = 10_000
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class Session:
    """Hold who signed in and which accounts that user sees (None means all)."""

    username: str
    accounts: tuple[str, ...] | None
    expires_at_s: float

    def require(self, account: str) -> None:
        """Refuse an account that the user may not see."""
        if self.accounts is not None and account not in self.accounts:
            raise IbossFault("AccessDenied", f"account {account} is not among yours")


class Sessions:
    """Open, find and end sessions; times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def open(self, username: str, accounts: tuple[str, ...] | None, now_s: float, lifetime_s: float) -> str:
        """Open a session and return its token."""
        self._sessions = {token: one for token, one in self._sessions.items() if one.expires_at_s > now_s}
        if len(self._sessions) >= MAX_SESSIONS:
            raise IbossFault("ServerError", "too many sessions are open")
        token = secrets.token_urlsafe(24)
        self._sessions[token] = Session(username, accounts, now_s + lifetime_s)
        return token

    def find(self, token: str | None, now_s: float) -> Session:
        """Return the session of a token; raises the fault SessionExpired where there is none any more."""
        session = self._sessions.get(token or "")
        if session is None or session.expires_at_s <= now_s:
            raise IbossFault("SessionExpired", "sign in again")
        return session

    def end(self, token: str | None) -> None:
        """End one session."""
        self._sessions.pop(token or "", None)

    def end_all(self) -> None:
        """End all sessions."""
        self._sessions.clear()


class CallQuota:
    """Count calls in windows of a minute."""

    def __init__(self) -> None:
        self._window_ends_s = 0.0
        self._used = 0

    def count(self, limit: int, now_s: float) -> tuple[bool, dict[str, str]]:
        """Count a call: return whether it is within the limit, and the headers that say how many are left."""
        if now_s >= self._window_ends_s:
            self._window_ends_s, self._used = now_s + WINDOW_S, 0
        allowed = self._used < limit
        self._used += allowed
        reset_s = f"{self._window_ends_s - now_s:.3f}"
        headers = {
            "X-Quota-Limit": str(limit),
            "X-Quota-Remaining": str(limit - self._used),
            "X-Quota-Reset": reset_s,
        }
        return allowed, headers if allowed else headers | {"Retry-After": reset_s}
