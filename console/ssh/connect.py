"""Opens an authenticated SSH connection to a host that proves its pinned key, through jump hosts if there are any."""

from __future__ import annotations

import asyncio
import re
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh

from console.ssh.address import HostAddress
from console.ssh.errors import HostRefused, HostUnreachable
from console.ssh.foreign import CONNECT_TIMEOUT_S, Attempt, in_our_words
from console.ssh.jumps import Jumps, JumpShare

KEEPALIVE_S = 5.0
"""Three unanswered end a connection; with asyncssh's default of none a dead peer's channel stays open for ever."""

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
"""The kinds of host key that ssh-keygen makes, without those that OpenSSH has dropped."""


_jumps: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Jumps] = weakref.WeakKeyDictionary()


async def connect(address: HostAddress) -> asyncssh.SSHClientConnection:
    """An authenticated connection to the host that holds the pinned key.

    Where the address names a jump host, the connection goes through the one connection to it that all hosts share; the
    host key is still verified end to end. Jump hosts of the user's SSH configuration (ProxyJump) are used the same way.

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
        share = await jumps.through(address.jump)
    except HostRefused as error:
        raise HostRefused(f"the jump host: {error}") from None
    except HostUnreachable as error:
        raise HostUnreachable(f"the jump host: {error}") from None
    try:
        connection = await _open(address, share, known_hosts)
    except BaseException:
        share.release()
        raise
    # asyncssh knows no peer address behind a jump host.
    connection.set_extra_info(peername=(address.host, address.port or 22))
    return connection


class _ShareHolder(asyncssh.SSHClient):
    """Releases its share when the connection through it is closed, from either end."""

    def __init__(self, share: JumpShare) -> None:
        self._share = share

    def connection_lost(self, exc: Exception | None) -> None:
        self._share.release()


USERS_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEMS_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

_JUMP = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<name>[^:@\[\]]+))(?::(?P<port>\d+))?/?")


async def _configured(address: HostAddress, after: tuple[str, ...] = ()) -> tuple[HostAddress, list[str]]:
    """The address with the jump hosts of the user's SSH configuration, and the files that hold the hosts' keys.

    To asyncssh, ``UserKnownHostsFile none`` means that any key is accepted. Here pinned keys hold whatever a
    configuration says: those in ~/.ssh/known_hosts apply then. The same goes for each jump host, which is why jump
    hosts are not left to asyncssh. Missing files are skipped, as OpenSSH does. `after`: the hosts that are reached
    through this one.
    """
    options: dict[str, Any] = {"tunnel": (), "config": ()}  # unset, so that the configuration decides
    if address.port is not None:
        options["port"] = address.port
    if address.username is not None:
        options["username"] = address.username
    if address.ssh_config is not None:
        options["config"] = [str(Path(address.ssh_config).expanduser())]
    with in_our_words(Attempt(address, str(address))):
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
        if name == address.host:  # `Host *` with a ProxyJump is meant for the other hosts
            continue
        port = int(match["port"]) if match["port"] else None
        hop = HostAddress(
            node=address.node, host=name, port=port, username=match["user"], ssh_config=address.ssh_config, jump=jump
        )
        if jump is None:
            if name in after:
                raise HostRefused(f"ProxyJump in the SSH configuration goes in a circle: {', '.join((*after, name))}")
            hop, _ = await _configured(hop, after)
        jump = hop
    return replace(address, jump=jump), known_hosts


async def _open(address: HostAddress, share: JumpShare | None, known_hosts: list[str]) -> asyncssh.SSHClientConnection:
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
    if share is not None:
        name = f"{address} (through {address.jump})"
        options["tunnel"] = share.connection
        options["client_factory"] = lambda: _ShareHolder(share)
    if address.port is not None:
        options["port"] = address.port
    if address.username is not None:
        options["username"] = address.username
    if address.client_key is not None:
        options["client_keys"] = [address.client_key]
    if address.host_key is not None:
        # The run's own keys: nothing of the user's SSH set-up applies.
        key = asyncssh.import_public_key(address.host_key)
        options["known_hosts"] = ([key], [], [])
        options["server_host_key_algs"] = _key_kinds(key)
        options["config"] = None
        options["agent_path"] = None
    else:
        # With no file at all, every host is refused.
        options["known_hosts"] = known_hosts or b""
        options.setdefault("tunnel", None)  # the configuration's jump hosts are in the address by now
        if address.ssh_config is not None:
            options["config"] = [str(Path(address.ssh_config).expanduser())]
    with in_our_words(Attempt(address, name)):
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await asyncssh.connect(address.host, **options)


def _key_kinds(pinned: asyncssh.SSHKey) -> list[str]:
    """The pinned key's kinds first, then all others: a host without a key of that kind then shows the one it has and is
    refused for it. Without them it would hang up silently, which looks like a host that is still booting."""
    own = [kind.decode() for kind in pinned.sig_algorithms]
    return own + [kind for kind in _KEY_KINDS if kind not in own]


def fingerprint(connection: asyncssh.SSHClientConnection) -> str:
    """SHA-256 of the host key that the host proved, as OpenSSH prints it."""
    key = connection.get_server_host_key()
    return key.get_fingerprint() if key else ""
