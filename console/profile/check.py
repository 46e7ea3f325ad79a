"""TODO docstring: console/profile/check.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from console.profile import alerts as alert_keys
from console.profile import ec2_rules, phases, redaction, staging, values
from console.profile.alerts import AlertKeys
from console.profile.redaction import REDACTED
from console.profile.schema import (
    CONNECTS,
    DATA_DIR,
    DATASETS,
    MARKETS,
    METRICS,
    ON_LOSS,
    PROVIDERS,
    Budget,
    Data,
    Fleet,
    Mark,
    Profile,
    RaceRecord,
    RunSection,
    Target,
)
from remote.wire.job import COMPILES, GRADIENT_PRECISIONS, OPTIMIZERS, PRECISIONS

WITHOUT_BF16 = ("P100", "T4", "V100")
"""GPUs that train without bf16: NVIDIA's have it from Ampere (2020) on."""


_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _profile(table: Mapping[str, Any], path: Path, text: str, overrides: tuple[str, ...]) -> Profile:
    values.known(table, ("fleet", "budget", "run", "data", "phase", "record", "alerts"), "")
    for section in ("fleet", "run", "data"):
        if section not in table:
            raise values.Mistake(f"has no [{section}] section")
    alerts = _alerts(values.table(table, "alerts") if "alerts" in table else {})
    run_table = dict(values.table(table, "run"))
    if isinstance(run_table.get("env"), dict):
        _check_env(run_table["env"])
    target = run_table.pop("target", None)
    run = values.section(RunSection, run_table, "run", skip=("target",))
    if target is not None:
        if not isinstance(target, dict):
            raise values.Mistake(
                f'run.target is {values.shown(target)}; accepted is {{ metric = "top5", value = 0.93 }}'
            )
        run = replace(run, target=values.section(Target, target, "run.target"))
    record_table = dict(values.table(table, "record")) if "record" in table else None
    record = None
    if record_table is not None:
        curve = _curve(record_table.pop("curve", []))
        record = replace(values.section(RaceRecord, record_table, "record", skip=("curve",)), curve=curve)
    fleet_table = values.table(table, "fleet")
    if fleet_table.get("provider") == "static" and isinstance(fleet_table.get("hosts"), list):
        fleet_table = {"nodes": len(fleet_table["hosts"]), **fleet_table}
    profile = Profile(
        name=path.stem,
        path=path,
        text=redaction.redacted(text),
        overrides=tuple(redaction.shown_override(override) for override in overrides),
        fleet=values.section(Fleet, fleet_table, "fleet"),
        budget=values.section(Budget, values.table(table, "budget") if "budget" in table else {}, "budget"),
        run=run,
        data=values.section(Data, values.table(table, "data"), "data"),
        phases=phases.parse(table.get("phase", [])),
        record=record,
        alerts=alerts,
    )
    _check(profile)
    return profile


def _check_env(env: Mapping[str, Any]) -> None:
    """Names and types of `run.env`, in words that show no value: it may be a secret."""
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name):
            raise values.Mistake(f"run.env has {values.shown(name)}; accepted are names of letters, digits and _")
        if not isinstance(value, str):
            raise values.Mistake(f"run.env.{name} is no text; accepted is a text in quotes")
        if "\0" in value:
            raise values.Mistake(f"run.env.{name} holds a null character, which no environment can")


def _alerts(table: Mapping[str, Any]) -> AlertKeys:
    try:
        return alert_keys.parse(table, REDACTED)
    except ValueError as mistake:
        raise values.Mistake(str(mistake)) from None


def _curve(points: object) -> tuple[Mark, ...]:
    accepted = "[[hours, top1, top5], ...] with accuracies as fractions"
    if not isinstance(points, list):
        raise values.Mistake(f"record.curve is {values.shown(points)}; accepted is {accepted}")
    marks = []
    for point in points:
        good = isinstance(point, list) and len(point) == 3 and all(type(value) in (int, float) for value in point)
        if not good or not 0 <= point[0] < 1e6 or not 0 <= point[1] <= 1 or not 0 <= point[2] <= 1:
            raise values.Mistake(f"record.curve has {values.shown(point)}; accepted is {accepted}")
        marks.append(Mark(elapsed_s=point[0] * 3600.0, top1=float(point[1]), top5=float(point[2])))
    return tuple(marks)


