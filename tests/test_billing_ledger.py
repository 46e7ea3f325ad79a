"""The ledger against a table worked out by hand: histories of instances as EC2 tells them, and dollars to the cent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_story import START_T, Story, created, trained
from test_wire_events import PATIENT

from console.billing import accounts, breakdown, cost, ledger
from console.fold.apply import apply
from console.format import cents, money
from console.reports.receipt import receipt
from console.state import events as ce
from console.state.run import Run
from remote.wire import codec
from remote.wire import events as re

ZONE = "us-east-1b"


def at(clock: str) -> float:
    """``1:02:03`` after the run's beginning, epoch seconds."""
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return START_T + 3600 * hours + 60 * minutes + seconds


def started(name: str, clock: str, market: str, usd_per_h: float | None, **more: object) -> ce.InstanceStarted:
    """An instance of 21.96 dollars an hour on demand."""
    values: dict[str, object] = {
        "instance_id": name,
        "started_t": at(clock),
        "usd_per_h": usd_per_h,
        "usd_per_h_on_demand": 21.96,
        "market": market,
        "instance_type": "p4d.24xlarge",
        "zone": ZONE,
        **more,
    }
    return ce.InstanceStarted(**values)  # type: ignore[arg-type]


def stopped(name: str, clock: str, *, taken_back: bool = False) -> ce.InstanceStopped:
    """Why: EC2's own state reasons."""
    reason = "Server.SpotInstanceTermination" if taken_back else "Client.UserInitiatedShutdown"
    return ce.InstanceStopped(instance_id=name, stopped_t=at(clock), reason=reason, taken_back=taken_back)


def spot(clock: str, usd_per_h: float, zone: str = ZONE, instance_type: str = "p4d.24xlarge") -> ce.PriceQuoted:
    """A change of the spot price."""
    return ce.PriceQuoted(
        instance_type=instance_type,
        market="spot",
        zone=zone,
        usd_per_h=usd_per_h,
        effective_t=at(clock),
        source="spot price history, 2026-09-01",
    )


@dataclass(frozen=True)
class Row:
    """A history, and what it comes to at a moment."""

    name: str
    history: tuple[tuple[int | None, codec.Event], ...]
    until: str
    billed_cents: int | None
    on_demand_cents: int | None

    @property
    def run(self) -> Run:
        nodes = max(node or 0 for node, _ in self.history) + 1
        story = Story().says(created(nnodes=nodes, usd_per_h=None, usd_per_h_on_demand=None))
        for node, event in self.history:
            story.says(event, node)
        return story.run


def fleet(
    nodes: int, start: ce.InstanceStarted, stop: ce.InstanceStopped | None
) -> tuple[tuple[int, codec.Event], ...]:
    """The same history for each node."""
    events: list[tuple[int, codec.Event]] = []
    for node in range(nodes):
        events.append((node, replace(start, instance_id=f"i-{node}")))
        if stop is not None:
            events.append((node, replace(stop, instance_id=f"i-{node}")))
    return tuple(events)


ON_DEMAND = started("i", "0:00:00", "on-demand", 21.96)
SPOT = started("i", "0:00:00", "spot", 8.40)

