"""Who else hears of alerts: a real script and a real web server, and that neither can harm the run."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from canned_source import scene

from console.health import notify
from console.health.monitor import AlertMonitor
from console.health.notify import Hooks, Notice
from console.journal.store import RunStore
from console.profile.alerts import AlertKeys
from console.state import events as ce
from console.state.run import Run
from remote.wire import events as re

NASTY = "$(touch /tmp/never) `id`; \x1b[31m'\"\n--help"
NOTICE = Notice("run-1", "local", "raised", "rank", "critical", 3, 12.5, f"rank 3 failed: {NASTY}")


class Server:
    """A web server on loopback that keeps what it is sent, and answers as a test says."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.location = ""
        self.asked = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, json.loads(body)))
                outer.asked.set()
                outer.gate.wait(20)
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/hook?token=s3cr3t"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def script(folder: Path, body: str) -> str:
    path = folder / "hook.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


async def sent(keys: AlertKeys, *notices: Notice, wait_s: float = 20) -> list[str]:
    """What the log is told after the notices went out."""
    said: list[str] = []
    hooks = Hooks(keys, said.append)
    for notice in notices:
        hooks.send(notice)
    await hooks.finish(wait_s)
    return said


async def test_a_command_gets_words_environment_and_json_and_no_shell(tmp_path: Path) -> None:
    program = script(
        tmp_path,
        f'printf "%s\\n" "$#" "$1" "$2" "$3" >{tmp_path}/words; printenv FASTCONSOLE_ALERT_TEXT >{tmp_path}/env;'
        f" cat >{tmp_path}/json",
    )
    assert await sent(AlertKeys(command=(program, "{kind}/{node}", "{text}", "{severity} {unknown}")), NOTICE) == []
    words = (tmp_path / "words").read_text().splitlines()
    sentence = "run-1: node 3: rank 3 failed: $(touch /tmp/never) `id`; '\" --help"
    assert words == ["3", "rank/3", sentence, "critical {unknown}"]
    assert (tmp_path / "env").read_text().rstrip("\n") == sentence
    told = json.loads((tmp_path / "json").read_text())
    assert told == {
        "run_id": "run-1",
        "profile": "local",
        "state": "raised",
        "kind": "rank",
        "severity": "critical",
        "node": 3,
        "t": 12.5,
        "text": sentence,
    }
    assert not Path("/tmp/never").exists()


async def test_a_command_that_fails_is_one_line_until_it_works_again(tmp_path: Path) -> None:
    program = script(tmp_path, f"test -e {tmp_path}/fine || {{ echo 'no display' >&2; exit 7; }}")
    said: list[str] = []
    hooks = Hooks(AlertKeys(command=(program,)), said.append)
    for _ in range(3):
        hooks.send(NOTICE)
    await hooks.finish(20)
    assert said == [
        f"alerts.command failed: {program} ended with exit status 7: no display; the next alert tries again"
    ]
    (tmp_path / "fine").touch()
    hooks.send(NOTICE)
    await hooks.finish(20)
    assert said[1:] == ["alerts.command works again"]


async def test_a_program_that_is_not_there() -> None:
    (said,) = await sent(AlertKeys(command=("no-such-program-here",)), NOTICE)
    assert "there is no program no-such-program-here" in said


async def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "COMMAND_S", 0.3)
    program = script(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 60")
    (said,) = await sent(AlertKeys(command=(program,)), NOTICE)
    assert "did not end within 0 s and was killed" in said
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


async def test_a_webhook_gets_json(server: Server) -> None:
    assert await sent(AlertKeys(webhook=server.address), NOTICE, replace(NOTICE, state="cleared")) == []
    assert [path for path, _ in server.got] == ["/hook?token=s3cr3t"] * 2
    assert server.got[0][1]["text"].startswith("run-1: node 3: rank 3 failed: ")
    assert server.got[1][1]["text"].startswith("run-1: over: node 3: ")


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_a_webhook_that_refuses_is_one_line_without_its_secret(server: Server, status: int) -> None:
    server.status, server.location = status, "http://127.0.0.1:1/elsewhere"
    (said,) = await sent(AlertKeys(webhook=server.address), NOTICE, NOTICE)
    assert f"127.0.0.1 answered {status}" in said
    assert "s3cr3t" not in said
    assert len(server.got) == 2, "it was not followed elsewhere"


async def test_a_webhook_where_nobody_listens(server: Server) -> None:
    address = server.address
    server.close()
    (said,) = await sent(AlertKeys(webhook=address), NOTICE)
    assert "alerts.webhook failed: 127.0.0.1: " in said
    assert "s3cr3t" not in said


async def test_the_loop_goes_on_while_a_webhook_takes_its_time(server: Server) -> None:
    server.gate.clear()
    hooks = Hooks(AlertKeys(webhook=server.address), print)
    hooks.send(NOTICE)
    assert await asyncio.to_thread(server.asked.wait, 20)
    for _ in range(notify.WAITING + 20):
        hooks.send(NOTICE)
    said: list[str] = []
    hooks._log = said.append
    server.gate.set()
    await hooks.finish(20)
    assert len(server.got) == notify.WAITING + 1
    assert said == ["20 more alerts were not passed on: they came faster than the hooks take them"]


async def test_the_monitor_passes_on_every_alert_its_end_and_the_runs(tmp_path: Path, server: Server) -> None:
    store = RunStore(tmp_path / "run.jsonl")
    monitor = AlertMonitor(store, AlertKeys(webhook=server.address, mute=("checkpoint",)), tmp_path)
    for record in scene("training", nodes=2)[:3]:
        store.witness(record.event, record.node)
    store.witness(ce.HostUnreachable(reason="cut"), 1)
    store.witness(ce.HostConnected(from_offset=0), 1)
    store.witness(re.CheckpointFailed(path="c.pt", reason="disk full"), 1)
    store.witness(ce.AlertRaised(kind="spot", text="may be taken back", severity="info"), 1)
    store.witness(ce.RunEnded(status="failed", exit_code=3, reason="rank 3 failed"))
    await monitor.finish()
    assert [(told["state"], told["kind"], told["severity"]) for _, told in server.got] == [
        ("raised", "host", "warning"),
        ("cleared", "host", "warning"),
        ("ended", "end", "critical"),
    ]
    store.close()
    assert isinstance(store.run, Run)
