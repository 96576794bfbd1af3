"""Say how often the live stream does things, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Hold times in seconds.

    `heartbeat_s` between heartbeats; `rights_s` between checks of rights; `stalled_s` until a client that takes
    nothing is cut; `door_s` until a socket that does not come in is cut. At most `connections` of one user, and
    `guests` without one, are let in by one process.
    """

    heartbeat_s: float = 1.0
    rights_s: float = 2.0
    stalled_s: float = 15.0
    door_s: float = 10.0
    connections: int = 20
    guests: int = 200
