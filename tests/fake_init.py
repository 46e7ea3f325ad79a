"""Process 1 of a fake machine: mounts its disk, does what cloud-init does, keeps services, runs sshd.

Run by fake_instances in namespaces of its own (mounts, processes, host name), with the boot's description on the
command line, commands as JSON lines on stdin and events as JSON lines on stdout. When it ends, by whatever, the kernel
ends all of the machine. It imports nothing of the project and little of Python: sixteen of these start at once.

The disk is the real one with a private layer over /etc, /usr, /var and /opt, and folders of the machine's own for
/root, /home and /tmp; they outlive a reboot. /run and /dev/shm are in memory. Programs that a cloud-init user-data
calls and that would act on the real machine are replaced in /usr/local/sbin: systemctl, poweroff, shutdown, halt,
reboot, sudo. They write one line to a pipe, on which this process listens.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback

# Isolated from the caller's Python: not even this file's folder is on the path.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from fake_services import Children, Services, unit_name

HOME = "/root"
"""Of the login user."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYERED = ("etc", "usr", "var", "opt")
OWN = {"root": 0o700, "home": 0o755, "tmp": 0o1777}
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 32, 4096, 16384
_INIT = "/run/fake-init"
_KEY_S = 60.0
"""How long EC2 Instance Connect's key lets somebody in."""

# One request: the caller's reply pipe, the program's name and its words, each ended by a unit separator. Below
# PIPE_BUF (4096) bytes a write is whole.
_ASK = f"""#!/bin/sh
answer={_INIT}/answer.$$
mkfifo "$answer" || exit 1
trap 'rm -f "$answer"' EXIT
{{ printf '%s\\037' "$answer" "${{0##*/}}" "$@"; printf '\\n'; }} >{_INIT}/ask.$$ && cat {_INIT}/ask.$$ >{_INIT}/ask
rm -f {_INIT}/ask.$$
{{ read -r status; cat; }} <"$answer"
exit "$status"
"""
_SUDO = """#!/bin/sh
while :; do
    case ${1-} in
        -u | -g | -C | -h | -p | -r | -t | -U) shift 2 ;;
        --) shift; break ;;
        -*) shift ;;
        *=*) export "$1"; shift ;;
        *) break ;;
    esac
done
[ $# -gt 0 ] || exit 0
exec "$@"
"""
_SSHD = """\
{listen}
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
AuthorizedKeysFile .ssh/authorized_keys /run/instance-connect/%u
PermitRootLogin {root}
PasswordAuthentication {password}
KbdInteractiveAuthentication no
UsePAM no
PrintMotd no
SetEnv {env}
Subsystem sftp internal-sftp
"""


def say(event: str, **more: object) -> None:
    """To fake_instances."""
    os.write(1, (json.dumps({"event": event, **more}) + "\n").encode())


