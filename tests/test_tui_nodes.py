"""The nodes and a node on the screen: every metric, both views, sort and filter, and what is wrong with a host."""

from __future__ import annotations

from dataclasses import replace

import pytest
from canned_source import T0, CannedPlayer, CannedSource, created, scene, tick
from desk import desk, nodes_pane, rare_collections
from textual.widgets import Input

from console.state import events as ce
from console.state.events import Record
from console.tui.draw import cells, ink, marks, node_map, node_rows, rank_rows
from console.tui.draw.moment import moment_of
from console.tui.screens.node import NodeScreen
from console.tui.widgets.nodes import NodesPane
from console.views import metrics
from console.views.metrics import METRICS, Scale, known, metric, said, throttle_level
from remote.wire import codec
from remote.wire import events as re

__all__ = ["rare_collections"]


def gpu_records(nodes: int = 4) -> list[Record]:
    return scene("training", nodes=nodes, gpus=8)


def at(record: Record, event: codec.Event, node: int, later: float = 0.0) -> Record:
    return Record(record.received_t + later, record.t + later, event, node, 1 << 40)


# --- metrics ---------------------------------------------------------------------------------------------------------


def test_every_metric_is_said_by_gpus_and_some_by_cpus() -> None:
    gpus, cpus = CannedSource(gpu_records()).run, CannedSource(scene("training", nodes=4)).run
    assert known(gpus) == METRICS
    assert [one.key for one in known(cpus)] == ["util", "mem", "img", "data", "wait", "lag"]
    for one in METRICS:
        values = one.of(gpus, gpus.nodes[1])
        assert len(values) == 8
        assert None not in values
        assert 0 <= one.scale(gpus).step(values[0] or 0.0) <= 9


def test_what_nobody_says_is_unknown_and_not_nothing() -> None:
    run = CannedSource(scene("launching", nodes=4, gpus=8)).run
    assert [one.key for one in known(run)] == ["util"]
    for one in METRICS:
        assert one.of_node(run, run.nodes[0]) is None
        assert said(one, None) == "—"


def test_a_nodes_value_is_the_mean_the_sum_or_the_worst() -> None:
    run = CannedSource(gpu_records()).run
    node = run.nodes[0]
    assert metric("temp").of_node(run, node) == 68.0, "the hottest of 61 to 68"
    assert metric("power").of_node(run, node) == sum(240.0 + gpu for gpu in range(8))
    assert metric("mem").of_node(run, node) == pytest.approx(100 * 14_100 / 16_160)
    assert metric("img").of_node(run, node) == pytest.approx(8 * 71)
    assert metric("data").of_node(run, run.nodes[1]) == pytest.approx(80), "rank 11's 0.72 of 0.9 s"
    assert metric("lag").of_node(run, node) == 0


def test_a_rank_that_is_behind_lags() -> None:
    records = gpu_records()
    last = records[-1]
    word = re.RankProgressed(rank=9, step=290, img_per_s=70.0, step_s=0.9, data_s=0.1)
    run = CannedSource([*records, at(last, word, 1)]).run
    assert metric("lag").of_node(run, run.nodes[1]) == 10
    scale = metric("lag").scale(run)
    # Ranks speak once a second, here about a step: two or three steps are no lag.
    assert [scale.level(steps) for steps in (2, 3, 14, 15)] == ["", "warn", "warn", "bad"]


def test_the_past_is_oldest_first_and_bounded() -> None:
    run = CannedSource(gpu_records()).run
    node = run.nodes[2]
    past = metric("temp").past(node, 5)
    assert past == [68.0] * 5
    utils = metric("util").past(node, 1000)
    assert len(utils) == 60
    assert utils[-1] == pytest.approx(node.util_pct or 0)
    assert len(metric("img").past(node, 7)) == 7


