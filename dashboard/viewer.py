"""Say who looks at a page: set once a request by the web process's middleware, read by layouts and callbacks."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Viewer:
    """Hold who is signed in.

    `role` is one of client, advisor, kyc_agent, compliance, admin; `name` is for people; `language` is one of
    `dashboard.i18n.LANGUAGES`.
    """

    user_id: UUID
    role: str
    name: str
    language: str = "en"


current_viewer: ContextVar[Viewer | None] = ContextVar("current_viewer", default=None)
current_nonce: ContextVar[str] = ContextVar("current_nonce", default="")
