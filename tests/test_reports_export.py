"""A log in the forms that other tools read."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from run_story import differences, folded, told, trained
from test_playback_replay import DEBUG_LOG, TABLE, journal_of, needs_debug_log

from console.journal.open_log import fold, open_log
from console.reports.export import FORMATS, summary, write, write_json, write_tsv
from console.state.events import Record, record_line
from console.state.run import Run

ROOT = Path(__file__).parent.parent

KEYS = [
    "schema", "run_id", "profile", "status", "nnodes", "world_size", "started", "duration_s", "target",
    "time_to_target_s", "cost_usd", "cost_on_demand_usd", "cost_to_target_usd", "epochs", "nodes", "alerts", "records",
    "damaged", "unknown",
]  # fmt: skip
EPOCH_KEYS = ["epoch", "elapsed_s", "top1", "top5", "train_loss", "img_per_s", "image_size"]
NODE_KEYS = ["node", "status", "util_pct_mean", "records"]
ALERT_KEYS = ["t", "kind", "node", "text", "severity", "cleared_t"]


def written(path: Path, form: str) -> str:
    out = io.StringIO()
    write(open_log(path), form, out)
    return out.getvalue()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return journal_of(tmp_path / "run.jsonl", told().records)


def test_the_object_has_exactly_its_keys(log: Path) -> None:
    values = json.loads(written(log, "json"))
    assert list(values) == KEYS
    assert [list(epoch) for epoch in values["epochs"]] == [EPOCH_KEYS] * 3
    assert [list(node) for node in values["nodes"]] == [NODE_KEYS] * 2
    assert [list(alert) for alert in values["alerts"]] == [ALERT_KEYS]
    assert values["status"] == "reached"
    assert values["target"] == {"metric": "top5", "value": 0.6}
    assert values["epochs"][1]["top5"] == 0.6
    assert values["cost_usd"] == pytest.approx(0.24)
    assert values["cost_on_demand_usd"] == pytest.approx(0.8)
    assert values["nodes"][1]["util_pct_mean"] == 41.0
    assert values["records"] == len(told().records)
    assert (values["damaged"], values["unknown"]) == (0, 0)
    assert values["alerts"][0]["node"] is None


def test_what_was_lost_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    unknown = b'{"received":1.0,"t":1.0,"event":"HostSang"}\n'
    path.write_bytes(journal_of(path, told().records).read_bytes() + b"{\n}\n" + unknown)
    values = json.loads(written(path, "json"))
    assert (values["damaged"], values["unknown"]) == (2, 1)


def test_a_run_of_which_nothing_is_known_is_valid() -> None:
    values = summary(Run())
    assert list(values) == KEYS
    assert {key for key in KEYS if values[key] is None} == {
        "run_id", "profile", "nnodes", "world_size", "started", "duration_s", "target", "time_to_target_s",
        "cost_usd", "cost_on_demand_usd", "cost_to_target_usd",
    }  # fmt: skip
    assert values["status"] == "cut off"
    write_json(Run(), io.StringIO())


def test_a_log_cut_anywhere_is_valid_in_every_form(tmp_path: Path, log: Path) -> None:
    whole = log.read_bytes()
    cut = tmp_path / "cut.jsonl"
    for length in range(1, len(whole), len(whole) // 23):
        cut.write_bytes(whole[:length])
        for form in FORMATS:
            text = written(cut, form)
            if form == "json":
                values = json.loads(text)
                assert list(values) == KEYS
                assert values["records"] == whole[:length].count(b"\n")


def test_jsonl_is_the_journal_again(tmp_path: Path, log: Path) -> None:
    text = written(log, "jsonl")
    assert text == log.read_text()
    lone = Record(1.0, 1.0, told().records[-1].event)
    path = tmp_path / "lone.jsonl"
    path.write_bytes((record_line(lone).replace("top-5", "\\ud800") + "\n").encode())
    out = written(path, "jsonl")
    out.encode()
    assert "\\ud800" in out


@needs_debug_log
def test_a_foreign_log_becomes_a_journal_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(written(DEBUG_LOG, "jsonl"))
    assert list(differences(fold(path), fold(DEBUG_LOG))) == []


@needs_debug_log
def test_the_object_of_2018() -> None:
    values = json.loads(written(DEBUG_LOG, "json"))
    assert len(values["epochs"]) == 37
    assert values["epochs"][-1]["top5"] == 0.93178
    assert values["time_to_target_s"] == pytest.approx(18.88 * 60, abs=0.3)
    assert (values["nnodes"], values["world_size"], values["damaged"], values["unknown"]) == (8, 64, 0, 0)


def test_tsv_is_a_dawnbench_table(tmp_path: Path, log: Path) -> None:
    text = written(log, "tsv")
    assert text.splitlines()[:2] == ["epoch\thours\ttop1Accuracy\ttop5Accuracy", "0\t0.001389\t15\t30"]
    path = tmp_path / "it.tsv"
    path.write_text(text)
    assert [(epoch.event.epoch, epoch.event.top5) for epoch in fold(path).epochs] == [(0, 0.3), (1, 0.6), (2, 0.9)]
    path.write_text(TABLE)
    assert written(path, "tsv").splitlines()[3] == "2\t0.300000\t75\t93"


def test_csv_has_a_line_an_epoch(log: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(written(log, "csv"))))
    assert [row["top5"] for row in rows] == ["0.3", "0.6", "0.9"]
    assert [row["val_loss"] for row in rows] == ["", "", ""]


def test_text_is_the_story(log: Path) -> None:
    assert written(log, "text").startswith("local · ")


def test_an_unknown_form_is_a_sentence(log: Path) -> None:
    with pytest.raises(ValueError, match="no format 'yaml': text, json, jsonl, csv, tsv"):
        written(log, "yaml")


def test_accuracy_that_is_not_known_stays_empty() -> None:
    run = folded(trained(epochs=1).records)
    out = io.StringIO()
    [epoch] = run.epochs
    write_tsv(replace(run, epochs=(replace(epoch, event=replace(epoch.event, top1=None)),)), out)
    assert out.getvalue().splitlines()[1].split("\t")[2:] == ["", "30"]


def test_reading_a_log_loads_nothing_heavy(log: Path) -> None:
    code = (
        "import sys, pathlib, console.reports.export, console.playback.replay, console.state.outcome\n"
        "for form in console.reports.export.FORMATS:\n"
        "    run = console.reports.export.write(console.journal.open_log.open_log(sys.argv[1]), form, sys.stdout)\n"
        "heavy = {'textual', 'boto3', 'botocore', 'asyncssh', 'torch', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else int(console.state.outcome.exit_of(run)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(log)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
