"""README.md: its two make commands are there, and its profile trains as it stands on two real hosts."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import machine
import openssh
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMES = ("gpu-1", "gpu-2")


def section(title: str) -> str:
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def block(kind: str, text: str) -> str:
    """The first fenced block of its kind."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None, kind
    return found[1]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_its_figures_are_ten_and_each_has_a_command() -> None:
    rows = [line.split(" | ") for line in section("Figures").splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 10
    assert [row[-1] for row in rows if not re.fullmatch(r"`(?:fastconsole|python) .+` \|", row[-1])] == []


def test_its_two_commands_are_targets_of_make() -> None:
    lines = [line.partition("#")[0].split() for line in block("sh", section("Quick start")).splitlines()]
    assert lines == [["make", "demo"], ["make", "test"]]
    for words, runs in zip(lines, ("fastconsole local", "pytest"), strict=True):
        done = subprocess.run([*words, "-n"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert runs in done.stdout


# --- the profile -----------------------------------------------------------------------------------------------------


@pytest.fixture
def two_hosts(
    tmp_path: Path, own_home: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch, no_leftovers: None
) -> Iterator[None]:
    """Two SSH servers that ~/.ssh/config calls gpu-1 and gpu-2, with a python3 in their PATH.

    The hosts find each other by these names, so the servers have an /etc/hosts of their own, in which both are this
    machine: that takes a mount namespace, and root.
    """
    machine.needed()
    hosts = tmp_path / "hosts"
    hosts.write_text(Path("/etc/hosts").read_text() + f"\n127.0.0.1 {' '.join(NAMES)}\n")
    sshd = tmp_path / "sshd"
    inside = f'mount --bind {hosts} /etc/hosts && exec {openssh.SSHD} "$@"'
    sshd.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{inside}' sh \"$@\"\n")
    sshd.chmod(0o755)
    monkeypatch.setattr(openssh, "SSHD", str(sshd))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    # One home for both, as in a cluster, in which the data set is the one that all tests share.
    far = tmp_path / "far"
    (far / ".fastconsole").mkdir(parents=True)
    (far / ".fastconsole" / "data").symlink_to(cache_home)
    # A thread a rank: the hosts of this test share a few cores.
    lines = f"SetEnv HOME={far} PATH={programs}:/usr/bin:/bin OMP_NUM_THREADS=1"

    key = asyncssh.generate_private_key("ssh-ed25519")
    folder = own_home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "id_of_the_test").touch(0o600)
    (folder / "id_of_the_test").write_bytes(key.export_private_key())
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    servers: list[openssh.OpenSSHServer] = []
    try:
        for name in NAMES:
            (tmp_path / name).mkdir()
            servers.append(openssh.OpenSSHServer(tmp_path / name, key, far, lines))
        (folder / "known_hosts").write_text("".join(server.known_hosts_line() for server in servers))
        (folder / "config").write_text(
            "".join(
                f"Host {name}\n  HostName 127.0.0.1\n  Port {server.port}\n  User {getpass.getuser()}\n"
                f"  IdentityFile {folder / 'id_of_the_test'}\n"
                for name, server in zip(NAMES, servers, strict=True)
            )
        )
        yield
    finally:
        for server in servers:
            server.stop()


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("two_hosts")
def test_its_profile_trains_two_hosts_to_the_target(tmp_path: Path) -> None:
    text = block("toml", section("Train on your own hosts"))
    (tmp_path / "mine.toml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "console", str(tmp_path / "mine.toml"), "--headless"],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    story = done.stdout.rpartition("\nmine · ")[2]
    assert "2 × static, 2 ranks on cpu\n" in story
    assert re.search(r"^ended +reached: top5 \d\d\.\d % after \d\d:\d\d \(target 85\.0 %\); ", story, re.MULTILINE)
    assert re.search(r"^budget +\$5\.00$", story, re.MULTILINE)
    assert re.search(r"^cost +\$\d\.\d\d billed", story, re.MULTILINE)
    (journal,) = (tmp_path / "state" / "fastconsole" / "runs").glob("*/run.jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert records[0]["profile_text"] == text
    assert [record["address"] for record in records if record["event"] == "HostFound"] == ["127.0.0.1"] * 2
    assert {record["node"] for record in records if record["event"] == "RankStarted"} == {0, 1}
