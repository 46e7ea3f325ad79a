"""The file by which the agent controls the ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remote.wire.control import CONTROL, ControlReader, ControlRequest, write_request

ROOT = Path(__file__).parent.parent


def test_a_request_is_read_as_it_was_written(tmp_path: Path) -> None:
    reader = ControlReader(tmp_path)
    assert reader.read() == ControlRequest()
    for request in (ControlRequest(paused=True), ControlRequest(paused=True, checkpoint=2), ControlRequest(stop=True)):
        write_request(tmp_path, request)
        assert reader.read() == request
        assert reader.read() == request
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [CONTROL]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b'{"halt": true}', b"\xff\xfe", b"null"])
def test_a_file_that_is_not_a_request_changes_nothing(content: bytes, tmp_path: Path) -> None:
    reader = ControlReader(tmp_path)
    write_request(tmp_path, ControlRequest(paused=True))
    assert reader.read() == ControlRequest(paused=True)
    beside = tmp_path / "beside"
    beside.write_bytes(content)
    beside.replace(tmp_path / CONTROL)
    assert reader.read() == ControlRequest(paused=True)
    (tmp_path / CONTROL).unlink()
    assert reader.read() == ControlRequest(paused=True)


def test_a_request_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_request(tmp_path / "nowhere", ControlRequest())


def test_readers_never_see_half_a_request(tmp_path: Path) -> None:
    write_request(tmp_path, ControlRequest())
    program = (
        "import sys\nfrom pathlib import Path\nfrom remote.wire.control import ControlRequest, write_request\n"
        "for number in range(1, 2001): write_request(Path(sys.argv[1]), ControlRequest(checkpoint=number))"
    )
    seen = [0]
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT) as writer:
        reader = ControlReader(tmp_path)
        while writer.poll() is None:
            number = reader.read().checkpoint
            if number != seen[-1]:
                seen.append(number)
    assert reader.read().checkpoint == 2000
    assert seen == sorted(seen)
