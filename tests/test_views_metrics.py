"""What the heat map shows of a node's places: values, the node's own, the past, and from where on they are bad."""

from __future__ import annotations

import pytest
from run_story import Story, launched

from console.state.run import Run
from console.views import metrics
from remote.wire import events as re

SAMPLE = re.HostSampled(
    cpu_util_pct=12.0,
    mem_used_mib=500.0,
    mem_total_mib=2000.0,
    gpu_util_pct=(90.0, 30.0),
    gpu_mem_used_mib=(10.0, None),
    gpu_mem_total_mib=(40.0, 40.0),
    gpu_power_w=(300.0, 450.0),
    gpu_power_limit_w=(500.0, 700.0),
    gpu_temp_c=(61.0, 72.0),
    gpu_sm_clock_mhz=(1980.0, 1755.0),
    gpu_sm_util_pct=(55.0, 45.0),
    gpu_tensor_util_pct=(35.0, 25.0),
    gpu_mem_bw_util_pct=(15.0, 5.0),
    gpu_throttle=("sw_power_cap+sw_thermal_slowdown", ""),
)


def word(rank: int, **changes: object) -> re.RankProgressed:
    values: dict[str, object] = {"rank": rank, "step": 10, "img_per_s": 100.0, "step_s": 0.5, "data_s": 0.1}
    return re.RankProgressed(**{**values, **changes})  # type: ignore[arg-type]


def two_gpus() -> Story:
    """A host with two GPUs, of which each has a rank, and a host that said nothing of itself."""
    story = launched(nnodes=2)
    story.hears(0, SAMPLE)
    story.hears(0, word(0, step=12, allreduce_s=0.05))
    story.hears(0, word(1, step=9, img_per_s=60.0, data_s=0.3, allreduce_s=0.15))
    return story


def values(run: Run, key: str, node: int = 0) -> list[float | None]:
    return list(metrics.metric(key).of(run, run.nodes[node]))


@pytest.mark.parametrize(
    ("key", "of", "of_node"),
    [
        ("util", [90, 30], 60),
        ("sm", [55, 45], 50),
        ("tensor", [35, 25], 30),
        ("mem", [25, None], 25),
        ("bw", [15, 5], 10),
        ("power", [300, 450], 750),
        ("temp", [61, 72], 72),
        ("clock", [1980, 1755], 1867.5),
        ("throttle", [2, 0], 2),
        ("img", [100, 60], 160),
        ("data", [20, 60], 60),
        ("wait", [10, 30], 20),
        ("lag", [0, 3], 3),
    ],
)
def test_each_metric_has_a_value_for_each_gpu_and_one_for_the_node(
    key: str, of: list[float | None], of_node: float
) -> None:
    run = two_gpus().run
    assert metrics.metric(key).key == key
    assert values(run, key) == pytest.approx(of)
    assert metrics.metric(key).of_node(run, run.nodes[0]) == pytest.approx(of_node)
    # The other host has two ranks that have said nothing, and no sample.
    assert values(run, key, 1) == ([None, None] if key in ("img", "data", "wait", "lag") else [])
    assert metrics.metric(key).of_node(run, run.nodes[1]) is None


def test_the_table_is_complete_and_in_order() -> None:
    listed = [(each.key, each.title, each.unit, each.worst_first) for each in metrics.METRICS]
    assert listed == [
        ("util", "utilisation", "%", -1),
        ("sm", "SM activity", "%", -1),
        ("tensor", "tensor activity", "%", -1),
        ("mem", "memory", "%", 1),
        ("bw", "memory bandwidth", "%", -1),
        ("power", "power", "W", 1),
        ("temp", "temperature", "°C", 1),
        ("clock", "SM clock", "MHz", -1),
        ("throttle", "throttling", "", 1),
        ("img", "img/s", "img/s", -1),
        ("data", "data wait", "%", 1),
        ("wait", "all-reduce wait", "%", 1),
        ("lag", "steps behind", "", 1),
    ]
    assert metrics.metric("no such key").key == "util"