TABLE = [
    # 16 x 60 s (the minute that is billed at least) x 21.96 / 3600 = 16 x 0.366 = 5.856
    Row("59 s are a minute", fleet(16, ON_DEMAND, stopped("i", "0:00:59")), "1:00:00", 586, 586),
    # 16 x 61 s x 21.96 / 3600 = 16 x 0.3721 = 5.9536
    Row("61 s are 61 s", fleet(16, ON_DEMAND, stopped("i", "0:01:01")), "1:00:00", 595, 595),
    # 16 x 60 x 21.96 / 3600 already in the first second
    Row("one second after the start", fleet(16, ON_DEMAND, None), "0:00:01", 586, 586),
    # 12 h x 21.96 = 263.52
    Row("half a day and still running", ((0, ON_DEMAND),), "12:00:00", 26352, 26352),
    Row(
        # First hour from 0:00:00 at 8.40, though it is 9.00 from 0:30:00 on.          8.40
        # Second from 1:00:00 at 9.60, which holds from that very second.              9.60
        # Third from 2:00:00 at 7.20, the change of 1:20:00; half of it: 7.20 / 2 =    3.60   together 21.60
        # On demand: 2.5 h x 21.96 = 54.90
        "a spot price that changes counts from the next hour of the instance",
        ((0, SPOT), (None, spot("0:30:00", 9.0)), (None, spot("1:00:00", 9.6)), (None, spot("1:20:00", 7.2)),
         (0, stopped("i", "2:30:00"))),
        "3:00:00", 2160, 5490,
    ),
    Row(
        # Hours count from 0:17:30: the first at 8.40, and the half of the second from 1:17:30 at 9.00: 8.40 + 4.50
        "hours are the instance's own and not the clock's",
        ((0, replace(SPOT, started_t=at("0:17:30"))), (None, spot("1:00:00", 9.0)), (0, stopped("i", "1:47:30"))),
        "3:00:00", 1290, 3294,
    ),
    Row(
        # Prices of another zone, another type and of on demand change nothing: 2 h x 8.40
        "prices of other pools are not ours",
        ((0, SPOT), (None, spot("0:10:00", 99.0, "us-east-1a")), (None, spot("0:20:00", 99.0, ZONE, "p5.48xlarge")),
         (None, replace(spot("0:30:00", 99.0), market="on-demand")), (0, stopped("i", "2:00:00"))),
        "3:00:00", 1680, 4392,
    ),
    Row(
        # What is quoted twice for one moment holds as it was said last: 8.40 + 7.00
        "a corrected price",
        ((0, SPOT), (None, spot("0:30:00", 9.0)), (None, spot("0:30:00", 7.0)), (0, stopped("i", "2:00:00"))),
        "3:00:00", 1540, 4392,
    ),
    Row(
        # The instance does not say what it costs: 6.60 was quoted the day before, 8.80 holds from 0:30:00 on
        "a spot price from the quotes alone",
        ((None, replace(spot("0:00:00", 6.6), effective_t=START_T - 86_400)), (None, spot("0:30:00", 8.8)),
         (0, replace(SPOT, usd_per_h=None)), (0, stopped("i", "2:00:00"))),
        "3:00:00", 1540, 4392,
    ),
    Row(
        # Taken back by EC2 after 3599 s: the instance costs nothing; its volume and its address do, 0.20 and 0.005 an
        # hour: 3599 x 0.205 / 3600 = 0.204943. On demand 3599 x (21.96 + 0.205) / 3600 = 22.158843
        "EC2 takes it back in its first hour",
        ((0, replace(SPOT, storage_usd_per_h=0.2, address_usd_per_h=0.005)),
         (0, stopped("i", "0:59:59", taken_back=True))),
        "3:00:00", 20, 2216,
    ),
    Row(
        # After one hour to the second it is charged for the seconds used: 8.40 + 0.205
        "EC2 takes it back after its first hour",
        ((0, replace(SPOT, storage_usd_per_h=0.2, address_usd_per_h=0.005)),
         (0, stopped("i", "1:00:00", taken_back=True))),
        "3:00:00", 861, 2217,
    ),
    # We end it in its first hour: 3599 x 8.40 / 3600 = 8.397667
    Row("we end it in its first hour", ((0, SPOT), (0, stopped("i", "0:59:59"))), "3:00:00", 840, 2195),
    Row(
        # i-0 runs through: 3 h x 8.40                                                                 25.20
        # i-1 is taken back at 1:30:00: 1.5 h x 8.40                                                   12.60
        # i-2 takes its place on demand from 1:34:10 to 3:00:00: 5150 s x 21.96 / 3600 =               31.415
        # together 69.215, half a cent up. On demand: 3 h + 1.5 h + 5150 s = 21350 s x 21.96 / 3600... of which
        # 10800 + 5400 + 5150 = 21350 s: 130.235
        "a replaced node",
        ((0, replace(SPOT, instance_id="i-0")), (1, replace(SPOT, instance_id="i-1")),
         (1, stopped("i-1", "1:30:00", taken_back=True)), (1, started("i-2", "1:34:10", "on-demand", 21.96)),
         (0, stopped("i-0", "3:00:00")), (1, stopped("i-2", "3:00:00"))),
        "4:00:00", 6922, 13024,
    ),
    Row(
        # Two nodes at 8.40 for 42 min 17 s = 2537 s: 2 x 2537 x 8.40 / 3600 =      11.839333
        # Nothing for the day between.
        # Two others at 9.00 for 30 min:                                             9.00
        # On demand: 2 x (2537 + 1800) s x 21.96 / 3600 = 52.9114
        "a stop in the middle, and on the next day other instances",
        (*fleet(2, SPOT, stopped("i", "0:42:17")),
         *((node, started(f"j-{node}", "24:00:00", "spot", 9.0)) for node in range(2)),
         *((node, stopped(f"j-{node}", "24:30:00")) for node in range(2))),
        "48:00:00", 2084, 5291,
    ),
    Row(
        # One instance that is stopped and started: 90 s, and then 20 s, which are a minute: 150 s x 21.96 / 3600
        "the same instance twice",
        ((0, ON_DEMAND), (0, stopped("i", "0:01:30")), (0, replace(ON_DEMAND, started_t=at("0:10:00"))),
         (0, stopped("i", "0:10:20"))),
        "1:00:00", 92, 92,
    ),
    Row(
        # 200 GiB at 0.08 a GiB and month of 730 h = 0.0219178 an hour, an address 0.005: two nodes for 2 h:
        # 2 x 2 x (21.96 + 0.0219178 + 0.005) = 87.947671
        "volumes and addresses",
        fleet(2, replace(ON_DEMAND, storage_usd_per_h=200 * 0.08 / 730, address_usd_per_h=0.005), None),
        "2:00:00", 8795, 8795,
    ),
    # 60 s x 0.30 / 3600 = 0.005
    Row("half a cent is one", ((0, replace(ON_DEMAND, usd_per_h=0.3, usd_per_h_on_demand=0.3)),), "0:00:30", 1, 1),
    # Paid for when it was bought: nobody here knows how much.
    Row("a capacity block", ((0, started("i", "0:00:00", "capacity-block", None)),), "2:00:00", None, 4392),
    # ... but where the profile says: 2 h x 11.50
    Row("a quoted capacity block", ((0, started("i", "0:00:00", "capacity-block", 11.5)),), "2:00:00", 2300, 4392),
    Row(
        "one unknown price makes the sum unknown",
        ((0, SPOT), (1, started("j", "0:00:00", "spot", None, zone="us-east-1c", usd_per_h_on_demand=None))),
        "2:00:00", None, None,
    ),
    Row(
        # The price on demand is quoted for the region, and looked up after the start: 2 h x 21.96
        "an on-demand price from the quotes alone",
        ((0, started("i", "0:00:00", "on-demand", None, usd_per_h_on_demand=None)),
         (None, replace(spot("0:05:00", 21.96), market="on-demand", zone=None))),
        "2:00:00", 4392, 4392,
    ),
]  # fmt: skip


