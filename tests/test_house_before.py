"""What the version before the modules became packages wrote is read by the code as it is: journals, checkpoints,
claims, tags, hosts' folders, packed data sets, and what the screen remembered."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import asyncssh
import before_the_house as before
import fake_init
import pytest
import yaml
from before_the_house import DATA, RUNS, content, events, put, put_folder, rent, run_id
from fake_cloud import FakeCloud
from fake_instances import Machines
from small_rental import console

from console import config
from console.__main__ import main
from console.discovery.adopt import adopt, named
from console.discovery.find import look
from console.discovery.rebuild import HostJournal, tell
from console.fleet.aws.cloud import Cloud
from console.journal import manifest
from console.state.events import HostFound
from remote.data import datasets

pytestmark = pytest.mark.usefixtures("no_leftovers")

FINISHED, STOPPED = 0, 130
"""Exit codes."""


def numbered(directory: Path) -> list[int]:
    """The steps in a run's journal, as they come."""
    return [record["step"] for record in events(directory, "StepEnded")]


# --- journals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNS)
def test_a_replay_is_the_same_byte_for_byte(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    log = put(run) / "run.jsonl"
    code = json.loads(content("golden/exit-codes.json"))[run]
    for form in ("json", "jsonl", "tsv", "csv"):
        assert main(["--replay", str(log), "--format", form]) == code
        said = capsys.readouterr()
        expected = log.read_text() if form == "jsonl" else content(f"golden/{run}.{form}").decode()
        assert said.out == expected, form
        assert said.err == ""


@pytest.mark.parametrize("run", RUNS)
def test_a_replay_as_text_has_the_same_tables(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its words may become better ones; the rows of epochs are figures."""
    log = put(run) / "run.jsonl"
    main(["--replay", str(log)])
    rows = [line for line in content(f"golden/{run}.txt").decode().splitlines() if " % " in line and "    " in line[:6]]
    assert len(rows) >= len(json.loads(content(f"golden/{run}.json"))["epochs"])
    shown = capsys.readouterr().out.splitlines()
    assert [row for row in rows if row not in shown] == []


def test_the_lists_have_them(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    hosts_of_our_own = RUNS[:4]
    for run in hosts_of_our_own:
        put(run)
    assert main(["runs"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()[1:]]
    assert sorted((row[0].partition("-")[0], *row[1:4]) for row in rows) == [
        ("cutoff", "training (no console)", "26.8 %", "52"),
        ("ended", "reached", "45.9 %", "78"),
        ("static", "finished", "18.1 %", "30"),
        ("stopped", "stopped", "17.9 %", "32"),
    ]
    assert main(["ps", "--json"]) == 0
    (going,) = json.loads(capsys.readouterr().out)["runs"]
    assert (going["run_id"], going["step"], going["instances"]) == (run_id("cutoff"), 52, [])


def test_the_screen_remembers_and_every_key_has_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    kept = before.runs_home().parent / "screen.toml"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content("screen.toml"))
    remembered = config.recall()
    assert (remembered.theme, remembered.zoomed, remembered.hidden) == ("atom-one-dark", "progress", ("cost",))
    assert dict(remembered.columns) == {"two": (0.7, 0.3)}
    assert dict(remembered.heights) == {"log": 0.793}
    # Somebody's configuration may name any of them.
    assert main(["keys"]) == 0
    today = {line.partition("\t")[0] for line in capsys.readouterr().out.splitlines()}
    ids = [line.partition("\t")[0] for line in content("golden/keys.tsv").decode().splitlines()]
    assert [name for name in ids[1:] if name not in today] == []


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_from_its_checkpoint_to_its_end() -> None:
    directory = put("stopped")
    journal = (directory / "run.jsonl").read_bytes()
    assert numbered(directory) == list(range(1, 33))

    done = console("resume", "stopped", "--headless")
    assert done.returncode == FINISHED, done.stdout + done.stderr
    assert (directory / "run.jsonl").read_bytes().startswith(journal)
    assert numbered(directory) == list(range(1, 45))
    assert [record["step"] for record in events(directory, "CheckpointLoaded")] == [32]
    # As that version went on with it; another processor's sums may differ in the last digits.
    expected = {int(step): loss for step, loss in json.loads(content("golden/resumed-losses.json")).items()}
    losses = {record["step"]: record["loss"] for record in events(directory, "StepEnded") if record["step"] > 32}
    assert losses == pytest.approx(expected, rel=1e-3)
    assert [record["status"] for record in events(directory, "RunEnded")] == ["stopped", "finished"]
    # The bill has both times.
    assert len(json.loads((directory / "receipt.json").read_text())["instances"]) == 4
    assert [path.name for path in sorted(directory.joinpath("checkpoints").iterdir())] == [
        "step-00000044.json",
        "step-00000044.pt",
    ]


def test_a_run_whose_console_was_killed_has_its_books_closed_from_its_hosts_disks() -> None:
    directory = put("cutoff")
    (saved,) = directory.glob("hosts/node-00/**/step-*.pt")
    kept = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert numbered(directory) == list(range(1, 53))

    done = console("attach", "cutoff", "--headless")
    assert done.returncode == STOPPED, done.stdout + done.stderr
    # What the hosts did while nobody was there, each step once.
    assert numbered(directory) == list(range(1, 76))
    assert [record["reason"] for record in events(directory, "AgentEnded")] == ["the lease ran out"] * 2
    (ended,) = events(directory, "RunEnded")
    assert ended["status"] == "stopped"
    assert hashlib.sha256((directory / "checkpoints/step-00000075.pt").read_bytes()).hexdigest() == kept
    assert "socket" in (directory / "logs/node-00/launcher.stderr.log").read_text()
    assert not (directory / "hosts").exists()


# --- AWS -------------------------------------------------------------------------------------------------------------


def test_a_claim_is_taken_up_and_given_back(cloud: FakeCloud) -> None:
    ids = rent(cloud, "rented")
    directory = put("rented", ids)
    assert len(cloud.instances("running")) == 2

    done = console("terminate", "rented")
    assert done.returncode == 0, done.stderr
    assert cloud.left_over() == []
    started = {record["instance_id"] for record in events(directory, "InstanceStarted")}
    stopped = {record["instance_id"] for record in events(directory, "InstanceStopped")}
    assert started == stopped == {now for then, now in ids.items() if then.startswith("i-")}
    (order,) = json.loads((directory / "fleet.json").read_text())["claim"]["orders"]
    assert order["outcome"] == "ended"
    # Found where they were noted, and nothing was launched anew.
    assert cloud.calls("RunInstances") == []


def test_a_launch_whose_answer_never_came_is_found_by_its_token(cloud: FakeCloud) -> None:
    rent(cloud, "asked")
    directory = put("asked")
    (order,) = json.loads((directory / "fleet.json").read_text())["claim"]["orders"]
    assert (order["outcome"], order["instance_ids"]) == ("asked", [])
    there = sorted(one.instance_id for one in cloud.instances("running"))

    done = console("terminate", "asked")
    assert done.returncode == 0, done.stderr
    assert cloud.left_over() == []
    assert cloud.calls("RunInstances") == []
    (order,) = json.loads((directory / "fleet.json").read_text())["claim"]["orders"]
    assert (order["outcome"], sorted(order["instance_ids"])) == ("ended", there)
    assert {record["instance_id"] for record in events(directory, "InstanceStopped")} == set(there)


def test_instances_are_found_by_their_tags_from_a_laptop_that_knows_nothing(cloud: FakeCloud) -> None:
    ids = rent(cloud, "rented")
    listed = console("ps", "--json")
    assert listed.returncode == 0, listed.stderr
    (run,) = json.loads(listed.stdout)["runs"]
    assert (run["run_id"], run["status"]) == (run_id("rented"), "elsewhere")
    assert (run["profile"], run["owner"]) == ("rented", "root@laptop")
    nodes = {one["id"]: int(one["tags"]["fastconsole:node"]) for one in json.loads(content("rented-instances.json"))}
    assert {one["instance_id"]: one["node"] for one in run["instances"]} == {
        ids[then]: node for then, node in nodes.items()
    }
    # And all else that bears the run's name.
    done = console("clean", "--run", "rented", "--yes")
    assert done.returncode == 0, done.stderr
    kinds = [line.split("\t")[2] for line in done.stdout.splitlines()[1:]]
    assert kinds == ["instance", "instance", "placement-group", "security-group"]
    assert cloud.left_over() == []


def tales(folder: Path) -> list[HostJournal]:
    """The journals of the rented run's hosts."""
    made = []
    for node in (0, 1):
        path = folder / f"journal-{node}"
        path.write_bytes(content(f"hosts/node-{node:02d}/journal.jsonl"))
        found = HostFound(address=f"10.0.0.{node}", port=22, fingerprint="SHA256:x")
        made.append(HostJournal(node=node, found=found, path=path))
    return made


def test_a_journal_is_told_again_byte_for_byte(tmp_path: Path) -> None:
    words = content("hosts/node-00/charter.jsonl").decode()
    (digest,) = {one["tags"]["fastconsole:charter"] for one in json.loads(content("rented-instances.json"))}
    assert manifest.digest(words.partition("\n")[0]) == digest
    records = manifest.read(words)
    tell(tmp_path / "run.jsonl", records, tales(tmp_path), records[0].received_t + 7200.0, [])
    assert (tmp_path / "run.jsonl").read_bytes() == content("golden/retold.jsonl")


async def test_another_laptop_comes_to_the_hosts(cloud: FakeCloud, machines: Machines) -> None:
    """By the tags of then, and to what lies on the hosts' disks since then; only their keys have to be new."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = key.export_public_key().decode().strip()
    config = {"ssh_keys": {"ed25519_private": key.export_private_key().decode(), "ed25519_public": public}}
    user_data = f"#cloud-config\n{yaml.safe_dump(config)}"
    ids = rent(cloud, "rented", user_data, {"fastconsole:host-key": " ".join(public.split()[:2])})
    for one in json.loads(content("rented-instances.json")):
        instance, node = ids[one["id"]], f"node-{int(one['tags']['fastconsole:node']):02d}"
        machines.wait(instance)
        home = machines.path(instance, f"{fake_init.HOME}/.fastconsole/runs/{run_id('rented')}")
        put_folder(DATA / "hosts" / node, home / node, ids)

    seen = await look(Cloud(patience_s=30.0), patience_s=30.0)
    directory = await adopt(Cloud(), named("rented", seen), lambda said: None, patience_s=30.0)
    assert directory.path == before.runs_home() / run_id("rented")
    then = content("golden/retold.jsonl").decode().splitlines()
    expected = [json.loads(line) for line in then if '"offset":' in line]
    told = [record for record in events(directory.path) if "offset" in record]
    assert [(one["node"], one["offset"], one["event"], one["t"]) for one in told] == [
        (one["node"], one["offset"], one["event"], one["t"]) for one in expected
    ]
    assert [record["max_usd"] for record in events(directory.path, "BudgetMoved")] == [55.0]
    assert {record["instance_id"] for record in events(directory.path, "InstanceStarted")} == {
        now for then, now in ids.items() if then.startswith("i-")
    }


# --- data sets -------------------------------------------------------------------------------------------------------


def test_a_packed_data_set_is_whole(tmp_path: Path) -> None:
    put_folder(DATA / "packed", tmp_path / "packed")
    command = [sys.executable, "-m", "remote.prepare", str(tmp_path / "packed"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "every picture is as it was written" in done.stdout


def test_ranks_that_run_the_version_before_understand_a_fingerprint() -> None:
    sent = (
        b"\x80\x04\x95C\0\0\0\0\0\0\0\x8c\x0eremote.sources\x94\x8c\x0bFingerprint\x94\x93\x94)\x81\x94]\x94"
        b"(K\x08K\x04K\x02\x8c\x05names\x94\x8c\x08pictures\x94eb."
    )
    ours = datasets.Fingerprint(8, 4, 2, "names", "pictures")
    assert pickle.loads(sent) == ours
    assert pickle.dumps(ours, protocol=4) == sent
