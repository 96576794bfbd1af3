"""The door: one command line for the whole platform, and what a laptop lacks to run it."""
