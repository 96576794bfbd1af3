"""Prove that live equals batch: send a recorded file through the pipeline and recompute what must come out."""
