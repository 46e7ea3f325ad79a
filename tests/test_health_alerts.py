"""Alerts: what the console finds wrong by itself, when it is raised and when over, and that a healthy run has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
from canned_source import T0, scene, tick

from console.fold.apply import apply
from console.health.alerts import CheckState, Cleared, Raised, check
from console.profile.alerts import LIMITS, AlertKeys, parse
from console.profile.load import parse as parse_profile
from console.profile.redaction import REDACTED
from console.profile.schema import ProfileError
from console.state import events as ce
from console.state.events import Record
from console.state.run import ALERTS, LINE_CHARS, LOG_CHARS, LOG_LINES, Alert, Run, alerts_since
from remote.wire import codec
from remote.wire import events as re

Make = Callable[[int], Iterable[Record]]
"""The records of a second, by its number."""


class CheckedRun:
    """A run that is checked second by second."""

    def __init__(self, records: list[Record], keys: AlertKeys | None = None) -> None:
        self.run = reduce(apply, records, Run())
        self.t = records[-1].received_t
        self.keys = keys or AlertKeys()
        self.state = CheckState()
        self.step = 400
        self.second = 0
        self.disk_free_mib: float | None = None

    def pass_by(self, seconds: int, make: Make) -> None:
        for _ in range(seconds):
            self.second += 1
            self.t += 1.0
            self.run = reduce(apply, make(self.second), self.run)
            result = check(self.run, self.t, self.state, self.keys, self.disk_free_mib)
            self.state = result.state
            for change in result.changes:
                match change:
                    case Raised(symptom):
                        event: codec.Event = ce.AlertRaised(
                            kind=symptom.kind, text=symptom.text, severity=symptom.severity, id=symptom.id
                        )
                        self.run = apply(self.run, Record(self.t, self.t, event, symptom.node))
                    case Cleared(alert_id, node):
                        self.run = apply(self.run, Record(self.t, self.t, ce.AlertCleared(id=alert_id), node))

    def steps(self, second: int, *, nodes: int = 4, gpus: int = 8) -> list[Record]:
        """A second of a healthy run: canned rank 11, which is slow, is healed."""
        self.step += 1
        return [
            replace(record, event=replace(record.event, img_per_s=71.0, data_s=0.08))
            if isinstance(record.event, re.RankProgressed)
            else record
            for record in tick(nodes, gpus, self.t, self.step)
        ]

    @property
    def kinds(self) -> list[str]:
        return [alert.kind for alert in self.run.alerts]

    @property
    def open(self) -> list[Alert]:
        return [alert for alert in self.run.alerts if alert.open]


def checked_run(keys: AlertKeys | None = None, nodes: int = 4, gpus: int = 8) -> CheckedRun:
    return CheckedRun(scene("training", nodes=nodes, gpus=gpus), keys)


def sampled(records: Iterable[Record], node: int, **changes: object) -> list[Record]:
    """The records with the node's samples changed."""
    return [
        replace(record, event=replace(record.event, **changes))
        if record.node == node and isinstance(record.event, re.HostSampled)
        else record
        for record in records
    ]


def test_a_healthy_run_has_none() -> None:
    for checked in (checked_run(), checked_run(nodes=16, gpus=0)):
        gpus = 0 if len(checked.run.nodes) == 16 else 8
        checked.pass_by(
            300,
            lambda second, checked=checked, gpus=gpus: checked.steps(second, nodes=len(checked.run.nodes), gpus=gpus),
        )
        assert checked.kinds == []


def test_a_silent_host_is_raised_once_and_cleared_when_it_speaks() -> None:
    checked = checked_run()
    checked.pass_by(60, lambda second: [record for record in checked.steps(second) if record.node != 2])
    assert checked.kinds == ["stale"]
    (alert,) = checked.open
    assert (alert.node, alert.severity, alert.id) == (2, "warning", "stale:2")
    raised = alert.received_t - T0
    checked.pass_by(9, checked.steps)
    assert checked.open, "not at once"
    checked.pass_by(3, checked.steps)
    assert not checked.open
    (alert,) = checked.run.alerts
    assert alert.cleared_t is not None
    assert alert.received_t - T0 == raised
    assert checked.run.log[-1].text.startswith("over after")


def test_a_figure_that_dances_about_a_threshold_is_one_alert() -> None:
    checked = checked_run()
    low, high = (5.0,) * 8, (20.0,) * 8

    def dance(second: int) -> list[Record]:
        return sampled(checked.steps(second), 1, gpu_util_pct=high if second % 8 == 0 and second > 40 else low)

    checked.pass_by(120, dance)
    assert checked.kinds == ["idle"]
    assert checked.open
    checked.pass_by(15, checked.steps)
    assert not checked.open


