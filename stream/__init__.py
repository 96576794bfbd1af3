"""Is computed: Kafka records become a book of positions, its P&L and allocation, and go to Redis and PostgreSQL."""
