"""The mathematics: pure functions over arrays, without I/O."""