def _check(profile: Profile) -> None:
    fleet, run, data, budget = profile.fleet, profile.run, profile.data, profile.budget
    values.inside(fleet.provider, str, lambda v: v in PROVIDERS, "fleet.provider", " or ".join(PROVIDERS))
    values.inside(fleet.market, str, lambda v: v in MARKETS, "fleet.market", " or ".join(MARKETS))
    values.inside(fleet.connect, str, lambda v: v in CONNECTS, "fleet.connect", " or ".join(CONNECTS))
    values.inside(fleet.on_loss, str, lambda v: v in ON_LOSS, "fleet.on_loss", " or ".join(ON_LOSS))
    values.inside(fleet.ssh_port, int, lambda v: 1 <= v <= 65535, "fleet.ssh_port", "1 to 65535")
    values.inside(fleet.volume_gib, int, lambda v: 8 <= v <= 65536, "fleet.volume_gib", "8 to 65536 GiB")
    values.inside(fleet.nodes, int, lambda v: 1 <= v <= 1024, "fleet.nodes", "1 to 1024")
    values.inside(run.nproc_per_node, int, lambda v: 1 <= v <= 64, "run.nproc_per_node", "1 to 64")
    values.inside(run.seed, int, lambda v: 0 <= v < 2**32, "run.seed", "0 to 4294967295")
    values.inside(run.max_restarts, int, lambda v: 0 <= v <= 100, "run.max_restarts", "0 to 100")
    values.inside(run.checkpoint_epochs, int, lambda v: 1 <= v <= 10_000, "run.checkpoint_epochs", "1 to 10000")
    last = profile.phases[-1].end_epoch - 1
    values.inside(run.eval_from, int, lambda v: 0 <= v <= last, "run.eval_from", f"0 to the last epoch, {last}")
    values.inside(run.momentum, float, lambda v: 0 <= v < 1, "run.momentum", "0 up to but not 1")
    values.inside(run.weight_decay, float, lambda v: 0 <= v < 1, "run.weight_decay", "0 up to but not 1")
    values.inside(run.label_smoothing, float, lambda v: 0 <= v < 1, "run.label_smoothing", "0 up to but not 1")
    _check_learning(profile)
    values.inside(data.dataset, str, lambda v: v in DATASETS, "data.dataset", " or ".join(DATASETS))
    for mistake in staging.mistakes(data.dataset, data.dir if data.dir != DATA_DIR else None, data.stage_from):
        raise values.Mistake(mistake)
    values.inside(data.loader_workers, int, lambda v: 0 <= v <= 256, "data.loader_workers", "0 to 256")
    values.inside(budget.warn_at, float, lambda v: 0 < v <= 1, "budget.warn_at", "above 0, up to 1")
    values.inside(
        budget.lease_minutes, float, lambda v: 0.2 <= v <= 10_080, "budget.lease_minutes", "0.2 to 10080 minutes"
    )
    for key, price in (
        ("fleet.usd_per_h", fleet.usd_per_h),
        ("fleet.usd_per_h_on_demand", fleet.usd_per_h_on_demand),
        ("budget.max_usd", budget.max_usd),
    ):
        if price is not None:
            values.inside(price, float, lambda v: 0 < v < 1e7, key, "dollars, above 0")
    for key, port in (("fleet.base_port", fleet.base_port), ("run.rdzv_port", run.rdzv_port)):
        if port is not None:
            values.inside(port, int, lambda v: 1 <= v <= 65535, key, "1 to 65535")
    if fleet.base_port is not None and fleet.base_port + fleet.nodes > 65536:
        raise values.Mistake(
            f"fleet.base_port is {fleet.base_port}; with {fleet.nodes} nodes at most {65536 - fleet.nodes}"
        )
    if run.target is not None:
        values.inside(run.target.metric, str, lambda v: v in METRICS, "run.target.metric", " or ".join(METRICS))
        values.inside(
            run.target.value,
            float,
            lambda v: 0 < v <= 1,
            "run.target.value",
            "a fraction, above 0 up to 1 (0.93, not 93)",
        )
    if run.max_steps is not None:
        values.inside(run.max_steps, int, lambda v: v >= 1, "run.max_steps", "1 or more")
    if data.train_images is not None:
        values.inside(data.train_images, int, lambda v: v >= 1, "data.train_images", "1 or more")
    if profile.record is not None:
        for key, figure in (
            ("record.minutes_to_target", profile.record.minutes_to_target),
            ("record.usd_to_target", profile.record.usd_to_target),
        ):
            if figure is not None:
                values.inside(figure, float, lambda v: v > 0, key, "a number above 0")
        last, number = profile.phases[-1].end_epoch, profile.record.epochs_to_target
        if number is not None:
            values.inside(
                number, int, lambda v: 1 <= v <= last, "record.epochs_to_target", f"1 to the profile's {last} epochs"
            )
    if fleet.provider == "static":
        if not fleet.hosts:
            raise values.Mistake('fleet.hosts is missing; provider static takes hosts = ["user@host", ...]')
        if fleet.nodes > len(fleet.hosts):
            raise values.Mistake(f"fleet.nodes is {fleet.nodes} but fleet.hosts names {len(fleet.hosts)}")
        for host in fleet.hosts:
            if not values.HOST.fullmatch(host):
                raise values.Mistake(f"fleet.hosts has {values.shown(host)}; accepted is [user@]host[:port]")
    elif fleet.hosts:
        raise values.Mistake(f"fleet.hosts is set, but provider {fleet.provider} makes its own hosts")
    if fleet.provider == "aws":
        for mistake in ec2_rules.mistakes(fleet, run):
            raise values.Mistake(mistake)
    images = profile.train_images
    for number, phase in enumerate(profile.phases):
        batch = phase.batch_size_per_gpu * profile.world_size
        if images is not None and batch > images:
            raise values.Mistake(
                f"phase {number + 1}: batch_size_per_gpu is {phase.batch_size_per_gpu}, a global batch of {batch:,} "
                f"on {profile.world_size} ranks, and {data.dataset} has {images:,} training images to fill it; "
                f"at most {images // profile.world_size} fit"
            )
        group = run.batch_norm_group
        if group is not None and (group < 2 or phase.batch_size_per_gpu % group):
            raise values.Mistake(
                f"run.batch_norm_group is {group}; it has to divide phase {number + 1}'s batch_size_per_gpu "
                f"({phase.batch_size_per_gpu}) and be 2 or more"
            )


