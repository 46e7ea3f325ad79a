"""`ps`: the runs that go on, on this laptop and in all regions of the account, and what they have cost so far."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import small_rental
import tagged
from fake_catalog import USD_PER_H
from fake_cloud import FakeCloud
from run_story import told, trained

from console.catalog.instance_types import PRICES_OF
from console.catalog.prices import ADDRESS_USD_PER_H, storage_usd_per_h
from console.discovery.find import look
from console.fleet.aws import credentials
from console.fleet.aws.cloud import Cloud, CloudError
from console.journal.directory import RunDirectory
from console.paths import runs_home
from console.state.events import Record, record_line

BESIDE = storage_usd_per_h(100) + ADDRESS_USD_PER_H
"""Dollars an hour of an instance's volume and public address."""


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """The printed lines by run, each by its columns."""
    assert "Traceback" not in done.stderr
    header, *lines = [line.split("\t") for line in done.stdout.splitlines()]
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def known(run_id: str, records: list[Record]) -> RunDirectory:
    """A run of this laptop's."""
    directory = RunDirectory(runs_home() / run_id)
    directory.path.mkdir(parents=True, mode=0o700)
    directory.journal.write_text("".join(record_line(record) + "\n" for record in records))
    return directory


def minute_usd(usd_per_h: float, count: int = 1) -> float:
    """What instances that have just begun have cost: a minute each."""
    return count * (usd_per_h + BESIDE) / 60


def test_runs_of_other_laptops_in_all_regions(cloud: FakeCloud) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    cloud.set_price("g5.xlarge", "eu-west-1b", "spot", 0.33, an_hour_ago)
    tagged.launch(cloud, "imagenet-a", 3)
    tagged.launch(cloud, "quick-b", 1, kind="g5.xlarge", region="eu-west-1", zone="eu-west-1b", market="spot")
    somebody_s = cloud.client("ec2", "us-west-2")
    somebody_s.run_instances(ImageId=tagged.IMAGE, InstanceType="g5.xlarge", MinCount=1, MaxCount=1)

    done = small_rental.console("ps")
    assert done.returncode == 0, done.stderr
    seen = rows(done)
    assert list(seen) == ["imagenet-a", "quick-b"]
    one, other = seen["imagenet-a"], seen["quick-b"]
    assert (one["status"], one["reason"], one["market"]) == ("elsewhere", "launched by ada@lovelace", "on-demand")
    assert (one["where"], one["instances"]) == ("us-east-1a", "3 × p4d.24xlarge")
    assert (other["where"], other["instances"], other["market"]) == ("eu-west-1b", "1 × g5.xlarge", "spot")
    # Within their first minute that minute is what they cost, which the test may outlast on a slow machine.
    for row, usd in ((one, minute_usd(USD_PER_H["p4d.24xlarge"], 3)), (other, minute_usd(0.33))):
        assert usd - 0.01 <= float(row["billed"].strip("$")) <= 3 * usd
    per_h = 3 * USD_PER_H["p4d.24xlarge"] + 0.33 + 4 * BESIDE
    assert f"2 runs, 4 instances, ${per_h:.2f}/h" in done.stderr
    assert done.stderr.count("\n") == 1


def test_as_an_object(cloud: FakeCloud) -> None:
    ids = tagged.launch(cloud, "imagenet-a", 2)
    done = small_rental.console("ps", "--json")
    said = json.loads(done.stdout)
    (run,) = said["runs"]
    assert (run["run_id"], run["status"], run["console"]) == ("imagenet-a", "elsewhere", "none here")
    assert [(one["instance_id"], one["node"], one["zone"]) for one in run["instances"]] == [
        (ids[0], 0, "us-east-1a"),
        (ids[1], 1, "us-east-1a"),
    ]
    assert said["usd_per_h"] == run["usd_per_h"] == pytest.approx(2 * (USD_PER_H["p4d.24xlarge"] + BESIDE))
    assert run["billed_usd"] >= minute_usd(USD_PER_H["p4d.24xlarge"], 2) - 0.01
    assert len(said["regions"]) > 10
    assert said["silent"] == []


def test_one_region_is_asked_alone(cloud: FakeCloud) -> None:
    tagged.launch(cloud, "imagenet-a")
    tagged.launch(cloud, "imagenet-b", region="us-west-2", kind="g5.xlarge")
    done = small_rental.console("ps", "--region", "us-west-2")
    assert list(rows(done)) == ["imagenet-b"]
    assert {call.region for call in cloud.calls("DescribeInstances")} == {"us-west-2"}
    wrong = small_rental.console("ps", "--region", "us-west-3")
    assert "us-west-3 is not an AWS region" in wrong.stderr


def test_what_this_laptop_knows_of_its_own_runs(cloud: FakeCloud) -> None:
    """A run that trains without a console here, one that has ended and whose instances are still there, one that is
    over and gone."""
    for run_id, records in (("trains", trained().records), ("over", told().records), ("gone", told().records)):
        known(run_id, records)
    tagged.launch(cloud, "trains")
    tagged.launch(cloud, "over")
    seen = rows(small_rental.console("ps"))
    assert {run_id: row["status"] for run_id, row in seen.items()} == {
        "trains": "training (no console)",
        "over": "reached (instances left)",
    }
    assert seen["trains"]["top-5"] != "—"
    assert all(row["instances"] == "1 × p4d.24xlarge" for row in seen.values())


