"""One node: everything that is known of it, and its part of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from console import views
from console.state import Node
from console.tui import marks
from console.tui.ink import Ink, Line, clean, fit, heat, right, spark, wrap
from console.tui.moment import Moment, address, on_gpus
from console.tui.widgets.header import Header
from console.tui.widgets.keybar import KeyBar
from console.tui.widgets.log import LogPane
from console.tui.widgets.pane import Pane


class NodeScreen(Screen[None]):
    """Esc goes back; left and right go to the neighbours."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.pop_screen", "back", id="node.back", tooltip="Back to all nodes"),
        Binding("left,h", "neighbour(-1)", "node before", id="node.previous", priority=True, tooltip="The node before"),
        Binding("right,l", "neighbour(1)", "next node", id="node.next", priority=True, tooltip="The next node"),
    ]

    def __init__(self, node: int, moment: Moment) -> None:
        super().__init__()
        self._node = node
        self._moment = moment

    def compose(self) -> ComposeResult:
        """The facts over the log."""
        yield Header("header")
        yield FactsPane(self._node, classes="tile")
        yield LogPane("log", classes="tile", node=self._node)
        yield KeyBar("keybar")

    def on_mount(self) -> None:
        """Shows the moment in which it was opened, without waiting for the next."""
        self.show(self._moment)

    def show(self, moment: Moment) -> None:
        """Draws the moment."""
        self._moment = moment
        for pane in self.query(Pane):
            pane.moment = moment

    def action_neighbour(self, by: int) -> None:
        """Opens another node in place of this one."""
        count = len(self._moment.run.nodes)
        if count:
            self.app.switch_screen(NodeScreen((self._node + by) % count, self._moment))


class FactsPane(Pane):
    """A node's facts, processors and ranks."""

    def __init__(self, node: int, *, classes: str) -> None:
        super().__init__("facts", classes=classes)
        self._node = node

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """Facts in pairs, then a line a processor and a line a rank."""
        nodes = moment.run.nodes
        self.border_title = f"Node {self._node} · {len(nodes)} nodes"
        if self._node >= len(nodes):
            return (), [((" This run has no such node.", "dim"),)]
        node = nodes[self._node]
        lines = _facts(node, moment, width - 2)
        lines += _processors(node, on_gpus(moment.run), width - 2)
        lines += _ranks(node)
        return (), [((" ", "plain"), *line) for line in lines]


