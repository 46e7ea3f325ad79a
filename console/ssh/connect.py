"""SSH to the hosts: connect with a pinned key, ship `remote/`, keep one channel to the agent.

Foreign exceptions end here: what asyncssh and the operating system raise comes out as `HostRefused` (trying again
would not help: wrong key, no Python, full disk) or `HostUnreachable` (it may).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import shlex
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncssh

from console.address import HostAddress
from console.jumps import Jumps, Passage
from remote.attach import REFUSED

CONNECT_TIMEOUT_S = 20.0
KEEPALIVE_S = 5.0
"""Three of these unanswered end a connection; asyncssh's default of none leaves a dead peer's channel open for ever."""

# Measured with asyncssh 2.24: two to four times the lines a second of the default chacha20 (bench/ssh.py).
ENCRYPTION = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr")

_KEY_KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""What hosts hold: ssh-keygen's kinds, without those that OpenSSH has given up."""

CODE_FOLDER = ".fastconsole/code"
"""On a host, below the home folder; holds one folder for each content hash of `remote/`."""


class HostRefused(Exception):
    """The host cannot take part, and trying again would not help; one sentence."""


class WrongHostKey(HostRefused):
    """The host presented another key than the one pinned for it."""


class LoginRefused(HostRefused):
    """The host holds the pinned key and does not let the user in."""


class HostUnreachable(Exception):
    """The host cannot be reached now; one sentence."""


_jumps: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Jumps] = weakref.WeakKeyDictionary()


async def connect(address: HostAddress) -> asyncssh.SSHClientConnection:
    """An authenticated connection to the host that holds the pinned key.

    Where the address names a jump host, the connection goes through that one's, which all share; the host key is
    proved end to end all the same. Where the user's SSH configuration puts jump hosts before it (ProxyJump), they are
    gone through in the same way.

    Raises:
        HostRefused, HostUnreachable
    """
    known_hosts: list[str] = []
    if address.host_key is None:
        address, known_hosts = await _configured(address)
    if address.jump is None:
        return await _open(address, None, known_hosts)
    jumps = _jumps.setdefault(asyncio.get_running_loop(), Jumps(connect))
    try:
        passage = await jumps.through(address.jump)
    except HostRefused as error:
        raise HostRefused(f"the jump host: {error}") from None
    except HostUnreachable as error:
        raise HostUnreachable(f"the jump host: {error}") from None
    try:
        connection = await _open(address, passage, known_hosts)
    except BaseException:
        passage.end()
        raise
    # The jump host's end of the channel has no address to tell.
    connection.set_extra_info(peername=(address.host, address.port or 22))
    return connection