def test_a_region_that_does_not_answer_is_named(cloud: FakeCloud) -> None:
    tagged.launch(cloud, "imagenet-a")
    cloud.misbehave("DescribeInstances", region="eu-west-1", error="UnauthorizedOperation", times=None)
    done = small_rental.console("ps")
    assert done.returncode == 0
    assert list(rows(done)) == ["imagenet-a"]
    assert "what runs in eu-west-1 is not known: AWS ec2 DescribeInstances in eu-west-1" in done.stderr
    assert "profiles/aws-iam-policy.json" in done.stderr
    # Whoever says that AWS is to be asked relies on the answer.
    assert small_rental.console("ps", "--aws").returncode == 6


async def test_a_silent_region_keeps_nobody_waiting(cloud: FakeCloud) -> None:
    tagged.launch(cloud, "imagenet-a")
    fault = cloud.misbehave("DescribeInstances", region="eu-west-1", hold=True, times=None)
    try:
        seen = await look(Cloud(patience_s=10.0), patience_s=10.0)
    finally:
        fault.release()
    assert [run.run_id for run in seen.runs] == ["imagenet-a"]
    ((name, why),) = seen.silent
    assert name == "eu-west-1"
    assert "answer" in why


def test_prices_that_aws_does_not_tell_are_the_table_s(cloud: FakeCloud) -> None:
    tagged.launch(cloud, "imagenet-a")
    tagged.launch(cloud, "quick-b", kind="g5.xlarge", market="spot")
    cloud.misbehave("GetProducts", error="AccessDeniedException", times=None)
    cloud.misbehave("DescribeSpotPriceHistory", error="UnauthorizedOperation", times=None)
    done = small_rental.console("ps")
    seen = rows(done)
    assert seen["imagenet-a"]["$/h"].startswith("$21.9")
    # There is no table of spot prices: what it costs nobody knows.
    assert (seen["quick-b"]["billed"], seen["quick-b"]["$/h"]) == ("—", "—")
    assert f"table of {PRICES_OF}" in done.stderr
    assert "2 runs, 2 instances, at least $21.9" in done.stderr


def test_instances_that_ended_are_no_run_that_goes_on(cloud: FakeCloud) -> None:
    ids = tagged.launch(cloud, "imagenet-a", 2)
    client = cloud.client("ec2")
    client.terminate_instances(InstanceIds=ids[:1])
    (row,) = rows(small_rental.console("ps")).values()
    assert row["instances"] == "1 × p4d.24xlarge"
    # The one that ended is on the bill all the same.
    assert float(row["billed"].strip("$")) >= minute_usd(USD_PER_H["p4d.24xlarge"], 2) - 0.01
    client.terminate_instances(InstanceIds=ids)
    done = small_rental.console("ps")
    assert rows(done) == {}
    assert "no instance of a run is there" in done.stderr


async def test_the_bill_of_a_run_from_elsewhere_follows_the_spot_price(cloud: FakeCloud) -> None:
    """A price that rises after the launch counts from the instance's next hour on."""
    now = datetime.now(UTC)
    for hours_ago, usd in ((3, 0.40), (-0.5, 0.50)):
        cloud.set_price("g5.xlarge", "us-east-1b", "spot", usd, now - timedelta(hours=hours_ago))
    tagged.launch(cloud, "quick", 2, kind="g5.xlarge", zone="us-east-1b", market="spot")
    from console.discovery.prices import tariff

    aws = Cloud(patience_s=10.0)
    seen = await look(aws)
    (run,) = seen.runs
    launched_t = run.since_t
    prices = await tariff(aws, seen.runs, launched_t + 5400, patience_s=10.0)
    billed, per_h = prices.bill(run, launched_t).billed(launched_t + 5400)
    assert billed == pytest.approx(2 * (0.40 + 0.50 * 0.5 + BESIDE * 1.5))
    assert per_h == pytest.approx(2 * (0.50 + BESIDE))
    assert prices.bill(run, launched_t).on_demand(launched_t + 5400)[0] == pytest.approx(
        2 * 1.5 * (USD_PER_H["g5.xlarge"] + BESIDE)
    )


# --- set-ups ---------------------------------------------------------------------------------------------------------


def test_without_an_aws_set_up_nothing_is_said_of_it(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in credentials._ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = small_rental.console("ps")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    asked = small_rental.console("ps", "--aws")
    assert (asked.returncode, asked.stderr.count("\n")) == (6, 1)
    assert "there are no AWS credentials" in asked.stderr


@pytest.mark.parametrize(
    ("name", "text", "leads"),
    [
        ("credentials", "[default]\naws_access_key_id = AKIA\n", True),
        ("config", "[profile work]\nsso_session = work\n", True),
        ("config", "[default]\ncredential_process = /opt/login\n", True),
        ("config", "[default]\nregion = eu-west-1\noutput = json\n", False),
        ("credentials", "", False),
    ],
)
def test_what_is_a_set_up(own_home: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, leads: bool) -> None:
    for variable in (*credentials._ENVIRONMENT, "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(variable, raising=False)
    assert not credentials.is_set_up()
    (own_home / ".aws").mkdir()
    (own_home / ".aws" / name).write_text(text)
    assert credentials.is_set_up() is leads
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert credentials.is_set_up()


async def test_no_region_that_answers_is_an_error_and_no_empty_list(cloud: FakeCloud) -> None:
    cloud.misbehave("DescribeInstances", error="ExpiredToken", times=None)
    with pytest.raises(CloudError, match="expired"):
        await look(Cloud(patience_s=5.0))
    done = await asyncio.to_thread(small_rental.console, "ps")
    assert done.returncode == 0
    assert "what runs at AWS is not known: " in done.stderr
