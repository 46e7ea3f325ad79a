"""What AWS is asked before anything is rented: every question answered, refused, late or without a credential."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import SECRET_KEY, FakeCloud

from console.fleet.aws import offers
from console.planning.offer import Offer
from console.profile.load import load

ROOT = Path(__file__).parent.parent


def plan(*words: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """``fastconsole plan``, no terminal anywhere; `environment` over the test's own, None takes a variable away."""
    given = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-m", "console", "plan", *words],
        cwd=ROOT,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def told(*words: str, code: int = 0, **environment: str | None) -> dict[str, Any]:
    """The plan as JSON, nothing said beside it."""
    done = plan(*words, "--json", **environment)
    assert (done.returncode, done.stderr) == (code, "")
    assert SECRET_KEY not in done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["launchable"] is (code == 0)
    return found


def asked(name: str, *overrides: str, patience_s: float = 30.0) -> Offer:
    return offers.ask(load(name, overrides), patience_s)


# --- AWS answers -----------------------------------------------------------------------------------------------------


def test_a_plan_from_live_prices(cloud: FakeCloud) -> None:
    at = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
    cloud.set_price("p4d.24xlarge", "us-east-1", "on-demand", 20.5, at)
    cloud.set_price("p4d.24xlarge", "us-east-1b", "spot", 7.25, at)
    cloud.set_price("p4d.24xlarge", "us-east-1d", "spot", 6.75, at)
    found = told("imagenet-p4d", "--set", "fleet.market=spot", "--set", "fleet.failover_regions=[]")
    assert [place["zone"] for place in found["places"]][:2] == ["us-east-1d", "us-east-1b"]
    assert found["price"]["billed"]["usd_per_h"] == 6.75
    assert found["price"]["billed"]["as_of"] == at.timestamp()
    assert (found["price"]["on_demand"]["usd_per_h"], found["price"]["on_demand"]["live"]) == (20.5, True)
    assert found["price"]["on_demand"]["source"] == "AWS price list, since 2026-11-20"
    assert found["regions"][0]["quotas"] == [
        {
            "market": "spot",
            "code": "L-7212CCBC",
            "name": "All P4, P3 and P2 Spot Instance Requests",
            "held_vcpus": 10_000.0,
            "used_vcpus": 0,
        }
    ]
    assert (found["unanswered"], found["problems"], found["needed_vcpus"]) == ([], [], 1536)


def test_nothing_is_made_by_asking(cloud: FakeCloud) -> None:
    told("imagenet-p4d")
    actions = {call.action for call in cloud.calls()}
    assert actions == {
        "DescribeInstanceTypeOfferings",
        "DescribeInstances",
        "DescribeSpotPriceHistory",
        "GetProducts",
        "GetServiceQuota",
    }
    assert cloud.left_over() == []


def test_it_is_told_in_words_too(cloud: FakeCloud) -> None:
    done = plan("imagenet-g6", "--nodes", "2", "--budget", "9")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 × g6.xlarge, on demand: 2 × L4" in done.stdout
    assert "on demand, us-east-1: 8 vCPU of 10,000 (L-DB2E81BA)" in done.stdout
    assert "budget $9.00: warns at $7.20" in done.stdout


def test_each_region_is_asked(cloud: FakeCloud) -> None:
    found = told("imagenet-p5")
    assert [region["region"] for region in found["regions"]] == ["us-east-1", "us-west-2"]
    assert {call.region for call in cloud.calls("GetServiceQuota")} == {"us-east-1", "us-west-2"}
    # The price list has one endpoint for all.
    assert {call.region for call in cloud.calls("GetProducts")} == {"us-east-1"}


def test_what_runs_already_counts(cloud: FakeCloud) -> None:
    client = cloud.client()
    image = client.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    for kind, count in (("p4d.24xlarge", 2), ("g6.xlarge", 1)):
        client.run_instances(ImageId=image, InstanceType=kind, MinCount=count, MaxCount=count)
    cloud.set_quota("L-417A185B", 384.0)
    found = told("imagenet-p4d", "--nodes", "3", "--set", "fleet.market=on-demand")
    east, west = found["regions"]
    assert (east["quotas"][0]["used_vcpus"], west["quotas"][0]["used_vcpus"]) == (192, 0)
    assert "288 vCPU needed, 384 held and 192 in use; ask for 480" in found["warnings"][0]
    assert {place["region"] for place in found["places"]} == {"us-west-2"}