def to_cents(usd: float | None) -> int | None:
    return None if usd is None else cents(usd)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_ledger_agrees_with_the_table_to_the_cent(row: Row) -> None:
    until, bill = at(row.until), ledger.bill(row.run)
    assert to_cents(bill.billed(until)[0]) == row.billed_cents
    assert to_cents(bill.on_demand(until)[0]) == row.on_demand_cents
    # The sum of the lines is the bill, and so is the sum of the nodes, but for the last digit of a float.
    by_line = breakdown.total(line.billed_usd for line in bill.lines(until))
    by_node = breakdown.total(one.on_demand_usd for one in breakdown.per_node(row.run, until))
    assert by_line == (None if row.billed_cents is None else pytest.approx(bill.billed(until)[0], abs=1e-9))
    assert by_node == (None if row.on_demand_cents is None else pytest.approx(bill.on_demand(until)[0], abs=1e-9))
    spent = cost.cost(row.run, until)
    assert (to_cents(spent.billed_usd), to_cents(spent.on_demand_usd)) == (row.billed_cents, row.on_demand_cents)


def test_a_line_says_all_that_a_person_would_ask() -> None:
    run = next(row for row in TABLE if row.name == "EC2 takes it back in its first hour").run
    (line,) = ledger.bill(run).lines(at("3:00:00"))
    assert (line.node, line.instance_id, line.market, line.zone) == (0, "i", "spot", ZONE)
    assert (line.from_t, line.to_t, line.billed_s) == (at("0:00:00"), at("0:59:59"), 0.0)
    assert (line.compute_usd, line.taken_back, line.reason) == (0.0, True, "Server.SpotInstanceTermination")
    assert line.storage_usd == pytest.approx(3599 * 0.2 / 3600)
    assert line.address_usd == pytest.approx(3599 * 0.005 / 3600)


