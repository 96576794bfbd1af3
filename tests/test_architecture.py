"""What the documents name exists: functions, classes, files and metrics."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("alhambra", "ingest", "stream", "analytics", "db", "api", "dashboard")
DOCUMENTS = tuple(
    path
    for path in (ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"))
    if path.exists()
)
NAME = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)*):([A-Za-z_]\w*(?:\.\w+)*)`")
FOLDERS = (*PACKAGES, "tests", "docs", "deploy")
PLACE = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)(?::(\w+))?`")
METRIC = re.compile(r"^\| `((?:alhambra|iboss|live|http)_\w+)` \|", re.MULTILINE)
KINDS = {"Counter", "Gauge", "Histogram"}


def named(pattern: re.Pattern[str], documents: tuple[Path, ...] = DOCUMENTS) -> list[tuple[str, str]]:
    found = {pair for document in documents for pair in pattern.findall(document.read_text(encoding="utf-8"))}
    return sorted(found)


def resolve(module: str, name: str) -> object:
    """Return what `module:name` names; raises `ImportError` or `AttributeError` where there is no such thing."""
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(("module", "name"), named(NAME))
def test_a_name_in_a_document_can_be_imported(module: str, name: str) -> None:
    assert resolve(module, name) is not None


@pytest.mark.parametrize(("place", "function"), named(PLACE))
def test_a_path_in_a_document_exists(place: str, function: str) -> None:
    path = ROOT / place
    assert path.exists()
    if function:
        assert re.search(rf"\b{function}\(.*\) \{{", path.read_text(encoding="utf-8")), f"{place} has no {function}"


@pytest.mark.parametrize("heading", ["The life of a tick", "The life of a booking"])
def test_a_life_is_told_in_numbered_steps_that_name_code(heading: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    steps = re.split(r"^(\d+)\. ", section, flags=re.MULTILINE)[1:]
    numbers, texts = [int(one) for one in steps[::2]], steps[1::2]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(NAME.search(step) or PLACE.search(step) for step in texts)


def exported_metrics() -> set[str]:
    """Return the names under which Prometheus sees our metrics, read from the source."""
    sources = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    calls = (node for path in sources for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call))
    return {exported_name(call) for call in calls if isinstance(call.func, ast.Name) and call.func.id in KINDS} - {""}


def exported_name(call: ast.Call) -> str:
    """Return a metric's name, empty where the call makes none: collections has a Counter too."""
    first = call.args[0] if call.args else None
    if not (len(call.args) > 1 and isinstance(first, ast.Constant) and isinstance(call.func, ast.Name)):
        return ""
    counts = call.func.id == "Counter"
    return str(first.value).removesuffix("_total") + "_total" if counts else str(first.value)


def test_operations_explain_every_metric_and_no_other() -> None:
    explained = METRIC.findall((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    assert sorted(explained) == sorted(exported_metrics())
