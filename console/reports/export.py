"""A log in the forms that other tools read: JSON, JSON lines, CSV, a DAWNBench table, and text for people.

Everything goes to a text stream as it is made, so that a log of any length takes no more memory than its state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from console.billing import cost
from console.fold import apply
from console.journal.fold_log import fold_items, lost
from console.journal.open_log import Log
from console.journal.reader import Lost
from console.reports.story import story
from console.state.events import Record, record_line
from console.state.outcome import outcome
from console.state.run import Run
from console.views import nodes, progress

SCHEMA: Final = 1
"""Version of the JSON object's form; keys are only ever added to one."""


def write(log: Log, form: str, out: TextIO) -> Run:
    """Writes the log to `out` in one of `FORMATS` and returns its run, whose `exits.exit_of` the program ends with.

    Raises:
        ValueError: no such form; or `console.journal.open_log.LogError`, where the log cannot be read any more.
        OSError: `out` cannot be written.
    """
    if form == "jsonl":
        return _write_jsonl(log, out)
    if form not in _WRITERS:
        raise ValueError(f"no format {form!r}: {', '.join(FORMATS)}")
    run = fold_items(log.items())
    _WRITERS[form](run, out)
    return run


def summary(run: Run) -> dict[str, Any]:
    """The run as one object of JSON's own types: accuracies are fractions, times epoch seconds, unknown is None."""
    created, now = run.created, run.last_received_t or 0.0
    spent, goal = cost.cost(run, now), progress.target(run)
    return {
        "schema": SCHEMA,
        "run_id": created.run_id if created else None,
        "profile": created.profile if created else None,
        "status": outcome(run),
        "nnodes": created.nnodes if created else None,
        "world_size": run.world_size,
        # A table without a date begins at 0.
        "started": run.started_t or None,
        "duration_s": _rounded(progress.elapsed_s(run, now)),
        "target": {"metric": goal.metric, "value": goal.value} if goal else None,
        "time_to_target_s": _rounded(run.target.elapsed_s) if run.target else None,
        "cost_usd": _rounded(spent.billed_usd),
        "cost_on_demand_usd": _rounded(spent.on_demand_usd),
        "cost_to_target_usd": _rounded(goal.cost_usd) if goal else None,
        "epochs": [
            {
                "epoch": epoch.event.epoch,
                "elapsed_s": _rounded(epoch.event.elapsed_s),
                "top1": epoch.event.top1,
                "top5": epoch.event.top5,
                "train_loss": epoch.event.train_loss,
                "img_per_s": _rounded(epoch.event.img_per_s),
                "image_size": epoch.event.image_size,
            }
            for epoch in run.epochs
        ],
        "nodes": [
            {
                "node": node.node,
                "status": node.status,
                "util_pct_mean": _rounded(nodes.util_pct_mean(node)),
                "records": node.records,
            }
            for node in run.nodes
        ],
        "alerts": [
            {
                "t": alert.received_t,
                "kind": alert.kind,
                "node": alert.node,
                "text": alert.text,
                "severity": alert.severity,
                "cleared_t": alert.cleared_t,
            }
            for alert in run.alerts
        ],
        "records": run.records,
        "damaged": run.damaged,
        "unknown": run.unknown,
    }


def write_json(run: Run, out: TextIO) -> None:
    """One JSON object, `summary`, in ASCII."""
    json.dump(summary(run), out, indent=2, allow_nan=False)
    out.write("\n")


def write_csv(run: Run, out: TextIO) -> None:
    """A line an epoch, a header first; accuracies as fractions, unknown empty."""
    names = ("epoch", "elapsed_s", "image_size", "top1", "top5", "train_loss", "val_loss", "img_per_s")
    out.write(",".join(names) + "\n")
    for epoch in (ended.event for ended in run.epochs):
        values = (getattr(epoch, name) for name in names)
        out.write(",".join("" if value is None else repr(value) for value in values) + "\n")


def write_tsv(run: Run, out: TextIO) -> None:
    """DAWNBench's form: ``epoch hours top1Accuracy top5Accuracy``, percentages; epochs count from 0."""
    out.write("epoch\thours\ttop1Accuracy\ttop5Accuracy\n")
    for epoch in run.epochs:
        percents = ("" if value is None else f"{value * 100:.6g}" for value in (epoch.event.top1, epoch.event.top5))
        out.write("\t".join((str(epoch.event.epoch), f"{epoch.event.elapsed_s / 3600:.6f}", *percents)) + "\n")


def _write_text(run: Run, out: TextIO) -> None:
    out.write(story(run))


def _write_jsonl(log: Log, out: TextIO) -> Run:
    """Every record as a line of a journal of ours, whatever form the log has; what was lost is only counted."""
    run = Run()

    def passed() -> Iterator[Record | Lost]:
        for item in log.items():
            if isinstance(item, Record):
                line = record_line(item)
                # A lone surrogate goes back to the escape that it came from: no stream could write it.
                out.write(line if line.isascii() else line.encode("utf-8", "backslashreplace").decode())
                out.write("\n")
            yield item

    for item in passed():
        run = apply.apply(run, item) if isinstance(item, Record) else lost(run, item)
    return run


_WRITERS: Final[dict[str, Callable[[Run, TextIO], None]]] = {
    "text": _write_text,
    "json": write_json,
    "csv": write_csv,
    "tsv": write_tsv,
}
FORMATS: Final = ("text", "json", "jsonl", "csv", "tsv")


def _rounded(value: float | None) -> float | None:
    """Millionths are noise, and noise makes two exports of the same run differ to the eye."""
    return None if value is None else round(value, 6)
