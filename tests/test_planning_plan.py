"""Plans: what is rented, where, at which price, for how long, and what stands in the way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from console.catalog.instance_types import G_ON_DEMAND, P_ON_DEMAND, P_SPOT, Quota, from_ec2
from console.catalog.prices import PRICE_LIST, SPOT_HISTORY, Quote
from console.planning import as_json, report
from console.planning.make import make
from console.planning.offer import DataSet, Offer, QuotaSaid, Region, Reservation
from console.planning.plan import Plan
from console.planning.predict import predict
from console.planning.prediction import Prediction
from console.profile.load import builtin_names, load, parse
from console.profile.schema import Profile

ASKED_T = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()
RENTED = """\
# Two p4d.
[fleet]
provider = "aws"
nodes = 2
instance_type = "p4d.24xlarge"
region = "us-east-1"
market = "on-demand"
connect = "elastic-ip"

[budget]
max_usd = 44.0
lease_minutes = 15

[run]
model = "resnet50"
target = { metric = "top5", value = 0.93 }
nproc_per_node = 8
accelerator = "A100"

[data]
dataset = "imagefolder"
train_images = 1281167

[[phase]]
epochs = [0, 20]
image_size = 128
batch_size_per_gpu = 256
lr = 2.0

[[phase]]
epochs = [20, 24]
image_size = 288
batch_size_per_gpu = 128
lr = [0.1, 0.0]
rectangular = true
"""


def profile(*overrides: str) -> Profile:
    return parse(RENTED, path=Path("two.toml"), overrides=overrides)


def quote(usd_per_h: float, zone: str | None = None) -> Quote:
    """AWS's word: of a zone on spot, else on demand."""
    market, source = ("spot", SPOT_HISTORY) if zone else ("on-demand", PRICE_LIST)
    return Quote(usd_per_h=usd_per_h, market=market, source=source, as_of=ASKED_T - 3600, zone=zone)


def quota(market: str, code: Quota, held: float | None, used: int | None = 0) -> QuotaSaid:
    return QuotaSaid(market=market, quota=code, held_vcpus=held, used_vcpus=used)


EAST = Region(
    name="us-east-1",
    zones=("us-east-1a", "us-east-1b", "us-east-1c"),
    offered=("p4d.24xlarge", "g5.48xlarge"),
    on_demand=quote(22.0),
    spot=(quote(7.0, "us-east-1c"), quote(8.0, "us-east-1a"), quote(9.0, "us-east-1b")),
    quotas=(quota("on-demand", P_ON_DEMAND, 192.0),),
)
WEST = replace(
    EAST,
    name="us-west-2",
    zones=("us-west-2a", "us-west-2b"),
    on_demand=quote(23.0),
    spot=(quote(6.5, "us-west-2b"), quote(6.6, "us-west-2a")),
)


def planned(*overrides: str, regions: tuple[Region, ...] = (EAST,), **said: Any) -> Plan:
    """The plan of `RENTED`, by what AWS said."""
    wanted = profile(*overrides)
    return make(wanted, Offer(regions=regions, t=ASKED_T, **said), predict(wanted))


def unasked(*overrides: str) -> Plan:
    """The same where nobody could be asked."""
    wanted = profile(*overrides)
    offer = Offer(regions=(Region(name="us-east-1"),), silent=("there are no AWS credentials: log in",))
    return make(wanted, offer, predict(wanted))


def prediction(plan: Plan) -> Prediction:
    assert plan.prediction is not None
    return plan.prediction


# --- the price -------------------------------------------------------------------------------------------------------


def test_on_demand_by_aws() -> None:
    plan = planned()
    assert plan.price.billed == plan.price.on_demand == quote(22.0)
    # 200 GiB of gp3 twice at 0.08 dollars a GiB and month of 720 hours, and one address.
    assert plan.price.extras_usd_per_h == pytest.approx(2 * 200 * 0.08 / 720 + 0.005)
    assert plan.price.billed_usd_per_h == pytest.approx(44.0 + 2 * 200 * 0.08 / 720 + 0.005)
    assert (plan.problems, plan.warnings) == ((), ())


