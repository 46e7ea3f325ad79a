"""What a fake machine's process 1 keeps: its children, and units of /etc/systemd/system as systemd would keep them."""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time


class Children:
    """Starts processes and knows how they ended; process 1 inherits all orphans, too."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._ended: dict[int, int] = {}
        self._changed = threading.Condition()

    def start(self, argv: list[str], log: str, env: dict[str, str] | None = None) -> int:
        """Its process id. Raises OSError."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        return os.posix_spawnp(argv[0], argv, self._env | (env or {}), file_actions=actions, setsid=True)

    def reap(self) -> None:
        """Takes note of all that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            with self._changed:
                self._ended[pid] = os.waitstatus_to_exitcode(status)
                self._changed.notify_all()

    def wait(self, pid: int) -> int:
        """Its exit status."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._ended)
            return self._ended.pop(pid)

    def run(self, argv: list[str], log: str, env: dict[str, str] | None = None) -> int:
        """Its exit status; 127 where there is no such program."""
        try:
            return self.wait(self.start(argv, log, env))
        except OSError as error:
            with open(log, "a") as file:
                file.write(f"{argv[0]}: {error.strerror}\n")
            return 127


class Services:
    """The units in /etc/systemd/system, kept as systemd would keep them, as far as user-data needs it."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._changed = threading.Condition()
        self._states: dict[str, str] = {}
        self._pids: dict[str, int] = {}
        self._unwanted: set[str] = set()
        self._enabled = "/var/lib/fake-init-enabled"

    def file(self, name: str) -> str | None:
        """Where the unit stands."""
        path = f"/etc/systemd/system/{unit_name(name)}"
        return path if os.path.exists(path) and not os.path.islink(path) else None

    def state(self, name: str) -> str:
        """As `systemctl is-active` says it."""
        with self._changed:
            return self._states.get(unit_name(name), "inactive")

    def enable(self, name: str) -> None:
        """Starts at every boot from now on."""
        wanted = self.enabled()
        if unit_name(name) not in wanted:
            with open(self._enabled, "a") as file:
                file.write(unit_name(name) + "\n")

    def enabled(self) -> list[str]:
        """In the order in which they were enabled."""
        try:
            with open(self._enabled) as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def start(self, name: str, *, wait: bool) -> int:
        """0, or the status of a unit that failed; waits for a oneshot's end, if told to."""
        name = unit_name(name)
        path = self.file(name)
        if path is None:
            return 5
        unit = _parsed(path)
        oneshot = unit.get("Type") == "oneshot"
        with self._changed:
            self._unwanted.discard(name)
            if self._states.get(name) not in ("active", "activating"):
                self._states[name] = "activating"
                threading.Thread(target=self._keep, args=(name, unit, oneshot), daemon=True).start()
            if not wait:
                return 0
            self._changed.wait_for(lambda: self._states[name] != "activating")
            return 1 if self._states[name] == "failed" else 0

    def stop(self, name: str) -> None:
        """And does not start it again."""
        name = unit_name(name)
        with self._changed:
            self._unwanted.add(name)
            pid = self._pids.get(name)
            if pid is None:
                self._set(name, "inactive")
                return
            try:
                os.killpg(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            self._changed.wait_for(lambda: name not in self._pids, 90)

    def _keep(self, name: str, unit: dict[str, str], oneshot: bool) -> None:
        command = shlex.split(unit.get("ExecStart", "").lstrip("-@+!:"))
        while True:
            try:
                pid = self._children.start(command, f"/var/log/{name}.log")
            except (OSError, IndexError):
                with self._changed:
                    self._set(name, "failed")
                return
            with self._changed:
                self._pids[name] = pid
                if not oneshot:
                    self._set(name, "active")
            status = self._children.wait(pid)
            with self._changed:
                del self._pids[name]
                again = unit.get("Restart", "no")
                if name in self._unwanted or not (again == "always" or (again == "on-failure" and status)):
                    stays = oneshot and not status and unit.get("RemainAfterExit") in ("yes", "true", "1")
                    self._set(name, "failed" if status else "active" if stays else "inactive")
                    return
            time.sleep(float(unit.get("RestartSec", "0.1").removesuffix("s")))

    def _set(self, name: str, state: str) -> None:
        self._states[name] = state
        self._changed.notify_all()


def unit_name(name: str) -> str:
    return name if "." in name else f"{name}.service"


def _parsed(path: str) -> dict[str, str]:
    """The last value of each key, of all sections."""
    found: dict[str, str] = {}
    with open(path) as file:
        lines = file.read().splitlines()
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            found[name.strip()] = value.strip()
    return found
