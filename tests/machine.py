"""A machine that boots from user data, for tests: real sshd, real scripts, in namespaces of its own (root, Linux).

/etc/ssh, /run, /home, /opt, /var/lib, /etc/passwd and what user data installs are the machine's own; pids are too, so
that its end is the end of all that runs on it. Three programs are stand-ins: `poweroff` writes down when it was called
and ends the machine, `systemctl` starts units by their ExecStart and restarts them as they ask, `sudo` becomes root
without a word. root's home folder outlives it, for tests to read.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import openssh
import pytest
import yaml

_BOOT = """\
set -e
machine={machine}
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/shims
cp "$machine"/shims/* /run/shims/
chmod 755 /run/shims/*
# As sudo does it: a program of root's that anybody may run.
cp "$(command -v setpriv)" /run/shims/become-root
chmod 4755 /run/shims/become-root
mount -t tmpfs -o mode=755 tmpfs /home
mkdir -p /home/root /home/user
mount --bind "$machine/home" /home/root
chown 1234:1234 /home/user
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p /var/lib/cloud/data
[ ! -e "$machine/instance-id" ] || cp "$machine/instance-id" /var/lib/cloud/data/
mkdir /run/opt
mount --bind /opt /run/opt
mount -t tmpfs -o mode=755 tmpfs /opt
for folder in /run/opt/*/; do
    [ ! -d "$folder" ] || {{ mkdir "/opt/$(basename "$folder")"; mount --bind "$folder" "/opt/$(basename "$folder")"; }}
done
for part in ssh:/etc/ssh sbin:/usr/local/sbin systemd:/etc/systemd/system passwd:/etc/passwd; do
    mount --bind "$machine/${{part%%:*}}" "${{part##*:}}"
done
export PATH=/run/shims:$PATH
# The lease's timer looks oftener than on a host that is paid for by the hour.
export FASTCONSOLE_LOOK_S=1
set +e
sh "$machine/bootcmd.sh" >"$machine/bootcmd.log" 2>&1
# As sshd from 9.8 on does by itself: it reads its host keys once, and not for each connection again.
/usr/sbin/sshd -r -E "$machine/sshd.log"
trap 'exit 0' USR1
while :; do sleep 1000 & wait; done
"""

_POWEROFF = """\
#!/bin/sh
read -r uptime _ </proc/uptime
echo "$uptime $*" >>{machine}/poweroff
kill -USR1 1
"""

_SYSTEMCTL = """\
#!/bin/sh
words=
for word in "$@"; do
    case $word in
        -*) ;;
        *) words="$words $word" ;;
    esac
done
set -- $words
unit=/etc/systemd/system/${2-}
case $1 in
    daemon-reload | enable) ;;
    cat) cat "$unit" 2>/dev/null ;;
    start)
        [ -r "$unit" ] || exit 5
        command=$(sed -n 's/^ExecStart=//p' "$unit")
        if grep -q '^Restart=always' "$unit"; then
            (while :; do $command; sleep 0.2; done) </dev/null >>{machine}/units.log 2>&1 &
        else
            $command </dev/null >>{machine}/units.log 2>&1
        fi
        ;;
    *) exit 1 ;;
