"""Count what the market feeds do, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

TICKS = Counter("alhambra_market_ticks", "Quotes taken from a source and found good.", ["source"])
REFUSED = Counter("alhambra_market_refused", "Quotes or rows refused, by reason.", ["source", "reason"])
CONFLATED = Counter("alhambra_market_conflated", "Quotes replaced by a newer one because Kafka was slow.")
RECORDS = Counter("alhambra_market_records", "Records of quotes acknowledged by Kafka.")
LOST = Counter("alhambra_market_lost", "Quotes that Kafka did not acknowledge in time.")
DEAD_LETTERS_DROPPED = Counter("alhambra_market_dead_letters_dropped", "Dead letters dropped: too many at once.")
PENDING = Gauge("alhambra_market_pending_ticks", "Quotes waiting to be sent.")
IN_FLIGHT = Gauge("alhambra_market_in_flight_bytes", "Bytes sent to Kafka and not acknowledged yet.")