@pytest.mark.parametrize("between", [(90.0,) * 8, (None,) * 8, ()])
def test_a_dip_shorter_than_its_time_raises_nothing(between: tuple[float | None, ...]) -> None:
    """Idle GPUs are an alert after 30 s; two dips of 29 s with another sample between them are not one of 59 s."""
    checked = checked_run()

    def idle(second: int) -> list[Record]:
        return sampled(checked.steps(second), 1, gpu_util_pct=(0.0,) * 8)

    for _ in range(6):
        # 30 samples, the last checked 29 s after the first.
        checked.pass_by(30, idle)
        checked.pass_by(1, lambda second: sampled(checked.steps(second), 1, gpu_util_pct=between))
        assert checked.kinds == []
    checked.pass_by(31, idle)
    assert checked.kinds == ["idle"]


def test_a_laptop_that_slept_was_deaf_itself() -> None:
    checked = checked_run()
    checked.pass_by(5, checked.steps)
    checked.t += 3600.0
    checked.pass_by(1, lambda second: [])
    checked.pass_by(10, checked.steps)
    assert checked.kinds == []


def test_a_silent_host_says_nothing_of_its_gpus() -> None:
    checked = checked_run()
    checked.pass_by(45, lambda second: sampled(checked.steps(second), 1, gpu_util_pct=(0.0,) * 8))
    assert [alert.id for alert in checked.open] == ["idle:1"]
    checked.pass_by(40, lambda second: [record for record in checked.steps(second) if record.node != 1])
    assert [alert.id for alert in checked.open] == ["idle:1", "stale:1"]


def test_a_slow_rank() -> None:
    checked = CheckedRun(scene("training", nodes=16))
    checked.pass_by(90, lambda second: tick(16, 0, checked.t, 400 + second))
    (alert,) = checked.open
    assert (alert.kind, alert.node) == ("straggler", 11)
    assert "rank 11 takes 9.0 times as long as the others (data): its loader is slow" in alert.text


def test_a_stall_says_that_all_hosts_speak() -> None:
    checked = checked_run()
    checked.pass_by(120, lambda second: [r for r in checked.steps(second) if not isinstance(r.event, re.StepEnded)])
    (alert,) = checked.open
    assert (alert.kind, alert.severity) == ("stall", "critical")
    assert "while all hosts report" in alert.text
    checked.pass_by(12, checked.steps)
    assert not checked.open


def test_no_stall_is_told_of_a_gang_that_is_not_heard_whole() -> None:
    checked = checked_run()
    checked.pass_by(
        1, lambda second: [Record(checked.t, checked.t, ce.HostUnreachable(reason="the connection was lost"), 0, 0)]
    )

    def steps(second: int) -> list[Record]:
        return [record for record in checked.steps(second) if record.node != 0]

    checked.pass_by(120, lambda second: [r for r in steps(second) if not isinstance(r.event, re.StepEnded)])
    assert "stall" not in {alert.kind for alert in checked.open}


def test_losses() -> None:
    checked = checked_run()

    def at(loss: float | None) -> Make:
        def make(second: int) -> list[Record]:
            return [
                replace(record, event=replace(record.event, loss=loss))
                if isinstance(record.event, re.StepEnded)
                else record
                for record in checked.steps(second)
            ]

        return make

    checked.pass_by(40, at(1.2))
    checked.pass_by(60, at(2.9))
    (alert,) = checked.open
    assert (alert.kind, alert.severity, alert.id) == ("loss", "warning", "loss:rising")
    assert "1.200 at its lowest" in alert.text
    checked.pass_by(60, at(1.1))
    assert not checked.open
    checked.pass_by(3, at(None))
    (alert,) = checked.open
    assert (alert.kind, alert.severity) == ("loss", "critical")
    checked.pass_by(30, at(None))
    assert len(checked.open) == 1, "the checks do not clear what they did not raise"
    checked.pass_by(1, at(1.1))
    assert not checked.open


def test_another_phase_has_a_loss_of_its_own() -> None:
    checked = checked_run()
    checked.pass_by(40, checked.steps)
    phase = [r.event for r in scene("training") if isinstance(r.event, re.PhaseStarted)][-1]
    checked.run = apply(checked.run, Record(checked.t, checked.t, replace(phase, phase=2), 0, 0))

    def higher(second: int) -> list[Record]:
        return [
            replace(r, event=replace(r.event, loss=4.0)) if isinstance(r.event, re.StepEnded) else r
            for r in checked.steps(second)
        ]

    checked.pass_by(29, higher)
    checked.pass_by(60, higher)
    assert checked.kinds == []