def test_what_it_burns_is_the_price_of_the_hour_that_runs() -> None:
    row = next(row for row in TABLE if row.name.startswith("a spot price that changes"))
    bill = ledger.bill(row.run)
    clocks = ("0:00:00", "0:59:59", "1:00:00", "2:10:00", "2:30:00")
    assert [bill.billed(at(clock))[1] for clock in clocks] == [8.4, 8.4, 9.6, 7.2, 0.0]
    assert bill.billed(START_T - 1) == (0.0, 0.0)
    with_extras = ledger.bill(next(row for row in TABLE if row.name == "volumes and addresses").run)
    assert with_extras.billed(at("0:00:30"))[1] == pytest.approx(2 * (21.96 + 16 / 730 + 0.005))


def test_a_quote_that_comes_later_changes_the_bill() -> None:
    story = Story().says(created(nnodes=1)).says(SPOT, 0)
    run = story.run
    assert ledger.bill(run).billed(at("2:00:00"))[0] == 16.8
    record = story.says(spot("0:30:00", 9.0)).records[-1]
    assert ledger.bill(apply(run, record)).billed(at("2:00:00"))[0] == 17.4
    assert ledger.bill(run).billed(at("2:00:00"))[0] == 16.8


def test_volumes_of_unknown_price_are_in_no_total_and_said_so() -> None:
    run = Row("", ((0, SPOT), (0, stopped("i", "1:00:00"))), "", 0, 0).run
    (line,) = ledger.bill(run).lines(at("2:00:00"))
    assert (line.storage_usd, line.address_usd, line.billed_usd) == (None, None, 8.4)


def test_an_instance_that_is_told_of_twice_is_billed_once() -> None:
    story = Story().says(created(nnodes=1)).says(SPOT, 0).says(SPOT, 0)
    assert ledger.bill(story.run).billed(at("1:00:00")) == (8.4, 8.4)
    story.says(stopped("i", "1:00:00"), 0).says(SPOT, 0)
    assert ledger.bill(story.run).billed(at("5:00:00")) == (8.4, 0.0)


def test_an_instance_that_was_started_again_unseen_does_not_run_twice() -> None:
    story = Story().says(created(nnodes=1)).says(SPOT, 0).says(replace(SPOT, started_t=at("1:00:00")), 0)
    assert ledger.bill(story.run).billed(at("2:00:00")) == (16.8, 8.4)


@pytest.mark.parametrize("wrong", [float("inf"), -1.0, 1e300])
def test_damaged_numbers_make_the_bill_unknown_and_break_nothing(wrong: float) -> None:
    for event in (replace(SPOT, usd_per_h=wrong), replace(SPOT, started_t=wrong)):
        run = Story().says(created(nnodes=1)).says(event, 0).run
        assert ledger.bill(run).billed(at("1:00:00")) == (None, None)
        receipt(run, at("1:00:00"))
    story = Story().says(created(nnodes=1)).says(SPOT, 0)
    story.says(replace(spot("0:30:00", 9.0), usd_per_h=wrong)).says(replace(spot("0:30:00", 9.0), effective_t=wrong))
    assert to_cents(ledger.bill(story.run).billed(at("1:00:00"))[0]) == 840
    assert ledger.bill(story.run).billed(float("inf"))[0] is not None


def test_cents_are_rounded_half_up() -> None:
    assert [cents(usd) for usd in (0.0, 0.004999, 0.005, 1.005, 2.675, 1.0049999, 12.345)] == [
        0,
        0,
        1,
        101,
        268,
        100,
        1235,
    ]
    assert money(1.005) == "$1.01"
    assert money(-1.5) == "-$1.50"


# --- against an independent sum ---------------------------------------------------------------------------------------