@pytest.mark.parametrize(
    ("reasons", "level"),
    [
        (None, None),
        ("", 0),
        ("gpu_idle", 0),
        ("sw_power_cap", 1),
        ("sw_power_cap+sw_thermal_slowdown", 2),
        ("hw_slowdown", 3),
        ("0x1000", 3),
    ],
)
def test_why_clocks_are_held_back(reasons: str | None, level: int | None) -> None:
    assert throttle_level(reasons) == level


def test_a_scale_says_where_and_how_bad() -> None:
    scale = Scale(30, 95, 80, 86)
    assert [scale.step(value) for value in (0, 30, 62.5, 94.9, 95, 300)] == [0, 0, 5, 9, 9, 9]
    assert [scale.level(value) for value in (79.9, 80, 86)] == ["", "warn", "bad"]
    assert Scale(0, 0).step(5) == 0


@pytest.mark.parametrize("width", [1, 2, 3, 4, 6])
def test_a_cell_fills_its_columns_whatever_the_value(width: int) -> None:
    for one in METRICS:
        scale = Scale(0, 1234, 800, 1000)
        for value in (None, 0.0, 3.0, 99.9, 100.0, 1234.0, 1e9, -5.0):
            text, tone = cells.cell(one, scale, value, width)
            assert ink.cells(text) == width, (one.key, value, text)
            assert tone in ink.TONES
    assert cells.cell(metric("util"), Scale(0, 100), 97.0, 4) == (" 97 ", "heat-9")
    assert cells.cell(metric("temp"), Scale(30, 95, 80, 86), 91.0, 4) == (" 91 ", "heat-bad")
    assert cells.cell(metric("util"), Scale(0, 100), 97.0, 4, stale=True) == (" 97 ", "stale")


# --- the pane --------------------------------------------------------------------------------------------------------


async def test_every_metric_has_its_legend_and_its_unit() -> None:
    async with desk(CannedSource(gpu_records())) as one:
        for wanted in METRICS:
            legend = one.text("nodes").splitlines()[0]
            assert wanted.title in legend
            assert wanted.unit in legend
            await one.press("m")
        assert METRICS[0].title in one.text("nodes").splitlines()[0], "and round again"


async def test_a_cpu_fleet_says_cpu_and_offers_only_what_it_has() -> None:
    async with desk(CannedSource(scene("training", nodes=4))) as one:
        assert "CPU" in one.text("nodes")
        for _ in range(6):
            shown = one.text("nodes")
            assert "GPU" not in one.text()
            assert "temperature" not in shown
            await one.press("m")


async def test_a_metric_that_goes_away_falls_back_to_utilisation() -> None:
    async with desk(CannedSource(gpu_records())) as one:
        await one.press(*"mmmmmm")
        assert "temperature" in one.text("nodes")
        one.source.run = CannedSource(scene("launching", nodes=4, gpus=8)).run
        await one.show()
        one.source.run = CannedSource(scene("training", nodes=4)).run
        await one.show()
        assert "utilisation" in one.text("nodes")


async def test_a_thousand_gpus_are_in_one_view() -> None:
    async with desk(CannedSource(scene("training", nodes=128, gpus=8)), size=(200, 60)) as one:
        shown = one.text("nodes")
        assert "1,024 GPUs" in one.text()
        lines = shown.splitlines()[2:]
        assert all(f" {node} " in shown or f" {node}▸" in shown for node in range(128))
        assert sum(line.count(glyph) for line in lines for glyph in "▁▂▃▄▅▆▇█") >= 1024
        await one.press("v")
        assert "#" in one.text("nodes").splitlines()[1], "rows on a key"


async def test_rows_while_they_fit_and_a_map_when_they_do_not() -> None:
    async with desk(CannedSource(gpu_records(16)), size=(120, 40)) as one:
        assert "img/s" in one.text("nodes").splitlines()[1]
        await one.pilot.resize_terminal(120, 30)
        await one.pilot.pause()
        assert "img/s" not in one.text("nodes").splitlines()[1].split("steps")[0] or " 4 " in one.text("nodes")
        assert nodes_pane(one)._grid is not None


