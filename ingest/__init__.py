"""Data enters: the back office over SOAP and the market feeds, into PostgreSQL and Kafka."""
