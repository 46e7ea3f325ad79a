"""Which of our errors each exception of asyncssh or the operating system becomes, as one table.

Foreign exceptions end at `console.ssh.connect`: they come out as `HostRefused` (trying again would not help: wrong key,
no login, unusable configuration) or `HostUnreachable` (it may).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncssh

from console.ssh.address import HostAddress
from console.ssh.errors import HostRefused, HostUnreachable, LoginRefused, WrongHostKey, os_reason

CONNECT_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection attempt, as the sentences name it."""

    address: HostAddress
    name: str
    """The host, and the jump host that it is reached through."""


@dataclass(frozen=True, slots=True)
class Row:
    """One foreign exception and what it becomes."""

    foreign: type[Exception]
    ours: type[HostRefused | HostUnreachable]
    sentence: Callable[[Any, Attempt], str]
    """Of the foreign exception and the attempt."""
    applies: Callable[[Any], bool] = lambda error: True
    """False for an exception of the class that another row is for."""


FOREIGN: Final = (
    Row(
        asyncssh.HostKeyNotVerifiable,
        WrongHostKey,
        lambda error, attempt: f"{attempt.name} presented another host key than the one pinned for it ({error.reason})",
    ),
    Row(
        asyncssh.PermissionDenied,
        LoginRefused,
        lambda error, attempt: (
            f"{attempt.name} refused the key of {attempt.address.username or 'this user'}; "
            "is the public key in its authorized_keys?"
        ),
    ),
    Row(
        asyncssh.KeyImportError,
        HostRefused,
        lambda error, attempt: f"the private key {attempt.address.client_key} cannot be used: {error}",
    ),
    Row(
        asyncssh.KeyEncryptionError,
        HostRefused,
        lambda error, attempt: f"the private key {attempt.address.client_key} cannot be used: {error}",
    ),
    Row(
        asyncssh.ConfigParseError,
        HostRefused,
        lambda error, attempt: f"the SSH configuration cannot be read: {error}",
    ),
    Row(
        asyncssh.ChannelOpenError,
        HostRefused,
        lambda error, attempt: (
            f"the jump host {attempt.address.jump} refused the way to {attempt.address}: "
            "its sshd does not forward connections (AllowTcpForwarding, PermitOpen)"
        ),
        applies=lambda error: error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED,
    ),
    Row(asyncssh.ChannelOpenError, HostUnreachable, lambda error, attempt: f"{attempt.name}: {error.reason}"),
    Row(asyncssh.DisconnectError, HostUnreachable, lambda error, attempt: f"{attempt.name}: {error.reason}"),
    Row(
        TimeoutError,
        HostUnreachable,
        lambda error, attempt: f"{attempt.name} did not answer within {CONNECT_TIMEOUT_S:.0f} s",
    ),
    Row(
        FileNotFoundError,
        HostRefused,
        lambda error, attempt: f"{error.filename}: there is no such file",
        applies=lambda error: bool(error.filename),
    ),
    Row(OSError, HostUnreachable, lambda error, attempt: f"{attempt.name}: {os_reason(error)}"),
    Row(
        UnicodeError,
        HostRefused,
        lambda error, attempt: f"{attempt.name}: the host's name or a file of the SSH set-up cannot be read: {error}",
    ),
    # asyncssh's word for what it cannot use, for example a line of known_hosts.
    Row(ValueError, HostRefused, lambda error, attempt: f"{attempt.name}: the SSH set-up cannot be used: {error}"),
)
"""The first row that an exception is of decides; one without a row is a bug, and passes through."""


def translated(error: Exception, attempt: Attempt) -> HostRefused | HostUnreachable | None:
    """Our error for the foreign one; None where the table has none."""
    for row in FOREIGN:
        if isinstance(error, row.foreign) and row.applies(error):
            return row.ours(row.sentence(error, attempt))
    return None


@contextmanager
def in_our_words(attempt: Attempt) -> Iterator[None]:
    """Raises our errors in place of the foreign ones."""
    try:
        yield
    except Exception as error:
        ours = translated(error, attempt)
        if ours is None:
            raise
        raise ours from None