async def test_the_cursor_stays_in_sight_among_many_nodes() -> None:
    async with desk(CannedSource(scene("training", nodes=128, gpus=1)), size=(80, 24)) as one:
        await one.press("v" if nodes_pane(one)._grid is not None else "f12")
        await one.press(*["pagedown"] * 13)
        assert nodes_pane(one).cursor == 127
        assert " 127 " in one.text("nodes")
        assert one.text("nodes").splitlines()[1].lstrip().startswith("#")
        await one.press("v")
        assert "127▸" in one.text("nodes")


async def test_moving_in_the_map_is_along_what_is_shown() -> None:
    async with desk(CannedSource(gpu_records(16)), size=(120, 40)) as one:
        await one.press("v", "O")
        pane = nodes_pane(one)
        assert pane._grid is not None
        across = pane._grid.across
        first = pane._shown_nodes[0]
        pane.cursor = first
        await one.press("down", "right")
        assert pane.cursor == first - across - 1
        await one.press("up", "left", "left", "left")
        assert pane.cursor == first


async def test_a_click_on_a_rows_or_a_blocks_node() -> None:
    async with desk(CannedSource(gpu_records(16))) as one:
        await one.pilot.click("#nodes", offset=(10, 7))
        assert nodes_pane(one).cursor == 4
        await one.press("v")
        grid = nodes_pane(one)._grid
        assert grid is not None
        await one.pilot.click("#nodes", offset=(1 + 1 + grid.block + 3, 1 + 2 + 1))
        assert nodes_pane(one).cursor == grid.across + 1
        await one.pilot.click("#nodes", offset=(1 + grid.block, 1 + 2 + 1))
        assert nodes_pane(one).cursor == grid.across + 1, "between two nodes there is none"
        await one.pilot.click("#nodes", offset=(1 + 1 + grid.block + 3, 1 + 2 + 1), times=2)
        await one.pilot.pause()
        assert isinstance(one.app.screen, NodeScreen)


async def test_what_is_wrong_with_a_filter_is_said_while_it_is_typed() -> None:
    async with desk() as one:
        await one.press("slash")
        for typed in ("node<3", "utl<50"):
            one.app.screen.query_one(Input).value = typed
            await one.pilot.pause()
        assert '"utl" at character 1 is not a field' in one.text()
        assert len(one.run_screen.query_one(NodesPane)._shown_nodes) == 3, "the last good one holds"
        await one.press("enter")
        assert one.app.screen.query_one(Input).value == "utl<50", "and it stays to be mended"
        one.app.screen.query_one(Input).value = "status=training & !slow"
        await one.pilot.pause()
        assert "15 of 16" in one.text()


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("temp>=68 & node<2", [0, 1]),
        ("throttled", [6]),
        ("throttle>=3", [6]),
        ("data>50", [1]),
        ("host~40023", [1]),
        ("status=lost | node=3", [2, 3]),
        ("terminated", [2]),
        ("util=?", [2]),
        ("step<100", []),
        ("img>100 node=4-5", [4, 5]),
    ],
)
async def test_what_can_be_asked_of_nodes(typed: str, wanted: list[int]) -> None:
    records = gpu_records(7)
    lost = Record(records[-1].received_t, records[-1].t, ce.HostLost(reason="EC2 terminated it"), 2)
    source = CannedSource([*records, lost])
    nodes = list(source.run.nodes)
    nodes[2] = replace(nodes[2], sample=None)
    source.run = replace(source.run, nodes=tuple(nodes))
    async with desk(source) as one:
        found, good = nodes_pane(one).apply_filter(typed)
        assert good
        assert list(nodes_pane(one)._shown_nodes) == wanted
        assert found == f"{len(wanted)} of 7"
        if not wanted:
            assert "No node matches step<100 · Esc clears the filter" in one.text("nodes")


