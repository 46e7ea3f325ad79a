"""A small run on rented hosts: a profile for the fake AWS whose instances are machines with loopback addresses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import small_run

ONE_THREAD = 'env = { OMP_NUM_THREADS = "1" }'
"""All hosts share this machine's cores: more threads would only wait for each other."""

FLEET = """\
provider = "aws"
nodes = {nodes}
instance_type = "{instance_type}"
region = "us-east-1"
market = "{market}"
on_loss = "{on_loss}"
connect = "private"
user = "root"
ssh_from = "127.0.0.1/32"
{more}
"""


def profile(
    folder: Path,
    cache_home: Path,
    *,
    nodes: int = 2,
    max_steps: int = 20,
    market: str = "spot",
    on_loss: str = "end",
    instance_type: str = "g4dn.xlarge",
    lease_minutes: float = 2.0,
    run: str = "",
    more: str = "",
) -> Path:
    """Writes the profile of a run of `max_steps` steps; `run` and `more` are further lines of [run] and [fleet]."""
    text = small_run.PROFILE.format(
        max_steps=max_steps,
        batch=8,
        run=f'python = "{sys.executable}"\n{run or ONE_THREAD}',
        lease_minutes=lease_minutes,
        max_restarts=1,
        data=cache_home / "fastconsole" / "data",
    )
    fleet = FLEET.format(nodes=nodes, instance_type=instance_type, market=market, on_loss=on_loss, more=more)
    head, _, tail = text.partition("[fleet]\n")
    path = folder / "small.toml"
    path.write_text(f"{head}[fleet]\n{fleet}\n[budget]{tail.partition('[budget]')[2]}")
    return path


def console(*words: str, timeout_s: float = 280.0) -> subprocess.CompletedProcess[str]:
    """A command as a user types it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "console", *words], capture_output=True, text=True, timeout=timeout_s, check=False
    )
