"""Profiles: what is accepted, and the one sentence for each thing that is not."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from console.profile.load import builtin_folder, builtin_names, load, parse
from console.profile.schema import Profile, ProfileError
from remote.data import shapes
from remote.wire.job import TRAIN_IMAGES
from remote.wire.schedule import lr_at, steps_per_epoch, total_steps

GOOD = """\
# A title.
[fleet]
provider = "local"
nodes = 4
usd_per_h = 7.5

[budget]
max_usd = 10

[run]
model = "resnet-small"
target = { metric = "top5", value = 0.93 }
seed = 3

[data]
dataset = "shapes"

[[phase]]
epochs = [0, 2]
image_size = 24
batch_size_per_gpu = 16
lr = [0.1, 0.4]

[[phase]]
epochs = [2, 5]
image_size = 32
batch_size_per_gpu = 16
lr = 0.4
min_scale = 0.25
rectangular = true

[record]
name = "somebody"
curve = [[0.5, 0.1, 0.3], [1, 0.5, 0.8]]
"""
PATH = Path("mine.toml")


def parsed(text: str = GOOD, *overrides: str) -> Profile:
    return parse(text, path=PATH, overrides=overrides)


def sentence(text: str = GOOD, *overrides: str) -> str:
    """What is said of a profile that cannot be used: one line."""
    with pytest.raises(ProfileError) as caught:
        parsed(text, *overrides)
    said = str(caught.value)
    assert "\n" not in said
    return said


def test_a_profile() -> None:
    profile = parsed()
    assert profile.name == "mine"
    assert profile.world_size == 4
    assert profile.train_images == 12_960
    assert profile.budget.max_usd == 10.0
    assert isinstance(profile.budget.max_usd, float)
    assert profile.run.target is not None
    assert (profile.run.target.metric, profile.run.target.value) == ("top5", 0.93)
    first, second = profile.phases
    assert (first.start_epoch, first.end_epoch, first.lr_start, first.lr_end) == (0, 2, 0.1, 0.4)
    assert (first.min_scale, first.rectangular) == (0.08, False)
    assert (second.lr_start, second.lr_end, second.min_scale, second.rectangular) == (0.4, 0.4, 0.25, True)
    assert profile.record is not None
    assert [mark.elapsed_s for mark in profile.record.curve] == [1800.0, 3600.0]
    assert profile.text == GOOD


def test_the_recipe_of_a_profile() -> None:
    recipe = parsed().recipe("/data")
    assert (recipe.data_dir, recipe.target_metric, recipe.target_value, recipe.seed) == ("/data", "top5", 0.93, 3)
    assert recipe.phases == parsed().phases
    assert parsed().recipe().data_dir == "~/.fastconsole/data"


WRONG = {
    "an unknown key": ("nodes = 4", "nods = 4", ("[fleet]", "'nods'", "did you mean nodes?", "accepted are")),
    "an unknown section": ("[budget]", "[bugdet]", ("top level", "'bugdet'", "did you mean budget?")),
    "an unknown key of a phase": ("min_scale", "min_skale", ("phase 2", "'min_skale'", "did you mean min_scale?")),
    "an unknown key of the target": ("metric =", "metrik =", ("[run.target]", "'metrik'", "did you mean metric?")),
    "a text for a number": ("nodes = 4", 'nodes = "4"', ("fleet.nodes", "'4'", "a whole number")),
    "a fraction for a whole number": ("nodes = 4", "nodes = 4.0", ("fleet.nodes", "4.0", "a whole number")),
    "true for a number": ("max_usd = 10", "max_usd = true", ("budget.max_usd", "true", "a number")),
    "a number for a text": ('model = "resnet-small"', "model = 50", ("run.model", "50", "a text")),
    "a text for a list": ("nodes = 4", 'hosts = "a"', ("fleet.hosts", "'a'", "a list of texts")),
    "a number in a list of texts": ("nodes = 4", "hosts = [1]", ("fleet.hosts", "[1]", "a list of texts")),
    "a text for true": (
        "rectangular = true",
        'rectangular = "yes"',
        ("phase 2: rectangular", "'yes'", "true or false"),
    ),
    "not a number": ("max_usd = 10", "max_usd = nan", ("budget.max_usd", "nan", "a number")),
    "no end of dollars": ("max_usd = 10", "max_usd = inf", ("budget.max_usd", "inf", "a number")),
    "a budget below nothing": ("max_usd = 10", "max_usd = -1", ("budget.max_usd", "-1.0", "above 0")),
    "a section that is none": ("[budget]\nmax_usd = 10", "", ()),
    "no nodes": ("nodes = 4", "nodes = 0", ("fleet.nodes", "0", "1 to 1024")),
    "another provider": ('"local"', '"gcp"', ("fleet.provider", "'gcp'", "aws or local or static")),
    "another market": ("nodes = 4", 'market = "black"', ("fleet.market", "'black'", "on-demand or spot")),
    "a percentage": ("value = 0.93", "value = 93", ("run.target.value", "93.0", "0.93, not 93")),
    "another metric": ('"top5"', '"top3"', ("run.target.metric", "'top3'", "top1 or top5")),
    "a target that is a number": ('{ metric = "top5", value = 0.93 }', "0.93", ("run.target", "0.93", "metric =")),
    "a target without a value": (", value = 0.93", "", ("run.target.value is missing", "a number")),
    "no model": ('model = "resnet-small"\n', "", ("run.model is missing", "a text")),
    "another data set": ('"shapes"', '"shape"', ("data.dataset", "'shape'", "or packed or shapes")),
    "phases that overlap": ("[2, 5]", "[1, 5]", ("phase 2", "[1, 5]", "overlaps", "up to epoch 2")),
    "phases with a gap": ("[2, 5]", "[3, 5]", ("phase 2", "[3, 5]", "gap", "begin at epoch 2")),
    "a schedule that begins late": ("[0, 2]", "[1, 2]", ("phase 1", "[1, 2]", "begin at epoch 0")),
    "a phase without an epoch": ("[2, 5]", "[2, 2]", ("phase 2", "[2, 2]", "no epoch")),
    "a phase that runs backwards": ("[2, 5]", "[5, 2]", ("phase 2", "[5, 2]", "no epoch")),
    "epochs that are no pair": ("[2, 5]", "3", ("phase 2: epochs", "3", "[first, last + 1]")),
    "epochs of a text": ("[2, 5]", '["2", "5"]', ("phase 2: epochs", "[first, last + 1]")),
    "epochs without end": ("[2, 5]", "[2, 1000000000000]", ("phase 2: epochs", "1000000000000")),
    "a phase without a size": ("image_size = 24\n", "", ("phase 1 has no image_size",)),
    "an image too small": ("image_size = 24", "image_size = 4", ("phase 1: image_size", "4", "8 to 2048 px")),
    "a batch of none": (
        "batch_size_per_gpu = 16\nlr = 0.4",
        "batch_size_per_gpu = 0\nlr = 0.4",
        ("phase 2", "1 to 65536"),
    ),
    "a rate of three": ("[0.1, 0.4]", "[0.1, 0.4, 0.2]", ("phase 1: lr", "[first, last]")),
    "a rate below nothing": ("lr = 0.4", "lr = -0.4", ("phase 2: lr", "-0.4")),
    "a scale above one": ("min_scale = 0.25", "min_scale = 25", ("phase 2: min_scale", "25", "above 0, up to 1")),
    "a curve of percentages": ("[0.5, 0.1, 0.3]", "[0.5, 10, 30]", ("record.curve", "[0.5, 10, 30]", "fractions")),
    "a curve of nonsense": ("[0.5, 0.1, 0.3]", "7", ("record.curve", "7", "[[hours, top1, top5], ...]")),
    "a momentum of one": ("seed = 3", "momentum = 1", ("run.momentum", "1.0", "0 up to but not 1")),
    "a port that is none": ("seed = 3", "rdzv_port = 70000", ("run.rdzv_port", "70000", "1 to 65535")),
    "ports past the last": ("nodes = 4", "nodes = 4\nbase_port = 65534", ("fleet.base_port", "65534", "at most 65532")),
    "no steps": ("seed = 3", "max_steps = 0", ("run.max_steps", "0", "1 or more")),
    "a group that does not divide": ("seed = 3", "batch_norm_group = 5", ("run.batch_norm_group", "5", "(16)")),
    "hosts for a provider that makes them": (
        "nodes = 4",
        'hosts = ["a"]',
        ("fleet.hosts", "provider local makes its own"),
    ),
    "static without hosts": ('"local"', '"static"', ("fleet.hosts is missing", "user@host")),
    "a static host that is an option": (
        '"local"\nnodes = 4',
        '"static"\nhosts = ["-oProxyCommand=x"]',
        ("fleet.hosts", "-oProxyCommand=x", "[user@]host[:port]"),
    ),
    "fewer hosts than nodes": (
        'provider = "local"',
        'provider = "static"\nhosts = ["a", "b"]',
        ("fleet.nodes is 4", "fleet.hosts names 2"),
    ),
    "an environment of numbers": ("seed = 3", "env = { RETRIES = 3 }", ("run.env.RETRIES", "a text in quotes")),
    "an environment with a name that is none": ("seed = 3", 'env = { "A B" = "x" }', ("run.env", "'A B'", "letters")),
    "an environment that is a text": ("seed = 3", 'env = "A=b"', ("run.env", "'A=b'", "a table of texts")),
    "a section that is a number": ("[data]\ndataset", "[elsewhere]\ndataset", ("top level", "'elsewhere'")),
    "training images of none": (
        'dataset = "shapes"',
        'dataset = "shapes"\ntrain_images = 0',
        ("data.train_images", "0"),
    ),
    "a number of forty digits": ("nodes = 4", f"nodes = {10**40}", ("fleet.nodes", "a whole number")),
    "a price of four hundred digits": ("7.5", f"1{'0' * 400}", ("fleet.usd_per_h", "a number")),
    "not TOML": ("[run]", "[run", ("is not TOML", "line 10")),
}
WRONG["a batch that the data set cannot fill"] = (
    "batch_size_per_gpu = 16\nlr = 0.4",
    "batch_size_per_gpu = 4096\nlr = 0.4",
    ("phase 2: batch_size_per_gpu is 4096", "16,384 on 4 ranks", "shapes has 12,960", "at most 3240 fit"),
)
del WRONG["a section that is none"]


@pytest.mark.parametrize("what", WRONG)
def test_a_mistake_is_one_sentence_that_names_it(what: str) -> None:
    old, new, words = WRONG[what]
    assert GOOD.count(old) == 1 or what.startswith("an unknown"), f"{old} is no single place to be wrong in"
    said = sentence(GOOD.replace(old, new, 1))
    assert said.startswith("profile mine.toml: ")
    for word in words:
        assert word in said
    assert len(said) < 400


@pytest.mark.parametrize("section", ["fleet", "run", "data"])
def test_a_section_that_is_missing(section: str) -> None:
    start = GOOD.index(f"[{section}]")
    end = GOOD.index("\n\n", start)
    assert sentence(GOOD[:start] + GOOD[end:]) == f"profile mine.toml: has no [{section}] section"


def test_a_section_written_as_a_value() -> None:
    assert "budget is 3; it is a section, written [budget]" in sentence(
        "budget = 3\n" + GOOD.replace("[budget]\nmax_usd = 10\n", "")
    )


def test_no_phases() -> None:
    assert "there are no phases" in sentence(GOOD[: GOOD.index("[[phase]]")])
    assert "there are no phases" in sentence("phase = [3]\n" + GOOD[: GOOD.index("[[phase]]")])


def test_nothing_and_only_brackets() -> None:
    assert "has no [fleet] section" in sentence("")
    assert "is not TOML" in sentence("a = " + "[" * 100_000)
    assert "is not TOML" in sentence(f"a = {'9' * 5000}")


# --- what may be asked of EC2 ----------------------------------------------------------------------------------------

RENTED = GOOD.replace('provider = "local"', 'provider = "aws"\ninstance_type = "g6.xlarge"').replace(
    "usd_per_h = 7.5\n", ""
)

RENTED_WRONG: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "EFA on a type without it": (["efa=true"], ("fleet.efa is true", "g6.xlarge has no EFA", "remove the key")),
    "a public address on several cards": (
        ["instance_type=p4d.24xlarge"],
        ("fleet.connect is public", "p4d.24xlarge with EFA has 5 network interfaces", "elastic-ip, bastion or private"),
    ),
    "a block without its id": (
        ["instance_type=p5.48xlarge", "market=capacity-block", "connect=private"],
        ("fleet.market is capacity-block", "fleet.reservation is missing", "cr-..."),
    ),
    "a reservation without its id": (["market=reservation"], ("fleet.reservation is missing", "cr-...")),
    "a reservation in another market": (
        ["reservation=cr-0123456789abcdef0", "market=spot"],
        ("fleet.reservation is set", "fleet.market is spot", "capacity-block or reservation"),
    ),
    "a reservation that is none": (
        ["market=reservation", "reservation=mine"],
        ("fleet.reservation is 'mine'", "cr-..."),
    ),
    "a block of a type that has none": (
        ["market=capacity-block", "reservation=cr-0123456789abcdef0"],
        ("capacity-block", "EC2 sells no capacity blocks of g6.xlarge"),
    ),
    "a bastion without its name": (["connect=bastion"], ("fleet.bastion is missing", "[user@]host[:port]")),
    "a bastion that is an option": (
        ["connect=bastion", "bastion=-oProxyCommand=x"],
        ("fleet.bastion is '-oProxyCommand=x'", "[user@]host[:port]"),
    ),
    "a bastion that is not used": (["bastion=gate"], ("fleet.bastion is set", "fleet.connect is public")),
    "a region that is none": (["region=Virginia"], ("fleet.region is 'Virginia'", "us-east-1")),
    "another region that is none": (['failover_regions=["us-west-2a"]'], ("fleet.failover_regions is 'us-west-2a'",)),
    "a zone of another region": (
        ["region=us-east-1", 'zones=["us-west-2a"]'],
        ("fleet.zones has 'us-west-2a'", "not a zone of us-east-1"),
    ),
    "a type that is a typing error": (["instance_type=g6.xlareg"], ("'g6.xlareg'", "did you mean g6.xlarge?")),
    "a type that is no word": (["instance_type=16"], ("fleet.instance_type is 16", "a text")),
    "more ranks than GPUs": (
        ["instance_type=g6.12xlarge"],
        ("run.nproc_per_node is 8", "g6.12xlarge has 4 GPUs", "one rank a GPU"),
    ),
}


def rented(*overrides: str) -> list[str]:
    return [f"fleet.{one}" for one in overrides]


@pytest.mark.parametrize("what", RENTED_WRONG)
def test_what_may_not_be_asked_of_ec2(what: str) -> None:
    overrides, words = RENTED_WRONG[what]
    more = ["run.accelerator=L4", "run.nproc_per_node=8"] if "GPUs" in what else []
    said = sentence(RENTED, *rented(*overrides), *more)
    assert said.startswith("profile mine.toml: ")
    for word in words:
        assert word in said
    assert len(said) < 400


def test_a_rented_fleet_has_a_type() -> None:
    said = sentence(RENTED.replace('instance_type = "g6.xlarge"\n', ""))
    assert "fleet.instance_type is missing" in said
    assert "p4d.24xlarge" in said


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["instance_type=p4d.24xlarge", "connect=elastic-ip"],
        ["instance_type=p4d.24xlarge", "efa=false"],
        ["instance_type=p4d.24xlarge", "connect=bastion", "bastion=me@gate:2222", "efa=true"],
        ["instance_type=p5.48xlarge", "connect=private", "market=capacity-block", "reservation=cr-0123456789abcdef0"],
        ["market=reservation", "reservation=cr-0123456789abcdef0"],
        [
            "region=us-east-1",
            'failover_regions=["us-west-2"]',
            'zones=["us-east-1b", "us-west-2c", "us-west-2-lax-1a"]',
        ],
        ["region=ap-southeast-3"],
    ],
)
def test_what_may_be_asked_of_ec2(overrides: list[str]) -> None:
    assert parsed(RENTED, *rented(*overrides)).fleet.provider == "aws"


def test_a_type_of_which_nothing_is_known_is_no_mistake() -> None:
    profile = parsed(RENTED, *rented("instance_type=p9.48xlarge", "efa=true"), "run.nproc_per_node=16")
    assert profile.fleet.instance_type == "p9.48xlarge"


def test_ranks_on_a_processor_may_be_as_many_as_one_likes() -> None:
    assert parsed(RENTED, "run.nproc_per_node=4").run.accelerator == "cpu"


# --- files -----------------------------------------------------------------------------------------------------------


def loading(name: str, *overrides: str) -> str:
    with pytest.raises(ProfileError) as caught:
        load(name, overrides)
    said = str(caught.value)
    assert "\n" not in said
    assert name in said
    return said


def test_a_profile_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD)
    assert load(str(file)).path == file
    assert load(str(file), ["fleet.nodes=2"]).fleet.nodes == 2


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    assert "No such file" in loading(str(tmp_path / "nowhere.toml"))
    assert "No such file" in loading("nowhere.toml")
    assert "Not a directory" in loading("/dev/null/nowhere.toml")
    assert "~nobody-of-this-name" in loading("~nobody-of-this-name/x.toml")
    assert "File name too long" in loading("x" * 5000 + ".toml")
    assert "null" in loading("a\0b.toml")


def test_a_folder_and_a_device(tmp_path: Path) -> None:
    assert "is a folder" in loading(str(tmp_path))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "is a folder" in loading(str(folder))
    assert "is not a regular file" in loading("/dev/zero")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "picture.toml"
    file.write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    assert "is not a text file (byte 0 is not UTF-8)" in loading(str(file))
    file.write_text(GOOD.replace("somebody", "Grüße"), encoding="latin-1")
    assert "is not a text file" in loading(str(file))


def test_a_built_in_name_that_is_none() -> None:
    said = loading("locla")
    assert "did you mean local?" in said
    assert all(name in said for name in builtin_names())


@pytest.mark.parametrize("name", builtin_names())
def test_the_built_in_profiles_load_and_have_a_title(name: str) -> None:
    profile = load(name)
    assert profile.name == name
    assert profile.text.startswith("# ")
    assert profile.fleet.usd_per_h is None or profile.fleet.price_note


def test_what_is_known_of_data_sets_is_so() -> None:
    assert TRAIN_IMAGES["shapes"] == len(shapes.CLASSES) * shapes.SPLITS["train"]


# --- overrides -------------------------------------------------------------------------------------------------------


def test_overrides_are_laid_over_the_file() -> None:
    profile = parsed(
        GOOD,
        "run.seed=7",
        "fleet.nodes = 2",
        "data.dir=/mnt/data",
        'run.model="resnet50"',
        "run.target.value=0.5",
        "run.nesterov=true",
        "run.max_steps=20",
    )
    assert (profile.run.seed, profile.fleet.nodes, profile.data.dir) == (7, 2, "/mnt/data")
    assert (profile.run.model, profile.run.nesterov, profile.run.max_steps) == ("resnet50", True, 20)
    assert profile.run.target is not None
    assert (profile.run.target.metric, profile.run.target.value) == ("top5", 0.5)
    assert profile.text == GOOD
    assert parse(profile.text, path=PATH, overrides=profile.overrides) == profile


def test_the_last_override_holds() -> None:
    assert parsed(GOOD, "run.seed=7", "run.seed=8").run.seed == 8


def test_an_override_for_a_section_that_the_file_has_not() -> None:
    text = GOOD.replace("[budget]\nmax_usd = 10\n", "")
    assert parsed(text, "budget.max_usd=3").budget.max_usd == 3.0


@pytest.mark.parametrize("override", ["nonsense", "seed=7", "=7", "run.=7", ".seed=7", "run..seed=7", ""])
def test_an_override_that_is_none(override: str) -> None:
    said = sentence(GOOD, override)
    assert said.startswith(f"--set {override}")
    assert "SECTION.KEY=VALUE" in said


def test_an_override_that_does_not_fit() -> None:
    assert "run.seed is 'seven'; accepted is a whole number" in sentence(GOOD, "run.seed=seven")
    assert "[run] has no key 'sed' (did you mean seed?)" in sentence(GOOD, "run.sed=7")
    assert "run.seed" in sentence(GOOD, "run.seed=1\nx=2")
    assert "phases are changed in the profile's file" in sentence(GOOD, "phase.0.lr=1")
    assert "model holds no keys" in sentence(GOOD, "run.model.name=x")


# --- what must not be in a journal -----------------------------------------------------------------------------------

SECRET = "hunter2-hunter2"
WITH_ENV = GOOD.replace("seed = 3", f'seed = 3\nenv = {{ WANDB_API_KEY = "{SECRET}", OMP_NUM_THREADS = "2" }}')


def kept(profile: Profile) -> str:
    """All of a profile that goes into the journal."""
    return profile.text + "".join(profile.overrides)


def test_a_value_of_the_environment_stays_out_of_the_text() -> None:
    profile = parsed(WITH_ENV)
    assert profile.run.env == {"WANDB_API_KEY": SECRET, "OMP_NUM_THREADS": "2"}
    assert SECRET not in kept(profile)
    assert 'OMP_NUM_THREADS = "2"' in profile.text
    assert parsed(profile.text).run.env["WANDB_API_KEY"] == "(redacted)"
    assert parsed(profile.text).text == profile.text


@pytest.mark.parametrize(
    "written",
    [
        f"WANDB_API_KEY = '{SECRET}'",
        f'"WANDB_API_KEY"="{SECRET}"',
        f"'WANDB_API_KEY' = \"{SECRET}\"",
        f'WANDB_API_KEY = "{SECRET}\\"and more"',
        f'# WANDB_API_KEY = "{SECRET}"\nWANDB_API_KEY = "{SECRET}" # {SECRET}, of May',
        f'NCCL_SECRET_TOKEN = "{SECRET}"',
        f'MY_WANDB_API_KEY = "{SECRET}"\nWANDB_API_KEY = "another-{SECRET}"',
        f'model = "{SECRET}"',
        f'# yours: {SECRET}\nNAME = "{SECRET}"',
        f'WANDB_API_KEY = """{SECRET}"""',
        f"WANDB_API_KEY = '''\n{SECRET}'''",
        f'"WANDB\\u005fAPI_KEY" = "{SECRET}"',
    ],
)
def test_however_it_is_written(written: str) -> None:
    profile = parsed(GOOD.replace("[data]", f"[run.env]\n{written}\n\n[data]"))
    assert SECRET in "".join(profile.run.env.values())
    assert SECRET not in kept(profile)
    assert profile.run.model == parsed(profile.text).run.model == "resnet-small"


def test_a_value_that_another_key_has_too_stays_there() -> None:
    text = GOOD.replace("[data]", '[run.env]\nHF_HOME = "/mnt/here"\n\n[data]\ndir = "/mnt/here"')
    profile = parsed(parsed(text).text)
    assert profile.data.dir == "/mnt/here"
    assert profile.run.env == {"HF_HOME": "(redacted)"}


@pytest.mark.parametrize("written", [f'A_KEY = """{SECRET}\\t"""', f'"A\\u005fKEY" = "{SECRET}\\t"'])
def test_what_cannot_be_kept_out_is_refused_without_being_told(written: str) -> None:
    said = sentence(GOOD.replace("[data]", f"[run.env]\n{written}\n\n[data]"))
    assert "cannot be kept out of the journal" in said
    assert "_KEY" in said
    assert SECRET not in said


def test_a_value_given_on_the_command_line_stays_out_too() -> None:
    profile = parsed(WITH_ENV, f"run.env.HF_TOKEN={SECRET}", "run.env.OMP_NUM_THREADS=4")
    assert profile.run.env == {"WANDB_API_KEY": SECRET, "HF_TOKEN": SECRET, "OMP_NUM_THREADS": "4"}
    assert profile.overrides == ('run.env.HF_TOKEN="(redacted)"', "run.env.OMP_NUM_THREADS=4")
    assert SECRET not in kept(profile)


@pytest.mark.parametrize(
    "override",
    [
        f'run.env={{ HF_TOKEN = "{SECRET}" }}',
        f'run={{ env = {{ HF_TOKEN = "{SECRET}" }} }}',
        f"run.env.HF_TOKEN.x={SECRET}",
    ],
)
def test_other_ways_to_give_it_are_refused(override: str) -> None:
    said = sentence(GOOD, override)
    assert said.startswith(("--set run", "profile mine.toml: run.env.HF_TOKEN"))
    if override.startswith("run.env"):
        assert SECRET not in said


def test_a_wrong_environment_is_told_without_its_values() -> None:
    assert SECRET not in sentence(WITH_ENV.replace('OMP_NUM_THREADS = "2"', "OMP_NUM_THREADS = 2"))


# --- the record of 2018 ----------------------------------------------------------------------------------------------


def test_the_recipe_of_2018() -> None:
    profile = load("imagenet-16x-p3")
    images, ranks = profile.train_images, profile.world_size
    assert (images, ranks, profile.run.model) == (1_281_167, 128, "resnet50")
    batches = [phase.batch_size_per_gpu * ranks for phase in profile.phases]
    assert batches == [8_192, 16_384, 8_192, 24_576, 24_576, 16_384, 16_384]
    assert [steps_per_epoch(images, batch) for batch in batches] == [157, 79, 157, 53, 53, 79, 79]
    assert [(phase.start_epoch, phase.end_epoch) for phase in profile.phases] == [
        (0, 6),
        (6, 16),
        (16, 19),
        (19, 31),
        (31, 37),
        (37, 38),
        (38, 50),
    ]
    assert [phase.image_size for phase in profile.phases] == [128, 128, 224, 224, 224, 288, 288]
    assert [phase.rectangular for phase in profile.phases] == [False] * 5 + [True] * 2
    assert [lr_at(profile.phases, epoch, 1, 10**9) for epoch in (0, 6, 16, 19, 31, 37, 38)] == pytest.approx(
        [1.88, 3.76, 1.88, 0.564, 0.0564, 0.0376, 0.00376]
    )
    assert lr_at(profile.phases, 5, 157, 157) == pytest.approx(3.76)
    assert total_steps(profile.phases, images, ranks) == 6 * 157 + 10 * 79 + 3 * 157 + 18 * 53 + 13 * 79


def test_the_record_of_2018() -> None:
    profile = load("imagenet-16x-p3")
    record, fleet = profile.record, profile.fleet
    assert record is not None
    assert (record.minutes_to_target, record.usd_to_target) == (18.09, 118.07)
    assert fleet.usd_per_h is not None
    assert fleet.usd_per_h_on_demand is not None
    assert 16 * fleet.usd_per_h_on_demand * 18.087 / 60 == pytest.approx(118.07, abs=0.02)
    target = profile.run.target
    assert target is not None
    reached = next(mark for mark in record.curve if mark.top5 >= target.value)
    assert reached.elapsed_s / 60 == pytest.approx(18.09, abs=0.01)
    assert list(record.curve) == sorted(record.curve, key=lambda mark: mark.elapsed_s)


# --- any table -------------------------------------------------------------------------------------------------------

SCALARS: Any = (
    st.booleans()
    | st.integers(-10, 2000)
    | st.integers()
    | st.sampled_from([10**400, -(10**400)])
    | st.floats()
    | st.sampled_from(["local", "static", "aws", "shapes", "top5", "resnet-small", "a", "-x", "", "~"])
    | st.text(max_size=6)
    | st.dates()
)
KEYS = (
    st.sampled_from(["provider", "nodes", "hosts", "base_port", "price_note", "max_usd", "dataset", "curve", "name"])
    | st.sampled_from(["model", "target", "metric", "value", "env", "seed", "A_KEY"])
    | st.sampled_from(["epochs", "image_size", "batch_size_per_gpu", "lr"])
    | st.text(max_size=4)
)
VALUES: Any = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
TABLES: Any = st.dictionaries(
    st.sampled_from(["fleet", "budget", "run", "data", "phase", "record", "else"]),
    st.dictionaries(KEYS, VALUES, max_size=5) | VALUES,
    max_size=6,
)


def toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
    if isinstance(value, float):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf") if math.isinf(value) else repr(value)
    return str(value)


def accepted(text: str, *overrides: str) -> Profile | None:
    """The profile, or None after a sentence; any other exception is a bug."""
    try:
        return parsed(text, *overrides)
    except ProfileError:
        return None


@settings(deadline=None, max_examples=300)
@given(TABLES, st.lists(st.sampled_from(["run.seed", "run.env.X", "fleet.nodes", "data"]) | KEYS, max_size=2), VALUES)
@example({"run": {"env": {"A_KEY": "x\n"}, "model": math.nan}}, [], 0)
def test_any_table_is_a_profile_or_a_sentence(table: dict[str, Any], keys: list[str], value: Any) -> None:
    laid_over = tomllib.loads(GOOD)
    for section, keys_of_it in table.items():
        mixed = isinstance(laid_over.get(section), dict) and isinstance(keys_of_it, dict)
        laid_over[section] = {**laid_over[section], **keys_of_it} if mixed else keys_of_it
    text = "".join(f"{toml(key)} = {toml(one)}\n" for key, one in laid_over.items())
    overrides = [f"{key}={toml(value)}" for key in keys]
    for profile in (accepted(text), accepted(text, *overrides), accepted(GOOD, *overrides)):
        if profile is not None:
            assert parse(profile.text, path=PATH, overrides=profile.overrides).phases == profile.phases


@settings(deadline=None)
@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")), st.text(max_size=20))
def test_any_text_is_a_profile_or_a_sentence(text: str, override: str) -> None:
    accepted(text)
    accepted(GOOD + text)
    accepted(GOOD, override)
    accepted(GOOD, f"run.{override}")


def test_the_built_in_profiles_lie_where_they_are_looked_for() -> None:
    assert builtin_folder().is_dir()
    assert {"local", "imagenet-16x-p3"} <= set(builtin_names())