async def test_order_by_status_puts_what_needs_a_look_first() -> None:
    records = gpu_records(6)
    last = records[-1]
    notice = at(last, re.SpotNoticed(action="terminate", deadline_t=last.t + 100), 4)
    lost = Record(last.received_t, last.t, ce.HostLost(reason="gone"), 3)
    async with desk(CannedSource([*records, notice, lost], now=last.received_t)) as one:
        await one.press("O", "O", *"oooooo")
        assert "by status" in one.text()
        assert list(nodes_pane(one)._shown_nodes) == [4, 3, 1, 0, 2, 5], "doomed, lost, slow, then the others"


async def test_the_cursor_stays_with_its_node_when_the_order_changes() -> None:
    async with desk(CannedSource(gpu_records(16))) as one:
        await one.press("down", "down", "down")
        await one.press("O")
        assert nodes_pane(one).cursor == 3
        nodes_pane(one).apply_filter("node<2")
        assert nodes_pane(one).cursor in (0, 1)
        nodes_pane(one).apply_filter("node<9")
        assert nodes_pane(one).cursor == 3, "and is back where it was once that is shown again"


async def test_a_small_screen_says_what_is_filtered_though_it_has_no_title() -> None:
    async with desk(size=(80, 24)) as one:
        nodes_pane(one).apply_filter("node<9")
        await one.press("o")
        await one.show()
        assert "by utilisation · 9 of 16: node<9" in one.text("nodes")


async def test_a_tick_paints_only_the_lines_that_changed() -> None:
    async with desk(CannedSource(gpu_records(16))) as one:
        pane, source = nodes_pane(one), one.source
        sample = source.run.nodes[3].sample
        assert sample is not None
        source.feed([Record(source.now(), source.now(), replace(sample, gpu_util_pct=(3.0,) * 8), 3, 1 << 40)])
        with one.app.batch_update():
            pane.moment = moment_of(source, read_only=False)
            painted = {(region.y, region.height) for region in pane._repaint_regions}
        # The border, the legend and the titles are above node 0.
        assert painted == {(3 + 3, 1)}


# --- what is wrong with a host ---------------------------------------------------------------------------------------


async def test_gpu_hosts_say_gpu_and_cpu_hosts_say_cpu() -> None:
    async with desk(CannedSource(scene("training", gpus=8))) as one:
        assert "128 GPUs" in one.text()
        assert "CPU" not in one.text("nodes")
    async with desk() as one:
        assert "GPU" not in one.text()


async def test_a_quiet_node_is_marked_and_loses_its_colours() -> None:
    records = scene("training", gpus=8)
    last = records[-1].received_t
    source = CannedSource(records)
    for more in range(1, 9):
        source.feed([record for record in tick(16, 8, last + more, 300 + more) if record.node != 5])
    async with desk(source) as one:
        assert "! quiet 00:08" in one.text("nodes")
        assert "1 of 16 hosts quiet" in one.text("header")
        pane = nodes_pane(one)
        tones = {tone for text, tone in pane._rows[5] if text.strip().replace(" ", "").isdigit() and "heat" in tone}
        assert not tones, "what is of a time that is over is not painted as if it were now"
        await one.press("v")
        assert "? 5 " in one.text("nodes")


async def test_while_a_log_stands_still_nobody_is_quiet() -> None:
    player = CannedPlayer(gpu_records())
    player._clock += 60
    async with desk(player) as one:
        assert "quiet" not in one.text("nodes")


async def test_a_straggler_is_marked_with_its_reason_in_both_views() -> None:
    async with desk(CannedSource(gpu_records())) as one:
        assert "◂ rank 11, 9.0× slower: data" in one.text("nodes")
        assert "waiting for node 1 (data)" in one.text("nodes")
        await one.press("v")
        assert "◂" in one.text("nodes")


