"""Programs that follow the live stream, as other people would write them; tests run each against a real server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold a program: what it is, its file, what it needs, and what runs it."""

    title: str
    name: str
    needs: str
    runs: str

    @property
    def text(self) -> str:
        """Return the program."""
        return (_FOLDER / self.name).read_text(encoding="utf-8")

    def command(self, server: str) -> str:
        """Return how it is run to follow what a server shows."""
        return f"{self.runs} {self.name} {server} <email> <password>"


SAMPLES = (
    Sample("Python, raw WebSocket", "follow_websocket.py", "`pip install websockets httpx`", "python"),
    Sample(
        "Python, Socket.IO", "follow_socketio.py", '`pip install "python-socketio[asyncio_client]" httpx`', "python"
    ),
    Sample("JavaScript, raw WebSocket", "follow_websocket.mjs", "Node 22 or newer, nothing else", "node"),
    Sample("JavaScript, Socket.IO", "follow_socketio.mjs", "`npm install socket.io-client`", "node"),
)
