"""Every text goes through the catalogue, and the catalogue knows every text."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from uuid import UUID

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from dashboard.i18n import LANGUAGES, client_messages, direction, gettext, language, locale, ngettext
from dashboard.viewer import Viewer, current_viewer

PLACES = re.compile(r"\{\w+\}|%s")
PACKAGE = Path(__file__).parents[2] / "dashboard"


@pytest.fixture(params=sorted((PACKAGE / "locale").glob("*/LC_MESSAGES/messages.po")), ids=lambda path: path.parts[-3])
def catalogue(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_a_catalogue_knows_every_text_of_the_source(catalogue: Path) -> None:
    found = extract_from_dir(PACKAGE, [("**.py", "python")])
    texts = {message if isinstance(message, str) else message[0] for _file, _line, message, *_rest in found}
    with catalogue.open("rb") as source:
        known = {message.id if isinstance(message.id, str) else message.id[0] for message in read_po(source)}
    assert texts
    assert texts <= known


def test_a_translation_leaves_nothing_in_english_and_keeps_what_is_filled_in(catalogue: Path) -> None:
    if catalogue.parts[-3] == "en":
        pytest.skip("English is what the source says")
    with catalogue.open("rb") as source:
        messages = [one for one in read_po(source) if one.id]
    for one in messages:
        assert one.string, one.id
        assert PLACES.findall(one.id) == PLACES.findall(one.string), one.id


def test_no_text_hides_in_an_f_string() -> None:
    """Before Python 3.12 such a text is not found when texts are extracted, and so never translated."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FormattedValue):
                called = {
                    one.func.id
                    for one in ast.walk(node)
                    if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
                }
                assert not called & {"_", "gettext", "ngettext"}, f"{file.name}:{node.lineno}"


def test_a_text_without_translation_stays_english() -> None:
    assert gettext("a text that nobody translated") == "a text that nobody translated"
    assert ngettext("%(count)d portfolio", "%(count)d portfolios", 3) == "3 portfolios"


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_page_speaks_its_viewers_language(code: str) -> None:
    before = current_viewer.set(Viewer(UUID(int=1), "client", "Noor", code))
    try:
        assert language() == code
        assert direction() == ("rtl" if code == "ar" else "ltr")
        assert locale().startswith(code)
        assert all(client_messages().values())
        assert (gettext("Alerts") == "Alerts") == (code == "en")
    finally:
        current_viewer.reset(before)
