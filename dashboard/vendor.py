"""Find the front-end files, under addresses that carry a hash of the content, so that they may be cached for ever."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

ASSETS = Path(__file__).parent / "assets"
# 00 to 09 stand in the head of the document, by name; the others follow in the order of their numbers.
LATER_SCRIPT = re.compile(r"[1-9]\d_\w+\.js")


class FrontEndMissing(RuntimeError):
    """The front end was never built: the package was copied, not installed."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """Hold what the build made, by plain name (`plotly.js`, `fonts.css`), and the hashes of our own files."""

    names: dict[str, str]
    hashes: dict[str, str]

    def url(self, name: str) -> str:
        """Return the address of a file that the build made."""
        return f"/assets/vendor/{self.names[name]}"

    def own(self, name: str) -> str:
        """Return the address of a file of our own; a hash, because an installer may set any time of change."""
        return f"/assets/{name}?v={self.hashes[name]}"

    def scripts(self) -> list[str]:
        """Return the addresses of the scripts that make the page live, in the order they need."""
        later = sorted(name for name in self.hashes if LATER_SCRIPT.fullmatch(name))
        return [self.url("socket.io.js"), *map(self.own, later)]


def read_vendor(assets: Path = ASSETS) -> Vendor:
    """Read the manifest that the build wrote. Raises FrontEndMissing where there is none."""
    manifest = assets / "vendor" / "manifest.json"
    if not manifest.exists():
        raise FrontEndMissing(
            f"{manifest} is missing: install the package (pip install -e .), or run python hatch_build.py"
        )
    names = msgspec.json.decode(manifest.read_bytes(), type=dict[str, str])
    own = [file for file in assets.iterdir() if file.is_file()]
    return Vendor(names, {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in own})
