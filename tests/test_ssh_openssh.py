"""A shell on a node: over a real SSH client to a real host, and in a console that goes on meanwhile."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from embedded import embedded_host

from console.journal.directory import RunDirectory
from console.ssh import openssh
from console.ssh.address import HostAddress

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no OpenSSH client")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a state"))
    return RunDirectory.create("small")


@pytest.fixture
def host(directory: RunDirectory) -> Iterator[HostAddress]:
    """An embedded host that is running."""
    with embedded_host(directory.homes / "node-00", directory.key) as address:
        yield address


def in_a_terminal(command: list[str], *typed: bytes) -> tuple[str, int]:
    """What the command shows on a terminal where this is typed, each once a prompt has come; and its exit code."""
    pid, master = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    shown = b""
    waiting = list(typed)
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        if waiting and shown.rstrip().endswith(b"$"):
            os.write(master, waiting.pop(0))
    os.close(master)
    return shown.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@needs_ssh
def test_a_shell_on_an_embedded_host(directory: RunDirectory, host: HostAddress) -> None:
    directory.write_fleet("local", [host], {})
    command = openssh.command(directory.read_fleet()[0], 0, directory.path / openssh.KNOWN_HOSTS)
    shown, code = in_a_terminal(command, b"echo at $((40+2)); tty; stty size; pwd\n", b"sleep 30\n\x03", b"exit 7\n")
    assert "at 42" in shown
    assert "/dev/pts/" in shown
    assert "node-00" in shown
    assert code == 7
    assert (directory.path / openssh.KNOWN_HOSTS).stat().st_mode & 0o077 == 0


@needs_ssh
def test_another_host_key_than_the_pinned_one_is_refused(directory: RunDirectory, host: HostAddress) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    directory.write_fleet("local", [replace(host, host_key=other)], {})
    shown, code = in_a_terminal(
        openssh.command(directory.read_fleet()[0], 0, directory.path / openssh.KNOWN_HOSTS), b"exit\n"
    )
    assert code == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in shown or "verification failed" in shown


@needs_ssh
def test_the_way_through_a_jump_host_pins_both(directory: RunDirectory) -> None:
    jump = HostAddress(node=0, host="203.0.113.5", host_key="ssh-ed25519 AAAAjump x", client_key="/k", username="ec2")
    node = HostAddress(node=3, host="10.0.0.7", host_key="ssh-ed25519 AAAAnode x", client_key="/k", jump=jump)
    directory.write_fleet("aws", [node], {})
    words = openssh.command(directory.read_fleet()[0], 3, directory.path / openssh.KNOWN_HOSTS)
    (proxy,) = [word for word in words if word.startswith("ProxyCommand=")]
    assert "-W '[%h]:%p' 203.0.113.5" in proxy
    assert "HostKeyAlias=fastconsole-203.0.113.5-22" in proxy
    assert "StrictHostKeyChecking=yes" in proxy
    assert words[-2:] == ["--", "10.0.0.7"]
    assert (directory.path / openssh.KNOWN_HOSTS).read_text().splitlines() == [
        "fastconsole-10.0.0.7-22 ssh-ed25519 AAAAnode",
        "fastconsole-203.0.113.5-22 ssh-ed25519 AAAAjump",
    ]
    # OpenSSH itself reads it.
    said = subprocess.run([words[0], "-G", *words[1:]], capture_output=True, text=True, check=True).stdout
    assert f"userknownhostsfile {directory.path / openssh.KNOWN_HOSTS}" in said
    assert "identityagent none" in said
    assert "stricthostkeychecking true" in said


def test_what_is_missing_is_a_sentence(directory: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Node 2 has no host yet"):
        openssh.command(directory.read_fleet()[0], 2, directory.path / openssh.KNOWN_HOSTS)
    directory.write_fleet("local", [HostAddress(node=2, host="h")], {})
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="no ssh on this machine"):
        openssh.command(directory.read_fleet()[0], 2, directory.path / openssh.KNOWN_HOSTS)


CONSOLE = """
import sys
sys.path.insert(0, "tests")
from canned_source import CannedSource, scene
from console.tui.app import ConsoleApp
source = CannedSource(scene("training", nodes=4))
asked = []
async def work():
    import asyncio, pathlib
    while not asked:
        await asyncio.sleep(0.02)
    for _ in range(20):
        await asyncio.sleep(0.02)
    pathlib.Path(sys.argv[1]).touch()
    await asyncio.Event().wait()
source.work = work
wait = f"until [ -e '{sys.argv[1]}' ]; do sleep 0.02; done"
command = ["sh", "-c", f"echo in-the-$((1+1))nd-shell; {wait}; read line; echo got $line; read line; exit 0"]
def shell(node):
    asked.append(node)
    return command if node == 1 else ["sh", "-c", "exit 255"]
app = ConsoleApp(source, shell=shell)
app.run()
print("SENT", source.sent)
"""


def test_the_console_lends_its_terminal_goes_on_and_takes_it_back(tmp_path: Path) -> None:
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-c", CONSOLE, str(tmp_path / "beaten")])
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        shown = b""
        while text not in shown:
            shown += os.read(master, 65536)

    until(b"healthy")
    assert b"\x1b]2;" in shown
    os.write(master, b"j!")
    until(b"in-the-2nd-shell")
    os.write(master, b"hello\n")
    until(b"got hello")
    assert b"Nodes" not in shown, "nothing is painted over a shell"
    # Ctrl-C goes to the shell; to the console it would mean to stop the run.
    os.write(master, b"\x03")
    until(b"Closed the shell on")
    os.write(master, b"j!")
    until(b"Enter returns")
    os.write(master, b"\n")
    until(b"ssh failed.")
    os.write(master, b"q")
    until(b"Quit the console")
    os.write(master, b"d")
    rest = b""
    try:
        while data := os.read(master, 65536):
            rest += data
    except OSError:
        pass
    os.waitpid(pid, 0)
    os.close(master)
    assert b"SENT ['detach']" in rest
    assert b"\x1b[23;2t" in rest, "the terminal has its title again"
