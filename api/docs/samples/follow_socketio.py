"""Follow a portfolio over Socket.IO, and never show a wrong state."""

import asyncio
import sys
from typing import Any

import httpx
import socketio

Message = dict[str, Any]


class Follower:
    """Hold the newest state of a stream by the protocol's rules; the client connects again by itself."""

    def __init__(self, client: socketio.AsyncClient, stream: str) -> None:
        self.client, self.stream = client, stream
        self.epoch: int | None = None
        self.seq: int | None = None
        self.totals: Message = {}
        self.rows: dict[str, Message] = {}
        client.on("connect", self.subscribe, namespace="/live")
        client.on("connect_error", self.refused, namespace="/live")
        client.on("snapshot", self.snapshot, namespace="/live")
        client.on("delta", self.delta, namespace="/live")

    async def subscribe(self) -> None:
        """Ask for the stream from where we stand: what is missing comes, or a snapshot."""
        position = {} if self.epoch is None else {"epoch": self.epoch, "seq": self.seq}
        request = {"id": 1, "streams": [{"stream": self.stream, **position}], "max_hz": 4}
        await self.client.emit("subscribe", request, namespace="/live", callback=self.answered)

    async def answered(self, answer: Message) -> None:
        """Say why, where the request was refused."""
        if "error" in answer:
            print("refused:", answer["error"], file=sys.stderr)

    async def refused(self, reason: object) -> None:
        """Say why the server does not let us in."""
        print("not connected:", reason, file=sys.stderr)

    async def snapshot(self, message: Message) -> None:
        """Take the whole state."""
        self.totals = message["totals"]
        self.rows = {row["symbol"]: row for row in message["rows"]}
        self.reach(message)

    async def delta(self, message: Message) -> None:
        """Take what has changed, or ask again where something before it is missing."""
        if (message["epoch"], message["prev"]) != (self.epoch, self.seq):
            await self.subscribe()
            return
        self.totals.update(message["totals"])
        for key in message["removed"]:
            self.rows.pop(key, None)
        for row in message["rows"]:
            self.rows.setdefault(row["symbol"], {}).update(row)
        self.reach(message)

    def reach(self, message: Message) -> None:
        """Show the state that a message has brought us to."""
        self.epoch, self.seq = message["epoch"], message["seq"]
        print(self.totals["name"], self.totals["total_equity"], self.totals["day_pnl"], flush=True)


async def main(url: str, email: str, password: str) -> None:
    """Sign in, find a portfolio and follow it."""
    async with httpx.AsyncClient(base_url=url) as web:
        answer = await web.post("/api/auth/login", json={"email": email, "password": password})
        token = answer.raise_for_status().json()["token"]
        overview = await web.get("/api/portfolio/overview", headers={"Authorization": f"Bearer {token}"})
        portfolio = overview.raise_for_status().json()["portfolios"][0]["id"]
    client = socketio.AsyncClient()
    Follower(client, f"portfolio:{portfolio}")
    await client.connect(url, auth={"token": token}, transports=["websocket"], namespaces=["/live"])
    await client.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
