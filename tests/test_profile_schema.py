"""The sections of a profile: what each key accepts, that it is documented, and that it reaches the job."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from console.profile import alerts, phases, schema, values
from console.profile.alerts import AlertKeys
from console.profile.load import parse
from console.profile.phases import PhaseSection
from console.profile.schema import Budget, Data, Fleet, Profile, ProfileError, RaceRecord, RunSection, Target
from remote.wire.job import Job, Recipe

GOOD = """\
[fleet]
provider = "local"
nodes = 2

[run]
model = "resnet-small"
nproc_per_node = 3

[data]
dataset = "shapes"

[[phase]]
epochs = [0, 4]
image_size = 24
batch_size_per_gpu = 16
lr = 0.1
"""

SECTIONS = {
    "fleet": Fleet,
    "budget": Budget,
    "run": RunSection,
    "run.target": Target,
    "data": Data,
    "record": RaceRecord,
    "phase": PhaseSection,
    "alerts": AlertKeys,
}


def parsed(*overrides: str) -> Profile:
    return parse(GOOD, path=Path("mine.toml"), overrides=overrides)


# --- the recipe ------------------------------------------------------------------------------------------------------

SET = {
    "model": ("run.model=resnet50", "resnet50"),
    "dataset": ("data.dataset=packed", "packed"),
    "data_dir": ("data.dir=/mnt/data", "/mnt/data"),
    "target_metric": ('run.target={ metric = "top1", value = 0.5 }', "top1"),
    "target_value": ('run.target={ metric = "top1", value = 0.5 }', 0.5),
    "seed": ("run.seed=7", 7),
    "optimizer": ("run.optimizer=lars", "lars"),
    "momentum": ("run.momentum=0.8", 0.8),
    "nesterov": ("run.nesterov=true", True),
    "weight_decay": ("run.weight_decay=0.01", 0.01),
    "trust_coefficient": ("run.trust_coefficient=0.002", 0.002),
    "ema_decay": ("run.ema_decay=0.9", 0.9),
    "ema_every": ("run.ema_every=3", 3),
    "label_smoothing": ("run.label_smoothing=0.1", 0.1),
    "blurpool": ("run.blurpool=true", True),
    "precision": ("run.precision=fp16", "fp16"),
    "gradient_precision": ("run.gradient_precision=bf16", "bf16"),
    "compile": ("run.compile=default", "default"),
    "batch_norm_group": ("run.batch_norm_group=8", 8),
    "loader_workers": ("data.loader_workers=2", 2),
    "checkpoint_epochs": ("run.checkpoint_epochs=5", 5),
    "eval_from": ("run.eval_from=3", 3),
    "eval_flip": ("run.eval_flip=true", True),
    "world_size": ("fleet.nodes=4", 12),
    "max_steps": ("run.max_steps=20", 20),
}
"""For each field of a recipe an override that sets it, and the value that the field has then."""


@pytest.mark.parametrize("name", [field.name for field in fields(Recipe) if field.name != "phases"])
def test_every_field_of_a_recipe_has_a_source_in_the_profile_and_reaches_the_job(name: str) -> None:
    override, value = SET[name]
    recipe = parsed(override).recipe()
    assert getattr(parsed().recipe(), name) != value, "the override has to change it"
    assert getattr(recipe, name) == value
    sent = Job(run_id="x", node=0, nnodes=4, nproc_per_node=3, recipe=recipe, address="").to_json()
    assert getattr(Job.from_json(sent).recipe, name) == value


def test_the_phases_reach_the_job() -> None:
    profile = parsed()
    job = Job(run_id="x", node=0, nnodes=2, nproc_per_node=3, recipe=profile.recipe(), address="")
    assert Job.from_json(job.to_json()).recipe.phases == profile.phases


def test_what_a_profile_leaves_out_is_what_a_recipe_leaves_out() -> None:
    """The defaults stand in the section and in the recipe: they are the same."""
    wanted = {"model", "dataset", "data_dir", "phases"}
    given: dict[str, Any] = {name: getattr(parsed().recipe(), name) for name in wanted}
    assert dataclasses.replace(parsed().recipe(), world_size=None) == Recipe(**given)


# --- what a key accepts ----------------------------------------------------------------------------------------------

EDGES = [
    ("fleet.nodes", [1, 1024], [0, 1025]),
    ("fleet.ssh_port", [1, 65535], [0, 65536]),
    ("fleet.base_port", [1, 65534], [0, 65536]),
    ("fleet.volume_gib", [8, 65536], [7, 65537]),
    ("fleet.usd_per_h", [0.01, 9_999_999.0], [0.0, -1.0, 10_000_000.0]),
    ("fleet.usd_per_h_on_demand", [0.01, 9_999_999.0], [0.0, -1.0, 10_000_000.0]),
    ("budget.max_usd", [0.01, 9_999_999.0], [0.0, -1.0, 10_000_000.0]),
    ("budget.warn_at", [0.01, 1.0], [0.0, 1.01]),
    ("budget.lease_minutes", [0.2, 10_080], [0.19, 10_081.0]),
    ("run.nproc_per_node", [1, 64], [0, 65]),
    ("run.max_restarts", [0, 100], [-1, 101]),
    ("run.rdzv_port", [1, 65535], [0, 65536]),
    ("run.seed", [0, 2**32 - 1], [-1, 2**32]),
    ("run.momentum", [0.0, 0.999], [-0.1, 1.0]),
    ("run.weight_decay", [0.0, 0.999], [-0.1, 1.0]),
    ("run.label_smoothing", [0.0, 0.999], [-0.1, 1.0]),
    ("run.ema_decay", [0.0, 0.999], [-0.1, 1.0]),
    ("run.trust_coefficient", [0.0001, 1.0], [0.0, 1.1]),
    ("run.ema_every", [1, 10_000], [0, 10_001]),
    ("run.checkpoint_epochs", [1, 10_000], [0, 10_001]),
    ("run.batch_norm_group", [2, 16], [1, 0, -2]),
    ("run.max_steps", [1, 10**9], [0, -1]),
    # The schedule has four epochs, of which 3 is the last.
    ("run.eval_from", [0, 3], [-1, 4]),
    ("data.loader_workers", [0, 256], [-1, 257]),
    ("data.train_images", [96, 10**9], [0, -1]),
    ("record.minutes_to_target", [0.1], [0.0, -1.0]),
    ("record.usd_to_target", [0.1], [0.0, -1.0]),
    ("record.epochs_to_target", [1, 4], [0, 5]),
]


@pytest.mark.parametrize(("key", "within", "beyond"), EDGES, ids=[key for key, _, _ in EDGES])
def test_the_edges_of_what_a_key_accepts(key: str, within: list[float], beyond: list[float]) -> None:
    more = ['record.name="x"'] if key.startswith("record") else ["data.train_images=1000000"]
    for value in within:
        parsed(*more, f"{key}={value}")
    for value in beyond:
        with pytest.raises(ProfileError) as wrong:
            parsed(*more, f"{key}={value}")
        assert f"{key} is {value}; accepted is " in str(wrong.value)


def test_an_evaluation_that_would_begin_after_the_end_is_one_sentence() -> None:
    with pytest.raises(ProfileError, match=r"run\.eval_from is 4; accepted is 0 to the last epoch, 3$"):
        parsed("run.eval_from=4")


@pytest.mark.parametrize(
    ("bounds", "text", "within", "beyond"),
    [
        (values.Bounds(1, 64), "1 to 64", (1, 64), (0, 65)),
        (values.Bounds(0), "0 or more", (0, 10**9), (-1,)),
        (values.Bounds(0, below=1), "0 up to but not 1", (0, 0.999), (-0.001, 1)),
        (values.Bounds(above=0, high=1), "above 0, up to 1", (0.001, 1), (0, 1.001)),
        (values.Bounds(above=0, below=10, unit="dollars"), "above 0, below 10 dollars", (0.01, 9.99), (0, 10)),
        (values.Bounds(0.2, 10_080, unit="minutes"), "0.2 to 10080 minutes", (0.2, 10_080), (0.1, 10_081)),
        (values.Bounds(above=0), "above 0", (0.1,), (0, -1)),
    ],
)
def test_bounds_hold_what_they_say(bounds: values.Bounds, text: str, within: Any, beyond: Any) -> None:
    assert str(bounds) == text
    assert all(map(bounds.holds, within))
    assert not any(map(bounds.holds, beyond))


def test_a_wrong_type_and_a_number_out_of_bounds_are_told_what_is_accepted() -> None:
    with pytest.raises(ProfileError, match=r"fleet\.nodes is '4'; accepted is a whole number, 1 to 1024$"):
        parsed('fleet.nodes="4"')
    with pytest.raises(ProfileError, match=r"fleet\.nodes is 0; accepted is 1 to 1024$"):
        parsed("fleet.nodes=0")
    with pytest.raises(ProfileError, match=r"run\.optimizer is 3; accepted is sgd or lars$"):
        parsed("run.optimizer=3")


def test_static_without_a_host_asks_for_hosts() -> None:
    with pytest.raises(ProfileError, match=r"fleet\.hosts is missing; provider static takes hosts = "):
        parse(GOOD.replace('"local"\nnodes = 2', '"static"\nhosts = []'), path=Path("mine.toml"))


# --- the documentation -----------------------------------------------------------------------------------------------


def documented(kind: type) -> set[str]:
    """Fields of a class that have a docstring below them."""
    (tree,) = [
        node
        for module in (schema, phases, alerts)
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__
    ]
    return {
        statement.target.id
        for statement, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_and_says_what_it_accepts(section: str) -> None:
    kind = SECTIONS[section]
    assert documented(kind) == {field.name for field in fields(kind)}
    for field in fields(kind):
        assert values.accepted_by(kind, field.name)
