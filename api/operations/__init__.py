"""Serve operations: what does not agree with the back office."""
