"""The agent as a real daemon, started and commanded through `remote.agent.attach` as a console does it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote.wire.job import Job, Recipe
from remote.wire.layout import HOST_PID, JOURNAL, host_folder
from remote.wire.schedule import Phase

ROOT = Path(__file__).parent.parent
PHASE = Phase(start_epoch=0, end_epoch=1, image_size=16, batch_size_per_gpu=4, lr_start=0.1, lr_end=0.1)
RECIPE = Recipe(model="resnet-small", dataset="shapes", data_dir="~/data", phases=(PHASE,))


class Host:
    """A home folder, and a process that stands for an embedded host."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])

    def console(self, job: Job, *commands: dict[str, Any]) -> list[dict[str, Any]]:
        """Starts the agent, gives it the commands, and returns its journal once it has ended."""
        lines = [job.to_json(), *(json.dumps({"id": str(n), **command}) for n, command in enumerate(commands))]
        attach = subprocess.Popen(
            [sys.executable, "-m", "remote.agent", "attach", job.run_id, str(job.node), "--start"],
            cwd=ROOT,
            env={**os.environ, "HOME": str(self.home), HOST_PID: str(self.process.pid)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert attach.stdin is not None
        assert attach.stdout is not None
        attach.stdin.write("".join(f"{line}\n" for line in lines).encode())
        attach.stdin.flush()
        # Open until the agent has ended: its end would otherwise be this console's, too.
        told = [json.loads(line) for line in attach.stdout]
        attach.stdin.close()
        assert attach.wait(30) == 0
        assert told == [json.loads(line) for line in self.journal(job).read_text().splitlines()]
        return told

    def journal(self, job: Job) -> Path:
        return self.home / host_folder(job.run_id, job.node) / JOURNAL


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.process.kill()
    host.process.wait()


def job(**changes: Any) -> Job:
    return Job(run_id="run", node=0, nnodes=1, nproc_per_node=1, recipe=RECIPE, address="127.0.0.1", **changes)


def only(told: list[dict[str, Any]], event: str) -> dict[str, Any]:
    (found,) = (record for record in told if record["event"] == event)
    return found


def test_the_lease_ends_the_embedded_host(host: Host) -> None:
    told = host.console(job(embedded=1, lease_s=0.3, lease_end="host"))
    assert only(told, "AgentEnded")["reason"] == "the lease ran out"
    # The deadline of a lease of 0.3 s, given just after the agent started.
    started, expired = only(told, "AgentStarted"), only(told, "LeaseExpired")
    assert 0 < expired["deadline_t"] - started["t"] <= expired["t"] - started["t"]
    assert host.process.wait(10) == -15


def test_the_console_ends_the_agent_and_not_the_host_whatever_the_reason(host: Host) -> None:
    told = host.console(
        job(embedded=1, lease_s=60, lease_end="host"), {"command": "end", "reason": "the lease ran out"}
    )
    assert only(told, "AgentEnded")["reason"] == "the lease ran out"
    agent = Path(f"/proc/{only(told, 'AgentStarted')['pid']}")
    deadline = time.monotonic() + 30
    while agent.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert host.process.poll() is None


def test_a_command_of_another_name_reaches_no_method(host: Host) -> None:
    names = ["_end", "run", "__init__", "take_commands", "nonsense"]
    told = host.console(job(), *({"command": name} for name in names), {"command": "end"})
    answers = {record["command"]: record for record in told if record["event"] == "CommandDone"}
    for name in names:
        assert not answers[name]["ok"]
        assert answers[name]["detail"] == "this agent does not know it"
    assert answers["end"]["ok"]


def test_a_command_is_executed_once_and_answered_once(host: Host) -> None:
    told = host.console(
        job(), {"command": "pause", "id": "x"}, {"command": "resume", "id": "x"}, {"command": "end", "id": "y"}
    )
    answers = [(record["id"], record["command"]) for record in told if record["event"] == "CommandDone"]
    assert answers == [("x", "pause"), ("y", "end")]


def test_requests_add_up_until_the_next_start(host: Host) -> None:
    names = ["pause", "checkpoint", "checkpoint", "resume", "pause", "drain", "checkpoint"]
    told = host.console(job(), *({"command": name} for name in names), {"command": "end"})
    assert all(record["ok"] for record in told if record["event"] == "CommandDone")
    control = json.loads((host.journal(job()).parent / "control.json").read_text())
    assert control == {"paused": False, "stop": True, "checkpoint": 3}


def test_a_trainer_that_cannot_hold_the_rendezvous_is_not_started(host: Host) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        start = {"command": "start", "rdzv_id": "run", "rdzv_node": 0, "nnodes": 1, "attempt": 1}
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        told = host.console(job(), {**start, "rdzv_endpoint": endpoint}, {"command": "end"})
    (answer,) = (record for record in told if record.get("command") == "start")
    assert not answer["ok"]
    assert answer["detail"].startswith("port ")
    assert "TrainerStarted" not in {record["event"] for record in told}