def _check_learning(profile: Profile) -> None:
    """What `[run]` says of the optimiser and the precision."""
    run = profile.run
    for key, word, words in (
        ("run.optimizer", run.optimizer, OPTIMIZERS),
        ("run.precision", run.precision, PRECISIONS),
        ("run.gradient_precision", run.gradient_precision, GRADIENT_PRECISIONS),
        ("run.compile", run.compile, COMPILES),
    ):
        if word not in words:
            raise values.Mistake(f"{key} is {values.shown(word)}; accepted is {' or '.join(words)}")
    values.inside(run.trust_coefficient, float, lambda v: 0 < v <= 1, "run.trust_coefficient", "above 0, up to 1")
    values.inside(run.ema_decay, float, lambda v: 0 <= v < 1, "run.ema_decay", "0 up to but not 1")
    values.inside(run.ema_every, int, lambda v: 1 <= v <= 10_000, "run.ema_every", "1 to 10000 steps")
    for key, word in (("run.precision", run.precision), ("run.gradient_precision", run.gradient_precision)):
        if word == "bf16" and run.accelerator in WITHOUT_BF16:
            raise values.Mistake(f"{key} is 'bf16', which a {run.accelerator} has not; accepted is fp16 or fp32 there")
    momenta = [run.momentum, *(one for phase in profile.phases if (one := phase.momentum_start) is not None)]
    if run.nesterov and min(momenta) == 0:
        raise values.Mistake("run.nesterov is true, and a momentum is 0; Nesterov's look ahead needs one above 0")