def test_the_table_where_nobody_was_asked() -> None:
    plan = unasked()
    assert plan.price.billed is not None
    assert plan.price.billed.origin == "table of 2026-09-10, us-east-1"
    assert plan.price.billed.usd_per_h == 21.957642
    assert (plan.zones, plan.problems) == ((), ())


def test_the_profiles_quote_comes_before_the_table_and_after_aws() -> None:
    quoted = ("fleet.usd_per_h=11", "fleet.usd_per_h_on_demand=12", "fleet.price_note=our discount")
    plan = unasked(*quoted)
    assert plan.price.billed is not None
    assert plan.price.on_demand is not None
    assert (plan.price.billed.usd_per_h, plan.price.on_demand.usd_per_h) == (11.0, 12.0)
    assert plan.price.billed.origin == "the profile: our discount"
    assert planned(*quoted).price.billed == quote(22.0)


def test_a_table_of_another_region_says_so() -> None:
    plan = make(profile("fleet.region=eu-west-1"), Offer(), None)
    assert "the table's price is that of us-east-1; eu-west-1 may have another" in plan.warnings


def test_spot_by_zone_the_cheapest_first() -> None:
    plan = planned("fleet.market=spot")
    assert [(zone.name, zone.quote and zone.quote.usd_per_h) for zone in plan.zones] == [
        ("us-east-1c", 7.0),
        ("us-east-1a", 8.0),
        ("us-east-1b", 9.0),
    ]
    assert plan.price.billed == quote(7.0, "us-east-1c")
    assert plan.price.on_demand == quote(22.0)


def test_only_zones_that_the_profile_names_and_that_offer_the_type() -> None:
    plan = planned("fleet.market=spot", 'fleet.zones=["us-east-1b", "us-east-1d"]')
    assert [zone.name for zone in plan.zones] == ["us-east-1b"]
    assert plan.price.billed == quote(9.0, "us-east-1b")


def test_a_spot_price_that_is_not_known_is_bounded_by_the_one_on_demand() -> None:
    plan = planned("fleet.market=spot", regions=(replace(EAST, spot=None),))
    assert plan.price.billed is None
    assert plan.price.billed_usd_per_h is None
    assert plan.price.most_usd_per_h == plan.price.on_demand_usd_per_h
    assert plan.whole is not None
    assert plan.whole.billed_usd is None
    assert plan.whole.on_demand_usd is not None
    assert "≤ $" in report.text(plan)


def test_regions_in_turn_and_in_spot_then_on_demand_markets_in_turn() -> None:
    both = (EAST, WEST)
    turns = 'fleet.failover_regions=["us-west-2"]'
    assert [zone.name for zone in planned(turns, regions=both).zones] == [*(EAST.zones or ()), *(WEST.zones or ())]
    plan = planned(turns, "fleet.market=spot-then-on-demand", regions=both)
    assert [(zone.market, zone.region) for zone in plan.zones] == [
        *[("spot", "us-east-1")] * 3,
        *[("spot", "us-west-2")] * 2,
        *[("on-demand", "us-east-1")] * 3,
        *[("on-demand", "us-west-2")] * 2,
    ]
    assert plan.price.billed == quote(7.0, "us-east-1c")
    assert plan.price.on_demand == quote(22.0)


def test_what_a_block_adds_to_a_bill_is_not_known() -> None:
    held = Reservation(id="cr-0123456789", instance_type="p4d.24xlarge", zone="us-east-1b", state="active", available=2)
    plan = planned(
        "fleet.market=capacity-block", "fleet.reservation=cr-0123456789", reservation=held, regions=(EAST, WEST)
    )
    assert [zone.name for zone in plan.zones] == ["us-east-1b"]
    assert plan.price.billed is None
    assert plan.price.most_usd_per_h is None
    assert plan.price.on_demand == quote(22.0)
    assert plan.limits.stop_after_s is None
    assert plan.problems == ()


