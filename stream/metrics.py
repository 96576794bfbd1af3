"""Name the figures that a stream worker exports to Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

TICKS = Counter("alhambra_stream_ticks_total", "Quotes read from the topic")
REFUSED = Counter("alhambra_stream_refused_quotes_total", "Quotes that were refused, by reason", ["reason"])
DEAD_LETTERS = Counter("alhambra_stream_dead_letters_total", "Records sent to the dead letters, by reason", ["reason"])
DROPPED = Counter("alhambra_stream_dropped_total", "Records given up because a bounded queue was full", ["queue"])
CYCLE_SECONDS = Histogram(
    "alhambra_stream_cycle_seconds",
    "Time of a cycle: revaluation and publication",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0),
)
REVALUED = Counter("alhambra_stream_revalued_total", "Portfolios revalued")
PUBLISHED = Counter("alhambra_stream_valuations_total", "Valuations written, by reader", ["reader"])
PORTFOLIOS = Gauge("alhambra_stream_portfolios", "Portfolios in the book")
TICK_AGE_SECONDS = Gauge("alhambra_stream_tick_age_seconds", "Age of the newest event when its cycle ended")
LAG = Gauge("alhambra_stream_lag_records", "Records between the position and the broker's end", ["topic"])
OUTAGES = Counter("alhambra_stream_write_failures_total", "Writes that failed and are tried again", ["target"])
ALERT_RULES = Gauge("alhambra_stream_alert_rules", "Alert rules that this worker judges")
ALERTS_RAISED = Counter("alhambra_stream_alerts_total", "Alerts raised")
ALERTS_WAITING = Gauge("alhambra_stream_alerts_waiting", "Alerts not yet in PostgreSQL")
MINUTES_WAITING = Gauge("alhambra_stream_minutes_waiting", "Minutes not yet in PostgreSQL")
FENCED_WRITES = Counter(
    "alhambra_stream_fenced_writes_total",
    "Writes refused as another worker has the partition, by target",
    ["target"],
)
FENCED_QUOTES = Counter(
    "alhambra_stream_fenced_quotes_total", "Quotes dropped as they come behind those of a newer leader of the market"
)
CHECKED = Counter("alhambra_stream_checked_total", "Valuations compared with their recomputation from the ledger")
CHECK_FAILURES = Counter("alhambra_stream_check_failures_total", "Comparisons that found live and batch to differ")
LIVE_BATCH_DIFFERENCE = Gauge(
    "alhambra_stream_live_batch_difference_minor_units",
    "Largest recent difference between live and batch before rounding",
)
RECONCILIATION_BREAKS = Gauge(
    "alhambra_stream_reconciliation_breaks", "Portfolios whose positions are not what was booked"
)
DIRTY_SHARE = Histogram(
    "alhambra_stream_dirty_share",
    "Share of the portfolios that a cycle revalued",
    buckets=(0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0),
)
STALE_SHARE = Gauge("alhambra_stream_stale_share", "Share of the value of the whole book that has a stale price")
LAG_SECONDS = Gauge("alhambra_stream_lag_seconds", "Age of the oldest record not yet read, at most", ["topic"])
OUT_OF_RANGE = Counter(
    "alhambra_stream_out_of_range_total", "Times that the broker dropped records before they were read", ["topic"]
)
