"""Follow a portfolio over a raw WebSocket, and never show a wrong state."""

import asyncio
import json
import sys
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]


class Held:
    """Hold the newest state of a stream by the protocol's rules."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.epoch: int | None = None
        self.seq: int | None = None
        self.totals: Message = {}
        self.rows: dict[str, Message] = {}

    def take(self, message: Message) -> bool:
        """Take a snapshot or a delta; returns False where something before it is missing."""
        if message["type"] == "snapshot":
            self.totals, self.rows = {}, {}
        elif (message["epoch"], message["prev"]) != (self.epoch, self.seq):
            return False
        self.totals.update(message["totals"])
        for key in message.get("removed", ()):
            self.rows.pop(key, None)
        for row in message["rows"]:
            self.rows.setdefault(row["symbol"], {}).update(row)
        self.epoch, self.seq = message["epoch"], message["seq"]
        return True


async def say(socket: ClientConnection, **message: object) -> None:
    """Send a message."""
    await socket.send(json.dumps(message))


async def subscribe(socket: ClientConnection, held: Held) -> None:
    """Ask for the stream from where we stand: what is missing comes, or a snapshot."""
    position = {} if held.epoch is None else {"epoch": held.epoch, "seq": held.seq}
    await say(socket, type="subscribe", id=2, streams=[{"stream": held.stream, **position}], max_hz=4)


async def handle(socket: ClientConnection, message: Message, held: Held) -> None:
    """Do what a message asks for; ends the program where trying again would change nothing."""
    match message["type"]:
        case "authenticated":
            await subscribe(socket, held)
        case "snapshot" | "delta":
            if held.take(message):
                print(held.totals["name"], held.totals["total_equity"], held.totals["day_pnl"], flush=True)
            else:
                await subscribe(socket, held)
        case "error":
            sys.exit(f"refused: {message['error']}")
        case "closing" if message["code"] >= 3500:
            sys.exit(f"sent away: {message}")


async def main(url: str, email: str, password: str) -> None:
    """Sign in, find a portfolio and follow it, through every loss of the connection."""
    async with httpx.AsyncClient(base_url=url) as web:
        answer = await web.post("/api/auth/login", json={"email": email, "password": password})
        token = answer.raise_for_status().json()["token"]
        overview = await web.get("/api/portfolio/overview", headers={"Authorization": f"Bearer {token}"})
        held = Held(f"portfolio:{overview.raise_for_status().json()['portfolios'][0]['id']}")
    # connects again after a pause that grows; a program that runs for long renews its token, see `auth`
    async for socket in connect(url.replace("http", "ws", 1) + "/ws/v1", max_size=None):
        try:
            await say(socket, type="auth", id=1, token=token)
            async for text in socket:
                await handle(socket, json.loads(text), held)
        except ConnectionClosed:
            continue


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
