"""The process behind the `local` provider: forks embedded hosts and cleans up after them.

Each host is a process with its own SSH server on a loopback port, its own home folder, and a host key that it
generates itself; it accepts one public key and no password. The host key reaches the console over the pipe from which
the console started the rack, not over the network, so nothing is trusted on first use.

Everything that a host starts, daemons too, stays below it in the process tree (it is their subreaper) and ends with
it. If the host is killed, the rack adopts what is left and kills it; if the rack is killed, the kernel ends the hosts.
A host without connections and running commands for its idle time ends itself.

The rack imports asyncssh once, before it forks: sixteen interpreters would cost sixteen imports.
Usage: ``python -m console.fleet.rack``, a JSON `HostsRequest` on stdin, one JSON line per host on stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from console.fleet import login
from remote.agent.cpu import descendants
from remote.parent_death import adopt_orphans, end_with_parent
from remote.wire.layout import HOST_PID

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
"""The only variables of the user's environment that a host's programs see: no credentials."""


@dataclass(frozen=True, slots=True)
class HostsRequest:
    """The hosts that the rack is to start."""

    homes: dict[int, str]
    """Home folder by node."""
    client_key: str
    """The public key that may log in, as in authorized_keys."""
    idle_s: float
    base_port: int | None = None
    """Node i listens on base_port + i; None: any free port."""


def main() -> int:
    """Forks the hosts and waits until all have ended."""
    values = json.loads(sys.stdin.buffer.readline())
    homes = {int(node): home for node, home in values.pop("homes").items()}
    request = HostsRequest(homes, **values)
    adopt_orphans()
    rack, hosts = os.getpid(), {}
    for node in request.homes:
        pid = os.fork()
        if pid == 0:
            end_with_parent(rack, signal.SIGTERM)
            status = 1
            try:
                status = asyncio.run(_host(request, node))
            finally:
                sys.stdout.flush()
                os._exit(status)
        hosts[pid] = node
    # Only the hosts hold the pipe now: it ends when the last of them has reported.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def end(number: int, frame: object) -> None:
        for pid in hosts:
            _kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while hosts or _strays(hosts):
        _reap(hosts)
        for stray in _strays(hosts):
            _kill(stray, signal.SIGKILL)
        time.sleep(0.1)
    return 0


def _reap(hosts: dict[int, int]) -> None:
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        hosts.pop(pid, None)


def _strays(hosts: dict[int, int]) -> list[int]:
    """Processes that a host which is gone has left."""
    try:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except OSError:
        return []
    return [pid for child in children if int(child) not in hosts for pid in descendants(int(child))]


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# --- one host --------------------------------------------------------------------------------------------------------


async def _host(request: HostsRequest, node: int) -> int:
    """Runs one embedded host until it is terminated or idle for too long."""
    home = Path(request.homes[node])
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    # SFTP's relative paths and every command begin here.
    os.chdir(home)
    adopt_orphans()
    key = asyncssh.generate_private_key("ssh-ed25519", comment=f"node-{node:02d}")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    connections = _Connections(home)
    try:
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0 if request.base_port is None else request.base_port + node,
            server_host_keys=[key],
            authorized_client_keys=asyncssh.import_authorized_keys(request.client_key + "\n"),
            password_auth=False,
            kbdint_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            encryption_algs=["aes128-gcm@openssh.com"],
            keepalive_interval=5,
            process_factory=connections.serve,
            sftp_factory=True,
            encoding=None,
            server_factory=connections.server,
        )
    except OSError as error:
        _say(
            {
                "node": node,
                "error": error.strerror or str(error),
                "port": request.base_port and request.base_port + node,
            }
        )
        return 1
    public = key.export_public_key().decode().strip()
    _say(
        {
            "node": node,
            "port": acceptor.get_port(),
            "host_key": public,
            "pid": os.getpid(),
            "started": started(os.getpid()),
        }
    )
    idle_since = loop.time()
    while not ended.is_set():
        connections.reap_orphans()
        if connections.count or len(descendants(os.getpid())) > 1:
            idle_since = loop.time()
        elif loop.time() - idle_since > request.idle_s:
            break
        try:
            async with asyncio.timeout(0.5):
                await ended.wait()
        except TimeoutError:
            continue
    acceptor.close()
    # Like a power cut: everything below this host ends now, whatever its process session.
    while below := descendants(os.getpid())[1:]:
        for pid in below:
            _kill(pid, signal.SIGKILL)
        connections.reap_orphans(everything=True)
        await asyncio.sleep(0.02)
    return 0


def _environment(home: Path) -> dict[str, str]:
    env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**env, "HOME": str(home), "SHELL": "/bin/sh", HOST_PID: str(os.getpid())}


def _say(line: dict[str, Any]) -> None:
    # One write per line: the hosts share the pipe.
    os.write(1, (json.dumps(line) + "\n").encode())


def started(pid: int) -> str:
    """When a process started, in the kernel's ticks: unique together with its pid. Empty if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


class _Connections:
    """A host's connections, and the processes that they started."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._processes: set[int] = set()
        self.count = 0

    def server(self) -> asyncssh.SSHServer:
        connections = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                connections.count += 1

            def connection_lost(self, exc: Exception | None) -> None:
                connections.count -= 1

        return Server()

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Runs a command as sshd would, with the user's shell, home folder and three streams; or a login shell."""
        if process.command is None and process.term_type is not None:
            process.exit(await login.serve(process, self._home, _environment(self._home)))
            return
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command or "exec /bin/sh",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._home,
            env=_environment(self._home),
            start_new_session=True,
        )
        self._processes.add(child.pid)
        try:
            await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
            status = await child.wait()
        finally:
            self._processes.discard(child.pid)
        process.exit(status if status >= 0 else 128 - status)

    def reap_orphans(self, *, everything: bool = False) -> None:
        """Reaps adopted processes that ended; asyncio reaps those that it started itself."""
        try:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        except OSError:
            return
        for child in map(int, children):
            if everything or child not in self._processes:
                try:
                    os.waitpid(child, os.WNOHANG)
                except ChildProcessError:
                    pass


if __name__ == "__main__":
    sys.exit(main())
