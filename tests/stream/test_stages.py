"""A tick's age is counted once a stage."""

from __future__ import annotations

import time

from prometheus_client import REGISTRY

from stream.stages import Stage


def seen(stage: str, what: str = "count") -> float:
    return REGISTRY.get_sample_value(f"alhambra_tick_age_seconds_{what}", {"stage": stage}) or 0.0


def test_each_newest_tick_counts_once() -> None:
    stage, event_ns = Stage("test once"), time.time_ns()
    for passed_ns in (event_ns, event_ns, event_ns - 1, event_ns + 1):
        stage.passed(passed_ns)
    assert seen("test once") == 2


def test_the_age_is_that_of_the_event_and_never_negative() -> None:
    stage = Stage("test age")
    stage.passed(time.time_ns() - 2_000_000_000)
    assert 2.0 <= seen("test age", "sum") < 10.0
    before = seen("test age", "sum")
    stage.passed(time.time_ns() + 3_000_000_000)
    assert seen("test age", "sum") == before