RECORD = """
[fleet]
provider = "local"
[run]
model = "resnet-small"
[data]
dataset = "shapes"
[record]
name = "last year's"
curve = [[0.005, 0.10, 0.40], [0.010, 0.30, 0.60], [0.03, 0.60, 0.90]]
[[phase]]
epochs = [0, 20]
image_size = 16
batch_size_per_gpu = 8
lr = 0.1
"""


def test_accuracy_behind_the_record() -> None:
    first, *rest = scene("training", nodes=4, gpus=8)
    slow = [
        replace(record, event=replace(record.event, top5=(record.event.top5 or 0) * 0.5))
        if isinstance(record.event, re.EpochEnded)
        else record
        for record in rest
    ]
    racing = replace(first, event=replace(first.event, profile_text=RECORD))
    checked = CheckedRun([racing, *slow])
    checked.pass_by(3, checked.steps)
    (alert,) = checked.open
    assert (alert.kind, alert.node) == ("behind", None)
    assert "top-5 is 39.0 % where last year's had 7" in alert.text
    level = CheckedRun([racing, *rest])
    level.pass_by(3, level.steps)
    assert level.kinds == []


def test_a_clock_that_is_ahead() -> None:
    checked = checked_run()
    checked.pass_by(
        40,
        lambda second: [
            replace(r, t=r.t + 7.0) if r.node == 3 and r.offset is not None else r for r in checked.steps(second)
        ],
    )
    (alert,) = checked.open
    assert (alert.kind, alert.node) == ("clock", 3)
    assert "7 s ahead of this laptop's" in alert.text


def test_records_that_come_late_are_no_clock_that_is_behind() -> None:
    checked = checked_run()
    checked.pass_by(10, checked.steps)
    late = [replace(r, t=r.t - 60.0) for _ in range(40) for r in checked.steps(0)]
    checked.run = reduce(apply, late, checked.run)
    checked.pass_by(40, checked.steps)
    assert checked.kinds == []


def test_the_laptops_own_disk() -> None:
    checked = checked_run()
    checked.disk_free_mib = 900.0
    checked.pass_by(8, checked.steps)
    assert [(alert.kind, alert.node, alert.severity) for alert in checked.open] == [("disk", None, "critical")]
    assert "900 MiB left" in checked.open[0].text
    checked.disk_free_mib = 2500.0
    checked.pass_by(30, checked.steps)
    assert checked.open, "between its thresholds it stays"
    checked.disk_free_mib = 4000.0
    checked.pass_by(12, checked.steps)
    assert not checked.open


def test_what_is_muted_is_not_looked_for_and_an_open_one_ends() -> None:
    checked = checked_run(AlertKeys(mute=("idle",)))
    checked.pass_by(60, lambda second: sampled(checked.steps(second), 1, gpu_util_pct=(0.0,) * 8))
    assert checked.kinds == []
    other = checked_run()
    other.pass_by(60, lambda second: sampled(other.steps(second), 1, gpu_util_pct=(0.0,) * 8))
    assert other.open
    other.keys = AlertKeys(mute=("idle",))
    other.pass_by(15, lambda second: sampled(other.steps(second), 1, gpu_util_pct=(0.0,) * 8))
    assert not other.open


def test_a_console_that_comes_back_goes_on_with_what_is_open() -> None:
    checked = checked_run()
    checked.pass_by(60, lambda second: sampled(checked.steps(second), 1, gpu_util_pct=(0.0,) * 8))
    checked.state = CheckState()
    checked.pass_by(60, lambda second: sampled(checked.steps(second), 1, gpu_util_pct=(0.0,) * 8))
    assert checked.kinds == ["idle"]
    checked.state = CheckState()
    checked.pass_by(15, checked.steps)
    assert not checked.open


def test_what_a_gpu_says_of_itself() -> None:
    """A card at its power cap is healthy; checked that is too hot, or whose memory fails, is not."""
    checked = checked_run()
    fine = {"gpu_throttle": ("sw_power_cap", "gpu_idle", *[""] * 6), "gpu_row_remap": ("",) * 8}
    checked.pass_by(60, lambda second: sampled(checked.steps(second), 1, **fine))
    assert checked.kinds == []
    hot = {
        "gpu_throttle": ("", "sw_power_cap+hw_thermal_slowdown", "hw_thermal_slowdown", *[""] * 5),
        "gpu_row_remap": ("", "", "failed", *[""] * 5),
        "gpu_ecc_uncorrected": (0.0, 3.0, *[0.0] * 6),
        "disk_free_mib": 300.0,
    }
    checked.pass_by(60, lambda second: sampled(checked.steps(second), 1, **hot))
    assert sorted((alert.id, alert.severity) for alert in checked.open) == [
        ("disk:1", "warning"),
        ("memory:1", "critical"),
        ("throttle:1", "warning"),
    ]
    said = {alert.kind: alert.text for alert in checked.open}
    assert said["throttle"].startswith("GPUs 1, 2 below full clocks (hw_thermal_slowdown)")
    assert "GPU 2: no spare row is left, GPU 1: 3 uncorrectable errors" in said["memory"]
    assert "300 MiB left" in said["disk"]
    checked.pass_by(20, lambda second: sampled(checked.steps(second), 1, **fine))
    assert not checked.open