def test_a_quota_that_is_too_small_everywhere(cloud: FakeCloud) -> None:
    cloud.set_quota("L-DB2E81BA", 0.0)
    done = plan("imagenet-g6")
    assert done.returncode == 6
    assert "Cannot be launched as it is:" in done.stdout
    assert done.stdout.count("4 vCPU needed, 0 held") == 2
    assert "0.8048" in done.stdout, "the price is told all the same"


def test_a_type_that_is_not_offered(cloud: FakeCloud) -> None:
    alone = ("--set", "fleet.failover_regions=[]", "--set", "fleet.region=eu-west-1")
    found = told("imagenet-p5-1", *alone, code=6)
    assert found["problems"][0].startswith("p5.48xlarge is not offered in eu-west-1; p4d.24xlarge comes nearest")
    assert [one["instance_type"] for one in found["instead"]] == ["p4d.24xlarge", "g5.48xlarge"]
    assert found["price"]["on_demand"]["live"] is False


def test_the_hardware_of_2018(cloud: FakeCloud) -> None:
    found = told("imagenet-16x-p3", code=6)
    assert "p3.16xlarge can no longer be rented" in found["problems"][0]
    assert found["price"]["fleet_usd_per_h_on_demand"] == pytest.approx(391.68, abs=0.5)


def test_a_type_that_there_is_not(cloud: FakeCloud) -> None:
    found = told("imagenet-g6", "--set", "fleet.instance_type=p44.24xlarge", code=6)
    assert found["problems"][0] == "EC2 has no type p44.24xlarge in us-east-1; did you mean p4d.24xlarge?"
    assert found["unanswered"] == []


def test_a_type_that_only_ec2_knows(cloud: FakeCloud) -> None:
    found = told("imagenet-g6", "--set", "fleet.instance_type=c5.xlarge", "--set", "run.accelerator=cpu")
    assert (found["fleet"]["vcpus_per_node"], found["fleet"]["gpus_per_node"]) == (4, 0)
    assert found["regions"][0]["quotas"] == [], "nothing is known of its quota"


def test_a_reservation(cloud: FakeCloud) -> None:
    words = ("--set", "fleet.market=capacity-block", "--set", "fleet.reservation=cr-0123456789abcdef0")
    found = told("imagenet-p5", *words, code=6)
    assert found["problems"][0] == "fleet.reservation: there is no cr-0123456789abcdef0 in us-east-1"
    cloud.reserve("cr-0123456789abcdef0", "p5.48xlarge", "us-east-1c", 16, block=True)
    found = told("imagenet-p5", *words)
    assert [(place["market"], place["zone"]) for place in found["places"]] == [("capacity-block", "us-east-1c")]
    assert [region["region"] for region in found["regions"]] == ["us-east-1"]
    assert found["price"]["fleet_usd_per_h"] is None


# --- AWS refuses, or is not there ------------------------------------------------------------------------------------


def from_the_table(found: dict[str, Any]) -> None:
    assert found["price"]["on_demand"]["source"] == "table of 2026-09-10, us-east-1"
    assert found["price"]["on_demand"]["usd_per_h"] == 0.8048
    assert found["time"] is not None
    assert found["cost"]["whole"]["usd"] > 0


def test_without_credentials_it_plans_from_the_table(cloud: FakeCloud) -> None:
    found = told("imagenet-g6", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    assert found["unanswered"] == [
        "there are no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE"
    ]
    from_the_table(found)
    assert cloud.calls() == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("RequestExpired", "the AWS credentials have expired: log in again"),
        ("AuthFailure", "AWS does not accept these credentials"),
    ],
)
def test_credentials_that_do_not_do_are_told_once(error: str, words: str, cloud: FakeCloud) -> None:
    cloud.misbehave("*", error=error, times=None)
    found = told("imagenet-g6")
    (sentence,) = found["unanswered"]
    assert words in sentence
    from_the_table(found)


def test_a_profile_of_the_aws_set_up_that_is_not_there(cloud: FakeCloud) -> None:
    found = told("imagenet-g6", AWS_PROFILE="nobody", AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None)
    (sentence,) = found["unanswered"]
    assert "the AWS set-up cannot be used" in sentence
    assert "nobody" in sentence
    from_the_table(found)


def test_what_may_not_be_asked_is_named_and_the_rest_is_told(cloud: FakeCloud) -> None:
    cloud.misbehave("GetProducts", error="AccessDeniedException", times=None)
    found = told("imagenet-g6", "--set", "fleet.failover_regions=[]")
    (sentence,) = found["unanswered"]
    assert sentence.startswith("price on demand in us-east-1: AWS pricing GetProducts in us-east-1 said AccessDenied")
    assert "profiles/aws-iam-policy.json" in sentence
    assert found["regions"][0]["zones"]
    from_the_table(found)