PRICES = st.integers(1, 40_000_000).map(lambda micros: micros / 1_000_000)
HISTORIES = st.lists(
    st.tuples(st.integers(0, 9000), st.one_of(st.none(), st.integers(0, 20_000)), PRICES, st.booleans()),
    min_size=1,
    max_size=5,
)
CHANGES = st.lists(st.tuples(st.integers(0, 25_000), PRICES), max_size=6, unique_by=lambda change: change[0])


def rented(history: list[tuple[int, int | None, float, bool]], changes: list[tuple[int, float]]) -> Story:
    """Spot instances, a node each: start, life, price at the start, and whether EC2 took it back; price changes."""
    story = Story().says(created(nnodes=len(history)))
    for node, (start, lived, price, taken_back) in enumerate(history):
        story.says(started(f"i-{node}", "0:00:00", "spot", price, started_t=START_T + start), node)
        if lived is not None:
            gone = stopped(f"i-{node}", "0:00:00", taken_back=taken_back)
            story.says(replace(gone, stopped_t=START_T + start + lived), node)
    for t, price in changes:
        story.says(replace(spot("0:00:00", price), effective_t=START_T + t))
    return story


def slowly(history: list[tuple[int, int | None, float, bool]], changes: list[tuple[int, float]], until: int) -> Decimal:
    """The rules read aloud, in decimal: an hour after another, each at the price that holds at its beginning."""
    owed = Decimal(0)
    for start, lived, price, taken_back in history:
        if until < start:
            continue
        seconds = max(60, min(until - start, until - start if lived is None else lived))
        if taken_back and lived is not None and lived < 3600:
            continue
        for hour in range(0, seconds, 3600):
            known = [(t, change) for t, change in changes if start < t <= start + hour]
            now = max(known)[1] if known else price
            owed += Decimal(repr(now)) * min(3600, seconds - hour) / 3600
    return owed


@PATIENT
@given(HISTORIES, CHANGES, st.integers(0, 40_000))
def test_the_ledger_agrees_with_the_rules_read_aloud(
    history: list[tuple[int, int | None, float, bool]], changes: list[tuple[int, float]], until: int
) -> None:
    story = rented(history, changes)
    bill = ledger.bill(story.run)
    owed = bill.billed(START_T + until)[0]
    expected = slowly(history, changes, until)
    assert owed is not None
    assert cents(owed) == int((expected * 100).to_integral_value(ROUND_HALF_UP))
    assert owed == pytest.approx(sum(line.billed_usd or 0.0 for line in bill.lines(START_T + until)))


# --- where it went ----------------------------------------------------------------------------------------------------


def priced(nodes: int = 1) -> Story:
    """A run on instances of 36 dollars an hour, a cent a second, that began an hour ago."""
    story = Story().says(created(nnodes=nodes))
    for node in range(nodes):
        story.says(started(f"i-{node}", "0:00:00", "on-demand", 36.0, usd_per_h_on_demand=72.0), node)
    return story


def stepped(story: Story, step: int, *, after_s: float) -> Story:
    return story.hears(
        0,
        re.StepEnded(
            step=step, epoch=0, epoch_step=step, steps_per_epoch=1000, loss=1.0, lr=0.1, step_s=1.0, data_s=0.1,
            img_per_s=10.0,
        ),
        after_s=after_s,
    )  # fmt: skip


def ended_epoch(story: Story, epoch: int, *, after_s: float) -> Story:
    return story.hears(
        0,
        re.EpochEnded(
            epoch=epoch, step=1, elapsed_s=1.0, top1=None, top5=None, train_loss=None, img_per_s=None, image_size=None
        ),
        after_s=after_s,
    )


def test_an_epoch_costs_what_passed_since_the_one_before() -> None:
    story = stepped(priced(), 1, after_s=100)
    for epoch, seconds in enumerate((200, 50, 75)):
        ended_epoch(story, epoch, after_s=seconds)
    assert [cents(one.billed_usd or 0) for one in breakdown.per_epoch(story.run)] == [200, 50, 75]
    assert [cents(one.on_demand_usd or 0) for one in breakdown.per_epoch(story.run)] == [400, 100, 150]