def test_an_xid_says_what_to_do() -> None:
    run = reduce(apply, scene("training", nodes=2, gpus=8), Run())
    run = apply(run, Record(T0 + 200, T0 + 200, re.XidReported(gpu=3, xid=79), 1, 0))
    assert run.alerts[-1].severity == "critical"
    assert run.alerts[-1].text.endswith("Xid 79: the GPU has fallen off the bus: replace the host")
    run = apply(run, Record(T0 + 200, T0 + 200, re.XidReported(gpu=3, xid=9999), 1, 0))
    assert run.alerts[-1].severity == "warning"


# --- the state -------------------------------------------------------------------------------------------------------


def test_open_ones_are_kept_before_all_others() -> None:
    run = reduce(apply, scene("training", nodes=2), Run())
    run = apply(run, Record(T0, T0, ce.AlertRaised(kind="disk", text="full", id="disk:0"), 0))
    run = apply(run, Record(T0, T0, ce.AlertRaised(kind="disk", text="again", id="disk:0"), 0))
    for number in range(ALERTS + 50):
        run = apply(run, Record(T0 + 1, T0 + 1, ce.AlertRaised(kind="x", text=str(number))))
    assert len(run.alerts) == ALERTS
    assert [alert.text for alert in run.alerts if alert.open] == ["full"]
    assert run.alerts[0].open
    run = apply(run, Record(T0 + 9, T0 + 9, ce.AlertCleared(id="disk:0"), 0))
    assert run.alerts[0].cleared_t == T0 + 9
    assert apply(run, Record(T0 + 9, T0 + 9, ce.AlertCleared(id="disk:0"), 0)).alerts == run.alerts


def test_facts_open_and_close_by_themselves() -> None:
    run = reduce(apply, scene("training", nodes=2), Run())
    run = apply(run, Record(T0, T0, ce.HostUnreachable(reason="cut"), 1))
    assert [alert.open for alert in run.alerts] == [True]
    run = apply(run, Record(T0 + 5, T0 + 5, ce.HostConnected(from_offset=9), 1))
    assert [alert.cleared_t for alert in run.alerts] == [T0 + 5]
    run = apply(run, Record(T0, T0, re.SpotNoticed(action="terminate", deadline_t=T0 + 120), 1, 0))
    run = apply(run, Record(T0 + 9, T0 + 9, ce.NodeReplaced(reason="spot"), 1))
    assert not any(alert.open for alert in run.alerts)
    run = apply(run, Record(T0 + 9, T0 + 9, ce.HostUnreachable(reason="cut"), 0))
    run = apply(run, Record(T0 + 9, T0 + 9, ce.RunEnded(status="failed", exit_code=3, reason="x")))
    assert not any(alert.open for alert in run.alerts)


def test_what_was_raised_between_two_states() -> None:
    before = reduce(apply, scene("training", nodes=2), Run())
    after = before
    for number in range(ALERTS + 3):
        after = apply(after, Record(T0, T0, ce.AlertRaised(kind="x", text=str(number), id=f"x{number}")))
        if number == 1:
            assert [alert.text for alert in alerts_since(before, after)] == ["0", "1"]
    assert alerts_since(before, before) == ()
    cleared = apply(after, Record(T0, T0, ce.AlertCleared(id=f"x{number}")))
    assert alerts_since(after, cleared) == ()


def test_a_line_and_the_log_are_bounded() -> None:
    run = reduce(apply, scene("training", nodes=2), Run())
    lines = run.log_lines
    for number in range(3000):
        printed = re.LogPrinted(text=f"{number} " + "x" * 10_000)
        run = apply(run, Record(T0, T0, printed, 0, 0))
    assert run.log_lines == lines + 3000
    assert sum(len(line.text) for line in run.log) == run.log_chars <= LOG_CHARS
    assert max(len(line.text) for line in run.log) == LINE_CHARS
    assert run.log[-1].text.startswith("2999 ")
    for number in range(1500):
        run = apply(run, Record(T0, T0, re.LogPrinted(text=str(number)), 0, 0))
    assert len(run.log) == LOG_LINES
    assert sum(len(line.text) for line in run.log) == run.log_chars


