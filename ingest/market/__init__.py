"""Market feeds: every source yields batches of quotes through one protocol."""
