"""A rented host from its boot to its end: user data, an agent, a console that is killed, and a timer that stands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncssh
import machine
import pytest
import small_run
from machine import Machine, public, uptime

from console.fleet.rental.user_data import LEASE_FILE, user_data
from console.ssh.address import HostAddress
from remote.agent.lease import GRACE_S
from remote.wire.job import Job
from remote.wire.layout import JOURNAL

pytestmark = pytest.mark.usefixtures("no_leftovers")

CONSOLE = """\
import asyncio, json, sys
from console.ssh.address import address_of
from console.ssh.channel import Channel
from console.ssh.connect import connect
from console.ssh.ship import Code, ship

async def main(given):
    address, code = address_of(given["address"]), Code.read()
    connection = await connect(address)
    await ship(connection, code, lambda done, total: None)
    channel = await Channel.open(connection, address, code, "run", offset=0, job_json=given["job"])
    asyncio.create_task(command(channel, given))
    async for piece in channel.pieces():
        sys.stdout.buffer.write(piece)
        sys.stdout.flush()

async def command(channel, given):
    for one in given["commands"]:
        channel.send(one)
    while given["lease_s"]:
        channel.send({"id": "lease", "command": "lease", "seconds": given["lease_s"], "attended": True})
        await asyncio.sleep(0.5)

asyncio.run(main(json.loads(sys.argv[1])))
"""
"""What a console does with a host, without the rest of it."""


class Rented:
    """One rented machine, and what a console needs to know of it."""

    def __init__(self, folder: Path, cache: Path, lease_s: float) -> None:
        self._cache = cache
        self._key = folder / "key"
        key = asyncssh.generate_private_key("ssh-ed25519")
        self._key.touch(0o600)
        self._key.write_bytes(key.export_private_key())
        self._launch = asyncssh.generate_private_key("ssh-ed25519")
        text = user_data(host_key=self._launch, authorized_keys=[public(key)], lease_s=lease_s, user="root")
        self.machine = Machine(folder / "machine", text)
        self.console: asyncio.subprocess.Process | None = None

    def job(self, **changes: Any) -> Job:
        """One rank on this host alone, and the lease as on a rented host."""
        recipe = small_run.profile(max_steps=changes.pop("max_steps", 1_000_000)).recipe(str(self._cache))
        values: dict[str, Any] = {"lease_end": "poweroff", "lease_file": LEASE_FILE} | changes
        return Job(run_id="run", node=0, nnodes=1, nproc_per_node=1, recipe=recipe, address="127.0.0.1", **values)

    @asynccontextmanager
    async def attached(
        self, job: Job, *commands: dict[str, Any], lease_s: float | None = None
    ) -> AsyncIterator[Callable[[str], Any]]:
        """A console that starts the job's agent, and tells it to keep the lease; killed without a word at the end.

        Gives a function that waits for an event of the host.
        """
        address = HostAddress(
            node=0,
            host="127.0.0.1",
            port=self.machine.port,
            username="root",
            host_key=public(self._launch),
            client_key=str(self._key),
            python=sys.executable,
        )
        given = {"address": asdict(address), "job": job.to_json(), "commands": commands, "lease_s": lease_s}
        console = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CONSOLE, json.dumps(given), stdout=asyncio.subprocess.PIPE
        )
        assert console.stdout is not None
        lines = console.stdout

        async def until(event: str) -> dict[str, Any]:
            async with asyncio.timeout(120):
                async for line in lines:
                    said: dict[str, Any] = json.loads(line)
                    if said["event"] == event:
                        return said
            raise AssertionError(f"the console ended without {event}")

        try:
            yield until
        finally:
            console.kill()
            await console.wait()

    def start(self) -> dict[str, Any]:
        """The command that starts the trainer."""
        endpoint = f"127.0.0.1:{machine.free_port()}"
        where = {"rdzv_endpoint": endpoint, "rdzv_id": "run-1", "rdzv_node": 0, "nnodes": 1, "attempt": 1}
        return {"id": "start", "command": "start", **where}

    @property
    def deadlines(self) -> list[int]:
        """All that its timer had so far, in seconds of uptime."""
        words = "fastconsole-lease: the deadline is "
        lines = self.machine.log("units.log").splitlines()
        return [int(line.removeprefix(words).split()[0]) for line in lines if line.startswith(words)]

    @property
    def told(self) -> list[dict[str, Any]]:
        """Its agent's journal."""
        path = f"home/.fastconsole/runs/run/node-00/{JOURNAL}"
        return [json.loads(line) for line in self.machine.log(path).splitlines()]

    @property
    def events(self) -> list[str]:
        """Their names, without what it only measured."""
        return [said["event"] for said in self.told if said["event"] != "HostSampled"]


@pytest.fixture
def rent(tmp_path: Path, cache_home: Path) -> AsyncIterator[Callable[[float], Rented]]:
    machine.needed()
    made: list[Rented] = []

    def make(lease_s: float) -> Rented:
        made.append(Rented(tmp_path, cache_home, lease_s))
        return made[-1]

    yield make  # type: ignore[misc]
    for one in made:
        one.machine.stop()


async def powered_off(rented: Rented) -> float:
    """Waits for it; the uptime at which it was called for."""
    return await asyncio.to_thread(rented.machine.until_poweroff, 120)