async def test_a_spot_notice_counts_down_where_one_looks() -> None:
    """The header says which node goes and when, its row what is done about it, and a dropped node is no alarm."""
    records = scene("training", nodes=4)
    last = records[-1].received_t
    notice = re.SpotNoticed(action="terminate", deadline_t=last + 119)
    records += [Record(last, last, notice, 2, 1 << 40), Record(last, last, ce.ReplacementOrdered(reason="spot"), 2)]
    async with desk(CannedSource(records, now=last + 30)) as one:
        assert "EC2 reclaims node 2 in 01:29" in one.text("header")
        assert "! reclaim in 01:29, replacing" in one.text("nodes")
        await one.press("v")
        assert "! 2 " in one.text("nodes").replace("!2", "! 2")
        await one.press("v")
        one.source.feed([Record(last + 90, last + 90, ce.NodeDropped(reason="EC2 terminated i-0002"), 2)])
        one.source._now = last + 91
        await one.show()
        assert "EC2 reclaims" not in one.text("header")
        assert "dropped: EC2 terminated i-0002" in one.text("nodes")


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["launching", "failed"])
@pytest.mark.parametrize(("nodes", "gpus"), [(1, 0), (3, 8), (130, 1), (5, 16)])
def test_no_row_and_no_line_of_the_map_is_wider_than_the_pane(moment: str, nodes: int, gpus: int) -> None:
    source = CannedSource(scene(moment, nodes=nodes, gpus=gpus))
    run = source.run
    troubles = marks.troubles(run, source.now() + 20)
    for one in (metrics.metric("util"), metrics.metric("img"), metrics.metric("throttle")):
        scale = one.scale(run)
        for width in (8, 20, 38, 72, 78, 122, 198):
            columns = node_rows.plan(run, one, scale, width)
            for node in run.nodes[:6]:
                assert ink.width_of(node_rows.row(run, node, troubles, one, scale, columns, width)) <= width
            grid = node_map.plan(run, one, scale, nodes, width, 20)
            line = node_map.line(run, run.nodes[: grid.across], 0, troubles, one, scale, grid, width)
            assert ink.width_of(line) <= width
            assert ink.width_of(node_map.about(run, run.nodes[0], troubles, one, width)) <= width


def test_a_wide_pane_shows_where_each_node_comes_from() -> None:
    run = CannedSource(gpu_records()).run
    util = metric("util")
    assert node_rows.plan(run, util, util.scale(run), 72).trend == 0
    columns = node_rows.plan(run, util, util.scale(run), 122)
    assert columns.trend == 20
    row = node_rows.row(run, run.nodes[0], marks.Troubles(), util, util.scale(run), columns, 122)
    assert len(row[-1][0]) == 20
    assert set(row[-1][0]) <= set("▁▂▃▄▅▆▇█")


# --- a node -----------------------------------------------------------------------------------------------------------


async def test_a_nodes_screen_shows_every_gpu_with_all_it_says() -> None:
    records = gpu_records()
    last = records[-1]
    records.append(at(last, re.XidReported(gpu=4, xid=48), 1, 1))
    async with desk(CannedSource(records), size=(200, 60)) as one:
        await one.press("down", "enter")
        shown = one.text("facts")
        assert "8 × NVIDIA V100-SXM2-16GB" in shown
        for title in ("util", "SM", "tensor", "memory", "DRAM", "power", "temp", "throttling", "ECC", "last minute"):
            assert title in shown, title
        assert "13.8 / 15.8 G" in shown
        assert "240/300 W" in shown
        assert "Xid 48 on GPU 4" in shown
        for rank in range(8, 16):
            assert f" {rank} " in shown
        assert "◂ data: +" in shown
        assert "Xid 48" in one.text("events")
        assert "joined the gang as node 1" in one.text("log")


