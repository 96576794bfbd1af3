"""Show the sign-in page: plain HTML and one style sheet, so that it is there at once and needs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dashboard.data import DemoLogin
from dashboard.i18n import direction, language
from dashboard.i18n import gettext as _
from dashboard.vendor import Vendor


def sign_in_page(error: str | None, logins: Sequence[DemoLogin], vendor: Vendor) -> str:
    """Return the page; `error` is a code (credentials, limit, expired)."""
    title, line = escape(_("Sign in")), escape(_("Your wealth, live."))  # a text inside an f-string is not extracted
    return f"""<!DOCTYPE html>
<html lang="{language()}" dir="{direction()}" data-scheme="dark">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title} · Alhambra</title>
<link rel="icon" type="image/svg+xml" href="{vendor.own("star.svg")}">
<link rel="preload" as="font" type="font/woff2" crossorigin href="{vendor.url("inter-latin.woff2")}">
<link rel="stylesheet" href="{vendor.url("fonts.css")}">
<link rel="stylesheet" href="{vendor.own("app.css")}">
<script src="{vendor.own("02_scheme.js")}"></script>
</head>
<body class="sign-in">
<main>
<div class="sign-in-brand"><i class="star"></i>Alhambra</div>
<p class="sign-in-line">{line}</p>
{error_line(error)}{form()}{demonstration(logins)}</main>
</body>
</html>
"""


def error_line(error: str | None) -> str:
    """Return the sentence for an error code; a code that is unknown gets a general one, never its own text."""
    if not error:
        return ""
    sentences = {
        "credentials": _("The e-mail address or the password is not right."),
        "limit": _("Too many attempts. Please wait a quarter of an hour and try again."),
        "expired": _("Your session has ended. Please sign in again."),
    }
    sentence = sentences.get(error, _("Signing in did not work. Please try again."))
    return f'<p class="sign-in-error" role="alert">{escape(sentence)}</p>\n'


def form() -> str:
    """Return the form; it posts to the web process, which sets the session's cookie."""
    email, password, sign_in = escape(_("E-mail address")), escape(_("Password")), escape(_("Sign in"))
    return f"""<form class="sign-in-form panel" action="/session" method="post">
<label for="email">{email}</label>
<input id="email" name="email" type="email" autocomplete="username" required autofocus maxlength="254">
<label for="password">{password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required maxlength="200">
<button type="submit">{sign_in}</button>
</form>
"""


def demonstration(logins: Sequence[DemoLogin]) -> str:
    """Return one button a login of the demonstration; nothing where there are none."""
    if not logins:
        return ""
    buttons = "\n".join(demonstration_form(login) for login in logins)
    heading = escape(_("Demonstration"))
    return f"""<section class="sign-in-demo">
<h2>{heading}</h2>
<div class="sign-in-logins">
{buttons}
</div>
</section>
"""


def demonstration_form(login: DemoLogin) -> str:
    """Return a form of one button that signs in as `login`."""
    email, password = escape(login.email), escape(login.password)
    return f"""<form action="/session" method="post">
<input type="hidden" name="email" value="{email}"><input type="hidden" name="password" value="{password}">
<button type="submit" class="login"><b>{escape(login.name)}</b><span>{escape(role_name(login.role))}</span></button>
</form>"""


def role_name(role: str) -> str:
    """Return the name of a role for people."""
    names = {
        "client": _("Client"),
        "advisor": _("Advisor"),
        "kyc_agent": _("KYC agent"),
        "compliance": _("Compliance"),
        "admin": _("Administrator"),
    }
    return names.get(role, role)
