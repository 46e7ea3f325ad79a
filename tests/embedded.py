"""An embedded host as the `local` provider starts it: a real SSH server with a shell and SFTP, for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh

from console.ssh.address import HostAddress


@contextmanager
def embedded_host(home: Path, key_file: Path) -> Iterator[HostAddress]:
    """A host that is running, with this home folder; `key_file` gets the private key that may log in."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key_file.touch(0o600)
    key_file.write_bytes(key.export_private_key())
    request = {
        "homes": {"0": str(home)},
        "client_key": key.export_public_key().decode().strip(),
        "idle_s": 20,
    }
    command = [sys.executable, "-m", "console.fleet.rack"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as rack:
        assert rack.stdin is not None
        assert rack.stdout is not None
        rack.stdin.write((json.dumps(request) + "\n").encode())
        rack.stdin.flush()
        said = json.loads(rack.stdout.readline())
        yield HostAddress(
            node=0,
            host="127.0.0.1",
            port=said["port"],
            username="operator",
            host_key=said["host_key"],
            client_key=str(key_file),
        )
        rack.terminate()
