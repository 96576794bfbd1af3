"""The rules of the house that a machine can see: the tree, its names, its sizes, and what must never be in it."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from alhambra.settings import DoorSettings
from api.settings import ApiSettings
from ingest.settings import IngestSettings
from stream.settings import StreamSettings

ROOT = Path(__file__).parents[1]
FIRST_WORDS = {
    "alhambra": "The door",
    "ingest": "Data enters",
    "stream": "Is computed",
    "analytics": "The mathematics",
    "db": "Is stored",
    "api": "Is served",
    "dashboard": "Is shown",
}
SOURCES = sorted(path for package in FIRST_WORDS for path in (ROOT / package).rglob("*.py"))
NO_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "models", "misc"}
LONGEST_FUNCTION, LONGEST_FILE = 40, 400
# The only places that may touch the environment besides settings classes: what starts children hands it on.
READS_ENVIRONMENT = {"alhambra/launch.py"}
SETTINGS: tuple[type[BaseSettings], ...] = (DoorSettings, ApiSettings, IngestSettings, StreamSettings)
LATER = "# Not read yet"
# Put together, so that this file does not contain what it forbids.
FORBIDDEN = re.compile(
    "|".join(
        (
            r"py" + r"pi\.org",
            r"python" + r"hosted",
            r"registry\.npm" + r"js",
            r"crates" + r"\.io",
            r"(?<![\w.])/(?:ho" + r"me|ro" + r"ot|wo" + r"rk|Us" + r"ers)/",
            r"(?<![\w.])/tm" + r"p/\w",
        )
    )
)


@cache
def project_files() -> tuple[Path, ...]:
    """Return what git would keep: tracked files, and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs git and a checkout: {error}")
    names = done.stdout.decode().split("\0")
    return tuple(path for path in (ROOT / name for name in names if name) if path.is_file())


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def functions() -> tuple[tuple[str, int], ...]:
    """Return each function with the lines of its body, the docstring apart."""
    trees = ((path, ast.parse(path.read_bytes())) for path in SOURCES)
    return tuple(
        (f"{relative(path)}:{node.name}", body_lines(node))
        for path, tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body if ast.get_docstring(node) is None else node.body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("package", FIRST_WORDS)
def test_a_package_says_what_it_is_for_in_its_first_words(package: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_bytes()))
    assert docstring is not None
    assert docstring.startswith(f"{FIRST_WORDS[package]}:")


def test_no_package_stands_under_the_tests_to_shadow_ours() -> None:
    assert [relative(path) for path in (ROOT / "tests").rglob("__init__.py")] == []


def test_a_file_is_named_after_what_it_holds() -> None:
    named = {relative(path) for path in SOURCES if NO_NAMES & {part.removesuffix(".py") for part in path.parts}}
    assert named == set()


def test_files_are_short() -> None:
    long = {relative(path): lines for path in SOURCES if (lines := len(path.read_bytes().splitlines())) > LONGEST_FILE}
    assert long == {}


def test_functions_are_short() -> None:
    assert {name for name, lines in functions() if lines > LONGEST_FUNCTION} == set()


def test_only_settings_read_the_environment() -> None:
    pattern = re.compile(r"os\.environ|os\.getenv|\bgetenv\(|import environ")
    reading = {relative(path) for path in SOURCES if pattern.search(path.read_text(encoding="utf-8"))}
    assert reading == READS_ENVIRONMENT


def test_nothing_in_the_project_names_a_registry_or_a_developers_machine() -> None:
    found = []
    for path in project_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{relative(path)}: {match.group()}" for match in FORBIDDEN.finditer(text)]
    assert found == []


def test_the_pinned_requirements_carry_no_address_and_every_hash() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        pins = re.findall(r"^\S+==", text, re.MULTILINE)
        assert "://" not in text
        assert pins
        assert text.count(" \\\n    --hash=sha256:") >= len(pins)


def example_names(text: str) -> set[str]:
    """Return the names of an example environment, those behind a # too."""
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE))


def names_read() -> set[str]:
    """Return the names that a settings class reads or docker-compose.yml fills in."""
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    filled_in = set(re.findall(r"\$\{([A-Z0-9_]+)", compose))
    return filled_in | {field.upper() for settings in SETTINGS for field in settings.model_fields}


def test_the_example_environment_names_what_is_read_and_nothing_else() -> None:
    now, later = (ROOT / ".env.example").read_text(encoding="utf-8").split(LATER)
    assert sorted(example_names(now)) == sorted(names_read())
    assert example_names(later) & names_read() == set()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.__name__)
def test_the_example_environment_shows_the_defaults(settings: type[BaseSettings]) -> None:
    shown = dict(re.findall(r"^#([A-Z0-9_]+)=(.+)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    given = {name.lower(): text for name, text in shown.items() if name.lower() in settings.model_fields}
    for name, text in given.items():
        default = settings.model_fields[name].default
        assert type(default)(text) == default if not isinstance(default, bool) else text == str(default).lower(), name
