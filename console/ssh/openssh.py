"""The OpenSSH command that opens a shell on a node, with the run's key, the pinned host key and the run's jump host."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from console.atomic_file import write_private
from console.ssh.address import HostAddress

KNOWN_HOSTS = "known_hosts"
"""File of the run directory with the pinned keys, by an alias for each node; written when a shell is opened."""


def command(hosts: Sequence[HostAddress], node: int, known: Path) -> list[str]:
    """The command to run in the terminal for a shell on the node.

    `hosts`: the run's. `known`: the file to write their pinned keys to.

    Raises:
        ValueError: the run has no such host, or this machine no OpenSSH client; a sentence.
        OSError: the known_hosts file cannot be written.
    """
    address = next((host for host in hosts if host.node == node), None)
    if address is None:
        raise ValueError(f"Node {node} has no host yet, so there is nothing to open a shell on.")
    ssh = shutil.which("ssh")
    if ssh is None:
        raise ValueError("There is no ssh on this machine; install the OpenSSH client (Debian: openssh-client).")
    pinned = {_alias(hop): hop.host_key for host in hosts for hop in (host, host.jump) if hop and hop.host_key}
    write_private(known, "".join(f"{alias} {_key(key)}\n" for alias, key in pinned.items()).encode())
    words = [ssh, "-t", *_options(address, known)]
    if address.jump is not None:
        jump = [ssh, *_options(address.jump, known), "-W", "[%h]:%p", address.jump.host]
        # OpenSSH expands per cent signs in it and passes it to a shell.
        escaped = [word if word == "[%h]:%p" else word.replace("%", "%%") for word in jump]
        words += ["-o", f"ProxyCommand={shlex.join(escaped)}"]
    return [*words, "--", address.host]


def _alias(address: HostAddress) -> str:
    return f"fastconsole-{address.host}-{address.port or 22}"


def _key(key: str) -> str:
    """Kind and key, without the comment."""
    return " ".join(key.split()[:2])


def _options(address: HostAddress, known: Path) -> list[str]:
    words: list[str] = []
    if address.host_key is not None:
        # Only what the run pinned: no file of the user's, no SSH agent, no prompt.
        words += ["-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", f'UserKnownHostsFile="{known}"']
        words += ["-o", "GlobalKnownHostsFile=none", "-o", f"HostKeyAlias={_alias(address)}"]
        words += ["-o", "IdentityAgent=none"]
    else:
        if address.ssh_config is not None:
            words += ["-F", str(Path(address.ssh_config).expanduser())]
        if address.known_hosts is not None:
            words += ["-o", f'UserKnownHostsFile="{Path(address.known_hosts).expanduser()}"']
        words += ["-o", "StrictHostKeyChecking=yes"]
    if address.client_key is not None:
        words += ["-i", address.client_key, "-o", "IdentitiesOnly=yes"]
    words += ["-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "PasswordAuthentication=no"]
    words += ["-o", "KbdInteractiveAuthentication=no", "-o", "ServerAliveInterval=5"]
    if address.port is not None:
        words += ["-p", str(address.port)]
    if address.username is not None:
        words += ["-l", address.username]
    return words
