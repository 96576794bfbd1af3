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
# By venue, from its connections and documents.
MESSAGES = Counter("alhambra_feed_messages", "Records received of a venue: frames, or documents.", ["source"])
BYTES = Counter("alhambra_feed_bytes", "Bytes received of a venue.", ["source"])
QUOTES = Counter("alhambra_feed_quotes", "Quotes of mapped instruments that a venue told.", ["source"])
TRADES = Counter("alhambra_feed_trades", "Trades of mapped instruments that a venue told.", ["source"])
GAPS = Counter("alhambra_feed_gaps", "Times that records of a venue were missing.", ["source"])
RECONNECTS = Counter(
    "alhambra_feed_reconnects", "Connections to a venue that were lost, or could not be made.", ["source"]
)
FAIL_OVERS = Counter("alhambra_feed_failovers", "Instruments that went over to this feed.", ["source"])
INSTRUMENTS = Gauge("alhambra_feed_instruments", "Instruments of a feed by state.", ["source", "state"])
SELECTED = Gauge("alhambra_feed_selected", "Instruments whose price is taken from this feed now.", ["source"])
AGE = Gauge("alhambra_feed_age_seconds", "Age of the newest record of a feed.", ["source"])
CLOCK_OFFSET = Gauge(
    "alhambra_feed_clock_offset_seconds", "Our clock less the venue's, less half a round trip.", ["source"]
)
CLOSES = Counter("alhambra_feed_closes", "Daily closes of a venue that were new or changed.", ["source"])
CLOSES_FAILED = Counter(
    "alhambra_feed_closes_failed", "Times that a venue's daily closes could not be taken.", ["source"]
)