class Boot:
    """The machine."""

    def __init__(self, boot: dict[str, object]) -> None:
        self.boot = boot
        self.disk = str(boot["disk"])
        env = {"PATH": PATH, "LANG": "C.UTF-8", **boot["env"]}  # type: ignore[dict-item]
        self.children = Children(env)
        self.services = Services(self.children)
        self.addresses = list(boot["addresses"])  # type: ignore[call-overload]
        self.sshd = 0
        self.sshd_lock = threading.Lock()

    # --- the disk

    def mount(self) -> None:
        """See above."""
        os.makedirs(f"{self.disk}/own", exist_ok=True)
        shared = [(path, f"{self.disk}/hold/{number}") for number, path in enumerate(self.boot["shared"])]  # type: ignore[call-overload]
        for path, held in shared:
            # Bound aside first: what comes next hides it.
            os.makedirs(held, exist_ok=True)
            _mount(path, held, flags=_MS_BIND | _MS_REC)
        for name in LAYERED:
            for part in ("up", "aside"):
                os.makedirs(f"{self.disk}/{part}/{name}", exist_ok=True)
            os.chmod(f"{self.disk}/up/{name}", 0o755)
            data = f"lowerdir=/{name},upperdir={self.disk}/up/{name},workdir={self.disk}/aside/{name}"
            _mount("overlay", f"/{name}", "overlay", data=data)
        for name, mode in OWN.items():
            os.makedirs(f"{self.disk}/own/{name}", exist_ok=True)
            os.chmod(f"{self.disk}/own/{name}", mode)
        # The disk's own path is hidden by the machine's /tmp, so that one comes last of what is bound from it.
        holds = [(path, os.open(held, os.O_PATH)) for path, held in shared]
        for name in ("root", "home", "tmp"):
            _mount(f"{self.disk}/own/{name}", f"/{name}", flags=_MS_BIND)
        for name, mode in (("run", "0755"), ("dev/shm", "1777")):
            _mount("tmpfs", f"/{name}", "tmpfs", data=f"mode={mode}")
        for path, held_fd in holds:
            os.makedirs(path, exist_ok=True)
            _mount(f"/proc/self/fd/{held_fd}", path, flags=_MS_BIND | _MS_REC)
            os.close(held_fd)
        for name in ("sshd", "fake-init", "instance-connect", "lock", "systemd/system"):
            os.makedirs(f"/run/{name}", mode=0o755, exist_ok=True)
        os.mkfifo(f"{_INIT}/ask", 0o600)
        socket.sethostname("ip-" + self.addresses[0].replace(".", "-"))

    # --- cloud-init

    def first_boot(self) -> bool:
        """Whether the parts that run once an instance are still to run."""
        return not os.path.exists("/var/lib/cloud/instance/boot-finished")

    def run(self) -> None:
        """Boots; services and what was enabled first, then cloud-init's stages in their order."""
        config = self.boot["config"]
        assert isinstance(config, dict)
        instance_id = str(self.boot["instance_id"])
        log = "/var/log/cloud-init-output.log"
        for name in ("systemctl", "poweroff", "shutdown", "halt", "reboot"):
            _write(f"/usr/local/sbin/{name}", _ASK, 0o755)
        _write("/usr/local/sbin/sudo", _SUDO, 0o755)
        os.makedirs("/var/lib/cloud/data", exist_ok=True)
        os.makedirs("/var/lib/cloud/instance", exist_ok=True)
        _write("/var/lib/cloud/data/instance-id", instance_id + "\n", 0o644)
        for name in self.services.enabled():
            self.services.start(name, wait=False)
        first = self.first_boot()
        for command in config.get("bootcmd", []):
            self.command(command, log, {"INSTANCE_ID": instance_id})
        if first:
            data = base64.b64decode(str(self.boot["user_data"]))
            _write("/var/lib/cloud/instance/user-data.txt", data, 0o600)
            for file in config.get("write_files", []):
                _write_file(file)
            self.users(config)
            self.host_keys(config, log)
        self.start_sshd(config)
        say("up", host_key=_read("/etc/ssh/ssh_host_ed25519_key.pub").strip())
        if first:
            for command in config.get("runcmd", []):
                self.command(command, log, {})
            script = self.boot.get("script")
            if script:
                _write("/var/lib/cloud/instance/user-script", str(script), 0o700)
                self.children.run(["/var/lib/cloud/instance/user-script"], log)
            _write("/var/lib/cloud/instance/boot-finished", "", 0o644)
        say("finished")

    def command(self, command: object, log: str, env: dict[str, str]) -> None:
        """One of bootcmd's or runcmd's: a shell's line, or a program and its words."""
        argv = [str(word) for word in command] if isinstance(command, list) else ["/bin/sh", "-c", str(command)]
        self.children.run(argv, log, env)

    def users(self, config: dict[str, object]) -> None:
        """Who may log in with which keys: the image's default user, who is root here."""
        keys = [*self.boot["public_keys"], *config.get("ssh_authorized_keys", [])]  # type: ignore[misc]
        for user in config.get("users", []):  # type: ignore[attr-defined]
            if isinstance(user, dict) and user.get("name") in (None, "root", "default"):
                keys += user.get("ssh_authorized_keys", [])
        os.makedirs(f"{HOME}/.ssh", mode=0o700, exist_ok=True)
        _write(f"{HOME}/.ssh/authorized_keys", "".join(key.strip() + "\n" for key in keys), 0o600)

    def host_keys(self, config: dict[str, object], log: str) -> None:
        """Those of the user-data, or one of the machine's own."""
        if config.get("ssh_deletekeys", True):
            for name in os.listdir("/etc/ssh"):
                if name.startswith("ssh_host_"):
                    os.unlink(f"/etc/ssh/{name}")
        given = config.get("ssh_keys") or {}
        assert isinstance(given, dict)
        for name, text in given.items():
            kind, half = str(name).rsplit("_", 1)
            path = f"/etc/ssh/ssh_host_{kind}_key" + (".pub" if half == "public" else "")
            _write(path, str(text).rstrip("\n") + "\n", 0o644 if half == "public" else 0o600)
        if "ed25519_private" not in given:
            path = "/etc/ssh/ssh_host_ed25519_key"
            self.children.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], log)

    # --- ssh

    def start_sshd(self, config: dict[str, object]) -> None:
        """Returns once it listens on all addresses."""
        self.password = "yes" if config.get("ssh_pwauth") else "no"
        self.root = "no" if config.get("disable_root") is True else "prohibit-password"
        with self.sshd_lock:
            self.write_sshd_config()
            self.sshd = self.children.start(["/usr/sbin/sshd", "-D", "-e"], "/var/log/auth.log")
            self.wait_for_sshd()

    def write_sshd_config(self) -> None:
        env = " ".join(f'"{name}={value}"' for name, value in {"PATH": PATH, **self.boot["env"]}.items())  # type: ignore[dict-item]
        listen = "\n".join(f"ListenAddress {address}:{self.boot['port']}" for address in self.addresses)
        text = _SSHD.format(listen=listen, root=self.root, password=self.password, env=env)
        _write("/etc/ssh/sshd_config", text, 0o644)

    def wait_for_sshd(self) -> None:
        for address in self.addresses:
            for _ in range(3000):
                with socket.socket() as probe:
                    if probe.connect_ex((address, self.boot["port"])) == 0:
                        break
                time.sleep(0.01)
            else:
                raise OSError(f"sshd does not listen on {address}: {_read('/var/log/auth.log')}")

    def reload_sshd(self) -> int:
        """As `systemctl reload ssh`."""
        if not self.sshd:
            return 1
        os.kill(self.sshd, signal.SIGHUP)
        return 0

    def plug(self, plugged: bool) -> None:
        """No packet of SSH passes while it is unplugged."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    if _read(f"/proc/{name}/comm").startswith("sshd"):
                        os.kill(int(name), signal.SIGCONT if plugged else signal.SIGSTOP)
                except OSError:
                    continue
        say("plugged" if plugged else "unplugged")

    # --- requests

    def asked(self, line: str) -> None:
        """A program of /usr/local/sbin asks; in a thread of its own, since it may wait."""
        answer, name, *words = line.split("\037")[:-1]
        try:
            status, text = self.answer(name, words)
        except Exception:
            status, text = 1, traceback.format_exc()
        with open(answer, "w") as pipe:
            pipe.write(f"{status}\n{text}")

    def answer(self, name: str, words: list[str]) -> tuple[int, str]:
        """Exit status and what it prints."""
        if name == "systemctl":
            return self.systemctl(words)
        if name == "shutdown":
            if "-c" in words:
                return 0, ""
            name = "reboot" if "-r" in words else "halt" if "-H" in words else "poweroff"
        say(name)
        return 0, ""

    def systemctl(self, words: list[str]) -> tuple[int, str]:
        options = {word for word in words if word.startswith("-")}
        verb, *names = [word for word in words if not word.startswith("-")] or [""]
        if verb in ("poweroff", "halt", "reboot"):
            say(verb)
            return 0, ""
        if verb in ("daemon-reload", "reset-failed", "mask", "unmask", ""):
            return 0, ""
        if verb == "is-system-running":
            return 0, "running\n"
        status, text = 0, ""
        for name in names:
            is_ssh = unit_name(name) in ("ssh.service", "sshd.service")
            path = self.services.file(name)
            if is_ssh and verb in ("reload", "restart", "try-reload-or-restart", "reload-or-restart"):
                status |= self.reload_sshd()
            elif is_ssh and verb == "is-active":
                text += "active\n"
            elif is_ssh and verb in ("enable", "start"):
                continue
            elif path is None and verb == "is-active":
                status, text = 3, text + "inactive\n"
            elif path is None:
                status, text = 5, text + f"Unit {unit_name(name)} could not be found.\n"
            elif verb == "enable":
                self.services.enable(name)
                if "--now" in options:
                    status |= self.services.start(name, wait="--no-block" not in options)
            elif verb == "start":
                status |= self.services.start(name, wait="--no-block" not in options)
            elif verb in ("restart", "stop"):
                self.services.stop(name)
                if verb == "restart":
                    status |= self.services.start(name, wait="--no-block" not in options)
            elif verb == "cat":
                text += _read(path)
            elif verb in ("is-active", "status"):
                state = self.services.state(name)
                status, text = status if state == "active" else 3, text + state + "\n"
            elif verb == "is-enabled":
                on = unit_name(name) in self.services.enabled()
                status, text = status if on else 1, text + ("enabled\n" if on else "disabled\n")
            else:
                return 1, f"systemctl {' '.join(words)} is not understood here\n"
        return status, text

    def told(self, order: dict[str, object]) -> None:
        """A word from fake_instances."""
        if "plug" in order:
            self.plug(bool(order["plug"]))
        elif "addresses" in order:
            # An address may come while sshd starts: neither its configuration nor its start may be overtaken.
            with self.sshd_lock:
                self.addresses = list(order["addresses"])  # type: ignore[call-overload]
                if self.sshd:
                    self.write_sshd_config()
                    self.reload_sshd()
                    self.wait_for_sshd()
                    say("addressed")
        elif "key" in order:
            user, key = order["key"]  # type: ignore[misc]
            path = f"/run/instance-connect/{user}"
            with open(path, "a") as file:
                file.write(key.strip() + "\n")
            say("keyed")
            time.sleep(_KEY_S)
            rest = [line for line in _read(path).splitlines() if line != key.strip()]
            _write(path, "".join(line + "\n" for line in rest), 0o600)

    def loop(self) -> None:
        """Until the word's other end is gone."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        # Both ends, so that it never reads an end of file.
        asks = os.open(f"{_INIT}/ask", os.O_RDWR)
        heard = {0: b"", asks: b""}
        threading.excepthook = lambda args: say("broken", text="".join(traceback.format_exception(args.exc_value)))
        threading.Thread(target=self.run, daemon=True).start()
        while True:
            ready, _, _ = select.select([0, asks, wake_read], [], [])
            if wake_read in ready:
                # Before the children are looked at: who ends after that look wakes this again.
                os.read(wake_read, 4096)
            self.children.reap()
            for source in set(ready) & set(heard):
                data = os.read(source, 65536)
                if not data and source == 0:
                    return
                *lines, heard[source] = (heard[source] + data).split(b"\n")
                for line in lines:
                    if source == 0:
                        work, word = self.told, json.loads(line)
                    else:
                        work, word = self.asked, line.decode()
                    threading.Thread(target=work, args=(word,), daemon=True).start()


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read()


