"""The sentences about profiles that cannot be used, word by word, beside the files in ``__snapshots__``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import test_profile_learning as learning
from pages import Pages
from syrupy.assertion import SnapshotAssertion
from test_profile_check import GOOD, RENTED, RENTED_WRONG, WRONG, loading, rented, sentence

from console.profile import values
from console.profile.alerts import AlertKeys
from console.profile.phases import PhaseSection
from console.profile.schema import Budget, Data, Fleet, RaceRecord, RunSection, Target

STAGED = {
    "another scheme": ("gs://bucket/prefix", "/data"),
    "a bucket that is none": ("s3://B", "/data"),
    "no bucket": ("s3:bucket", "/data"),
    "a path that is not from the root": ("bucket/prefix", "/data"),
    "no folder": ("s3://bucket", None),
    "a folder that is not from the root": ("s3://bucket", "data"),
    "a folder within its source": ("/sets", "/sets/here"),
    "a source within its folder": ("/sets/here", "/sets/"),
    "one folder": ("~/sets/", "~/sets"),
}
PHASES = {
    "an lr of a text": ("lr = 0.4", 'lr = "high"'),
    "an lr too high": ("lr = 0.4", "lr = 1e6"),
    "epochs of three": ("[2, 5]", "[2, 5, 7]"),
    "epochs below nothing": ("[2, 5]", "[-2, 5]"),
    "epochs of true": ("[2, 5]", "[true, 5]"),
    "a gap": ("[2, 5]", "[4, 5]"),
    "no epochs": ("epochs = [2, 5]\n", ""),
    "no batch": ("batch_size_per_gpu = 16\nlr = 0.4", "lr = 0.4"),
    "no lr": ("lr = 0.4", ""),
}
ALERTS = [
    "comand = 1",
    "command = 7",
    'command = "sh \'x"',
    'command = [""]',
    'command = ["a", 1]',
    'command = ["a\\u0000"]',
    "webhook = 1",
    'webhook = "file:///etc/passwd"',
    'webhook = "http://example.com/x"',
    'webhook = "https://[::1"',
    'webhook = "https://example.com:99999999/x"',
    'webhook = "https:///x"',
    'bell = "yes"',
    'mute = ["stragler"]',
    "mute = 3",
    "mute = [3]",
    'least = "bad"',
    "idle = 5",
    "[alerts.idle]\nentre = 5",
    "[alerts.idle]\nenter = 30",
    "[alerts.idle]\nenter = 25",
    "[alerts.stale]\nenter = 5",
    "[alerts.stale]\nhold_s = -1",
    "[alerts.stale]\nleave = true",
    "[alerts.stale]\nenter = 1e9",
]
OVERRIDES = [
    "nonsense",
    "run.env.HF_TOKEN",
    "run.env={}",
    "run.seed=seven",
    "run.sed=7",
    "phase.0.lr=1",
    "run.model.name=x",
    "run.env.A.b=x",
    "alerts.webhook.x=https://example.com",
    "run.momentum=0",
    "run.max_restarts=101",
]
SECTIONS: dict[str, type] = {
    "fleet": Fleet,
    "budget": Budget,
    "run": RunSection,
    "run.target": Target,
    "data": Data,
    "phase": PhaseSection,
    "record": RaceRecord,
    "alerts": AlertKeys,
}


@pytest.fixture
def page(snapshot: SnapshotAssertion) -> Callable[[dict[str, str]], bool]:
    """True if the sentences are those of the file."""
    kept = snapshot.use_extension(Pages)
    return lambda said: "".join(f"{what}\n    {words}\n" for what, words in said.items()) == kept


def test_of_a_profile(page: Callable[[dict[str, str]], bool]) -> None:
    assert page({what: sentence(GOOD.replace(old, new, 1)) for what, (old, new, _) in WRONG.items()})


def test_of_a_phase(page: Callable[[dict[str, str]], bool]) -> None:
    said = {what: sentence(GOOD.replace(old, new, 1)) for what, (old, new) in PHASES.items() if old in GOOD}
    start = GOOD.index("[[phase]]")
    said |= {text: sentence(f"{text}\n{GOOD[:start]}") for text in ("phase = 3", "phase = []", "phase = [3]")}
    assert page(said)


def test_of_a_fleet_to_rent(page: Callable[[dict[str, str]], bool]) -> None:
    said = {}
    for what, (overrides, _) in RENTED_WRONG.items():
        more = ["run.accelerator=L4", "run.nproc_per_node=8"] if "GPUs" in what else []
        said[what] = sentence(RENTED, *rented(*overrides), *more)
    more = ["run.accelerator=L4", "run.nproc_per_node=2"]
    said["more ranks than its one GPU"] = sentence(RENTED, *rented("instance_type=g6.xlarge"), *more)
    said["no type"] = sentence(RENTED.replace('instance_type = "g6.xlarge"\n', ""))
    two = ["region=us-east-1", 'failover_regions=["us-west-2"]', 'zones=["eu-west-1a"]']
    said["a zone of none of two regions"] = sentence(RENTED, *rented(*two))
    assert page(said)


def test_of_a_recipe(page: Callable[[dict[str, str]], bool]) -> None:
    said = {override: sentence(learning.GOOD, override) for override in learning.WRONG}
    for accelerator in ("V100", "T4", "P100"):
        for key in ("precision", "gradient_precision"):
            said[f"{key} {accelerator}"] = sentence(GOOD, f"run.accelerator={accelerator}", f"run.{key}=bf16")
    assert page(said)


def test_of_the_data_set_s_copy(page: Callable[[dict[str, str]], bool]) -> None:
    text = GOOD.replace('"shapes"', '"imagefolder"\ntrain_images = 12960')
    said = {}
    for what, (source, folder) in STAGED.items():
        more = [] if folder is None else [f'data.dir="{folder}"']
        said[what] = sentence(text, f'data.stage_from="{source}"', *more)
    said["shapes"] = sentence(GOOD, 'data.stage_from="s3://bucket"', 'data.dir="/data"')
    assert page(said)


def test_of_alerts(page: Callable[[dict[str, str]], bool]) -> None:
    assert page({section: sentence(f"{GOOD}\n[alerts]\n{section}\n") for section in ALERTS})


def test_of_overrides(page: Callable[[dict[str, str]], bool]) -> None:
    said = {override: sentence(GOOD, override) for override in OVERRIDES if override != "run.momentum=0"}
    said["nesterov"] = sentence(GOOD, "run.momentum=0", "run.nesterov=true")
    said["record"] = sentence(GOOD, "record.epochs_to_target=6")
    said["eval_from"] = sentence(GOOD, "run.eval_from=5")
    said["null"] = sentence(GOOD.replace("seed = 3", 'env = { A = "\\u0000" }'))
    assert page(said)


def test_of_files(page: Callable[[dict[str, str]], bool], tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"ab\xff")
    paths = ("imagenet-16x-p", "xyzzy", "/dev/null", str(tmp_path), str(tmp_path / "none.toml"), str(binary))
    paths += ("~nobody-of-this-name/x.toml", "a\0.toml")
    shown = {path: path.replace(str(tmp_path), "TMP").replace("\0", "NUL") for path in paths}
    assert page({shown[path]: loading(path).replace(path, shown[path]) for path in paths})


def test_what_every_key_accepts(page: Callable[[dict[str, str]], bool]) -> None:
    assert page(
        {
            f"{section}.{key}": values.accepted_by(kind, key)
            for section, kind in SECTIONS.items()
            for key in kind.__dataclass_fields__
        }
    )
