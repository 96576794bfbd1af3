"""What venues say, as quotes and trades: pure translators from wire records, one module a venue, no I/O."""
