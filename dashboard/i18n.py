"""Speak the viewer's language: gettext catalogues, one context variable a request, the same texts for the client."""

from __future__ import annotations

import gettext as catalogues
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from dashboard.viewer import current_viewer

LANGUAGES = ("en", "es", "ar", "zh")
"""The languages of the bank; one without a catalogue speaks English."""

# Latin digits everywhere: a number must read the same on every screen of the bank.
LOCALES = {"en": "en-US", "es": "es-ES", "ar": "ar-u-nu-latn", "zh": "zh-CN"}
RIGHT_TO_LEFT = frozenset({"ar"})

current_language: ContextVar[str | None] = ContextVar("current_language", default=None)
"""What the request asked for where nobody is signed in; a viewer's own language counts before it."""


def language() -> str:
    """Return the language of this request: the viewer's, else what was asked for, else English."""
    viewer = current_viewer.get()
    return (viewer.language if viewer else current_language.get()) or "en"


def gettext(message: str) -> str:
    """Translate a message into the language of this request; one without a translation stays as it is."""
    return _catalogue(language()).gettext(message)


def ngettext(singular: str, plural: str, count: int) -> str:
    """Translate the form of a message that `count` asks for; the result may hold `%(count)d`."""
    return _catalogue(language()).ngettext(singular, plural, count) % {"count": count}


def direction() -> str:
    """Return `rtl` or `ltr`, the direction in which the language of this request is written."""
    return "rtl" if language() in RIGHT_TO_LEFT else "ltr"


def locale() -> str:
    """Return the BCP 47 locale with which the browser formats numbers for this request."""
    return LOCALES.get(language(), LOCALES["en"])


def client_messages() -> dict[str, str]:
    """Return the few texts that the browser's own code shows, by the key it asks for them."""
    _ = gettext
    return {
        "live": _("Live"),
        "stale": _("Stale"),
        "offline": _("Offline"),
        "connecting": _("Connecting"),
        "revoked": _("You no longer have access to this."),
        "refused": _("This could not be opened."),
        "age_seconds": _("{n} s"),
        "age_minutes": _("{n} min"),
        "age_hours": _("{n} h"),
        "age_days": _("{n} d"),
        "other": _("Other"),
        "no_rows": _("Waiting for the first valuation …"),
        "level_ok": _("Well"),
        "level_degraded": _("Degraded"),
        "level_failed": _("Failed"),
        "summary_ok": _("All is well."),
        "summary_delayed": _("Prices are delayed at the moment."),
        "summary_failed": _("Parts of the service do not work at the moment."),
    }


@cache
def _catalogue(code: str) -> catalogues.NullTranslations:
    folder = Path(__file__).parent / "locale"
    return catalogues.translation("messages", folder, [code], fallback=True)