class _Traveller(asyncssh.SSHClient):
    """Gives its passage back when the connection that went through it is closed, by whomever."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage

    def connection_lost(self, exc: Exception | None) -> None:
        self._passage.end()


USERS_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEMS_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

_JUMP = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:@\[\]]+))(?::(?P<port>\d+))?/?")


async def _configured(address: HostAddress, after: tuple[str, ...] = ()) -> tuple[HostAddress, list[str]]:
    """The address with the jump hosts of the user's SSH configuration, and the files that hold the keys of hosts.

    ``UserKnownHostsFile none`` means to asyncssh that any key will do. Here keys hold whatever a configuration says:
    those in ~/.ssh/known_hosts do then. So it is for each jump host too, which is why they are not left to asyncssh.
    Files that are not there are passed over, as by OpenSSH. `after`: the hosts that are reached through this one.
    """
    options: dict[str, Any] = {"tunnel": (), "config": ()}  # not given, so that the configuration decides
    if address.port is not None:
        options["port"] = address.port
    if address.username is not None:
        options["username"] = address.username
    if address.ssh_config is not None:
        options["config"] = [str(Path(address.ssh_config).expanduser())]
    with _in_sentences(address, str(address)):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            told = await asyncssh.SSHClientConnectionOptions.construct(host=address.host, **options)
    if address.known_hosts is not None:
        known_hosts = [str(Path(address.known_hosts).expanduser())]
    else:
        files = told.known_hosts if isinstance(told.known_hosts, list) else []
        known_hosts = [
            str(Path(str(file)).expanduser()) for file in (*(files or USERS_KNOWN_HOSTS), *SYSTEMS_KNOWN_HOSTS)
        ]
        known_hosts = [file for file in dict.fromkeys(known_hosts) if Path(file).is_file()]
    if address.jump is not None:
        return address, known_hosts
    jump: HostAddress | None = None
    after = (*after, address.host)
    for word in filter(None, (told.tunnel or "").split(",")):
        match = _JUMP.fullmatch(word.strip())
        if match is None:
            raise HostRefused(f"{address}: ProxyJump in the SSH configuration names {word!r:.80}, which is not a host")
        name = match["v6"] or match["name"]
        if name == address.host:  # what is meant for all others, as `Host *` with a ProxyJump
            continue
        port = int(match["port"]) if match["port"] else None
        one = HostAddress(
            node=address.node, host=name, port=port, username=match["user"], ssh_config=address.ssh_config, jump=jump
        )
        if jump is None:
            if name in after:
                raise HostRefused(f"ProxyJump in the SSH configuration goes in a circle: {', '.join((*after, name))}")
            one, _ = await _configured(one, after)
        jump = one
    return replace(address, jump=jump), known_hosts


async def _open(address: HostAddress, passage: Passage | None, known_hosts: list[str]) -> asyncssh.SSHClientConnection:
    options: dict[str, Any] = {
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": 3,
        "encryption_algs": ENCRYPTION,
        "agent_forwarding": False,
        "x11_forwarding": False,
        "password_auth": False,
        "kbdint_auth": False,
        "gss_auth": False,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "login_timeout": CONNECT_TIMEOUT_S,
    }
    name = str(address)
    if passage is not None:
        name = f"{address} (through {address.jump})"
        options["tunnel"] = passage.connection
        options["client_factory"] = lambda: _Traveller(passage)
    if address.port is not None:
        options["port"] = address.port
    if address.username is not None:
        options["username"] = address.username
    if address.client_key is not None:
        options["client_keys"] = [address.client_key]
    if address.host_key is not None:
        # Ours, through and through: nothing of the user's SSH set-up has a say.
        key = asyncssh.import_public_key(address.host_key)
        options["known_hosts"] = ([key], [], [])
        options["server_host_key_algs"] = _key_kinds(key)
        options["config"] = None
        options["agent_path"] = None
    else:
        # Of none at all: every host is refused.
        options["known_hosts"] = known_hosts or b""
        options.setdefault("tunnel", None)  # the configuration's own jump hosts stand in the address by now
        if address.ssh_config is not None:
            options["config"] = [str(Path(address.ssh_config).expanduser())]
    with _in_sentences(address, name):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncssh.connect(address.host, **options)


@contextmanager
def _in_sentences(address: HostAddress, name: str) -> Iterator[None]:
    """What asyncssh and the operating system raise comes out as `HostRefused` or `HostUnreachable`."""
    try:
        yield
    except asyncssh.HostKeyNotVerifiable as error:
        raise WrongHostKey(f"{name} presented another host key than the one pinned for it ({error.reason})") from None
    except asyncssh.PermissionDenied:
        who = address.username or "this user"
        raise LoginRefused(f"{name} refused the key of {who}; is the public key in its authorized_keys?") from None
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise HostRefused(f"the private key {address.client_key} cannot be used: {error}") from None
    except asyncssh.ConfigParseError as error:
        raise HostRefused(f"the SSH configuration cannot be read: {error}") from None
    except asyncssh.ChannelOpenError as error:
        if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
            why = "its sshd does not pass connections on (AllowTcpForwarding, PermitOpen)"
            raise HostRefused(f"the jump host {address.jump} refused the way to {address}: {why}") from None
        raise HostUnreachable(f"{name}: {error.reason}") from None
    except asyncssh.DisconnectError as error:
        raise HostUnreachable(f"{name}: {error.reason}") from None
    except TimeoutError:
        raise HostUnreachable(f"{name} did not answer within {CONNECT_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename:
            raise HostRefused(f"{error.filename}: there is no such file") from None
        raise HostUnreachable(f"{name}: {_os_reason(error)}") from None


def _key_kinds(pinned: asyncssh.SSHKey) -> list[str]:
    """The pinned key's kinds first, and then all others: a host that has none of its kind is to show the one it has,
    and be refused for it, rather than to hang up without a word, which would look like a host that still boots."""
    own = [kind.decode() for kind in pinned.sig_algorithms]
    return own + [kind for kind in _KEY_KINDS if kind not in own]


def _os_reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def fingerprint(connection: asyncssh.SSHClientConnection) -> str:
    """SHA-256 of the host key that the host proved to hold, as OpenSSH prints it."""
    key = connection.get_server_host_key()
    return key.get_fingerprint() if key else ""


@dataclass(frozen=True, slots=True)
class Code:
    """The files of `remote/`, and the hash of their contents by which a host knows whether it has them."""

    files: tuple[tuple[str, bytes], ...]
    digest: str

    @classmethod
    def read(cls) -> Code:
        """The package as it is on the laptop now."""
        import remote

        folder = Path(remote.__file__).parent
        files = tuple((path.name, path.read_bytes()) for path in sorted(folder.glob("*.py")))
        digest = hashlib.sha256()
        for name, content in files:
            digest.update(f"{name} {len(content)}\n".encode() + content)
        return cls(files, digest.hexdigest()[:16])

    @property
    def folder(self) -> str:
        """Its folder on a host, below the home folder."""
        return f"{CODE_FOLDER}/{self.digest}"


async def ship(connection: asyncssh.SSHClientConnection, code: Code, progress: Callable[[int, int], None]) -> bool:
    """Has the host hold the code; True if it had to be sent. `progress(files done, files)`.

    Written beside and renamed, so that a folder of this name is whole.

    Raises:
        HostRefused: the host's disk is full or may not be written.
    """
    beside = f"{code.folder}.{secrets.token_hex(4)}"
    try:
        async with connection.start_sftp_client() as sftp:
            if await sftp.isdir(code.folder):
                progress(len(code.files), len(code.files))
                return False
            await sftp.makedirs(f"{beside}/remote", exist_ok=True)
            done = 0

            async def put(name: str, content: bytes) -> None:
                nonlocal done
                async with sftp.open(f"{beside}/remote/{name}", "wb") as file:
                    await file.write(content)
                done += 1
                progress(done, len(code.files))

            await asyncio.gather(*(put(name, content) for name, content in code.files))
            try:
                await sftp.rename(beside, code.folder)
            except asyncssh.SFTPError:
                if not await sftp.isdir(code.folder):
                    raise
                # Another console was quicker with the same content.
                await sftp.rmtree(beside)
            return True
    except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as error:
        why = "is the disk full, or the home folder not the user's?"
        raise HostRefused(f"cannot write {beside} ({why}): {error.reason}") from None
    except asyncssh.Error as error:
        raise HostUnreachable(f"the connection broke while sending the code: {error.reason}") from None
    except OSError as error:
        raise HostUnreachable(f"the connection broke while sending the code: {_os_reason(error)}") from None


class Channel:
    """The open channel to a host's agent: journal lines come, commands go."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process

    @classmethod
    async def open(
        cls,
        connection: asyncssh.SSHClientConnection,
        address: HostAddress,
        code: Code,
        run_id: str,
        *,
        offset: int,
        job_json: str | None = None,
    ) -> Channel:
        """Attaches at the byte `offset` of the host's journal; with a job, starts the agent if none is alive."""
        words = [address.python, "-m", "remote.agent", "attach", run_id, str(address.node), "--from", str(offset)]
        if job_json is not None:
            words.append("--start")
        command = f'PYTHONPATH="$HOME"/{code.folder} exec ' + " ".join(map(shlex.quote, words))
        try:
            process = await connection.create_process(command, encoding=None)
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"no channel could be opened: {error}") from None
        channel = cls(process)
        if job_json is not None:
            channel._write(job_json.encode() + b"\n")
        return channel

    def send(self, command: dict[str, Any]) -> None:
        """Puts a command on its way; a channel that is closing takes nothing, and the next one sends it again."""
        self._write(json.dumps(command, separators=(",", ":")).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            self._process.stdin.write(line)
        except (BrokenPipeError, OSError, asyncssh.Error):
            pass

    async def pieces(self) -> AsyncIterator[bytes]:
        """What comes, in pieces of any length, until the channel ends."""
        try:
            while piece := await self._process.stdout.read(1 << 16):
                yield piece
        except (asyncssh.Error, OSError):
            return

    async def verdict(self) -> None:
        """Why the channel ended: returns if the agent ended in order, else raises.

        Raises:
            HostRefused, HostUnreachable
        """
        try:
            said = await self._process.stderr.read(1 << 16)
            await self._process.wait_closed()
        except (asyncssh.Error, OSError):
            said = b""
        status = self._process.exit_status
        if status == 0:
            return
        text = said.decode("utf-8", "replace").strip()
        last = text.splitlines()[-1] if text else ""
        if status == REFUSED:
            try:
                raise HostRefused(str(json.loads(last)["error"]))
            except (ValueError, KeyError, TypeError):
                raise HostRefused(last) from None
        if status == 127:
            raise HostRefused("there is no Python by that name (run.python); " + last)
        if status is not None:
            raise HostRefused(f"the agent's channel ended with exit status {status}: {last}")
        raise HostUnreachable("the connection was lost")

    async def close(self) -> None:
        """Ends the channel; the agent goes on."""
        self._process.close()


async def fetch(connection: asyncssh.SSHClientConnection, remote_path: str, local_path: Path, sha256: str) -> int:
    """Brings a file of a host here, written beside and renamed once its hash is right; its size in bytes.

    Raises:
        HostUnreachable: the connection broke.
        ValueError: what came has another hash.
        OSError: it could not be written here.
    """
    beside = local_path.with_name(f"{local_path.name}.part")
    try:
        async with connection.start_sftp_client() as sftp:
            await sftp.get(remote_path, str(beside))
    except asyncssh.Error as error:
        raise HostUnreachable(f"{remote_path} could not be fetched: {error.reason}") from None
    digest, size = await asyncio.to_thread(_digest, beside)
    if digest != sha256:
        beside.unlink()
        raise ValueError(f"{remote_path} came with another SHA-256 than the host wrote")
    beside.replace(local_path)
    return size


async def upload(connection: asyncssh.SSHClientConnection, local_path: Path, remote_path: str) -> None:
    """Puts a file on a host, written beside and renamed.

    Raises:
        HostUnreachable: the connection broke, or the host could not write it.
    """
    beside = f"{remote_path}.part"
    try:
        async with connection.start_sftp_client() as sftp:
            await sftp.makedirs(str(Path(remote_path).parent), exist_ok=True)
            await sftp.put(str(local_path), beside)
            await sftp.posix_rename(beside, remote_path)
    except asyncssh.Error as error:
        raise HostUnreachable(f"{local_path.name} could not be sent: {error.reason}") from None


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
