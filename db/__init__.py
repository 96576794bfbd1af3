"""Is stored: pools, migrations and queries; the live state (Redis) and the ledger (PostgreSQL)."""
