"""What each exception of asyncssh and the operating system becomes, row by row."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from embedded import embedded_host

from console.ssh.address import HostAddress
from console.ssh.connect import connect
from console.ssh.errors import HostRefused, HostUnreachable, LoginRefused, WrongHostKey
from console.ssh.foreign import FOREIGN, Attempt, in_our_words, translated

JUMP = HostAddress(node=0, host="bastion")
ADDRESS = HostAddress(node=0, host="gpu-0", port=2222, username="ubuntu", client_key="/keys/id", jump=JUMP)
ATTEMPT = Attempt(ADDRESS, "gpu-0:2222 (through bastion)")

CASES: list[tuple[Exception, type[Exception], str]] = [
    (
        asyncssh.HostKeyNotVerifiable("Host key is not trusted"),
        WrongHostKey,
        "gpu-0:2222 (through bastion) presented another host key than the one pinned for it (Host key is not trusted)",
    ),
    (
        asyncssh.PermissionDenied("no"),
        LoginRefused,
        "gpu-0:2222 (through bastion) refused the key of ubuntu; is the public key in its authorized_keys?",
    ),
    (asyncssh.KeyImportError("bad PEM"), HostRefused, "the private key /keys/id cannot be used: bad PEM"),
    (asyncssh.KeyEncryptionError("locked"), HostRefused, "the private key /keys/id cannot be used: locked"),
    (asyncssh.ConfigParseError("line 3"), HostRefused, "the SSH configuration cannot be read: line 3"),
    (
        asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed"),
        HostRefused,
        "the jump host bastion refused the way to gpu-0:2222: "
        "its sshd does not forward connections (AllowTcpForwarding, PermitOpen)",
    ),
    (
        asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection refused"),
        HostUnreachable,
        "gpu-0:2222 (through bastion): Connection refused",
    ),
    (asyncssh.ConnectionLost("it hung up"), HostUnreachable, "gpu-0:2222 (through bastion): it hung up"),
    (TimeoutError(), HostUnreachable, "gpu-0:2222 (through bastion) did not answer within 20 s"),
    (
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/keys/id"),
        HostRefused,
        "/keys/id: there is no such file",
    ),
    (
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        HostUnreachable,
        "gpu-0:2222 (through bastion): Connection refused",
    ),
    (
        UnicodeError("label too long"),
        HostRefused,
        "gpu-0:2222 (through bastion): the host's name or a file of the SSH set-up cannot be read: label too long",
    ),
    (
        ValueError("Invalid known hosts entry: x"),
        HostRefused,
        "gpu-0:2222 (through bastion): the SSH set-up cannot be used: Invalid known hosts entry: x",
    ),
]
"""One case a row, in the rows' order."""


@pytest.mark.parametrize("index", range(len(FOREIGN)), ids=lambda index: FOREIGN[index].foreign.__name__)
def test_each_row(index: int) -> None:
    error, ours, sentence = CASES[index]
    deciding = next(row for row in FOREIGN if isinstance(error, row.foreign) and row.applies(error))
    assert deciding is FOREIGN[index], "another row comes before it"
    with pytest.raises(ours) as caught, in_our_words(ATTEMPT):
        raise error
    assert type(caught.value) is ours
    assert str(caught.value) == sentence
    assert caught.value.__suppress_context__


def test_every_row_has_its_case() -> None:
    assert len(CASES) == len(FOREIGN)


def test_all_that_ends_an_ssh_connection_has_a_row() -> None:
    classes = [
        value
        for value in vars(asyncssh).values()
        if isinstance(value, type) and issubclass(value, asyncssh.DisconnectError) and value is not asyncssh.Error
    ]
    assert len(classes) >= 10
    for foreign in classes:
        error = foreign(1, "why") if foreign is asyncssh.DisconnectError else foreign("why")
        assert isinstance(translated(error, ATTEMPT), HostRefused | HostUnreachable), foreign


def test_errors_of_the_operating_system_without_words_are_named_by_their_class() -> None:
    assert str(translated(ConnectionResetError(), ATTEMPT)) == "gpu-0:2222 (through bastion): ConnectionResetError"
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert isinstance(translated(gone, ATTEMPT), HostUnreachable), "it names no file of the user's"
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert str(translated(unknown, ATTEMPT)).endswith(": Name or service not known")


def test_a_user_without_a_name_is_this_user() -> None:
    attempt = Attempt(HostAddress(node=0, host="h"), "h")
    assert "refused the key of this user;" in str(translated(asyncssh.PermissionDenied("no"), attempt))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("a bug"), AssertionError()])
def test_what_has_no_row_passes_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, in_our_words(ATTEMPT):
        raise error
    assert caught.value is error


def test_what_is_ours_passes_through() -> None:
    ours = HostUnreachable("the jump host: gone")
    with pytest.raises(HostUnreachable) as caught, in_our_words(ATTEMPT):
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize("name", ["a" * 70, "gpu..example"])
async def test_a_name_that_no_host_can_have_is_a_sentence(tmp_path: Path, name: str) -> None:
    known, config = tmp_path / "known_hosts", tmp_path / "config"
    known.touch()
    config.touch()
    with pytest.raises(HostRefused, match=r"the host's name or a file of the SSH set-up cannot be read"):
        await connect(HostAddress(node=0, host=name, known_hosts=str(known), ssh_config=str(config)))


async def test_a_known_hosts_file_with_a_broken_line_is_a_sentence(tmp_path: Path) -> None:
    known, config = tmp_path / "known_hosts", tmp_path / "config"
    known.write_text("garbage\n")
    config.touch()
    with embedded_host(tmp_path / "home", tmp_path / "key") as address:
        address = replace(address, host_key=None, known_hosts=str(known), ssh_config=str(config))
        with pytest.raises(HostRefused, match=r"^127.0.0.1:\d+: the SSH set-up cannot be used: .*known hosts.*garbage"):
            await connect(address)
