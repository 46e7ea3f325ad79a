"""From a profile's TOML table to a checked `Profile`.

What a single key accepts stands with its field (`console.profile.schema`). Here are the rules that relate several keys:
each is a generator of sentences, and the first sentence is the `Mistake`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from console.profile import alerts, ec2_rules, phases, redaction, staging, values
from console.profile.alerts import AlertKeys
from console.profile.redaction import REDACTED
from console.profile.schema import (
    DATA_DIR,
    Budget,
    Data,
    Fleet,
    Mark,
    Profile,
    RaceRecord,
    RunSection,
    Target,
)

WITHOUT_BF16: Final = ("P100", "T4", "V100")
"""GPUs that train without bf16: NVIDIA's have it from Ampere (2020) on."""
_SECTIONS: Final = ("fleet", "budget", "run", "data", "phase", "record", "alerts")
_REQUIRED: Final = ("fleet", "run", "data")
_LAST_PORT: Final = 65535
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def checked(table: Mapping[str, Any], path: Path, text: str, overrides: tuple[str, ...]) -> Profile:
    """The profile in a table of TOML, the overrides already laid over it.

    Args:
        text: the file's text, which is kept without its secrets.

    Raises:
        Mistake: something in it is wrong; one sentence.
    """
    values.known(table, _SECTIONS, "")
    for section in _REQUIRED:
        if section not in table:
            raise values.Mistake(f"has no [{section}] section")
    profile = Profile(
        name=path.stem,
        path=path,
        alerts=_alerts(_section(table, "alerts")),
        run=_run(_section(table, "run")),
        record=_record(_section(table, "record")) if "record" in table else None,
        text=redaction.redacted(text),
        overrides=tuple(redaction.shown_override(override) for override in overrides),
        fleet=_fleet(_section(table, "fleet")),
        budget=values.section(Budget, _section(table, "budget"), "budget"),
        data=values.section(Data, _section(table, "data"), "data"),
        phases=phases.parse(table.get("phase", [])),
    )
    for rule in RULES:
        for mistake in rule(profile):
            raise values.Mistake(mistake)
    return profile


# --- the sections ----------------------------------------------------------------------------------------------------