# --- what is in the way ----------------------------------------------------------------------------------------------


def test_a_type_that_nobody_can_rent() -> None:
    plan = make(load("imagenet-16x-p3"), Offer(regions=(replace(EAST, zones=(), offered=None),)), None)
    (problem,) = plan.problems
    assert "p3.16xlarge can no longer be rented (retired in spring 2026)" in problem
    assert "p4d.24xlarge comes nearest: 8 GPUs (A100) as it has, $21.96 an hour" in problem
    assert plan.price.billed is not None
    assert plan.price.billed.usd_per_h == 7.344


def test_a_type_that_the_region_does_not_offer() -> None:
    gone = replace(EAST, zones=(), offered=("g5.48xlarge", "g6.xlarge"))
    plan = planned(regions=(gone,))
    assert plan.problems == (
        "p4d.24xlarge is not offered in us-east-1; g5.48xlarge comes nearest: 8 GPUs (A10G) as it has, $16.29 an hour",
    )
    assert [one.type.name for one in plan.instead] == ["g5.48xlarge"]


def test_a_region_to_fall_back_on_makes_it_a_warning() -> None:
    gone = replace(EAST, zones=(), offered=("g6.xlarge",), on_demand=None)
    plan = planned('fleet.failover_regions=["us-west-2"]', regions=(gone, WEST))
    assert plan.problems == ()
    assert plan.warnings[0] == "p4d.24xlarge is not offered in us-east-1; nothing else there has as many GPUs"
    assert plan.price.on_demand == quote(23.0)


def test_zones_that_do_not_offer_it() -> None:
    (problem,) = planned('fleet.zones=["us-east-1e"]').problems
    assert (
        problem
        == "p4d.24xlarge is not offered in us-east-1e (fleet.zones); it is in us-east-1a, us-east-1b, us-east-1c"
    )


def test_a_name_that_ec2_does_not_know() -> None:
    none = replace(EAST, zones=(), on_demand=None, spot=())
    plan = planned("fleet.instance_type=p44.24xlarge", regions=(none,))
    assert plan.problems == ("EC2 has no type p44.24xlarge in us-east-1; did you mean p4d.24xlarge?",)
    assert plan.price.billed is None


def test_a_type_that_only_ec2_knows() -> None:
    said = {
        "InstanceType": "p9.48xlarge",
        "VCpuInfo": {"DefaultVCpus": 384},
        "MemoryInfo": {"SizeInMiB": 4096 * 1024},
        "GpuInfo": {"Gpus": [{"Name": "R100", "Count": 8, "MemoryInfo": {"SizeInMiB": 288 * 1024}}]},
        "NetworkInfo": {"NetworkPerformance": "12800 Gigabit", "MaximumNetworkCards": 1, "EfaSupported": False},
    }
    plan = planned("fleet.instance_type=p9.48xlarge", "run.accelerator=R100", described=from_ec2(said))
    assert plan.needed_vcpus == 768
    assert "16 × R100 (288 GiB)" in report.text(plan)
    assert "768 vCPU needed, 192 held" in plan.problems[0]


@pytest.mark.parametrize(
    ("held", "used", "words"),
    [
        (191.0, 0, "192 vCPU needed, 191 held; ask for 192 under Service Quotas (L-417A185B, Running On-Demand P"),
        (200.0, 96, "192 vCPU needed, 200 held and 96 in use; ask for 288 under"),
        (96.0, 0, "or take --nodes 1"),
        (0.0, 0, "192 vCPU needed, 0 held"),
    ],
)
def test_a_quota_that_is_too_small(held: float, used: int, words: str) -> None:
    plan = planned(regions=(replace(EAST, quotas=(quota("on-demand", P_ON_DEMAND, held, used),)),))
    (problem,) = plan.problems
    assert problem.startswith("quota for on-demand in us-east-1: ")
    assert words in problem
    assert ("--nodes" in problem) == (held - used >= 96)
    assert len(plan.zones) == 3, "prices are told all the same"


