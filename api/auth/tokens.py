"""Issue and read access tokens: JWT, HS256 and nothing else, valid for minutes, tied to a session."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from api.errors import Forbidden, Unauthorised

ALGORITHM = "HS256"
ISSUER = "alhambra"
AUDIENCE = "alhambra-api"
TYPE = "access"
REQUIRED = ["exp", "iat", "iss", "aud", "sub", "sid", "role", "typ"]


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """Hold what an access token says: whose it is, and of which family of refresh tokens."""

    user_id: UUID
    role: str
    family_id: UUID


class AccessTokens:
    """Issue and read access tokens with one secret, named in their header so that it can be changed."""

    def __init__(self, secret: str, lifetime: timedelta) -> None:
        self._secret = secret
        self._lifetime = lifetime
        self._key_id = hashlib.sha256(b"kid:" + secret.encode()).hexdigest()[:12]

    @property
    def lifetime(self) -> timedelta:
        """Return how long a token is valid."""
        return self._lifetime

    def issue(self, claims: AccessClaims) -> str:
        """Sign a token for these claims, valid from now."""
        now = datetime.now(UTC)
        content = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "typ": TYPE,
            "iat": now,
            "exp": now + self._lifetime,
            "sub": str(claims.user_id),
            "sid": str(claims.family_id),
            "role": claims.role,
        }
        return jwt.encode(content, self._secret, ALGORITHM, headers={"kid": self._key_id})

    def read(self, token: str) -> AccessClaims:
        """Verify a token; raises `Unauthorised` where it has expired and `Forbidden` where it is none of ours."""
        try:
            if jwt.get_unverified_header(token).get("kid") != self._key_id:
                raise Forbidden("The token is not one of ours.")
            content = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                options={"require": REQUIRED},
            )
        except jwt.ExpiredSignatureError as error:
            raise Unauthorised("The token has expired.") from error
        except jwt.InvalidTokenError as error:
            raise Forbidden("The token is not one of ours.") from error
        return _claims(content)


def _claims(content: dict[str, object]) -> AccessClaims:
    if content["typ"] != TYPE:
        raise Forbidden("The token is not an access token.")
    try:
        return AccessClaims(UUID(str(content["sub"])), str(content["role"]), UUID(str(content["sid"])))
    except ValueError as error:
        raise Forbidden("The token is not one of ours.") from error
