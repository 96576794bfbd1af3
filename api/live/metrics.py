"""Count what the live stream does, for Prometheus."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import Counter, Gauge

CONNECTIONS = Gauge("live_connections", "Clients connected to the live stream")
SUBSCRIPTIONS = Gauge("live_subscriptions", "Streams followed, summed over clients")
STREAMS = Gauge("live_streams", "Streams held in memory")
MESSAGES_SENT = Counter("live_messages_sent_total", "Messages sent to clients", ["event"])
BYTES_SENT = Counter("live_bytes_sent_total", "Bytes of messages sent to clients")
MESSAGES_CONFLATED = Counter("live_messages_conflated_total", "Messages held back because the client had no room")
MESSAGES_DROPPED = Counter(
    "live_messages_dropped_total", "Arrived messages that were older than what is known, or unreadable", ["reason"]
)
CLIENTS_CUT = Counter("live_clients_cut_total", "Clients cut off", ["code"])
FEED_CONNECTED = Counter("live_feed_connected_total", "Times that the feed from Redis was connected and read anew")


class Traffic:
    """Count what is sent in plain numbers, which costs a twentieth of counting in a metric, and hand it on in time."""

    def __init__(self) -> None:
        self.messages: Tally[str] = Tally()
        self.bytes = 0

    def hand_on(self) -> None:
        """Add what has been counted to the metrics."""
        for event, count in self.messages.items():
            MESSAGES_SENT.labels(event).inc(count)
        BYTES_SENT.inc(self.bytes)
        self.messages.clear()
        self.bytes = 0


TRAFFIC = Traffic()