@pytest.mark.parametrize("held", [None, 192.0, 1e6])
def test_a_quota_that_is_enough_or_not_known(held: float | None) -> None:
    said = quota("on-demand", P_ON_DEMAND, held, None)
    assert planned(regions=(replace(EAST, quotas=(said,)),)).problems == ()


def test_of_two_markets_one_quota_is_enough_and_the_other_is_left_out() -> None:
    spot = quota("spot", P_SPOT, 96.0)
    regions = (replace(EAST, quotas=(spot, quota("on-demand", P_ON_DEMAND, 192.0))),)
    plan = planned("fleet.market=spot-then-on-demand", regions=regions)
    assert plan.problems == ()
    assert "quota for spot in us-east-1" in plan.warnings[0]
    assert {zone.market for zone in plan.zones} == {"on-demand"}
    assert plan.price.billed == quote(22.0)
    none = (replace(EAST, quotas=(spot, quota("on-demand", P_ON_DEMAND, 0.0))),)
    assert len(planned("fleet.market=spot-then-on-demand", regions=none).problems) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"instance_type": "p5.48xlarge"},
            "reservation cr-0123456789 is for p5.48xlarge; say so in fleet.instance_type",
        ),
        ({"state": "scheduled"}, "reservation cr-0123456789 is scheduled, not active"),
        ({"available": 1}, "reservation cr-0123456789 has room for 1 of 2 instances; --nodes 1 would fit"),
        ({"available": 0}, "reservation cr-0123456789 has room for 0 of 2 instances"),
    ],
)
def test_a_reservation_that_does_not_do(change: dict[str, Any], words: str) -> None:
    held = Reservation(id="cr-0123456789", instance_type="p4d.24xlarge", zone="us-east-1b", state="active", available=2)
    plan = planned("fleet.market=reservation", "fleet.reservation=cr-0123456789", reservation=replace(held, **change))
    assert plan.problems == (words,)


def test_a_reservation_that_ends_before_the_run() -> None:
    held = Reservation(
        id="cr-0123456789",
        instance_type="p4d.24xlarge",
        zone="us-east-1b",
        state="active",
        available=2,
        end_t=ASKED_T + 300,
    )
    plan = planned("fleet.market=reservation", "fleet.reservation=cr-0123456789", reservation=held)
    assert any(
        "reservation cr-0123456789 ends in 05:00, before the run's predicted end" in one for one in plan.warnings
    )


def test_a_budget_that_is_smaller_than_a_minute_of_the_fleet() -> None:
    (problem,) = planned("budget.max_usd=0.50").problems
    assert "budget.max_usd is $0.50: a minute of the fleet, the least that EC2 bills, is $0.73" in problem
    assert "give more than $1.22" in problem
    assert planned("budget.max_usd=1.23").problems == ()


def test_a_budget_that_ends_the_run_before_its_target() -> None:
    plan = planned("budget.max_usd=5")
    assert plan.problems == ()
    assert any("the budget of $5.00 stops the run after 05:0" in one for one in plan.warnings)
    assert any("before its predicted target at" in one for one in plan.warnings)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("run.nproc_per_node=6", "2 of 8 GPUs of each instance stay idle (run.nproc_per_node is 6)"),
        ("run.accelerator=H100", "run.accelerator is H100, and p4d.24xlarge has A100"),
        ("fleet.efa=false", "through one network card of 4, 100 of 400 Gbit/s"),
    ],
)
def test_what_else_should_be_known(override: str, words: str) -> None:
    plan = planned(override)
    assert plan.problems == ()
    assert any(words in one for one in plan.warnings)


def test_a_gpu_that_todays_pytorch_does_not_run_on() -> None:
    plan = planned("fleet.instance_type=p3dn.24xlarge", "run.accelerator=V100")
    assert any("compute capability 7.0, and PyTorch for CUDA 13 begins at 7.5" in one for one in plan.warnings)


