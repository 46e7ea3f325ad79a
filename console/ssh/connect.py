"""SSH to the hosts: connect with a pinned key, ship `remote/`, keep one channel to the agent.

Foreign exceptions end here: what asyncssh and the operating system raise comes out as `HostRefused` (trying again
would not help: wrong key, no Python, full disk) or `HostUnreachable` (it may).
"""

from __future__ import annotations

import asyncio
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh

from console.ssh.address import HostAddress
from console.ssh.errors import HostRefused, HostUnreachable, LoginRefused, WrongHostKey, _os_reason
from console.ssh.jumps import Jumps, Passage

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


def fingerprint(connection: asyncssh.SSHClientConnection) -> str:
    """SHA-256 of the host key that the host proved to hold, as OpenSSH prints it."""
    key = connection.get_server_host_key()
    return key.get_fingerprint() if key else ""