async def test_a_host_that_no_console_ever_reached(rent: Callable[[float], Rented]) -> None:
    rented = rent(4)
    (deadline,) = rented.deadlines
    assert await powered_off(rented) >= deadline


async def test_a_host_whose_console_is_killed_before_the_trainer_starts(rent: Callable[[float], Rented]) -> None:
    rented = rent(600)
    async with rented.attached(rented.job(lease_s=3)) as until:
        started = await until("AgentStarted")
    off = await powered_off(rented)
    expired, ended = (said for said in rented.told if said["event"] in ("LeaseExpired", "AgentEnded"))
    assert expired["t"] - started["t"] >= 2.9
    assert ended["reason"] == "the lease ran out"
    # Not at the lease with which it booted: the agent asked for the end, once it had ended in order.
    assert off < rented.deadlines[0]
    assert rented.deadlines[-1] == 0


async def test_a_host_whose_console_is_killed_while_it_trains(rent: Callable[[float], Rented]) -> None:
    rented = rent(600)
    async with rented.attached(rented.job(lease_s=60), rented.start(), lease_s=5) as until:
        await until("StepEnded")
        last = rented.deadlines[-1]
    off = await powered_off(rented)
    # It saved what it had, and was not cut off.
    events = rented.events
    assert events.index("LeaseExpired") < events.index("CheckpointSaved") < events.index("TrainerEnded")
    assert events[-1] == "AgentEnded"
    assert last - GRACE_S - 1 <= off < rented.deadlines[0]
    assert rented.deadlines[-1] == 0


async def test_a_host_whose_console_is_killed_after_the_training(rent: Callable[[float], Rented]) -> None:
    rented = rent(600)
    async with rented.attached(rented.job(lease_s=60, max_steps=2), rented.start(), lease_s=5) as until:
        await until("TrainerEnded")
        last = rented.deadlines[-1]
    assert await powered_off(rented) >= last - GRACE_S - 1


async def test_a_host_whose_console_left_in_order_lingers_after_the_training(rent: Callable[[float], Rented]) -> None:
    rented = rent(600)
    left = {"id": "lease", "command": "lease", "seconds": 43_200.0, "attended": False}
    job = rented.job(lease_s=60, max_steps=2, linger_s=4.0)
    async with rented.attached(job, rented.start(), left) as until:
        moved = await until("LeaseMoved")
        assert moved["deadline_t"] - moved["t"] > 43_000
        ended = await until("TrainerEnded")
    await powered_off(rented)
    expired = next(said for said in rented.told if said["event"] == "LeaseExpired")
    # 43,200 s would be twelve hours of an idle host.
    assert 3.9 < expired["t"] - ended["t"] < 60
    assert rented.deadlines[-1] == 0


async def test_a_host_whose_lease_was_moved_in_time_stays(rent: Callable[[float], Rented]) -> None:
    rented = rent(4)
    (first,) = rented.deadlines
    async with rented.attached(rented.job(lease_s=3), lease_s=3) as until:
        await until("AgentStarted")
        while uptime() < first + 6:
            await asyncio.sleep(0.1)
            assert rented.machine.on
            assert rented.machine.poweroffs == []
        last = rented.deadlines[-1]
        assert last > first
    assert await powered_off(rented) >= last - GRACE_S - 1


async def test_a_host_whose_agent_is_killed_too_has_its_timer(rent: Callable[[float], Rented]) -> None:
    rented = rent(600)
    async with rented.attached(rented.job(lease_s=1.5)) as until:
        started = await until("AgentStarted")
        os.kill(_outside(rented.machine, started["pid"]), signal.SIGKILL)
    off = await powered_off(rented)
    assert len(rented.deadlines) == 2
    assert off >= rented.deadlines[-1]
    assert "LeaseExpired" not in rented.events


@pytest.mark.parametrize("lease_file", ["", "/run/nowhere/lease"])
async def test_a_host_without_a_timer_is_powered_off_by_its_agent(
    rent: Callable[[float], Rented], lease_file: str
) -> None:
    rented = rent(600)
    async with rented.attached(rented.job(lease_s=2, lease_file=lease_file)) as until:
        await until("AgentStarted")
    await powered_off(rented)
    assert rented.events[-1] == "AgentEnded"
    complaints = [said["text"] for said in rented.told if said["event"] == "LogPrinted"]
    assert complaints == ([f"{lease_file} cannot be written: the host's timer stays as it was"] if lease_file else [])


def _outside(host: Machine, pid: int) -> int:
    """A process of the machine by the number that it has out here."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for path in Path("/proc").glob("[0-9]*/status"):
            try:
                text = path.read_text()
                about = path.with_name("environ").read_bytes() + path.with_name("cmdline").read_bytes()
            except OSError:
                continue
            numbers = next(line for line in text.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and int(numbers[-1]) == pid and b"remote.agent" in about:
                inside = path.with_name("ns").joinpath("pid").readlink()
                if inside == _namespace(host):
                    return int(numbers[0])
    raise AssertionError(f"no process {pid} on the machine")


def _namespace(host: Machine) -> Path:
    return Path(host.inside("readlink /proc/self/ns/pid").strip())