def test_no_budget_is_told() -> None:
    wanted = parse(RENTED.replace("max_usd = 44.0\n", ""), path=Path("two.toml"))
    plan = make(wanted, Offer(regions=(EAST,)), None)
    assert plan.warnings[0].startswith("there is no budget (budget.max_usd)")
    assert (plan.limits.stop_after_s, plan.limits.left_s) == (None, 12 * 3600)


# --- time, cost and limits -------------------------------------------------------------------------------------------


def test_the_cost_is_that_of_the_hosts_from_their_start_to_their_end() -> None:
    plan = planned()
    predicted = prediction(plan)
    # Three minutes until the trainer starts; half a minute for the fetch and 10 s for the instances' end.
    assert plan.whole is not None
    assert plan.whole.seconds == 180 + predicted.total_s + 40
    assert plan.whole.billed_usd == pytest.approx((plan.price.billed_usd_per_h or 0) * plan.whole.seconds / 3600)
    assert plan.to_target is not None
    assert predicted.to_target_s is not None
    assert plan.to_target.seconds == 180 + predicted.to_target_s + 40
    assert plan.to_target.seconds < plan.whole.seconds


def lines_of(name: str) -> list[str]:
    profile = load(name)
    return report.text(make(profile, Offer(), predict(profile))).splitlines()


def figures(line: str) -> list[float]:
    """The dollars in a line."""
    return [float(word.lstrip("$").replace(",", "")) for word in line.split() if word.startswith("$")]


@pytest.mark.parametrize(
    ("name", "minutes", "billed", "on_demand"),
    [("imagenet-16x-p3", 18.09, 35.43, 118.07), ("imagenet-8x-p3", 18.88, 18.49, 61.63)],
)
def test_the_cost_to_the_target_both_ways_beside_the_record(
    name: str, minutes: float, billed: float, on_demand: float
) -> None:
    lines = lines_of(name)
    (ours,) = [line for line in lines if "to the target, as DAWNBench counts it" in line]
    (record,) = [line for line in lines if line.strip().startswith("fast.ai and DIU, 2018")]
    assert figures(record) == [billed, on_demand]
    assert figures(ours) == pytest.approx([billed, on_demand], rel=0.1)
    ours_s = next(int(word[:2]) * 60 + int(word[3:]) for word in ours.split() if word[2:3] == ":")
    assert ours_s == pytest.approx(minutes * 60, rel=0.1)
    (bill,) = [line for line in lines if "the whole bill, to the target" in line]
    assert all(more > less for more, less in zip(figures(bill), figures(ours), strict=True))


def test_a_record_of_another_fleet_has_no_price_of_this_one() -> None:
    profile = load("imagenet-16x-p3", ["fleet.nodes=8"])
    plan = make(profile, Offer(), predict(profile))
    assert plan.record is not None
    assert (plan.record.billed_usd, plan.record.on_demand_usd) == (None, 118.07)


def test_the_two_inputs_that_weigh_most_are_told_with_what_they_weigh() -> None:
    lines = lines_of("imagenet-p5")
    head = next(number for number, line in enumerate(lines) if line.startswith("What it depends on most"))
    predicted = predict(load("imagenet-p5"))
    assert predicted is not None
    assert [line.split("  ")[0] for line in lines[head + 1 :] if line.startswith("· ")] == [
        f"· {one.what}" for one in predicted.sensitivity[:2]
    ]
    assert "pictures a second of a GPU" in lines[head + 1]
    changes = [word for word in lines[head + 1].split() if word[0] in "+-" and word[1:].isdigit()]
    # A GPU that is a fifth slower comes first, and costs more time.
    assert changes == [f"+{predicted.sensitivity[0].less_s:.0f}", f"{predicted.sensitivity[0].more_s:.0f}"]
    assert changes[0][0] + changes[1][0] == "+-"
    assert all(len(line) <= 80 for line in lines)