def test_a_run_of_less_than_a_minute_is_spread_over_its_parts_and_the_rest_is_its_end() -> None:
    story = ended_epoch(ended_epoch(stepped(priced(), 1, after_s=10), 0, after_s=15), 1, after_s=5)
    story.hears(0, re.TrainingEnded(step=1, epoch=0, reason="finished", elapsed_s=1.0), after_s=1)
    story.says(replace(stopped("i-0", "0:00:00"), stopped_t=story.t + 9), 0, after_s=9)
    story.says(ce.RunEnded(status="finished", exit_code=0, reason="x"))
    assert cost.cost(story.run, story.t).billed_usd == 0.60
    assert [cents(one.billed_usd or 0) for one in breakdown.per_epoch(story.run)] == [15, 5]
    # 40 s were used; 20 more are paid.
    assert breakdown.idle(story.run, story.t) == pytest.approx({"launch": 0.10, "after the end": 0.09 + 0.20})


@PATIENT
@given(HISTORIES, CHANGES, st.integers(0, 40_000))
def test_the_parts_of_a_run_add_up_to_its_bill(
    history: list[tuple[int, int | None, float, bool]], changes: list[tuple[int, float]], middle: int
) -> None:
    story = rented(history, changes)
    bill, end = ledger.bill(story.run), START_T + 50_000
    parts = [bill.between(*pair).billed_usd for pair in ((0, START_T + middle), (START_T + middle, end))]
    assert all(part is not None and part >= 0 for part in parts)
    assert sum(part or 0 for part in parts) == pytest.approx(bill.billed(end)[0])


def test_an_epoch_that_nobody_saw_end_ended_when_its_host_says() -> None:
    story = ended_epoch(stepped(priced(), 1, after_s=100), 0, after_s=100)
    away = ended_epoch(story, 1, after_s=5000).records.pop()
    story.records.append(replace(away, t=START_T + 250))
    assert [cents(one.billed_usd or 0) for one in breakdown.per_epoch(story.run)] == [100, 50]


def test_idle_dollars_by_cause() -> None:
    story = stepped(priced(), 1, after_s=100)
    stepped(story, 2, after_s=30)
    story.hears(0, re.Paused(rank=0, step=2)).hears(0, re.Resumed(rank=0, step=2, paused_s=40.0), after_s=40)
    stepped(story, 3, after_s=5)
    # It falls 7 s after its last step, and steps again 60 s later.
    story.hears(0, re.TrainerRestarted(restart=1, max_restarts=1, reason="SIGKILL"), after_s=7)
    stepped(story, 3, after_s=60)
    story.hears(0, re.TrainingEnded(step=3, epoch=0, reason="stopped", elapsed_s=1.0), after_s=20)
    story.says(stopped("i-0", "0:00:00"), 0, after_s=12)
    ended = story.records.pop()
    assert isinstance(ended.event, ce.InstanceStopped)
    story.records.append(replace(ended, event=replace(ended.event, stopped_t=story.t)))
    story.says(ce.RunEnded(status="stopped", exit_code=130, reason="x"), after_s=9)
    idle = breakdown.idle(story.run, story.t + 3600)
    assert idle is not None
    assert {cause: cents(usd) for cause, usd in idle.items()} == {
        "launch": 100, "pause": 40, "restart": 67, "after the end": 12,
    }  # fmt: skip


def test_a_gang_that_left_its_loop_to_be_started_again_was_restarted() -> None:
    story = stepped(priced(), 1, after_s=100)
    story.hears(0, re.TrainingEnded(step=1, epoch=0, reason="stopped", elapsed_s=1.0), after_s=1)
    assert breakdown.idle(story.run, story.t + 10) == pytest.approx({"launch": 1.0, "after the end": 0.1})
    story.says(ce.GangRestarting(reason="node 0: EC2 takes its spot instance back"), after_s=30)
    stepped(story, 2, after_s=70)
    assert breakdown.idle(story.run, story.t) == pytest.approx({"launch": 1.0, "restart": 1.0})


def test_a_run_that_fails_was_idle_since_its_last_step() -> None:
    story = stepped(priced(), 1, after_s=100)
    story.says(ce.RunEnded(status="failed", exit_code=3, reason="x"), after_s=25)
    assert breakdown.idle(story.run, story.t) == pytest.approx({"launch": 1.0, "after the end": 0.25})