esac
"""

_SUDO = """\
#!/bin/sh
[ "$1" = -n ] && shift
exec /run/shims/become-root --reuid=0 --regid=0 --clear-groups -- "$@"
"""

_PASSWD = """\
root:x:0:0::/home/root:/bin/sh
user:x:1234:1234::/home/user:/bin/sh
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
"""

_SSHD = """\
ListenAddress 127.0.0.1
Port {port}
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
PermitRootLogin yes
SetEnv PATH=/run/shims:/usr/sbin:/usr/bin:/sbin:/bin
Subsystem sftp internal-sftp
LogLevel VERBOSE
"""


def needed() -> None:
    """Skips the test where no machine can be made."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("a machine in namespaces can be made by root on Linux only")
    if openssh.SSHD is None:
        pytest.skip("needs Debian's openssh-server (tests/system-packages.sh installs it)")
    if subprocess.run(["unshare", "-m", "-p", "-f", "--mount-proc", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces can be made here")


class Machine:
    """One machine, which boots when it is made."""

    def __init__(
        self, folder: Path, user_data: str, *, port: int = 0, sudo: bool = True, instance_id: str | None = None
    ) -> None:
        self.folder = folder
        config = yaml.safe_load(user_data)
        assert user_data.startswith("#cloud-config\n")
        for name in ("ssh", "sbin", "systemd", "shims", "home"):
            folder.joinpath(name).mkdir(parents=True)
        shims = {"poweroff": _POWEROFF, "systemctl": _SYSTEMCTL} | ({"sudo": _SUDO} if sudo else {})
        for name, text in shims.items():
            folder.joinpath("shims", name).write_text(text.replace("{machine}", str(folder)))
        if instance_id is not None:
            folder.joinpath("instance-id").write_text(f"{instance_id}\n")
        self.port = port or free_port()
        folder.joinpath("ssh/sshd_config").write_text(_SSHD.format(port=self.port, machine=folder))
        self.write_key("ssh_host_ed25519_key", config["ssh_keys"]["ed25519_private"])
        folder.joinpath("ssh/ssh_host_ed25519_key.pub").write_text(config["ssh_keys"]["ed25519_public"])
        folder.joinpath("ssh/authorized_keys").write_text("".join(f"{key}\n" for key in config["ssh_authorized_keys"]))
        folder.joinpath("passwd").write_text(_PASSWD)
        folder.joinpath("bootcmd.sh").write_text("".join(f"{shlex.join(words)}\n" for words in config["bootcmd"]))
        folder.joinpath("boot.sh").write_text(_BOOT.format(machine=shlex.quote(str(folder))))
        # A test run that is killed takes its machines along.
        bound = ["setpriv", "--pdeathsig", "KILL"]
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
        command = [*bound, *alone, "sh", str(folder / "boot.sh")]
        self._process = subprocess.Popen(command, start_new_session=True)
        try:
            self._until(lambda: "Server listening" in self.log("sshd.log"), "sshd")
        except BaseException:
            self.stop()
            raise

    def reload_sshd(self) -> None:
        """Has sshd read its files again, and waits until it has."""
        before = self.log("sshd.log").count("Server listening")
        self.inside("kill -HUP $(cat /run/sshd.pid)")
        self._until(lambda: self.log("sshd.log").count("Server listening") > before, "reload")

    def _until(self, so: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
        end = time.monotonic() + within_s
        while not so():
            logs = self.log("bootcmd.log") + self.log("units.log") + self.log("sshd.log")
            assert time.monotonic() < end, f"no {what} within {within_s:.0f} s; {logs}"
            time.sleep(0.05)

    def write_key(self, name: str, private: str) -> None:
        """Puts a private host key into its /etc/ssh."""
        path = self.folder / "ssh" / name
        path.touch(0o600)
        path.write_text(private)

    def log(self, name: str) -> str:
        """A file of the machine, empty where there is none."""
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def poweroffs(self) -> list[tuple[float, str]]:
        """Uptime and arguments of every call of `poweroff`."""
        lines = [line.partition(" ") for line in self.log("poweroff").splitlines()]
        return [(float(uptime), words) for uptime, _, words in lines]

    def until_poweroff(self, within_s: float = 60.0) -> float:
        """Waits until `poweroff` was called and the machine is off; the uptime of the call."""
        self._until(lambda: bool(self.poweroffs) and not self.on, "poweroff", within_s)
        return self.poweroffs[0][0]

    @property
    def on(self) -> bool:
        return self._process.poll() is None

    def inside(self, command: str) -> str:
        """What a command prints that root runs on the machine."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        words = ["nsenter", "--target", children[0], "--mount", "--pid", "sh", "-c", command]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def stop(self) -> None:
        """Ends the machine and all that runs on it."""
        if self.on:
            # unshare's child is the machine's first process, and takes the others along.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


def public(key: asyncssh.SSHKey) -> str:
    """The public key, without a comment."""
    return " ".join(key.export_public_key().decode().split()[:2])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def uptime() -> float:
    """Seconds since this computer's start."""
    return float(Path("/proc/uptime").read_text().split()[0])
