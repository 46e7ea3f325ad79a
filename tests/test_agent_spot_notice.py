"""EC2's notices to a spot instance: as text, from a metadata service on loopback, and what an agent does with one."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_run

from remote.agent.spot_notice import METADATA_URL, Notices, rebalance, spot_notice
from remote.wire.codec import Event
from remote.wire.control import CONTROL
from remote.wire.events import RebalanceRecommended, SpotNoticed
from remote.wire.job import Job
from remote.wire.layout import COMMANDS, JOURNAL, host_folder

pytestmark = pytest.mark.usefixtures("no_leftovers")

ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"

# As AWS's documentation shows them (EC2 user guide: spot instance interruption notices, rebalance recommendations).
CAPTURED_ACTION = '{"action": "terminate", "time": "2017-09-18T08:22:00Z"}'
CAPTURED_REBALANCE = '{"noticeTime": "2020-10-27T08:22:00Z"}'


def test_notices_are_read() -> None:
    assert spot_notice(CAPTURED_ACTION, 0.0) == SpotNoticed(action="terminate", deadline_t=1505722920.0)
    assert rebalance(CAPTURED_REBALANCE, 0.0) == RebalanceRecommended(notice_t=1603786920.0)


@pytest.mark.parametrize("text", ["", "<html>", "[]", "null", "{}", '{"action": 7}', '"terminate"', "{"])
def test_what_is_no_notice_is_none(text: str) -> None:
    assert spot_notice(text, 0.0) is None
    assert rebalance(text, 0.0) is None


@pytest.mark.parametrize("when", ['"soon"', "null", "12", '"2017-09-18"'])
def test_a_notice_without_a_time_is_still_one(when: str) -> None:
    notice = spot_notice(f'{{"action": "stop", "time": {when}}}', 1000.0)
    assert notice == SpotNoticed(action="stop", deadline_t=1120.0)


class Metadata(http.server.ThreadingHTTPServer):
    """A metadata service, version 2: nothing without a token, and it can forget those that it gave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.asked: list[str] = []
        self._changed = threading.Condition()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def note(self, asked: str) -> None:
        with self._changed:
            self.asked.append(asked)
            self._changed.notify_all()

    def until_asked(self, count: int, what: str) -> None:
        """Waits until it was asked so often for this in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked.count(what) >= count, 60), self.asked

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        if self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600":
            token = f"token-{len(self.server.asked)}"
            self.server.tokens.add(token)
            self._answer(200, token)
        else:
            self._answer(400, "")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            self._answer(401, "")
        elif self.path in self.server.paths:
            self._answer(200, self.server.paths[self.path])
        else:
            self._answer(404, "<html>Not Found</html>")

    def _answer(self, status: int, text: str) -> None:
        self.server.note(f"{self.command} {self.path} {status}")
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    yield server
    server.stop()


def noticed(notices: Notices) -> Event:
    """The next notice."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        news = notices.take()
        if news:
            assert len(news) == 1
            return news[0]
        time.sleep(0.02)
    raise AssertionError("nothing was noticed")


def test_each_notice_comes_once(metadata: Metadata) -> None:
    metadata.paths[REBALANCE] = CAPTURED_REBALANCE
    notices = Notices(metadata.url)
    assert noticed(notices) == RebalanceRecommended(notice_t=1603786920.0)
    metadata.paths[ACTION] = CAPTURED_ACTION
    assert noticed(notices) == SpotNoticed(action="terminate", deadline_t=1505722920.0)
    metadata.until_asked(3, f"GET {REBALANCE} 200")
    assert notices.take() == []
    # Another time is another notice.
    metadata.paths[ACTION] = CAPTURED_ACTION.replace("08:22", "08:23")
    assert noticed(notices) == SpotNoticed(action="terminate", deadline_t=1505722980.0)
    # One token for all of it.
    assert metadata.asked.count("PUT /latest/api/token 200") == 1


def test_a_token_that_was_forgotten_is_asked_for_again(metadata: Metadata) -> None:
    notices = Notices(metadata.url)
    metadata.until_asked(1, f"GET {ACTION} 404")
    metadata.paths[ACTION] = CAPTURED_ACTION
    metadata.tokens.clear()
    assert isinstance(noticed(notices), SpotNoticed)
    assert metadata.asked.count("PUT /latest/api/token 200") == 2