def test_a_host_without_gpus_has_its_processors() -> None:
    story = launched(nnodes=1)
    story.hears(0, re.HostSampled(cpu_util_pct=40.0, mem_used_mib=500.0, mem_total_mib=2000.0))
    assert values(story.run, "util") == [40]
    assert values(story.run, "mem") == [25]
    assert [each.key for each in metrics.known(story.run)] == ["util", "mem"]
    assert [each.key for each in metrics.known(Run())] == ["util"]
    for used, total in ((None, 2000.0), (500.0, None), (500.0, 0.0), (500.0, -1.0)):
        story.hears(0, re.HostSampled(cpu_util_pct=40.0, mem_used_mib=used, mem_total_mib=total))
        assert values(story.run, "mem") == [None]


def test_what_a_fleet_can_show_is_what_any_node_says() -> None:
    run = two_gpus().run
    assert metrics.known(run) == metrics.METRICS
    silent = launched(nnodes=2).hears(1, SAMPLE).run
    keys = [each.key for each in metrics.known(silent)]
    assert keys == ["util", "sm", "tensor", "mem", "bw", "power", "temp", "clock", "throttle"]


def test_the_past_is_the_node_s_value_second_by_second() -> None:
    story = launched(nnodes=1)
    for watts in ((100.0, 200.0), (None, 250.0), (None, None), (150.0, 150.0)):
        story.hears(0, re.HostSampled(cpu_util_pct=1.0, mem_used_mib=1.0, mem_total_mib=1.0, gpu_power_w=watts))
    past = metrics.metric("power").past
    node = story.run.nodes[0]
    assert past(node, 10) == [300, 250, None, 300]
    assert past(node, 2) == [None, 300]
    assert past(node, 1) == [300]
    assert past(node, 0) == []


def test_the_past_of_ranks_begins_where_each_of_them_has_spoken() -> None:
    story = launched(nnodes=1)
    for rate in (10.0, 20.0, 30.0):
        story.hears(0, word(0, img_per_s=rate))
    for rate in (1.0, 2.0):
        story.hears(0, word(1, img_per_s=rate))
    past = metrics.metric("img").past
    node = story.run.nodes[0]
    assert past(node, 10) == [21, 32]
    assert past(node, 1) == [32]
    assert past(node, 0) == []
    waits = metrics.metric("wait").past
    assert waits(node, 10) == [None, None], "neither said how long it waited"
    story.hears(0, word(0, allreduce_s=0.25))
    assert waits(story.run.nodes[0], 2) == [None, 50]
    assert past(launched(nnodes=1).run.nodes[0], 10) == []
    assert metrics.metric("lag").past(node, 10) == []


def test_who_leads_and_how_far_the_others_are_behind() -> None:
    story = two_gpus()
    assert metrics.front(story.run) == 12
    assert metrics.front(Run()) is None
    story.hears(1, word(2, step=20))
    assert metrics.front(story.run) == 20
    assert values(story.run, "lag") == [8, 11]
    assert values(story.run, "lag", 1) == [0, None]


@pytest.mark.parametrize(
    ("reasons", "level"),
    [
        (None, None),
        ("", 0),
        ("gpu_idle", 0),
        ("applications_clocks_setting", 0),
        ("display_clocks_setting", 0),
        ("sw_power_cap", 1),
        ("board_limit", 1),
        ("reliability", 1),
        ("sync_boost", 1),
        ("sw_thermal_slowdown", 2),
        ("hw_thermal_slowdown", 3),
        ("hw_power_brake_slowdown", 3),
        ("hw_slowdown", 3),
        ("a reason of a later driver", 3),
        ("gpu_idle+sw_power_cap", 1),
        ("sw_thermal_slowdown+sw_power_cap", 2),
    ],
)
def test_why_clocks_are_held_back(reasons: str | None, level: int | None) -> None:
    assert metrics.throttle_level(reasons) == level


