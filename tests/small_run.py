"""Small runs for tests of the main path: a profile of a few steps, and ways to wait for what happens in a run."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from console.fleet.choose import provider_of
from console.journal.directory import RunDirectory
from console.live.live_run import LiveRun
from console.profile.load import parse
from console.profile.schema import Profile
from console.state.run import Run
from console.state.series import Series

PROFILE = """\
# A few steps on shapes.
[fleet]
provider = "local"
nodes = 2
usd_per_h = 7.344
usd_per_h_on_demand = 24.48

[budget]
lease_minutes = {lease_minutes}

[run]
model = "resnet-small"
max_restarts = {max_restarts}
max_steps = {max_steps}
{run}

[data]
dataset = "shapes"
dir = "{data}"

[[phase]]
epochs = [0, 50]
image_size = 16
batch_size_per_gpu = {batch}
lr = 0.05
"""


def profile(
    *,
    nodes: int = 2,
    max_steps: int = 6,
    batch: int = 8,
    run: str = "",
    lease_minutes: float = 1.0,
    max_restarts: int = 1,
    fleet: str = "",
    data: str = "~/.fastconsole/data",
) -> Profile:
    """A profile of `max_steps` steps on embedded hosts, or on those that `fleet` (TOML lines) names."""
    text = PROFILE.format(
        max_steps=max_steps, batch=batch, run=run, lease_minutes=lease_minutes, max_restarts=max_restarts, data=data
    )
    if fleet:
        text = text.replace('provider = "local"\nnodes = 2\n', fleet)
        return parse(text, path=Path("small.toml"))
    return parse(text, path=Path("small.toml"), overrides=[f"fleet.nodes={nodes}"])


def start(given: Profile) -> LiveRun:
    """A new live run, not driven yet."""
    directory = RunDirectory.create(given.name)
    directory.take()
    live = LiveRun(given, directory, provider_of(given, directory))
    live.begin()
    return live


async def until(live: LiveRun, what: Callable[[Run], bool], timeout_s: float = 120.0) -> Run:
    """Waits until the run is so; fails with the run's last words where it ends or time passes before."""
    loop = asyncio.get_running_loop()
    so = loop.create_future()

    def look(before: Run, after: Run, record: object) -> None:
        if not so.done() and (what(after) or not after.live):
            so.set_result(after)

    live.observe(look)
    if what(live.run):
        return live.run
    await asyncio.wait([so], timeout=timeout_s)
    assert so.done(), f"not so in {timeout_s:g} s: {_so_far(live.run)}"
    assert what(live.run) or what(so.result()), _so_far(live.run)
    return live.run


def _so_far(run: Run) -> str:
    nodes = ", ".join(f"{node.node} {node.status}" for node in run.nodes)
    step = run.step.step if run.step is not None else None
    lines = "\n".join(f"node {line.node}: {line.text}" for line in list(run.log)[-20:])
    alerts = "\n".join(alert.text for alert in run.alerts)
    return f"{run.status}: {run.reason}; step {step}, attempt {run.attempt}; {nodes}\n{alerts}\n{lines}"


def losses(run: Run) -> dict[int, float | None]:
    """Loss by step."""
    return {point.step: point.loss for point in run.points}


def differences(one: Any, other: Any, where: str = "run") -> list[str]:
    """The fields in which two states differ, by name; empty where they are equal field by field."""
    if dataclasses.is_dataclass(one) and type(one) is type(other):
        return [
            difference
            for field in dataclasses.fields(one)
            for difference in differences(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
        ]
    if isinstance(one, (tuple, Series)) and type(one) is type(other):
        if len(one) != len(other):
            return [f"{where}: {len(one)} and {len(other)} long"]
        return [
            difference
            for place, (a, b) in enumerate(zip(one, other, strict=True))
            for difference in differences(a, b, f"{where}[{place}]")
        ]
    return [] if one == other else [f"{where}: {one!r:.60} and {other!r:.60}"]


def processes(folder: Path) -> dict[int, str]:
    """Live processes whose command line or working folder or home is under the folder: pid to command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                continue
            line = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            about = line + entry.joinpath("environ").read_bytes().decode(errors="replace")
            about += str(entry.joinpath("cwd").readlink())
        except OSError:
            continue
        if str(folder) in about:
            found[int(entry.name)] = line
    return found


def none_left(folder: Path, within_s: float = 60.0) -> dict[int, str]:
    """Waits for the end of all processes of the folder; those that are left when the time is up."""
    end = time.monotonic() + within_s
    while (left := processes(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return left