# --- the profile -----------------------------------------------------------------------------------------------------

PROFILE = """
[fleet]
provider = "local"
[run]
model = "resnet-small"
[data]
dataset = "shapes"
[[phase]]
epochs = [0, 1]
image_size = 16
batch_size_per_gpu = 8
lr = 0.1
"""
SECRET = "https://hooks.example.com/services/T0/B0/s3cr3t"


def alerts_of(section: str) -> AlertKeys:
    return parse_profile(PROFILE + section, path=Path("mine.toml")).alerts


def test_a_profile_says_who_is_told_and_when() -> None:
    keys = alerts_of(
        '[alerts]\ncommand = "notify-send fastconsole {text}"\nmute = ["straggler", "end"]\nbell = false\n'
        'least = "critical"\n[alerts.idle]\nenter = 5\nhold_s = 60\n'
    )
    assert keys.command == ("notify-send", "fastconsole", "{text}")
    assert keys.mute == ("straggler", "end")
    assert (keys.bell, keys.least) == (False, "critical")
    assert keys.limits["idle"] == replace(LIMITS["idle"], enter=5.0, hold_s=60.0)
    assert keys.limits["stale"] == LIMITS["stale"]
    assert alerts_of("") == AlertKeys()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("comand = 1", "[alerts] has no key 'comand' (did you mean command?)"),
        ("command = 7", "alerts.command is 7; accepted is a list of words"),
        ('command = "sh \'x"', "No closing quotation"),
        ('command = [""]', "alerts.command is ['']"),
        ("webhook = 1", "alerts.webhook is not a text"),
        ('webhook = "file:///etc/passwd"', "alerts.webhook is not a web address"),
        ('webhook = "http://example.com/x"', "would send alerts unencrypted"),
        ('webhook = "https://[::1"', "alerts.webhook is not an address"),
        ('webhook = "https://example.com/a b"', "alerts.webhook is not a web address"),
        ('bell = "yes"', "alerts.bell is 'yes'; accepted is true or false"),
        ('mute = ["stragler"]', "alerts.mute is 'stragler' (did you mean straggler?)"),
        ("mute = 3", "alerts.mute is 3; accepted is a list of kinds"),
        ('least = "bad"', "alerts.least is 'bad'; accepted are info, warning, critical"),
        ("idle = 5", "alerts.idle is 5; accepted is { enter = 10, leave = 25, hold_s = 30 }"),
        ("[alerts.idle]\nentre = 5", "[alerts.idle] has no key 'entre' (did you mean enter?)"),
        ("[alerts.idle]\nenter = 30", "alerts.idle: enter is 30 and leave 25 per cent"),
        ("[alerts.stale]\nhold_s = -1", "alerts.stale.hold_s is -1; accepted are seconds, 0 or more"),
        ("[alerts.stale]\nleave = true", "alerts.stale.leave is true"),
    ],
)
def test_a_bad_key_is_one_sentence(section: str, words: str) -> None:
    with pytest.raises(ProfileError) as caught:
        alerts_of(f"[alerts]\n{section}\n")
    said = str(caught.value)
    assert words in said
    assert "\n" not in said
    assert "example.com/" not in said


@pytest.mark.parametrize(
    "section",
    [
        f'[alerts]\nwebhook = "{SECRET}"  # {SECRET}\n',
        f"alerts = {{ webhook = '{SECRET}', bell = true }}\n",
        f'[alerts]\n"webhook"="{SECRET}"\n[run.env]\nAPI_KEY = "abc"\n',
    ],
)
def test_the_webhook_stays_out_of_the_journal(section: str) -> None:
    text = section + PROFILE if section.startswith("alerts =") else PROFILE + section
    profile = parse_profile(text, path=Path("mine.toml"))
    assert profile.alerts.webhook == SECRET
    assert "s3cr3t" not in profile.text
    again = parse_profile(profile.text, path=Path("mine.toml"))
    assert (again.alerts.webhook, again.alerts.withheld) == (None, True)
    given = parse_profile(PROFILE, path=Path("mine.toml"), overrides=[f"alerts.webhook={SECRET}"])
    assert given.alerts.webhook == SECRET
    assert given.overrides == (f'alerts.webhook="{REDACTED}"',)


def test_parse_needs_no_section() -> None:
    assert parse({}, REDACTED) == AlertKeys()