def _section(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return values.table(table, name) if name in table else {}


def _fleet(table: Mapping[str, Any]) -> Fleet:
    hosts = table.get("hosts")
    if table.get("provider") == "static" and isinstance(hosts, list) and hosts:
        table = {"nodes": len(hosts), **table}
    return values.section(Fleet, table, "fleet")


def _run(table: Mapping[str, Any]) -> RunSection:
    if isinstance(table.get("env"), dict):
        _check_env(table["env"])
    target = table.get("target")
    if target is not None:
        if not isinstance(target, dict):
            accepted = values.accepted_by(RunSection, "target")
            raise values.Mistake(f"run.target is {values.shown(target)}; accepted is {accepted}")
        target = values.section(Target, target, "run.target")
    return values.section(RunSection, table, "run", {"target": target})


def _check_env(env: Mapping[str, Any]) -> None:
    """Names and types of `run.env`, in words that show no value: it may be a secret."""
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise values.Mistake(f"run.env has {values.shown(name)}; accepted are names of letters, digits and _")
        if not isinstance(value, str):
            raise values.Mistake(f"run.env.{name} is not a text; accepted is a text in quotes")
        if "\0" in value:
            raise values.Mistake(f"run.env.{name} holds a null character, which no environment can")


def _alerts(table: Mapping[str, Any]) -> AlertKeys:
    try:
        return alerts.parse(table, REDACTED)
    except ValueError as mistake:
        raise values.Mistake(str(mistake)) from None


def _record(table: Mapping[str, Any]) -> RaceRecord:
    return values.section(RaceRecord, table, "record", {"curve": _curve(table.get("curve", []))})


def _curve(points: object) -> tuple[Mark, ...]:
    accepted = values.accepted_by(RaceRecord, "curve")
    if not isinstance(points, list):
        raise values.Mistake(f"record.curve is {values.shown(points)}; accepted is {accepted}")
    marks = []
    for point in points:
        good = isinstance(point, list) and len(point) == 3 and all(type(value) in (int, float) for value in point)
        if not good or not 0 <= point[0] < 1e6 or not 0 <= point[1] <= 1 or not 0 <= point[2] <= 1:
            raise values.Mistake(f"record.curve has {values.shown(point)}; accepted is {accepted}")
        marks.append(Mark(elapsed_s=point[0] * 3600.0, top1=float(point[1]), top5=float(point[2])))
    return tuple(marks)


# --- rules that relate several keys ----------------------------------------------------------------------------------


def _epochs_are_in_the_schedule(profile: Profile) -> Iterator[str]:
    epochs, record = profile.phases[-1].end_epoch, profile.record
    if profile.run.eval_from >= epochs:
        yield f"run.eval_from is {profile.run.eval_from}; accepted is 0 to the last epoch, {epochs - 1}"
    if record is not None and record.epochs_to_target is not None and record.epochs_to_target > epochs:
        yield f"record.epochs_to_target is {record.epochs_to_target}; accepted is 1 to the profile's {epochs} epochs"


def _precision_fits_the_gpu(profile: Profile) -> Iterator[str]:
    run = profile.run
    for key, precision in (("precision", run.precision), ("gradient_precision", run.gradient_precision)):
        if precision == "bf16" and run.accelerator in WITHOUT_BF16:
            yield f"run.{key} is 'bf16', which a {run.accelerator} does not have; accepted is fp16 or fp32 there"


def _nesterov_has_a_momentum(profile: Profile) -> Iterator[str]:
    starts = (phase.momentum_start for phase in profile.phases)
    momenta = [profile.run.momentum, *(momentum for momentum in starts if momentum is not None)]
    if profile.run.nesterov and min(momenta) == 0:
        yield "run.nesterov is true, and a momentum is 0; Nesterov momentum needs one above 0"


def _data_is_staged(profile: Profile) -> Iterator[str]:
    data = profile.data
    yield from staging.mistakes(data.dataset, data.dir if data.dir != DATA_DIR else None, data.stage_from)


def _ports_exist(profile: Profile) -> Iterator[str]:
    port, nodes = profile.fleet.base_port, profile.fleet.nodes
    if port is not None and port + nodes - 1 > _LAST_PORT:
        yield f"fleet.base_port is {port}; with {nodes} nodes at most {_LAST_PORT + 1 - nodes}"


def _hosts_fit_the_provider(profile: Profile) -> Iterator[str]:
    fleet = profile.fleet
    if fleet.provider != "static":
        if fleet.hosts:
            yield f"fleet.hosts is set, but provider {fleet.provider} makes its own hosts"
        return
    if not fleet.hosts:
        yield 'fleet.hosts is missing; provider static takes hosts = ["user@host", ...]'
    if fleet.nodes > len(fleet.hosts):
        yield f"fleet.nodes is {fleet.nodes} but fleet.hosts names {len(fleet.hosts)}"
    for host in fleet.hosts:
        if not values.HOST.fullmatch(host):
            yield f"fleet.hosts has {values.shown(host)}; accepted is [user@]host[:port]"


def _ec2_can_have_it(profile: Profile) -> Iterator[str]:
    if profile.fleet.provider == "aws":
        yield from ec2_rules.mistakes(profile.fleet, profile.run)


def _images_fill_a_global_batch(profile: Profile) -> Iterator[str]:
    images, ranks = profile.train_images, profile.world_size
    for number, phase in enumerate(profile.phases, 1):
        batch = phase.batch_size_per_gpu * ranks
        if images is not None and batch > images:
            yield (
                f"phase {number}: batch_size_per_gpu is {phase.batch_size_per_gpu}, a global batch of {batch:,} "
                f"on {ranks} ranks, and {profile.data.dataset} has {images:,} training images to fill it; "
                f"at most {images // ranks} fit"
            )


def _batch_norm_group_divides_the_batch(profile: Profile) -> Iterator[str]:
    group = profile.run.batch_norm_group
    for number, phase in enumerate(profile.phases, 1):
        if group is not None and phase.batch_size_per_gpu % group:
            yield (
                f"run.batch_norm_group is {group}; it has to divide the batch_size_per_gpu of phase {number} "
                f"({phase.batch_size_per_gpu})"
            )


RULES: Final[tuple[Callable[[Profile], Iterator[str]], ...]] = (
    _epochs_are_in_the_schedule,
    _precision_fits_the_gpu,
    _nesterov_has_a_momentum,
    _data_is_staged,
    _ports_exist,
    _hosts_fit_the_provider,
    _ec2_can_have_it,
    _images_fill_a_global_batch,
    _batch_norm_group_divides_the_batch,
)
"""In the order in which a profile is held against them."""
