"""Each symptom with its figure, its severity and its whole sentence, from states made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from run_story import Story, created, launched, trained
from test_health_alerts import RECORD

from console.health.symptoms import LOSS_STEPS, CheckContext, Symptom, mean_loss, symptoms
from console.state import events as ce
from console.state.run import CRITICAL, WARNING, Run
from remote.wire import events as re


def found(run: Run, now: float, kind: str, **context: object) -> list[Symptom]:
    """The symptoms of one kind; checked for an hour already unless the context says otherwise."""
    known = CheckContext(**{"since": now - 3600, **context})  # type: ignore[arg-type]
    return [symptom for symptom in symptoms(run, now, known) if symptom.kind == kind]


def one(run: Run, now: float, kind: str, **context: object) -> Symptom:
    (symptom,) = found(run, now, kind, **context)
    return symptom


def sampled(story: Story, node: int = 1, **changes: object) -> Story:
    values: dict[str, object] = {"cpu_util_pct": 1.0, "mem_used_mib": 1.0, "mem_total_mib": 1.0}
    return story.hears(node, re.HostSampled(**{**values, **changes}))  # type: ignore[arg-type]


def rented(story: Story) -> Story:
    """The same on hosts that are not this machine."""
    story.records[0] = replace(story.records[0], event=created(provider="aws"))
    return story


def test_nothing_is_wrong_with_a_run_that_is_not_there_or_over() -> None:
    assert list(symptoms(Run(), 1.0, CheckContext(0.0))) == []
    story = trained()
    story.says(ce.RunEnded(status="stopped", exit_code=5, reason=""))
    assert list(symptoms(story.run, story.t + 1e4, CheckContext(0.0, disk_free_mib=1.0))) == []


def test_silence() -> None:
    story = sampled(launched())
    text = "the host is connected and silent: it is overloaded or cut off; its lease ends it if no console reaches it"
    heard = story.run.nodes[1].last_received_t
    assert heard is not None
    assert found(story.run, heard + 20, "stale")[1] == Symptom("stale", "stale:1", 1, 20.0, text, WARNING)
    # The console itself was not there for longer.
    assert found(story.run, heard + 20, "stale", since=heard + 12)[1].value == 8
    story.says(ce.HostUnreachable(reason="cut"), 1)
    assert [symptom.node for symptom in found(story.run, story.t + 20, "stale")] == [0]


@pytest.mark.parametrize(
    ("late_s", "value", "words"),
    [(-7.0, 7.0, "7 s ahead of"), (2.0, 0.0, "2 s behind"), (3.0, 0.0, "3 s behind"), (8.0, 5.0, "8 s behind")],
)
def test_a_clock(late_s: float, value: float, words: str) -> None:
    story = launched(nnodes=1)
    story.records = [
        record if record.offset is None else replace(record, t=record.received_t - late_s) for record in story.records
    ]
    text = (
        f"the host's clock is {words} this laptop's: leases and times of failures are off by as much; start chrony "
        "there, or here"
    )
    assert one(story.run, story.t + 1, "clock") == Symptom("clock", "clock:0", 0, pytest.approx(value), text, WARNING)
    assert one(story.run, story.t + 5, "clock").value is None, "not heard for five seconds"
    assert one(story.run, story.t + 4.9, "clock").value is not None
    silent = Story().says(created(nnodes=1)).says(ce.HostConnected(from_offset=0), 0)
    assert found(silent.run, silent.t, "clock") == []


def test_a_host_s_disk() -> None:
    story = sampled(rented(launched()), disk_free_mib=1536.0)
    text = "the host's disk has 1.5 GiB left: the next checkpoint may not fit; free some space there"
    assert one(story.run, story.t, "disk") == Symptom("disk", "disk:1", 1, 1536.0, text, WARNING)
    assert one(story.run, story.t + 6, "disk").value is None
    assert "has 1023 MiB left" in one(sampled(story, disk_free_mib=1023.4).run, story.t, "disk").text
    assert "has 1.0 GiB left" in one(sampled(story, disk_free_mib=1024.0).run, story.t, "disk").text
    assert found(sampled(story).run, story.t, "disk") == []
    assert found(sampled(launched(), disk_free_mib=1.0).run, story.t, "disk") == [], "an embedded host's is this one"


def test_the_laptop_s_disk() -> None:
    run = launched().run
    text = "this laptop's disk has 900 MiB left for the journal and the checkpoints; free some space"
    assert one(run, 0.0, "disk", disk_free_mib=900.0) == Symptom("disk", "disk:laptop", None, 900.0, text, CRITICAL)


def test_throttled_gpus() -> None:
    story = sampled(launched(), gpu_throttle=("gpu_idle", "sw_power_cap+hw_slowdown", None, "sw_thermal_slowdown"))
    text = "GPUs 1, 3 below full clocks (hw_slowdown, sw_thermal_slowdown): check the host's cooling and power"
    assert one(story.run, story.t, "throttle") == Symptom("throttle", "throttle:1", 1, 2.0, text, WARNING)
    assert one(story.run, story.t + 6, "throttle").value is None
    single = sampled(story, gpu_throttle=("", "hw_power_brake_slowdown"))
    assert one(single.run, story.t, "throttle").text.startswith("GPU 1 below full clocks (hw_power_brake_slowdown)")
    assert one(sampled(story, gpu_throttle=("", "sw_power_cap")).run, story.t, "throttle").value == 0
    assert one(sampled(story, gpu_throttle=("hw_thermal_slowdown",)).run, story.t, "throttle").value == 1
    assert found(sampled(story).run, story.t, "throttle") == []


def test_faulty_memory() -> None:
    faults = {"gpu_row_remap": ("", "pending", "failed", "other"), "gpu_ecc_uncorrected": (2.0, 1.0, None, 0.0)}
    story = sampled(launched(), **faults)
    text = (
        "memory faults (GPU 1: a row waits for a reset, GPU 2: no spare row is left, GPU 3: other, GPU 0: 2 "
        "uncorrectable errors); results may be wrong: replace the host, or reset the card when the run is over"
    )
    assert one(story.run, story.t, "memory") == Symptom("memory", "memory:1", 1, 4.0, text, CRITICAL)
    assert one(story.run, story.t + 6, "memory").value is None
    mild = one(sampled(story, gpu_row_remap=("pending",)).run, story.t, "memory")
    assert (mild.value, mild.severity) == (1, WARNING)
    assert one(sampled(story, gpu_ecc_uncorrected=(0.0,)).run, story.t, "memory").value == 0
    assert found(sampled(story).run, story.t, "memory") == []
    assert found(launched().run, story.t, "memory") == []


def test_idle_gpus() -> None:
    story = sampled(trained(epochs=1), gpu_util_pct=(10.0, 4.0, 9.0, None))
    text = "GPUs 1, 2 at 4 % while the gang trains: the node's screen shows what the ranks wait for"
    assert one(story.run, story.t, "idle") == Symptom("idle", "idle:1", 1, 4.0, text, WARNING)
    assert one(story.run, story.t + 6, "idle").value is None
    evaluating = story.hears(0, re.EvaluationProgressed(epoch=1, done=1, total=2)).run
    assert one(evaluating, story.t, "idle").value is None
    early = sampled(launched(), gpu_util_pct=(0.0,)).run
    assert one(early, story.t, "idle").value is None, "no step was taken yet"
    alone = sampled(trained(epochs=1), gpu_util_pct=(50.0, 0.0))
    assert one(alone.run, alone.t, "idle").text.startswith("GPU 1 at 0 %")
    done = alone.hears(1, re.TrainerEnded(attempt=1, outcome="succeeded"))
    assert found(done.run, done.t, "idle") == []
    assert found(sampled(trained(epochs=1), gpu_util_pct=(None,)).run, story.t, "idle") == []
    assert found(trained(epochs=1).run, story.t, "idle") == [], "a host without GPUs"


@pytest.mark.parametrize(
    ("slow", "words"),
    [
        ({"data_s": 0.6}, "6.0 times as long as the others (data): its loader is slow: more loader_workers, or a "
         "faster disk"),
        ({"compute_s": 0.9}, "3.0 times as long as the others (compute): its GPU is slow or shared: check its clocks "
         "and other processes"),
        ({"allreduce_s": 0.5, "compute_s": 0.8}, "5.0 times as long as the others (network): check the node"),
    ],
)  # fmt: skip
def test_a_straggler(slow: dict[str, float], words: str) -> None:
    story = trained(epochs=1)
    for rank in range(4):
        said = {"data_s": 0.1, "compute_s": 0.3, "allreduce_s": 0.1 if "allreduce_s" in slow else None}
        said |= slow if rank == 3 else {}
        for step in range(5):
            word = re.RankProgressed(rank=rank, step=step, img_per_s=1.0, step_s=1.0, **said)  # type: ignore[arg-type]
            story.hears(rank // 2, word)
    symptom = one(story.run, story.t, "straggler")
    assert (symptom.id, symptom.node, symptom.severity) == ("straggler:3", 1, WARNING)
    assert symptom.text == f"rank 3 takes {words}"
    assert f"{symptom.value:.1f}" == words[:3]
    assert found(story.hears(0, re.Paused(rank=0, step=4)).run, story.t, "straggler") == []


def heard(story: Story, after_s: float) -> Story:
    """All hosts say something."""
    story.t += after_s
    return sampled(sampled(story, 0), 1)


def test_a_stall() -> None:
    story = trained(epochs=1)
    ended_t = story.run.epochs[-1].received_t
    heard(story, 100.0)
    text = (
        "no step for 01:40 while all hosts report: a rank hangs, or waits for one that does; x stops the run at its "
        "last checkpoint, r resumes it after that"
    )
    # A step took a second; twenty of them are no stall.
    symptom = one(story.run, ended_t + 100, "stall")
    assert symptom == Symptom("stall", "stall:gang", None, pytest.approx(80.0), text, CRITICAL)
    assert one(story.run, ended_t + 100, "stall", since=ended_t + 30).value == pytest.approx(50.0)
    assert one(story.run, ended_t + 106, "stall").value is None, "a host is not heard"
    evaluating = story.hears(0, re.EvaluationProgressed(epoch=1, done=1, total=2)).run
    assert one(evaluating, story.t, "stall").value is None
    cut = heard(trained(epochs=1), 100.0).says(ce.HostUnreachable(reason="cut"), 1)
    assert one(cut.run, cut.t, "stall").value is None
    for quiet in (launched(), trained(epochs=1).hears(0, re.Paused(rank=0, step=4))):
        assert found(quiet.run, quiet.t + 100, "stall") == []
    over = trained(epochs=1).hears(0, re.TrainingEnded(step=4, epoch=0, reason="finished", elapsed_s=5.0))
    assert found(over.run, over.t + 100, "stall") == []


def losing(*losses: float | None) -> Story:
    story = trained(epochs=1)
    step = story.run.step
    assert step is not None
    for number, loss in enumerate(losses, 5):
        story.hears(0, replace(step, step=number, loss=loss), after_s=1.0)
    return story


def test_a_rising_loss() -> None:
    story = losing(*[2.0] * (LOSS_STEPS // 2), *[3.0] * (LOSS_STEPS // 2))
    text = (
        "the loss rises: 2.500 over the last 30 steps, 1.250 at its lowest; the learning rate may be too high for "
        "this phase"
    )
    assert one(story.run, story.t, "loss", lowest_loss=1.25) == Symptom("loss", "loss:rising", None, 2.0, text, WARNING)
    # A rise of a quarter is noise, and nothing is a multiple of nothing.
    for lowest in (2.25, 2.3, 0.0, -1.0):
        assert one(story.run, story.t, "loss", lowest_loss=lowest).value == 1.0
    assert one(story.run, story.t, "loss", lowest_loss=2.2).value == pytest.approx(2.5 / 2.2)
    nothing = Symptom("loss", "loss:rising", None, None, "")
    assert one(story.run, story.t, "loss") == nothing
    assert one(story.run, story.t, "loss", lowest_loss=1.0, phase_step=5) == nothing
    paused = story.hears(0, re.Paused(rank=0, step=4)).run
    assert one(paused, story.t, "loss", lowest_loss=1.0) == nothing


def test_the_mean_loss_is_of_thirty_steps_of_the_phase() -> None:
    run = losing(*[2.0] * 29, 5.0).run
    assert mean_loss(run, 0) == pytest.approx((29 * 2 + 5) / 30)
    assert mean_loss(run, 4) == mean_loss(run, 0)
    assert mean_loss(run, 5) is None
    assert mean_loss(losing(*[2.0] * 29, None).run, 0) is None
    assert mean_loss(losing(*[2.0] * 25).run, 0) is None


def test_behind_its_record() -> None:
    def racing(top5: float, epochs: int = 3, text: str = RECORD, **changes: object) -> Story:
        story = trained(epochs=epochs, top5=top5)
        story.records[0] = replace(story.records[0], event=created(profile_text=text, target_value=0.99, **changes))
        for index, record in enumerate(story.records):
            if isinstance(record.event, re.EpochEnded):
                # The record had 60 % top-5 after 36 s.
                elapsed = 12.0 * (record.event.epoch + 1)
                story.records[index] = replace(record, event=replace(record.event, elapsed_s=elapsed))
        story.records = [record for record in story.records if not isinstance(record.event, re.TargetReached)]
        return story

    story = racing(0.1)
    text = "top-5 is 30.0 % where last year's had 60.0 % after as long: the Progress pane shows both curves"
    assert one(story.run, story.t, "behind") == Symptom(
        "behind", "behind:record", None, pytest.approx(30.0), text, WARNING
    )
    top1 = racing(0.1, target_metric="top1")
    assert one(top1.run, top1.t, "behind").value == pytest.approx(15.0)
    assert one(racing(0.3).run, story.t, "behind").value == pytest.approx(-30.0)
    assert found(racing(0.1, epochs=2).run, story.t, "behind") == []
    assert found(racing(0.1, text="").run, story.t, "behind") == []
    assert found(story.hears(0, re.Paused(rank=0, step=12)).run, story.t, "behind") == []
    untold = racing(0.1, target_metric=None)
    assert one(untold.run, untold.t, "behind").text.startswith("top-5 is")