@pytest.mark.parametrize("kind", ["nobody listens", "it never answers", "it talks nonsense"])
def test_a_service_that_does_not_answer_costs_nothing(kind: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if kind != "nobody listens":
            listener.listen()
        began = time.thread_time()
        notices = Notices(url)
        if kind != "nobody listens":
            listener.settimeout(30)
            asker, _ = listener.accept()
            with asker:
                asker.sendall(b"220 mail.example ESMTP\r\n\r\n" if kind == "it talks nonsense" else b"")
                assert asker.recv(4096).startswith(b"PUT /latest/api/token HTTP/1.1\r\n")
        assert notices.take() == []
        # It waits in a thread of its own.
        assert time.thread_time() - began < 1
        assert any(thread.name == "notices" and thread.daemon for thread in threading.enumerate())


def test_no_service_is_looked_for_where_there_is_none() -> None:
    before = threading.active_count()
    assert Notices("").take() == []
    assert threading.active_count() == before


# --- the agent ---


class Host:
    """An agent on this machine, in a home folder of its own."""

    def __init__(self, home: Path, job: Job, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(home))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        self.folder = home / host_folder(job.run_id, job.node)
        command = [sys.executable, "-m", "remote.agent", "attach", job.run_id, str(job.node), "--start"]
        self.channel = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.channel.stdin is not None
        assert self.channel.stdout is not None
        self._lines = self.channel.stdout
        self.channel.stdin.write(job.to_json().encode() + b"\n")
        self.channel.stdin.flush()

    def tell(self, command: str, **arguments: object) -> None:
        assert self.channel.stdin is not None
        self.channel.stdin.write(json.dumps({"id": command, "command": command, **arguments}).encode() + b"\n")
        self.channel.stdin.flush()

    def until(self, event: str, **fields: object) -> dict[str, object]:
        """Waits for an event with these fields of its agent, which says something every second."""
        end = time.monotonic() + 90
        for line in self._lines:
            assert time.monotonic() < end, f"no {event}"
            said: dict[str, object] = json.loads(line)
            if {"event": event, **fields}.items() <= said.items():
                return said
        raise AssertionError(f"the agent ended without {event}")

    def end(self) -> None:
        self.tell("end")
        self.until("AgentEnded")
        self.channel.communicate()


def job(url: str, cache: Path) -> Job:
    """One rank that trains until it is told to stop."""
    recipe = small_run.profile(max_steps=1_000_000).recipe(str(cache))
    return Job(
        run_id="run",
        node=0,
        nnodes=1,
        nproc_per_node=1,
        recipe=recipe,
        address="127.0.0.1",
        metadata_url=url,
        lease_s=600,
    )


@pytest.mark.parametrize("console", ["left in order", "is silent", "answers"])
def test_a_notice_ends_in_one_checkpoint_whoever_asks_for_it(
    own_home: Path, cache_home: Path, metadata: Metadata, monkeypatch: pytest.MonkeyPatch, console: str
) -> None:
    # The environment of the host has the last word on where its metadata service is.
    host = Host(own_home, job("http://127.0.0.1:9", cache_home), {METADATA_URL: metadata.url}, monkeypatch)
    host.until("AgentStarted")
    host.tell("lease", seconds=600, attended=console != "left in order")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{probe.getsockname()[1]}"
    host.tell("start", rdzv_endpoint=endpoint, rdzv_id="run-1", rdzv_node=0, nnodes=1, attempt=1)
    host.until("StepEnded")
    metadata.paths[ACTION] = CAPTURED_ACTION
    notice = host.until("SpotNoticed")
    assert (notice["action"], notice["deadline_t"]) == ("terminate", 1505722920.0)
    if console == "answers":
        host.tell("checkpoint")
    # Those of epochs come as well.
    host.until("CheckpointSaved", reason="operator")
    if console == "answers":
        # Longer than the agent would have waited for an answer: it samples once a second.
        for _ in range(14):
            host.until("HostSampled")
    assert json.loads((host.folder / CONTROL).read_text())["checkpoint"] == 1
    host.tell("kill")
    host.end()


def test_commands_in_the_same_packet_as_the_job_are_not_lost(
    own_home: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(own_home))
    one = job("", cache_home)
    commands = [{"id": "1", "command": "pause"}, {"id": "2", "command": "end"}]
    text = "".join(f"{line}\n" for line in [one.to_json(), *map(json.dumps, commands)])
    command = [sys.executable, "-m", "remote.agent", "attach", one.run_id, "0", "--start"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as channel:
        assert channel.stdin is not None
        assert channel.stdout is not None
        channel.stdin.write(text.encode())
        channel.stdin.flush()
        told = []
        end = time.monotonic() + 60
        for line in channel.stdout:
            told.append(json.loads(line))
            assert time.monotonic() < end, "the agent was not told to end"
    assert [said["id"] for said in told if said["event"] == "CommandDone"] == ["1", "2"]
    folder = own_home / host_folder(one.run_id, 0)
    assert len((folder / COMMANDS).read_text().splitlines()) == 2
    assert (folder / JOURNAL).exists()