async def test_a_nodes_screen_is_live_and_survives_every_size() -> None:
    source = CannedSource(gpu_records())
    async with desk(source, size=(120, 40)) as one:
        await one.press("enter")
        source.feed(tick(4, 8, source.now() + 1, 777))
        await one.show()
        assert "777" in one.text("facts")
        for size in ((80, 24), (40, 10), (200, 60)):
            await one.pilot.resize_terminal(*size)
            await one.pilot.pause()
            lines = one.text().splitlines()
            assert len(lines) == size[1]
            assert max(map(ink.cells, lines)) <= size[0]


async def test_a_nodes_busiest_processes_have_their_ranks() -> None:
    records = gpu_records()
    said = re.ProcessesSampled(
        pids=(6011, 99), names=("pt_main\x1b[2J", "sshd"), cpu_pct=(187.4, None), mem_mib=(3072.0, None)
    )
    records.append(at(records[-1], said, 1))
    async with desk(CannedSource(records), size=(120, 70)) as one:
        await one.press("down", "enter")
        shown = [line.split() for line in one.text("facts").splitlines()]
        assert ["pt_main", "6011", "187", "%", "3.0", "G", "rank", "9"] in shown
        assert ["sshd", "99", "—", "—"] in shown


async def test_a_nodes_network_is_shown_where_the_host_says_it() -> None:
    records = gpu_records()
    sample = CannedSource(records).run.nodes[1].sample
    assert sample is not None
    sample = replace(sample, net_rx_mib_s=1180.25, net_tx_mib_s=1175.0, tcp_again_pct=0.04, disk_free_mib=2048.0)
    records.append(at(records[-1], sample, 1))
    async with desk(CannedSource(records)) as one:
        await one.press("enter")
        assert "MiB/s" not in one.text("facts")
        await one.press("right")
        assert "↓ 1,180 ↑ 1,175 MiB/s, 0.04 % retransmitted" in one.text("facts")
        assert "2 GiB" in one.text("facts")


async def test_a_nodes_environment_is_the_profiles() -> None:
    first = created(2, 0)
    text = '[run.env]\nOMP_NUM_THREADS = "2"\nTOKEN = "…"\n'
    records = scene("training", nodes=2)
    records[0] = replace(first, event=replace(first.event, profile_text=text))
    async with desk(CannedSource(records), size=(100, 60)) as one:
        await one.press("enter")
        assert "OMP_NUM_THREADS=2" in one.text("facts")
        assert "TOKEN=…" in one.text("facts")


def test_a_steps_parts_are_a_bar_as_long_as_the_step() -> None:
    run = CannedSource(gpu_records()).run
    rank = run.nodes[0].ranks[0]
    for width in (1, 9, 40):
        line = rank_rows.bar(replace(rank, optimizer_s=0.1), width)
        assert ink.width_of(line) == width
    text = "".join(text for text, _ in rank_rows.bar(replace(rank, optimizer_s=0.09), 90))
    assert [text.count(sign) for sign in "▒█░▓·"] == [8, 36, 24, 9, 13]
    assert rank_rows.bar(replace(rank, step_s=None), 20) == (("—", "faint"),)


async def test_what_happened_to_a_node_is_in_order() -> None:
    records = scene("training", nodes=4)
    last = records[-1]
    records.append(Record(last.received_t + 1, last.t + 1, ce.OperatorCommanded(id="c9", command="pause"), None))
    records.append(at(last, re.CommandDone(id="c9", command="pause"), 2, 2))
    records.append(Record(last.received_t + 5, last.t + 5, ce.HostUnreachable(reason="no route", retry_s=2.0), 2))
    async with desk(CannedSource(records)) as one:
        await one.press("down", "down", "enter")
        shown = one.text("events").splitlines()
        assert "unreachable: no route" in shown[0]
        assert "pause done" in shown[1]
        assert "i-0002 started" in one.text("events")
        assert last.received_t > T0
