"""Every engine, through growth, compaction, crashes and rebuilds, agrees with the reference."""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Library, lower_thresholds


def test_engines_agree_with_the_reference_whatever_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lower_thresholds(monkeypatch)
    Library.seen.clear()
    Library.found = Library.there = 0
    run_state_machine_as_test(
        Library,
        settings=settings(
            max_examples=50,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    seen = Library.seen
    assert min(seen["search of FlatIndex"], seen["search of GraphIndex"]) >= 100, seen
    for what in ("grow", "save", "damage", "load of FlatIndex", "load of GraphIndex"):
        assert seen[what] >= 10, seen
    assert Library.found >= 0.99 * Library.there
