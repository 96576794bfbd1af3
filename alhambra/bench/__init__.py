"""Measure: what this machine does with our own code, in figures that can be repeated."""
