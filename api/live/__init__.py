"""The live stream to clients: snapshots, deltas and heartbeats that never miss silently."""