def test_values_are_said_without_their_unit() -> None:
    power, throttle = metrics.metric("power"), metrics.metric("throttle")
    assert metrics.said(power, 1234.6) == "1,235"
    assert metrics.said(power, None) == metrics.said(power, float("nan")) == metrics.said(power, float("inf")) == "—"
    assert [metrics.said(throttle, level) for level in (-1.0, 0.0, 1.0, 2.0, 3.0, 9.0)] == [
        "free", "free", "power cap", "thermal", "hardware", "hardware",
    ]  # fmt: skip
    assert metrics.said(throttle, None) == "—"


# --- scales ----------------------------------------------------------------------------------------------------------


def test_a_scale_has_ten_steps_and_ends() -> None:
    scale = metrics.Scale(20, 120, warn=80, bad=100)
    assert [scale.step(value) for value in (-5, 20, 29.9, 30, 75, 119, 120, 500)] == [0, 0, 0, 1, 5, 9, 9, 9]
    assert [scale.share(value) for value in (-5, 20, 45, 120, 500)] == [0, 0, 0.25, 1, 1]
    assert [scale.level(value) for value in (79.9, 80, 99.9, 100, 101)] == ["", "warn", "warn", "bad", "bad"]
    assert metrics.Scale(0, 1).level(1e9) == ""
    for empty in (metrics.Scale(5, 5), metrics.Scale(5, 4)):
        assert (empty.step(5), empty.share(5)) == (0, 0.0)
    assert metrics.Scale(0, 0.5).step(0.26) == 5
    assert metrics.Scale(0, 0.5).share(0.25) == 0.5


@pytest.mark.parametrize(
    ("key", "scale"),
    [
        ("util", (0, 100, None, None)),
        ("mem", (0, 100, 95, 99)),
        ("temp", (30, 95, 80, 86)),
        ("throttle", (0, 3, 2, 3)),
        ("data", (0, 60, 20, 40)),
        ("wait", (0, 60, 30, 50)),
        ("power", (0, 700, None, None)),
        ("clock", (0, 2000, None, None)),
        ("img", (0, 100, None, None)),
        # Ranks take two steps a second: five may lie between what two of them said.
        ("lag", (0, 25, 5, 25)),
    ],
)
def test_from_where_to_where_each_is_drawn(key: str, scale: tuple[float, ...]) -> None:
    assert metrics.metric(key).scale(two_gpus().run) == metrics.Scale(*scale)


def test_without_limits_power_is_drawn_to_the_most_that_a_gpu_takes() -> None:
    story = launched(nnodes=1)
    assert metrics.metric("power").scale(story.run) == metrics.Scale(0, 1)
    for limits in ((), (None, None), (0.0, 0.0)):
        sample = re.HostSampled(
            cpu_util_pct=1.0, mem_used_mib=1.0, mem_total_mib=1.0, gpu_power_w=(311.0, None), gpu_power_limit_w=limits
        )
        assert metrics.metric("power").scale(story.hears(0, sample).run) == metrics.Scale(0, 320)


def test_the_most_is_rounded_up_to_two_figures() -> None:
    for most, end in ((1.0, 1.0), (61.0, 61.0), (61.1, 62.0), (999.0, 1000.0), (0.123, 0.13), (1e16, 1.0), (-1.0, 1.0)):
        story = launched(nnodes=1).hears(0, word(0, img_per_s=most))
        assert metrics.metric("img").scale(story.run).high == pytest.approx(end)


def test_a_rank_is_behind_by_steps_of_two_and_a_half_seconds() -> None:
    run = launched(nnodes=1).run
    assert metrics.metric("lag").scale(run) == metrics.Scale(0, 15, 3, 15), "a second a step until one is known"
    slow = launched(nnodes=1).hears(0, word(0, step_s=10.0)).run
    assert metrics.metric("lag").scale(slow) == metrics.Scale(0, 10, 2, 10)
    quick = launched(nnodes=1).hears(0, word(0, step_s=0.1)).hears(0, word(1, step_s=0.3)).run
    assert metrics.metric("lag").scale(quick) == metrics.Scale(0, 65, 13, 65)
