"""Real OpenSSH servers on loopback ports, each with a home folder and a host key of its own, for tests."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import asyncssh
import pytest

SSHD = shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if os.access(path, os.X_OK)), None)
SFTP_SERVER = next((path for path in ("/usr/lib/openssh/sftp-server",) if os.access(path, os.X_OK)), None)

CONFIG = """\
{lines}
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
SetEnv HOME={home} OMP_NUM_THREADS=1
Subsystem sftp internal-sftp -d {home}
LogLevel ERROR
"""


class OpenSSHServer:
    """One sshd. `home` is the home folder that a login sees, `lines` come first in its configuration and so win."""

    def __init__(self, folder: Path, client_key: asyncssh.SSHKey, home: Path | None = None, lines: str = "") -> None:
        if SSHD is None:
            pytest.skip("needs Debian's openssh-server (tests/system-packages.sh installs it)")
        self.folder = folder
        self.home = home or folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = key.export_public_key().decode().strip()
        folder.joinpath("host_key").touch(0o600)
        folder.joinpath("host_key").write_bytes(key.export_private_key())
        folder.joinpath("authorized_keys").write_bytes(client_key.export_public_key())
        folder.joinpath("sshd_config").write_text(
            CONFIG.format(port=self.port, folder=folder, home=self.home, lines=lines)
        )
        # sshd wants its privilege separation folder; a container's start-up may not have made it.
        Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)
        self.start()

    def start(self) -> None:
        """Starts it; once more where it was killed."""
        command = [SSHD or "", "-D", "-e", "-f", str(self.folder / "sshd_config")]
        self._process = subprocess.Popen(command, stderr=(self.folder / "log").open("a"))
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError("sshd did not listen")

    def known_hosts_line(self, host_key: str | None = None) -> str:
        """The line that pins this server's key, or another one in its place."""
        return f"[127.0.0.1]:{self.port} {host_key or self.host_key}\n"

    def connections(self) -> list[int]:
        """The processes of those who are connected now."""
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill(self) -> None:
        """Kills the server and every connection to it, as a crash would."""
        connections = self.connections()
        self._process.kill()
        self._process.wait(10)
        for pid in connections:
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Ends the server and what is connected to it."""
        self._process.terminate()
        self._process.wait(10)


class Cluster:
    """Some servers, the key that may log in, and the `[fleet]` lines that name them."""

    def __init__(self, folder: Path, count: int, *, one_home: bool = False) -> None:
        self.folder = folder
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.identity = folder / "id_ed25519"
        self.identity.touch(0o600)
        self.identity.write_bytes(self.key.export_private_key())
        self.servers: list[OpenSSHServer] = []
        for index in range(count):
            at = folder / f"server-{index}"
            at.mkdir()
            self.servers.append(OpenSSHServer(at, self.key, folder / "home-of-all" if one_home else None))
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text("".join(server.known_hosts_line() for server in self.servers))

    def fleet(self) -> str:
        """`[fleet]` lines for a profile."""
        hosts = ", ".join(f'"{getpass.getuser()}@127.0.0.1:{server.port}"' for server in self.servers)
        return (
            f'provider = "static"\nhosts = [{hosts}]\n'
            f'identity_file = "{self.identity}"\nknown_hosts = "{self.known_hosts}"\n'
        )

    def stop(self) -> None:
        """Ends all servers."""
        for server in self.servers:
            server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