def test_the_copy_of_the_data_set_is_on_the_whole_bill_and_not_on_dawnbenchs() -> None:
    staged = ('data.stage_from="s3://sets/imagenet"', 'data.dir="/dev/shm/imagenet"')
    data_set = DataSet(objects=312, total_bytes=150_000_000_000, packed=True)
    plan, plain = planned(*staged, data_set=data_set), planned(*staged)
    assert plan.stage_s == 150.0
    assert plan.whole is not None
    assert plain.whole is not None
    assert plan.whole.seconds == plain.whole.seconds + 150.0
    assert plan.counted == plain.counted
    told = " ".join(report.text(plan).split())
    assert "data s3://sets/imagenet: 150 GB in 312 files, a packed set to /dev/shm/imagenet on every host" in told
    assert "the whole bill has 05:30 until the trainer starts" in told
    assert "how much is not known" in " ".join(report.text(plain).split())
    assert as_json.as_json(plan)["data"] == {
        "stage_from": "s3://sets/imagenet", "files": 312, "total_bytes": 150_000_000_000, "copy_s": 150.0,
    }  # fmt: skip


def test_on_spot_two_costs() -> None:
    plan = planned("fleet.market=spot")
    assert plan.whole is not None
    assert plan.whole.billed_usd == pytest.approx(
        (2 * 7.0 + plan.price.extras_usd_per_h) * plan.whole.seconds / 3600, rel=1e-12
    )
    assert plan.whole.on_demand_usd == pytest.approx(
        (2 * 22.0 + plan.price.extras_usd_per_h) * plan.whole.seconds / 3600, rel=1e-12
    )


def test_what_ends_the_hosts_at_the_latest() -> None:
    limits = planned("budget.max_usd=22.0247222", "fleet.volume_gib=200").limits
    # Half an hour of the fleet at 44.0494 dollars.
    assert limits.left_s == pytest.approx(1800, rel=1e-4)
    assert limits.warn_after_s == pytest.approx(0.8 * 1800, rel=1e-4)
    assert limits.closing_s == 100
    assert limits.stop_after_s == pytest.approx(1800 - 100, rel=1e-4)
    assert limits.lease_s == 900
    assert limits.lost_usd == pytest.approx(44.0494 / 4, rel=1e-4)


def test_a_lost_laptop_costs_no_more_than_the_budget() -> None:
    assert planned("budget.lease_minutes=600").limits.lost_usd == 44.0


def test_hosts_that_are_not_rented() -> None:
    plan = make(load("local"), Offer(), None)
    assert plan.simulated
    assert (plan.type, plan.zones, plan.addresses, plan.needed_vcpus) == (None, (), 0, None)
    assert plan.price.billed_usd_per_h == pytest.approx(16 * 7.344)
    assert plan.price.on_demand_usd_per_h == pytest.approx(16 * 24.48)
    assert (plan.problems, plan.warnings) == ((), ())
    told = report.text(plan)
    assert "16 embedded in this machine; nothing is rented" in told
    assert "Prices are simulated: nothing is paid." in told


def test_hosts_of_ones_own_without_a_price() -> None:
    text = RENTED.replace('"aws"', '"static"\nhosts = ["a", "b"]').replace('instance_type = "p4d.24xlarge"\n', "")
    plan = make(parse(text, path=Path("two.toml")), Offer(), None)
    assert (plan.price.billed, plan.limits.stop_after_s, plan.problems) == (None, None, ())
    assert "2 of your own, 16 ranks on A100" in report.text(plan)
    # A type that is only said, for the prediction's sake, rents nothing.
    named = make(parse(text, path=Path("two.toml"), overrides=["fleet.instance_type=p4d.24xlarge"]), Offer(), None)
    assert (named.type, named.needed_vcpus, named.interfaces, named.problems) == (None, None, None, ())


# --- in words and as JSON --------------------------------------------------------------------------------------------