def _facts(node: Node, moment: Moment, width: int) -> list[Line]:
    mark, tone = marks.node_mark(node.status)
    stage = ""
    if node.stage:
        stage = f"{node.stage} {views.count(node.stage_done)}/{views.count(node.stage_total)} {node.stage_detail}"
    agent, sample = node.agent, node.sample
    silent = views.stale_s(node, moment.now)
    last = "—" if silent is None else f"{views.clock(silent)} ago"
    if sample is not None and sample.mem_used_mib is not None:
        memory = f"{sample.mem_used_mib / 1024:.1f}"
        memory += f" of {sample.mem_total_mib / 1024:.1f} GiB" if sample.mem_total_mib else " GiB"
    else:
        memory = "—"
    deadline = node.lease_deadline_t
    lease = "—" if deadline is None else f"ends in {views.clock(deadline - moment.now)} unless moved"
    billed = sum((one.stopped_t or moment.now) - one.started_t for one in node.billing)
    facts = [
        ("status", f"{mark} {node.status}", tone),
        ("address", address(node), "plain"),
        ("last record", last, "plain"),
        ("lease", lease, "plain"),
        ("stage", stage or "—", "plain"),
        ("host name", agent.hostname if agent else "—", "plain"),
        ("agent", f"pid {agent.pid}, Python {agent.python}" if agent else "—", "plain"),
        ("torch", (agent.torch or "none") if agent else "—", "plain"),
        ("memory", memory, "plain"),
        ("CPUs", _share(agent.cpus if agent else None, sample.cpu_util_pct if sample else None), "plain"),
        ("disk free", _gib(agent.disk_free_mib if agent else None), "plain"),
        ("instance", node.billing[-1].instance_id if node.billing else "—", "plain"),
        ("on the bill", views.clock(billed) if node.billing else "—", "plain"),
        ("records", f"{views.count(node.records)}, restarts {node.restarts}", "plain"),
    ]
    pairs: list[Line] = [((fit(name, 13), "dim"), (clean(text), tone)) for name, text, tone in facts]
    lines: list[Line] = []
    if node.reason:
        lines += [
            ((part, "bad" if node.status in marks.BROKEN else "dim"),)
            for part in wrap(clean(node.reason), max(8, width))
        ]
    if width < 76:
        lines += pairs
    else:
        half = (width - 2) // 2
        rows = -(-len(pairs) // 2)
        for place in range(rows):
            name, text = pairs[place]
            left: Line = (name, (fit(text[0], half - 13) + "  ", text[1]))
            lines.append((*left, *(pairs[place + rows] if place + rows < len(pairs) else ())))
    lines.append(((fit("host key", 13), "dim"), (clean(node.fingerprint or "—"), "plain")))
    return lines


def _share(cpus: int | None, util_pct: float | None) -> str:
    said = views.count(cpus)
    return said if util_pct is None else f"{said} at {util_pct:.0f} %"


def _gib(mib: float | None) -> str:
    return "—" if mib is None else f"{mib / 1024:.0f} GiB"


def _processors(node: Node, gpus: bool, width: int) -> list[Line]:
    sample, agent = node.sample, node.agent
    if not gpus:
        history = node.util_history[-max(0, width - 20) :]
        figure = "—" if node.util_pct is None else f"{node.util_pct:.0f} %"
        return [(), ((fit("CPU", 6), "strong"), (right(figure, 6) + " ", "plain"), *spark(history, max(0, width - 14)))]
    if sample is None:
        return []
    lines: list[Line] = [
        (),
        ((f"{'GPU':<5}{'util':>6}{'SM':>6}{'memory':>16}{'power':>8}{'temp':>7}{'clock':>10}  name", "dim"),),
    ]
    for place, util in enumerate(sample.gpu_util_pct):
        step = heat(util)
        memory = (
            _at(sample.gpu_mem_used_mib, place, 1 / 1024, "{:.1f}")
            + " / "
            + _at(sample.gpu_mem_total_mib, place, 1 / 1024, "{:.1f} G")
        )
        inks: list[Ink] = [(f"{place:<5}", "strong")]
        inks.append((("—" if util is None else f"{util:.0f} %").rjust(6), "faint" if step is None else f"spark-{step}"))
        inks.append((_at(sample.gpu_sm_util_pct, place, 1, "{:.0f} %").rjust(6), "plain"))
        inks.append((memory.rjust(16), "plain"))
        inks.append((_at(sample.gpu_power_w, place, 1, "{:.0f} W").rjust(8), "plain"))
        inks.append((_at(sample.gpu_temp_c, place, 1, "{:.0f} °C").rjust(7), "plain"))
        inks.append((_at(sample.gpu_sm_clock_mhz, place, 1, "{:.0f} MHz").rjust(10), "plain"))
        inks.append((f"  {clean(agent.gpu_names[place])}" if agent and place < len(agent.gpu_names) else "", "dim"))
        lines.append(tuple(inks))
    return lines


def _at(values: Sequence[float | None], place: int, factor: float, form: str) -> str:
    value = values[place] if place < len(values) else None
    return "—" if value is None else form.format(value * factor)


def _ranks(node: Node) -> list[Line]:
    if not node.ranks:
        return []
    lines: list[Line] = [
        (),
        (
            (
                f"{'rank':<6}{'device':<9}{'pid':>8}{'step':>9}{'img/s':>8}{'a step':>10}{'data':>10}{'compute':>10}",
                "dim",
            ),
        ),
    ]
    for rank in node.ranks:
        rate = "—" if rank.img_per_s is None else views.count(round(rank.img_per_s))
        inks: list[Ink] = [(f"{rank.rank:<6}", "strong"), (f"{clean(rank.device):<9}{rank.pid:>8}", "dim")]
        inks.append((f"{views.count(rank.step):>9}{rate:>8}", "plain"))
        inks.append((f"{_ms(rank.step_s):>10}{_ms(rank.data_s):>10}{_ms(rank.compute_s):>10}", "plain"))
        lines.append(tuple(inks))
    return lines


def _ms(seconds: float | None) -> str:
    return "—" if seconds is None else f"{seconds * 1000:,.0f} ms"
