"""State what the pages may load and run: nothing but our own files, and the styles that carry the request's nonce."""

from __future__ import annotations

from dash import Dash


def content_security_policy(app: Dash, nonce: str) -> str:
    """Return the value of the Content-Security-Policy header of a page that was given `nonce`.

    The scripts that Dash writes into the page are allowed by their hashes. Components create style elements at run
    time; `assets/00_nonce.js`, the first script of the page, gives those the nonce.
    """
    hashes = " ".join(dict.fromkeys(app.csp_hashes()))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {hashes}",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "worker-src 'self'",
            "manifest-src 'self'",
            "object-src 'none'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        )
    )
