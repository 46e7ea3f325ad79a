"""Whole plans as they are printed, word by word and figure by figure, beside the files in ``__snapshots__``.

The other tests of plans say why; these see that nothing else changed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pages import Pages, figures
from syrupy.assertion import SnapshotAssertion
from test_planning_plan import ASKED_T, EAST, RENTED, every_plan, planned

from console.planning import as_json, report
from console.planning.make import make
from console.planning.offer import DataSet, Offer, Reservation
from console.planning.plan import Plan
from console.planning.predict import predict
from console.profile.load import builtin_names, load, parse

HELD = Reservation(
    id="cr-0123456789",
    instance_type="p4d.24xlarge",
    zone="us-east-1b",
    state="active",
    available=2,
    end_t=ASKED_T + 300,
)


@pytest.fixture
def pages(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(Pages)


def own_hosts() -> Plan:
    text = RENTED.replace('"aws"', '"static"\nhosts = ["a", "b"]').replace('instance_type = "p4d.24xlarge"\n', "")
    profile = parse(text, path=Path("two.toml"))
    return make(profile, Offer(), predict(profile))


def others() -> dict[str, Plan]:
    """Plans of what `every_plan` has not, by what is special about them."""
    staged = ('data.stage_from="s3://sets/imagenet"', 'data.dir="/dev/shm/imagenet"')
    nobody = Offer(regions=(replace(EAST, zones=(), offered=None),))
    return {
        "own hosts": own_hosts(),
        "nobody can rent it": make(load("imagenet-16x-p3"), nobody, None),
        "staged": planned(*staged, data_set=DataSet(objects=312, total_bytes=150_000_000_000, packed=True)),
        "staged, one file": planned(*staged, data_set=DataSet(objects=1, total_bytes=150_000_000, packed=False)),
        "staged, unknown": planned(*staged),
        "reservation": planned("fleet.market=reservation", "fleet.reservation=cr-0123456789", reservation=HELD),
        "one host": planned("fleet.nodes=1", "run.nproc_per_node=4", "budget.max_usd=10"),
        "one host, private": planned("fleet.nodes=1", "fleet.connect=private", "data.dir=" + "x" * 300),
        "names that are cut": planned('data.stage_from="s3://sets/' + "y" * 300 + '"', 'data.dir="/' + "x" * 300 + '"'),
        "no EFA": planned("fleet.efa=false", "fleet.connect=private", "fleet.placement_group=false"),
        "two cards without EFA": planned(
            "fleet.instance_type=g6e.24xlarge", "fleet.efa=false", "run.accelerator=L40S", "run.nproc_per_node=4"
        ),
        "no target": planned("run.max_steps=1000", "run.gradient_precision=fp32"),
    }


def page(plan: Plan) -> str:
    return f"{report.text(plan)}\n{json.dumps(figures(as_json.as_json(plan)), indent=1, ensure_ascii=False)}\n"


def test_every_plan(pages: SnapshotAssertion) -> None:
    for number, plan in enumerate(every_plan()):
        assert page(plan) == pages(name=f"{number} {plan.profile.name}")


def test_other_plans(pages: SnapshotAssertion) -> None:
    for name, plan in others().items():
        assert page(plan) == pages(name=name)


def test_the_phases_of_every_prediction(pages: SnapshotAssertion) -> None:
    """All figures of the model, also those that no plan shows."""
    found = {name: predict(load(name)) for name in builtin_names()}
    said = {name: asdict(prediction) for name, prediction in found.items() if prediction is not None}
    lines = [
        f"{name}: {json.dumps(figures(phase))}" for name, prediction in said.items() for phase in prediction["phases"]
    ]
    assert "\n".join(lines) + "\n" == pages
