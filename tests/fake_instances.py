"""Machines for the fake AWS's instances: each running one boots from its user-data, with a real sshd on its address.

Theory of operation. The cloud tells what happens to instances (fake_ec2.Happened); one thread here takes it up in
order. Power on: `unshare` starts fake_init as process 1 of mount, process and host name namespaces of its own, over a
private layer of this machine's disk, so that absolute paths of a user-data work and nothing real is touched. Power off:
process 1 is killed, and with it, by the kernel and at once, all of the machine. A machine that powers itself off says
so, and its instance ends as its launch told EC2. Instances' private addresses are loopback addresses, on which sshd
listens at port 22; their public ones are too.

The thread that starts the machines lives as long as they may: with it, or with the process, they end (prctl(2),
PR_SET_PDEATHSIG). It needs root, and a kernel that lets root make namespaces and overlays; else tests are skipped.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import functools
import gzip
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fake_init
import pytest
import yaml
from fake_metadata import Metadata, MetadataServer

if TYPE_CHECKING:
    from fake_cloud import FakeCloud
    from fake_ec2 import Happened, Machine

PORT = 22
_WAIT_S = 60.0
_REPOSITORY = Path(__file__).resolve().parent.parent


@functools.cache
def why_not() -> str | None:
    """Why no machine can run here; None: they can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root: machines are namespaces with an sshd on port 22"
    for program, package in (("unshare", "util-linux"), ("setpriv", "util-linux"), ("nsenter", "util-linux")):
        if shutil.which(program) is None:
            return f"needs {program} ({package})"
    if not os.access("/usr/sbin/sshd", os.X_OK):
        return "needs Debian's openssh-server (tests/system-packages.sh installs it)"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("up", "work"):
            Path(folder, name).mkdir()
        overlay = f"mount -t overlay overlay -o lowerdir=/etc,upperdir={folder}/up,workdir={folder}/work /etc"
        tried = subprocess.run(
            ["unshare", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "sh", "-c", overlay],
            capture_output=True,
            text=True,
        )
        if tried.returncode:
            return f"needs namespaces and overlays: {tried.stderr.strip() or 'not allowed here'}"
    with socket.socket() as probe:
        try:
            probe.bind(("127.9.0.9", PORT))
        except OSError as error:
            return f"needs port {PORT} on loopback addresses: {error.strerror}"
    return None


