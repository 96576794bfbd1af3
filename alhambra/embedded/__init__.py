"""Start the servers a laptop lacks: PostgreSQL, Valkey and a Kafka-protocol broker, all from wheels."""
