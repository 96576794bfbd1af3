"""The front end is built from a lock file that names no registry, and only when something changed."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import plotly
import pytest

from dashboard.vendor import FrontEndMissing, read_vendor

FRONT_END = Path(__file__).parents[2] / "dashboard" / "frontend"


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((FRONT_END / "package-lock.json").read_text())
    assert lock["packages"]
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def test_charts_are_drawn_by_the_version_that_python_describes_them_for() -> None:
    bundled = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text()[:200]
    wanted = re.search(r"plotly\.js v([\d.]+)", bundled)
    asked = json.loads((FRONT_END / "package.json").read_text())["dependencies"]["plotly.js"]
    assert wanted is not None, importlib.metadata.version("plotly")
    assert asked == wanted[1]


def test_the_built_files_are_found_by_their_plain_names() -> None:
    vendor = read_vendor()
    assert re.fullmatch(r"/assets/vendor/plotly\.[0-9a-f]{12}\.js", vendor.url("plotly.js"))


def test_a_front_end_that_was_never_built_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FrontEndMissing, match=r"pip install"):
        read_vendor(tmp_path)