def test_throttling_is_told(cloud: FakeCloud) -> None:
    cloud.misbehave("DescribeSpotPriceHistory", error="RequestLimitExceeded", times=None)
    found = told("imagenet-g6", "--set", "fleet.failover_regions=[]")
    (sentence,) = found["unanswered"]
    assert sentence.startswith("spot prices in us-east-1: ")
    assert "try again in a minute" in sentence


def test_nobody_at_the_endpoint(cloud: FakeCloud) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = told("imagenet-g6", AWS_ENDPOINT_URL=f"http://127.0.0.1:{taken.getsockname()[1]}")
    (sentence,) = found["unanswered"]
    assert "no connection; is the network up" in sentence
    from_the_table(found)


class _LoginPage(http.server.BaseHTTPRequestHandler):
    """What a network in a hotel answers to everything."""

    status = 200

    def do_POST(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"<html><body>Welcome! Room number?</body></html>" if self.status == 200 else b"")

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize("status", [200, 403])
def test_a_login_page_in_between(status: int, cloud: FakeCloud) -> None:
    page = type("Page", (_LoginPage,), {"status": status})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            found = told("imagenet-g6", AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
    assert any("the answer is not AWS's; is there a proxy or a login page" in one for one in found["unanswered"])
    from_the_table(found)


def test_no_region_is_set(cloud: FakeCloud, tmp_path: Path) -> None:
    file = tmp_path / "imagenet-g6.toml"
    text = (ROOT / "profiles" / "imagenet-g6.toml").read_text().replace('region = "us-east-1"\n', "")
    file.write_text(text.replace('failover_regions = ["us-west-2"]\n', ""))
    found = told(str(file), AWS_REGION=None, AWS_DEFAULT_REGION=None)
    assert found["unanswered"] == ["no AWS region is set: set fleet.region in the profile, or AWS_REGION"]
    from_the_table(found)
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        regions: dict[str, str | None] = {"AWS_REGION": None, "AWS_DEFAULT_REGION": None, variable: "us-west-2"}
        assert told(str(file), **regions)["regions"][0]["region"] == "us-west-2"


def test_a_region_that_there_is_not(cloud: FakeCloud) -> None:
    found = told("imagenet-g6", "--set", "fleet.region=us-esat-1", code=6)
    (problem,) = found["problems"]
    assert problem.startswith("us-esat-1 is not an AWS region that this version of boto3 knows; did you mean ")
    assert "us-east-1" in problem
    assert cloud.calls() == []


# --- and no longer than it may take ----------------------------------------------------------------------------------


def test_who_does_not_answer_in_time_is_named(cloud: FakeCloud) -> None:
    cloud.misbehave("GetProducts", hold=True, times=None)
    cloud.misbehave("GetServiceQuota", hold=True, times=None)
    offer = asked("imagenet-g6", "fleet.failover_regions=[]", patience_s=3.0)
    (sentence,) = offer.silent
    assert sentence.startswith("AWS did not answer within 3 s: ")
    assert set(sentence.partition(": ")[2].split(", ")) == {
        "price on demand in us-east-1",
        "quota for on-demand in us-east-1",
    }
    (region,) = offer.regions
    assert region.zones
    assert region.spot
    assert region.on_demand is None


def test_the_process_does_not_wait_for_who_does_not_answer(cloud: FakeCloud) -> None:
    cloud.misbehave("*", hold=True, times=None)
    program = (
        "from console.fleet.aws import offers\n"
        "from console.profile.load import load\n"
        "offer = offers.ask(load('imagenet-g6'), 1.0)\n"
        "print(offer.silent[0])"
    )
    # The calls are held until the test is over: a process that waited for them would sit out their 30 s each.
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("AWS did not answer within 1 s: ")


def test_hosts_that_are_not_awss_are_no_question(cloud: FakeCloud) -> None:
    assert asked("local") == Offer()
    assert cloud.calls() == []


@pytest.mark.parametrize("words", [("local",), ("imagenet-g6", "--json")])
def test_a_plan_needs_no_screen_no_ssh_and_no_torch(words: tuple[str, ...], cloud: FakeCloud) -> None:
    program = "import sys; from console.__main__ import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program, "plan", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "console" in loaded
    assert ("boto3" in loaded) == (words[0] != "local")
    assert loaded & {"textual", "rich", "asyncssh", "cryptography", "torch", "torchvision", "numpy", "PIL"} == set()
