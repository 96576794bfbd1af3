"""Name who is asking, and by which session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from dashboard.viewer import Viewer as PageViewer
from db.portfolios import Viewer


@dataclass(frozen=True, slots=True)
class Session:
    """Name a session: of a page (`page_sessions.id`), of tokens (`refresh_tokens.family_id`), or of nobody we know."""

    kind: Literal["page", "token", "guest"]
    id: UUID


@dataclass(frozen=True, slots=True)
class Identity:
    """Hold an active user with a live session; role and name are as the database has them now."""

    user_id: UUID
    role: str
    name: str
    language: str
    session: Session

    def __hash__(self) -> int:
        """Return what equal identities share; those of thousands of clients are looked up every two seconds."""
        return hash(self.session.id)

    @property
    def viewer(self) -> Viewer:
        """Return what queries of portfolios ask for."""
        return Viewer(self.user_id, self.role)

    @property
    def page_viewer(self) -> PageViewer:
        """Return what the pages know of the user."""
        return PageViewer(self.user_id, self.role, self.name, self.language)