def _write(path: str, data: str | bytes, mode: int) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(file, mode)
        os.write(file, raw)
    finally:
        os.close(file)


def _write_file(file: dict[str, object]) -> None:
    """One of cloud-init's write_files."""
    raw = str(file.get("content", "")).encode()
    encodings = str(file.get("encoding", "")).replace("base64", "b64").replace("gzip", "gz")
    if "b64" in encodings:
        raw = base64.b64decode(raw)
    if "gz" in encodings:
        import gzip

        raw = gzip.decompress(raw)
    path = str(file["path"])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if file.get("append") and os.path.exists(path):
        with open(path, "rb") as before:
            raw = before.read() + raw
    _write(path, raw, int(str(file.get("permissions", "0644")), 8))


def _mount(source: str, target: str, kind: str | None = None, *, flags: int = 0, data: str | None = None) -> None:
    encode = lambda text: None if text is None else text.encode()  # noqa: E731
    if _LIBC.mount(encode(source), encode(target), encode(kind), flags, encode(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} at {target}: {errno.errorcode.get(number, number)}")


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def main() -> None:
    machine = Boot(json.loads(_read(sys.argv[1])))
    try:
        machine.mount()
    except OSError as error:
        say("broken", text=str(error))
        return
    machine.loop()


if __name__ == "__main__":
    main()
