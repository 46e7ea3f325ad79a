"""A run's directory on the laptop: ``$XDG_STATE_HOME/fastconsole/runs/<run-id>/``, readable by its owner only.

``run.jsonl`` is the journal, ``fleet.json`` where the hosts are (written before the first of them is used),
``key`` the run's own private key, ``checkpoints/`` and ``logs/node-NN/`` what was fetched, ``receipt.json`` what it
cost in the end.
``console.lock`` is held by the console that drives the run.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from console.atomic_file import write_private
from console.paths import runs_home
from console.ssh.address import HostAddress, address_of


class RunDirectory:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @classmethod
    def create(cls, profile_name: str) -> RunDirectory:
        """A new one, named for the profile and the time (UTC), and unlike any other."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        path = runs_home() / f"{profile_name[:40]}-{stamp}-{secrets.token_hex(2)}"
        runs_home().mkdir(parents=True, exist_ok=True, mode=0o700)
        path.mkdir(mode=0o700)
        (path / "checkpoints").mkdir(mode=0o700)
        return cls(path)

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def journal(self) -> Path:
        return self.path / "run.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        """What the ranks printed, whole: a folder a node."""
        return self.path / "logs"

    @property
    def homes(self) -> Path:
        """Where embedded hosts have their home folders."""
        return self.path / "hosts"

    def inside(self, name: str) -> Path | None:
        """The file of this name below the run directory; None where the name leads out of it, also by a link.

        For every name that a record holds: a journal may be somebody else's.
        """
        try:
            path = (self.path / name).resolve()
        except (OSError, ValueError, RuntimeError):
            return None
        return path if path.is_relative_to(self.path.resolve()) and path != self.path.resolve() else None

    @property
    def key(self) -> Path:
        return self.path / "key"

    def take(self) -> bool:
        """Takes the console's lock; False while another console drives the run. Held until this process ends."""
        fd = os.open(self.path / "console.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._lock = fd
        return True

    def console_pid(self) -> int | None:
        """The console that drives the run now; None where there is none."""
        if self.take():
            self.leave()
            return None
        text = (self.path / "console.lock").read_text()
        return int(text) if text.isdigit() else None

    def ended(self) -> bool:
        """True if the journal's last record is the run's end, or a budget that was set after it."""
        with self.journal.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 65536))
            lines = file.read().rstrip(b"\n").split(b"\n")
        while len(lines) > 1 and b'"event":"BudgetMoved"' in lines[-1]:
            lines.pop()
        return b'"event":"RunEnded"' in lines[-1]

    def leave(self) -> None:
        """Gives the console's lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write_fleet(self, provider: str, hosts: list[HostAddress], extra: dict[str, Any]) -> None:
        """Writes ``fleet.json`` whole: the addresses with their pinned keys, and what the provider must remember."""
        fleet = {"provider": provider, "hosts": [asdict(host) for host in hosts], **extra}
        self._write_json("fleet.json", fleet)

    def read_fleet(self) -> tuple[list[HostAddress], dict[str, Any]]:
        """What `write_fleet` wrote; empty where nothing was."""
        try:
            fleet = json.loads((self.path / "fleet.json").read_text())
            return [address_of(host) for host in fleet.pop("hosts")], fleet
        except (OSError, ValueError, KeyError, TypeError):
            return [], {}

    def write_origin(self, profile: Path) -> None:
        """Remembers where the profile came from: its secrets stay there."""
        self._write_json("origin.json", {"profile": str(profile.absolute())})

    def read_origin(self) -> Path | None:
        """The profile's file that `write_origin` remembered."""
        try:
            return Path(json.loads((self.path / "origin.json").read_text())["profile"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_env(self, env: Mapping[str, str]) -> None:
        """Keeps a run's environment, secret values too, where no profile on this laptop has it."""
        self._write_json("env.json", dict(env))

    def read_env(self) -> dict[str, str] | None:
        """What `write_env` kept."""
        try:
            return dict(json.loads((self.path / "env.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write_receipt(self, receipt: dict[str, Any]) -> None:
        """Writes ``receipt.json``."""
        self._write_json("receipt.json", receipt)

    def _write_json(self, name: str, value: dict[str, Any]) -> None:
        self.write_private(name, json.dumps(value, indent=1).encode())

    def write_private(self, name: str, content: bytes) -> None:
        """Writes a file that only its owner may read, whole or not at all."""
        write_private(self.path / name, content)


def all_runs() -> list[RunDirectory]:
    """Every run directory, the newest last."""
    try:
        paths = [path for path in runs_home().iterdir() if (path / "run.jsonl").is_file()]
    except OSError:
        return []
    return [RunDirectory(path) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]
