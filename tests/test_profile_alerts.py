"""The thresholds of the alerts, figure by figure. What `[alerts]` accepts is in test_health_alerts."""

from __future__ import annotations

from console.profile.alerts import LIMITS

THRESHOLDS = {
    # kind: raised at, cleared at, after so many seconds; what it counts
    "stale": (15, 5, 5, "seconds of silence"),
    "stall": (90, 5, 15, "seconds without a step"),
    "idle": (10, 25, 30, "per cent of utilisation"),
    "throttle": (1, 0.5, 20, "GPUs with lowered clocks"),
    "memory": (1, 0.5, 0, "GPUs with faulty memory"),
    "straggler": (2, 1.6, 45, "times the median rank's seconds"),
    "loss": (1.5, 1.2, 10, "times the lowest loss so far"),
    "behind": (5, 2, 0, "points of accuracy behind the record"),
    "disk": (2048, 3072, 5, "MiB free"),
    "clock": (2, 1, 20, "seconds of difference"),
}


def test_the_thresholds_are_these() -> None:
    """Written out once more: other tests take them from the code, and would not see one change."""
    assert {kind: (limit.enter, limit.leave, limit.hold_s, limit.unit) for kind, limit in LIMITS.items()} == THRESHOLDS


def test_small_values_raise_the_alerts_for_little_of_something() -> None:
    assert {kind for kind, limit in LIMITS.items() if limit.low} == {"idle", "disk"}