def every_plan() -> list[Plan]:
    named = [make(load(name), Offer(), predict(load(name))) for name in builtin_names()]
    west = replace(WEST, quotas=(quota("on-demand", P_ON_DEMAND, 10.0, 10),))
    return [
        *named,
        planned(),
        unasked(),
        unasked("fleet.market=spot"),
        planned("fleet.market=spot-then-on-demand", 'fleet.failover_regions=["us-west-2"]', regions=(EAST, west)),
        planned("budget.max_usd=0.1", silent=("AWS did not answer within 10 s: everything that was asked of it",)),
        planned("fleet.instance_type=p44.24xlarge", regions=(replace(EAST, zones=()),)),
    ]


EVERY_PLAN = every_plan()


@pytest.mark.parametrize("number", range(len(EVERY_PLAN)))
def test_a_plan_fits_eighty_columns_and_names_what_it_plans(number: int) -> None:
    plan = EVERY_PLAN[number]
    told = report.text(plan)
    assert max(map(len, told.splitlines())) <= 80
    assert told.startswith(f"{plan.profile.name}: ")
    assert ("Cannot be launched as it is:" in told) == bool(plan.problems)
    flat = " ".join(told.split())
    for sentence in (*plan.problems, *plan.warnings, *plan.offer.silent):
        assert " ".join(sentence.split()) in flat
    assert "None" not in told
    assert "\n\n\n" not in told


def test_the_problems_come_first() -> None:
    told = report.text(planned("budget.max_usd=0.1"))
    assert told.index("Cannot be launched as it is:") < told.index("rent ")


def test_prices_have_their_days() -> None:
    told = report.text(planned("fleet.market=spot"))
    assert "spot, us-east-1c             $7.0000       $14.00  2026-11-23 11:00" in told
    assert "on demand                   $22.0000       $44.00  2026-11-23\n" in told
    assert "spot: EC2 spot price history" in told
    assert "on demand: AWS price list" in told
    assert "2026-09-10" in report.text(unasked())
    assert "no answer: there are no AWS credentials: log in" in report.text(unasked())


KEYS = {
    "": "schema profile overrides launchable problems warnings unanswered asked_t fleet regions needed_vcpus places "
    "instead price data time cost limits",
    "fleet": "provider nodes world_size instance_type gpus_per_node gpu gpu_mem_gib vcpus_per_node mem_gib_per_node "
    "network_gbit_s network_interfaces efa market connect placement_group volume_gib addresses reservation",
    "price": "simulated billed on_demand extras_usd_per_h fleet_usd_per_h fleet_usd_per_h_on_demand "
    "fleet_usd_per_h_at_most",
    "cost": "counted record to_target whole",
    "limits": "budget_usd warn_after_s stop_after_s closing_s lease_s lost_usd left_s",
}


@pytest.mark.parametrize("number", range(len(EVERY_PLAN)))
def test_the_json_has_its_keys_whatever_is_known(number: int) -> None:
    plan = EVERY_PLAN[number]
    told = json.loads(json.dumps(as_json.as_json(plan), allow_nan=False))
    for section, keys in KEYS.items():
        assert list(told[section] if section else told) == keys.split()
    assert told["launchable"] is not bool(plan.problems)


def test_the_json_says_what_the_plan_says() -> None:
    plan = planned("fleet.market=spot", "run.seed=7")
    told = as_json.as_json(plan)
    assert told["overrides"] == ["fleet.market=spot", "run.seed=7"]
    assert told["places"][0] == {
        "market": "spot",
        "region": "us-east-1",
        "zone": "us-east-1c",
        "usd_per_h": 7.0,
        "as_of": ASKED_T - 3600,
        "source": "EC2 spot price history, since 2026-11-23 11:00 UTC",
        "live": True,
    }
    assert told["regions"][0]["quotas"][0]["held_vcpus"] == 192.0
    assert told["cost"]["whole"]["usd"] == plan.whole.billed_usd if plan.whole else False
    assert told["time"]["total_s"] == prediction(plan).total_s
    assert told["fleet"]["addresses"] == 1
    assert G_ON_DEMAND.code not in json.dumps(told)
