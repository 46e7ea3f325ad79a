"""One node in full: facts, GPUs, ranks, environment."""

from __future__ import annotations

from collections.abc import Sequence

from console.format import clock, count, money
from console.profile import recorded
from console.state.run import Node
from console.tui.draw import gpu_rows, marks, rank_rows
from console.tui.draw.ink import Line, clean, fit, wrap
from console.tui.draw.moment import Moment, address, on_gpus
from console.tui.widgets.pane import Pane
from console.views.nodes import stage_words, stale_s


class FactsPane(Pane):
    """A node's facts, processors and ranks; scrolls where they do not fit."""

    def __init__(self, node: int, *, classes: str) -> None:
        super().__init__("facts", classes=classes)
        self._node = node

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """Facts in pairs, then a line for each GPU and for each rank."""
        nodes = moment.run.nodes
        self.border_title = f"Node {self._node} · {len(nodes)} nodes"
        if self._node >= len(nodes):
            return (), [((" No such node in this run.", "dim"),)]
        node = nodes[self._node]
        lines = _trouble(node, moment, width - 2)
        lines += _facts(node, moment, width - 2)
        lines += gpu_rows.lines(moment.run, node, on_gpus(moment.run), width - 2)
        lines += rank_rows.lines(moment.run, node, width - 2)
        lines += rank_rows.processes(node, width - 2)
        lines += _environment(moment, width - 2)
        return (), [((" ", "plain"), *line) for line in lines]


def _trouble(node: Node, moment: Moment, width: int) -> list[Line]:
    text, tone = marks.troubles(moment.run, moment.now, clock_runs=moment.play is None or moment.play.playing).note(
        node
    )
    lines: list[Line] = [((text, tone),)] if text else []
    if node.reason:
        lines += [
            ((part, "bad" if node.status in marks.BROKEN else "dim"),)
            for part in wrap(clean(node.reason), max(8, width))
        ]
    lines += [
        ((f"Xid {fault.xid} on GPU {fault.gpu}, {clock(moment.now - fault.received_t)} ago", "bad"),)
        for fault in node.faults[-3:]
    ]
    return lines


def _facts(node: Node, moment: Moment, width: int) -> list[Line]:
    mark, tone = marks.node_mark(node.status)
    stage = ""
    if node.stage:
        stage = f"{node.stage} {stage_words(node)}"
    agent, sample = node.agent, node.sample
    silent = stale_s(node, moment.now)
    deadline = node.lease_deadline_t
    facts = [
        ("status", f"{mark} {node.status} for {clock(moment.now - node.since_t)}", tone),
        ("address", address(node), "plain"),
        ("last record", "—" if silent is None else f"{clock(silent)} ago", "plain"),
        ("lease", "—" if deadline is None else f"expires in {clock(deadline - moment.now)} unless renewed", "plain"),
        ("stage", stage or "—", "plain"),
        ("host name", agent.hostname if agent else "—", "plain"),
        ("agent", f"pid {agent.pid}, Python {agent.python}" if agent else "—", "plain"),
        ("torch", (agent.torch or "none") if agent else "—", "plain"),
        *_gpu_software(node),
        ("memory", _memory(node), "plain"),
        ("CPUs", _share(agent.cpus if agent else None, sample.cpu_util_pct if sample else None), "plain"),
        ("disk free", _disk(node), "plain"),
        *_network(node),
        *_instance(node, moment),
        ("records", f"{count(node.records)}, restarts {node.restarts}", "plain"),
    ]
    pairs: list[Line] = [((fit(name, 13), "dim"), (clean(text), tone)) for name, text, tone in facts]
    lines: list[Line] = []
    if width < 76:
        lines += pairs
    else:
        across = 3 if width >= 150 else 2
        column = (width - 2 * (across - 1)) // across
        rows = -(-len(pairs) // across)
        for row in range(rows):
            line: Line = ()
            for name, text in pairs[row::rows]:
                line = (*line, name, (fit(text[0], column - 13) + "  ", text[1]))
            lines.append(line)
    lines.append(((fit("host key", 13), "dim"), (clean(node.fingerprint or "—"), "plain")))
    return lines


def _gpu_software(node: Node) -> list[tuple[str, str, str]]:
    agent = node.agent
    if agent is None or not (agent.driver or agent.cuda or agent.nccl):
        return []
    return [
        ("driver", f"{agent.driver or '—'}, CUDA {agent.cuda or '—'}", "plain"),
        ("NCCL", agent.nccl or "—", "plain"),
    ]


def _instance(node: Node, moment: Moment) -> list[tuple[str, str, str]]:
    if not node.billing:
        return [("instance", "—", "plain")]
    last = node.billing[-1]
    kind = ", ".join(part for part in (last.instance_type, last.zone, last.market) if part)
    seconds = sum((bill.stopped_t or moment.now) - bill.started_t for bill in node.billing)
    price = "" if last.usd_per_h is None else f" at {money(last.usd_per_h)}/h"
    facts = [("instance", last.instance_id, "plain"), ("billed", f"{clock(seconds)}{price}", "plain")]
    return [*facts, ("kind", kind, "plain")] if kind else facts


def _disk(node: Node) -> str:
    """From the last sample, else from the agent's start."""
    free_mib = node.sample.disk_free_mib if node.sample is not None else None
    free_mib = free_mib if free_mib is not None or node.agent is None else node.agent.disk_free_mib
    return "—" if free_mib is None else f"{free_mib / 1024:.0f} GiB"


def _network(node: Node) -> list[tuple[str, str, str]]:
    sample = node.sample
    if sample is None or sample.net_rx_mib_s is None or sample.net_tx_mib_s is None:
        return []
    again = "" if sample.tcp_again_pct is None else f", {sample.tcp_again_pct:.2g} % retransmitted"
    received, sent = (
        f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}" for rate in (sample.net_rx_mib_s, sample.net_tx_mib_s)
    )
    return [("network", f"↓ {received} ↑ {sent} MiB/s{again}", "plain")]


def _memory(node: Node) -> str:
    sample = node.sample
    if sample is None or sample.mem_used_mib is None:
        return "—"
    total = f" of {sample.mem_total_mib / 1024:.1f} GiB" if sample.mem_total_mib else " GiB"
    return f"{sample.mem_used_mib / 1024:.1f}{total}"


def _share(cpus: int | None, util_pct: float | None) -> str:
    cpu_count = count(cpus)
    return cpu_count if util_pct is None else f"{cpu_count} at {util_pct:.0f} %"


def _environment(moment: Moment, width: int) -> list[Line]:
    """The profile's environment as recorded in the journal, where values that may be secrets are redacted."""
    created = moment.run.created
    pairs = recorded.environment(created.profile_text) if created else ()
    if not pairs:
        return []
    lines: list[Line] = [(), (("environment", "dim"),)]
    lines += [
        ((clean(name), "dim"), (fit(f"={clean(value)}", max(1, width - len(name))).rstrip(), "plain"))
        for name, value in pairs
    ]
    return lines