def test_idle_dollars_of_a_log_without_steps_are_unknown() -> None:
    assert breakdown.idle(ended_epoch(priced(), 0, after_s=50).run, START_T + 60) is None
    assert breakdown.idle(Run(), START_T) == {}


# --- the receipt ------------------------------------------------------------------------------------------------------


def test_the_receipt_tells_the_whole_story_of_the_money() -> None:
    row = next(row for row in TABLE if row.name == "a replaced node")
    story = Story().says(created(nnodes=2, budget_usd=50.0))
    for node, event in [*row.history, (None, spot("2:00:00", 9.0))]:
        story.says(event, node)
    story.says(ce.BudgetMoved(max_usd=80.0), after_s=10)
    paper = receipt(story.run, at("4:00:00"))
    # The quote makes the third hour of i-0 dearer by 0.60.
    assert (paper["cost_usd"], paper["cost_on_demand_usd"]) == (69.815, 130.235)
    assert paper["budget"] == {
        "max_usd": 80.0, "at_first_usd": 50.0, "moves": [{"t": story.t, "max_usd": 80.0, "by": "operator"}],
    }  # fmt: skip
    assert [one["instance_id"] for one in paper["instances"]] == ["i-0", "i-1", "i-2"]
    assert [one["cost_usd"] for one in paper["instances"]] == [25.8, 12.6, 31.415]
    assert [one["taken_back_by_ec2"] for one in paper["instances"]] == [False, True, False]
    assert [one["stopped_t"] for one in paper["instances"]] == [at("3:00:00"), at("1:30:00"), at("3:00:00")]
    assert [one["cost_usd"] for one in paper["nodes"]] == [25.8, 44.015]
    assert paper["still_running"] == []
    assert (paper["storage_usd"], paper["address_usd"]) == (None, None)
    (quote,) = paper["prices"]
    assert (quote["usd_per_h"], quote["source"]) == (9.0, "spot price history, 2026-09-01")


def test_a_receipt_of_nothing() -> None:
    paper = receipt(Run(), START_T)
    assert paper["cost_usd"] is None
    assert paper["instances"] == paper["epochs"] == []


def test_the_receipt_has_a_line_an_epoch() -> None:
    run = trained(epochs=3).run
    paper = receipt(run, run.last_received_t or 0.0)
    assert [one["epoch"] for one in paper["epochs"]] == [0, 1, 2]
    assert [one["ended_t"] for one in paper["epochs"]] == [epoch.received_t for epoch in run.epochs]
    assert paper["cost_to_target_usd"] is not None


def test_the_note_of_a_price_is_the_profile_s_or_the_newest_quote_s() -> None:
    story = Story().says(created(price_note=""))
    assert cost.cost(story.run, START_T).note == ""
    for source in ("price list", "spot price history"):
        story.says(replace(spot("0:00:00", 1.0), source=source))
        assert cost.cost(story.run, START_T).note == source
    story.records[0] = replace(story.records[0], event=created(price_note="our discount"))
    assert cost.cost(story.run, START_T).note == "our discount"
    assert cost.cost(Run(), 0.0).note == ""


@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
def test_the_curve_of_the_bill_is_to_the_last_unit_the_sum_of_its_accounts(row: Row) -> None:
    run = row.run
    found = [
        accounts.account_of(billing, accounts.quotes_by_time(run.quotes))
        for node in run.nodes
        for billing in node.billing
    ]
    curve = accounts.Curve.of(
        accounts.breakpoints({account: found.count(account) for account in found}, on_demand=False)
    )
    for after_s in (0, 1, 59, 60, 61, 1800, 3600, 3601, 5400, 7200, 7201, 10_000, 200_000):
        t_ms = round((START_T + after_s) * 1000)
        parts = [
            None if (compute := account.compute(t_ms)) is None
            else compute + (account.storage + account.address) * account.charged_ms(t_ms)
            for account in found
        ]  # fmt: skip
        assert (None if curve is None else curve.at(t_ms)[0]) == (None if None in parts else sum(parts))  # type: ignore[arg-type]