@dataclass
class Running:
    """One machine that is on."""

    machine: Machine
    process: subprocess.Popen[bytes]
    pid: int
    """Of its process 1, as this machine numbers it."""
    metadata: Metadata
    host_key: str | None = None
    """The public host key that sshd began with, once it listens."""
    events: list[str] = field(default_factory=list)
    """What its process 1 told, oldest first: up, finished, poweroff, …"""
    _unread: bytes = b""

    def tell(self, **order: Any) -> None:
        """A word to its process 1."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self.process.stdin.write((json.dumps(order) + "\n").encode())
            self.process.stdin.flush()


class Machines:
    """The machines of a fake cloud's instances. `stop` ends them and removes their disks."""

    def __init__(
        self,
        cloud: FakeCloud,
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        shared: Iterable[Path] = (),
    ) -> None:
        """Boots machines for all instances that start running from now on.

        Args:
            folder: Where their disks lie; on no overlay file system itself.
            env: More environment of all logins and services.
            shared: Folders of this machine that they see at the same path, and can write to.
        """
        reason = why_not()
        if reason is not None:
            pytest.skip(reason)
        self._cloud = cloud
        self._folder = folder
        self._env = dict(env or {})
        roots = (Path("/root"), Path("/home"), Path("/tmp"), Path("/run"))
        wanted = [*shared, _REPOSITORY, Path(sys.prefix), Path(sys.base_prefix)]
        self._shared = sorted({str(path) for path in wanted if any(root in path.parents for root in roots)})
        self._metadata = MetadataServer()
        self.errors: list[str] = []
        """What went wrong in the machines' own doing; a test that leaves any has tested nothing."""
        self.user_data: dict[str, bytes] = {}
        """By instance, as it booted."""
        self._on: dict[str, Running] = {}
        self._plugged_off: set[str] = set()
        self._changed = threading.Condition()
        self._work: list[Callable[[], None]] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._over = False
        self._thread = threading.Thread(target=self._run, name="fake-machines", daemon=True)
        self._thread.start()
        atexit.register(self.stop)
        cloud.watch(self._heard)

    # --- what a test does

    def wait(self, *instance_ids: str, count: int | None = None, timeout_s: float = _WAIT_S) -> list[Running]:
        """These machines (or so many of any), once their sshd listens. Raises AssertionError if they do not boot."""

        def ready() -> list[Running] | None:
            up = [each for each in self._on.values() if each.host_key is not None]
            if instance_ids:
                up = [each for each in up if each.machine.instance_id in instance_ids]
            wanted = len(instance_ids) if instance_ids else count or 1
            return up if len(up) >= wanted else None

        with self._changed:
            self._changed.wait_for(lambda: self.errors or ready(), timeout_s)
            assert not self.errors, "\n".join(self.errors)
            found = ready()
            assert found is not None, f"machines did not boot within {timeout_s:g} s; on are {sorted(self._on)}"
            return found

    def wait_off(self, *instance_ids: str, timeout_s: float = _WAIT_S) -> None:
        """Until these machines (or all) are off."""
        with self._changed:
            gone = self._changed.wait_for(lambda: not set(instance_ids or self._on) & set(self._on), timeout_s)
            assert gone, f"still on after {timeout_s:g} s: {sorted(self._on)}"

    def wait_for_event(self, instance_id: str, event: str, timeout_s: float = _WAIT_S) -> None:
        """Until the machine's process 1 told this: ``up``, ``finished`` (all of user-data has run), ``unplugged``, …"""
        with self._changed:
            told = self._changed.wait_for(
                lambda: instance_id in self._on and event in self._on[instance_id].events, timeout_s
            )
            assert told, f"{instance_id} did not tell {event!r} within {timeout_s:g} s"

    def __getitem__(self, instance_id: str) -> Running:
        with self._changed:
            return self._on[instance_id]

    def __contains__(self, instance_id: object) -> bool:
        with self._changed:
            return instance_id in self._on

    def __len__(self) -> int:
        with self._changed:
            return len(self._on)

    def run(self, instance_id: str, *command: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command in the machine, past its sshd."""
        enter = ["nsenter", "-t", str(self[instance_id].pid), "-m", "-p", "-u", "--", *command]
        env = {"PATH": fake_init.PATH, "HOME": "/root", "LANG": "C.UTF-8"}
        return subprocess.run(enter, capture_output=True, text=True, timeout=timeout_s, env=env)

    def path(self, instance_id: str, path: str) -> Path:
        """Where a file of a machine that is on can be read from here."""
        return Path(f"/proc/{self[instance_id].pid}/root") / path.lstrip("/")

    def unplug(self, instance_id: str) -> None:
        """SSH to and from the machine hangs, while it and its instance go on."""
        self._order(instance_id, "unplugged", plug=False)

    def plug(self, instance_id: str) -> None:
        """SSH passes again."""
        self._order(instance_id, "plugged", plug=True)

    def reboot(self, instance_id: str) -> None:
        """A power cycle, until sshd listens again: the same disk, /run empty, what is done once not done again."""
        before = self[instance_id]
        self._later(lambda: (self._power_off(instance_id), self._power_on(before.machine)))
        with self._changed:
            self._changed.wait_for(lambda: self._on.get(instance_id) is not before, _WAIT_S)
        self.wait(instance_id)

    def halt(self, instance_id: str) -> None:
        """The machine dies and EC2 does not notice: its instance goes on running and costing."""
        self._later(lambda: self._power_off(instance_id))
        self.wait_off(instance_id)

    def stop(self) -> None:
        """Ends all machines and removes their disks. Can be called again."""
        if self._over:
            return
        self._over = True
        self._wake.send(b".")
        self._thread.join(_WAIT_S)
        self._metadata.stop()
        self._selector.close()
        self._wake.close()
        self._woken.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.stop)

    def _order(self, instance_id: str, event: str, **order: Any) -> None:
        with self._changed:
            running = self._on[instance_id]
            running.events = [each for each in running.events if each != event]
        running.tell(**order)
        self.wait_for_event(instance_id, event)

    # --- the thread that all machines belong to

    def _heard(self, event: Happened) -> None:
        machine, detail = event.machine, event.detail
        name = machine.instance_id
        if event.kind == "running":
            self._later(lambda: self._power_on(machine))
        elif event.kind == "off":
            self._later(lambda: self._power_off(name))
        elif event.kind == "reboot":
            self._later(lambda: (self._power_off(name), self._power_on(machine)))
        elif event.kind == "address":
            self._later(lambda: self._tell(name, addresses=_addresses(machine)))
        elif event.kind == "key":
            self._later(lambda: self._tell(name, key=list(detail)))
        elif event.kind == "notice":
            self._later(lambda: self._note(name, "terminated_at", detail))
        elif event.kind == "rebalance":
            self._later(lambda: self._note(name, "rebalance_at", detail))

    def _later(self, what: Callable[[], Any]) -> None:
        with self._changed:
            self._work.append(what)
        with contextlib.suppress(OSError):
            self._wake.send(b".")

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._woken.recv(4096)
                else:
                    self._read(key.data)
            with self._changed:
                work, self._work = self._work, []
            for what in work:
                try:
                    what()
                except Exception as error:
                    with self._changed:
                        self.errors.append(f"{type(error).__name__}: {error}")
                        self._changed.notify_all()
        for name in list(self._on):
            self._power_off(name)

    def _power_on(self, machine: Machine) -> None:
        if self._over or machine.instance_id in self._on:
            return
        disk = self._folder / machine.instance_id
        disk.mkdir(parents=True, exist_ok=True)
        metadata = self._metadata.add(machine)
        config, script = _cloud_config(machine.user_data)
        self.user_data[machine.instance_id] = machine.user_data
        boot = {
            "disk": str(disk),
            "instance_id": machine.instance_id,
            "addresses": _addresses(machine),
            "port": PORT,
            "public_keys": list(machine.public_keys),
            "config": config,
            "script": script,
            "user_data": base64.b64encode(machine.user_data).decode(),
            "shared": self._shared,
            "env": {"FASTCONSOLE_METADATA_URL": metadata.url, **self._env},
        }
        description = disk / "boot.json"
        description.write_text(json.dumps(boot))
        with (disk / "init.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"),
                    *(os.path.realpath(sys.executable), "-IS", fake_init.__file__, str(description)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"PATH": fake_init.PATH, "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        running = Running(machine, process, 0, metadata)
        with self._changed:
            self._on[machine.instance_id] = running
        self._selector.register(process.stdout, selectors.EVENT_READ, running)

    def _power_off(self, instance_id: str) -> None:
        running = self._on.get(instance_id)
        if running is None:
            return
        # Process 1 rather than unshare, which then ends only after all of its namespace has.
        pid = running.pid or _child(running.process.pid)
        for number in (pid, 0 if pid else running.process.pid):
            if number:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        running.process.wait(_WAIT_S)
        assert running.process.stdin is not None
        assert running.process.stdout is not None
        self._selector.unregister(running.process.stdout)
        running.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            running.process.stdin.close()
        self._metadata.remove(running.metadata)
        with self._changed:
            del self._on[instance_id]
            self._changed.notify_all()

    def _read(self, running: Running) -> None:
        assert running.process.stdout is not None
        data = running.process.stdout.read() or b""
        name = running.machine.instance_id
        if not data:
            if running.process.poll() is None:
                return
            log = (self._folder / name / "init.log").read_text()
            with self._changed:
                self.errors.append(f"{name}: the machine's process 1 ended: {log}")
                self._changed.notify_all()
            self._power_off(name)
            return
        *lines, running._unread = (running._unread + data).split(b"\n")
        for line in lines:
            self._told(running, json.loads(line))

    def _told(self, running: Running, said: dict[str, Any]) -> None:
        event, name = said["event"], running.machine.instance_id
        with self._changed:
            running.pid = running.pid or _child(running.process.pid)
            if event == "broken":
                self.errors.append(f"{name}: {said['text']}")
            if event == "up":
                running.host_key = said["host_key"]
            running.events.append(event)
            self._changed.notify_all()
        if event == "up":
            lines = f"-----BEGIN SSH HOST KEY KEYS-----\n{said['host_key']}\n-----END SSH HOST KEY KEYS-----\n"
            self._cloud.set_console(name, lines)
        elif event == "poweroff":
            self._cloud.shut_down_from_inside(name)
        elif event == "halt":
            self._power_off(name)
        elif event == "reboot":
            self._power_off(name)
            self._power_on(running.machine)

    def _tell(self, instance_id: str, **order: Any) -> None:
        if instance_id in self._on:
            self._on[instance_id].tell(**order)

    def _note(self, instance_id: str, name: str, value: Any) -> None:
        if instance_id in self._on:
            setattr(self._on[instance_id].metadata, name, value)


def _addresses(machine: Machine) -> list[str]:
    return [each for each in (machine.private_ip, machine.public_ip) if each and each.startswith("127.")]


def _child(pid: int) -> int:
    """The one child of a process; 0: none."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def _cloud_config(user_data: bytes) -> tuple[dict[str, Any], str | None]:
    """The configuration and the script of a user-data, as cloud-init reads it. Raises ValueError."""
    if user_data.startswith(b"\x1f\x8b"):
        user_data = gzip.decompress(user_data)
    text = user_data.decode()
    if text.startswith("#!"):
        return {}, text
    if text.startswith("#cloud-config"):
        config = yaml.safe_load(text) or {}
        if not isinstance(config, dict):
            raise ValueError("the user-data is no mapping")
        return config, None
    if text.strip():
        raise ValueError(f"cloud-init would not know this user-data: {text[:60]!r}")
    return {}, None


def main() -> None:
    """A cloud with machines to try by hand, until Ctrl-C: `eval` what it prints, and AWS is here."""
    from fake_cloud import FakeCloud

    cloud = FakeCloud()
    with tempfile.TemporaryDirectory() as folder:
        machines = Machines(cloud, Path(folder, "machines"))
        try:
            for name, value in cloud.env.items():
                print(f"export {name}={value}")
            sys.stdout.flush()
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            machines.stop()
            cloud.stop()


if __name__ == "__main__":
    main()
