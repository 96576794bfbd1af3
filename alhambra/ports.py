"""Find and check TCP ports on this machine."""

from __future__ import annotations

import random
import socket

from alhambra.errors import CannotStart, PortInUse

LOOPBACK = "127.0.0.1"
# Below the range from which kernels take the ports of outgoing connections (32768 on Linux, 49152 elsewhere),
# so that what is free now is still free when the server asks for it.
FIRST_PORT, LAST_PORT = 20_000, 32_000
_random = random.SystemRandom()  # two processes with one seed, as property tests give them, would choose the same ports


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Say whether a server could listen at this address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = LOOPBACK) -> int:
    """Return a free port outside the range of outgoing connections."""
    for _ in range(1000):
        port = _random.randint(FIRST_PORT, LAST_PORT)
        if is_free(port, host):
            return port
    raise CannotStart(f"No port between {FIRST_PORT} and {LAST_PORT} is free on {host}.")


def require_free(port: int, host: str = LOOPBACK) -> None:
    """Check that a server may listen here; raises `PortInUse` with what to do."""
    if not 1 <= port <= 65535:
        raise PortInUse(f"{port} is not a port: give one between 1 and 65535 with --port.")
    if not is_free(port, host):
        raise PortInUse(
            f"Port {port} is in use or not allowed: stop what listens there, or choose another with --port."
        )
