"""What a host gets of `remote/`: all its packages, only Python, under a name that tells whether it has them."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio
from embedded import embedded_host

import remote
from console.ssh.connect import connect
from console.ssh.errors import HostRefused
from console.ssh.ship import CODE_FOLDER, Code, ship


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package with packages in it, and what an editor, an interpreter and a user leave there."""
    folder = tmp_path / "remote"
    for name, text in {
        "__init__.py": "",
        "atomic_file.py": "A = 1\n",
        "wire/__init__.py": "",
        "wire/events.py": "B = 2\n",
        "wire/deep/er/__init__.py": "C = 3\n",
        "wire/__pycache__/events.cpython-311.pyc": "no source",
        "__pycache__/atomic_file.cpython-311.pyc": "no source",
        "agent/notes.md": "not Python",
        "agent/data.json": "{}",
        "agent/half.py~": "not Python",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_all_packages_and_only_python(tree: Path) -> None:
    code = Code.read(tree)
    assert [name for name, _ in code.files] == [
        "__init__.py",
        "atomic_file.py",
        "wire/__init__.py",
        "wire/deep/er/__init__.py",
        "wire/events.py",
    ]
    assert dict(code.files)["wire/events.py"] == b"B = 2\n"
    assert code.folders == ["remote", "remote/wire", "remote/wire/deep/er"]


def test_every_module_that_python_finds_in_remote_is_shipped() -> None:
    paths = {module.name: module.ispkg for module in pkgutil.walk_packages(remote.__path__, "remote.")}
    modules = {
        name.removeprefix("remote.").replace(".", "/") + ("/__init__.py" if package else ".py")
        for name, package in paths.items()
    }
    names = {name for name, _ in Code.read().files}
    assert names == modules | {"__init__.py"}
    assert {"agent/attach.py", "train/launcher.py", "wire/events.py", "staging/__main__.py"} <= names


def test_the_hash_depends_on_paths_lengths_and_contents(tree: Path) -> None:
    first = Code.read(tree).digest
    assert len(first) == 16
    assert Code.read(tree).digest == first, "the same files, the same hash"
    tree.joinpath("agent/notes.md").write_text("something else")
    tree.joinpath("__pycache__/x.pyc").write_text("something else")
    assert Code.read(tree).digest == first, "only what is sent counts"

    digests = {first}

    def now(what: str) -> None:
        digest = Code.read(tree).digest
        assert digest not in digests, what
        digests.add(digest)

    tree.joinpath("wire/events.py").write_text("B = 3\n")
    now("another content of the same length")
    tree.joinpath("wire/events.py").write_text("B = 3\n\n")
    now("another length")
    tree.joinpath("wire/events.py").rename(tree / "wire/event.py")
    now("another name")
    tree.joinpath("agent").joinpath("event.py").write_bytes(tree.joinpath("wire/event.py").read_bytes())
    tree.joinpath("wire/event.py").unlink()
    now("another folder")


def test_the_boundary_between_two_files_counts(tmp_path: Path) -> None:
    """Without the lengths, a file that holds what looks like the next one's head would have their hash."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    one.joinpath("a.py").write_text("x\nb.py 2\ny\n")
    two.joinpath("a.py").write_text("x\n")
    two.joinpath("b.py").write_text("y\n")
    assert Code.read(one).digest != Code.read(two).digest


# --- on a real host ---


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest_asyncio.fixture
async def connection(home: Path, tmp_path: Path) -> AsyncIterator[asyncssh.SSHClientConnection]:
    with embedded_host(home, tmp_path / "key") as address:
        connection = await connect(address)
        yield connection
        connection.abort()


def there(home: Path, code: Code) -> dict[str, bytes]:
    folder = home / code.folder
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_host_gets_every_folder_and_file_once(
    connection: asyncssh.SSHClientConnection, home: Path, tree: Path
) -> None:
    code = Code.read(tree)
    steps: list[tuple[int, int]] = []
    assert await ship(connection, code, lambda done, count: steps.append((done, count)))
    assert there(home, code) == {f"remote/{name}": content for name, content in code.files}
    assert steps == [(done, 5) for done in range(1, 6)]
    assert [path.name for path in home.joinpath(CODE_FOLDER).iterdir()] == [code.digest], "nothing half is left"
    steps.clear()
    assert not await ship(connection, code, lambda done, count: steps.append((done, count)))
    assert steps == [(5, 5)]


async def test_what_was_shipped_runs_there(connection: asyncssh.SSHClientConnection, home: Path) -> None:
    code = Code.read()
    await ship(connection, code, lambda done, count: None)
    program = (
        "import remote.agent.attach, remote.train.launcher, sys\n"
        "print(*sorted(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'remote'), sep='\\n')"
    )
    command = f'PYTHONPATH="$HOME"/{code.folder} {sys.executable} -c "{program}"'
    done = await connection.run(command)
    assert (done.exit_status, done.stderr) == (0, "")
    files = str(done.stdout).split()
    folder = home / code.folder / "remote"
    assert str(folder / "agent/attach.py") in files
    assert str(folder / "train/launcher.py") in files
    strangers = [file for file in files if not Path(file).is_relative_to(folder)]
    assert strangers == [], "the laptop's own package was imported in place of the host's"


async def test_a_host_that_cannot_write_it_is_a_sentence(
    connection: asyncssh.SSHClientConnection, home: Path, tree: Path
) -> None:
    home.joinpath(".fastconsole").write_text("a file, and no folder")
    with pytest.raises(
        HostRefused, match=r"^cannot write \.fastconsole/code/.* \(is the disk full, or the home folder"
    ):
        await ship(connection, Code.read(tree), lambda done, count: None)
