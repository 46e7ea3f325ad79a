"""What a journal's profile text says, and that nothing follows from one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_story import created

from console.profile import recorded
from console.profile.alerts import AlertKeys
from console.profile.load import load, parse
from console.profile.recorded import Leg
from console.profile.schema import ProfileError

TEXT = """\
[fleet]
provider = "local"

[run]
model = "resnet-small"
env = { OMP_NUM_THREADS = "2", WANDB_API_KEY = "(redacted)" }

[data]
dataset = "shapes"

[alerts]
mute = ["straggler"]
webhook = "(redacted)"

[[phase]]
epochs = [0, 2]
image_size = 24
batch_size_per_gpu = 16
lr = 0.1

[[phase]]
epochs = [2, 5]
image_size = 32
batch_size_per_gpu = 8
lr = 0.1

[record]
name = "somebody"
curve = [[0.5, 0.1, 0.3]]
"""
UNREADABLE = ["", "= no TOML", "a = " + "[" * 100_000, f"a = {'9' * 5000}"]


def test_a_text_that_can_be_read() -> None:
    alerts = recorded.alerts(TEXT)
    assert (alerts.mute, alerts.webhook, alerts.withheld) == (("straggler",), None, True)
    assert recorded.legs(TEXT) == (Leg(0, 2, 24, 16), Leg(2, 5, 32, 8))
    assert recorded.phase_count(TEXT) == 2
    assert recorded.environment(TEXT) == (("OMP_NUM_THREADS", "2"), ("WANDB_API_KEY", "(redacted)"))
    assert recorded.has_record(TEXT)
    record = recorded.record(TEXT)
    assert record is not None
    assert (record.name, record.curve[0].elapsed_s) == ("somebody", 1800.0)


@pytest.mark.parametrize("text", UNREADABLE, ids=["nothing", "no TOML", "brackets", "digits"])
def test_nothing_is_known_of_a_text_that_cannot_be_read(text: str) -> None:
    assert recorded.alerts(text) == AlertKeys()
    assert (recorded.legs(text), recorded.phase_count(text), recorded.environment(text)) == ((), None, ())
    assert (recorded.has_record(text), recorded.record(text)) == (False, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs = [2, 5]", "epochs = [3, 5]"),
        ("epochs = [2, 5]", "epochs = [2, 2]"),
        ("epochs = [2, 5]", "epochs = 3"),
        ("epochs = [2, 5]", "epochs = [2]"),
        ("epochs = [2, 5]", "epochs = [2, inf]"),
        ("epochs = [2, 5]", "epochs = [2, 100001]"),
        ("image_size = 32\n", ""),
        ("image_size = 32", "image_size = 0"),
        ("image_size = 32", 'image_size = "large"'),
    ],
)
def test_a_schedule_that_is_damaged_is_no_schedule(old: str, new: str) -> None:
    assert recorded.legs(TEXT.replace(old, new)) == ()


def test_sections_of_another_form_are_unknown() -> None:
    text = 'alerts = 3\nrun = "x"\nphase = 7\nrecord = 1\n'
    assert recorded.alerts(text) == AlertKeys()
    assert (recorded.legs(text), recorded.phase_count(text), recorded.environment(text)) == ((), None, ())
    assert (recorded.has_record(text), recorded.record(text)) == (True, None)


def test_a_record_that_is_only_spoken_of_is_none() -> None:
    assert not recorded.has_record("# [record] is at the end\n[run]\n")


def test_the_profile_of_a_run_has_its_overrides() -> None:
    profile = load("local", ["run.seed=7"])
    event = created(profile="local", profile_text=profile.text, overrides=profile.overrides)
    assert recorded.profile(event) == parse(profile.text, path=Path("local.toml"), overrides=("run.seed=7",))
    with pytest.raises(ProfileError, match=r"^profile p\.toml: has no \[fleet\] section$"):
        recorded.profile(created(profile="p", profile_text=""))


def test_what_is_kept_parsed_is_bounded() -> None:
    for number in range(50):
        text = f"{TEXT}# {number}\n"
        for read in (recorded.alerts, recorded.legs, recorded.environment, recorded.record, recorded.phase_count):
            read(text)
    caches = (recorded.alerts, recorded.legs, recorded.environment, recorded.record, recorded._table)
    assert all(cache.cache_info().currsize <= 8 for cache in caches)
