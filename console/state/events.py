"""What the laptop witnesses, joined with the hosts' vocabulary, and the record in which both reach the state.

A line of a run's journal (``run.jsonl``) is one record: ``received`` (the laptop's clock, epoch seconds), ``node`` and
``offset`` (the byte offset of the line in that host's journal; together they identify it), and then the host's line as
it came. What the laptop itself witnesses has no offset, and a node only where it concerns one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from remote.wire.codec import Damaged, Event, Unknown, decode, encode, vocabulary
from remote.wire.events import REMOTE

SCHEMA = 1
"""Version of the journal's form. A reader takes this one and all below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated(Event):
    """The first record of a journal: all that replay needs to know of the run."""

    schema: int
    run_id: str
    version: str
    """Of fastconsole."""
    profile: str
    """The profile's name."""
    profile_text: str
    """The profile as TOML, verbatim; environment values redacted unless named as safe. Of a foreign log the
    phases that it states, or nothing."""
    overrides: tuple[str, ...] = ()
    """KEY=VALUE given on the command line, in order."""
    provider: str
    nnodes: int | None
    """None only where a foreign log does not say."""
    nproc_per_node: int | None
    accelerator: str = "cpu"
    """What a rank runs on, as the profile expects it: ``cpu`` or a GPU's name."""
    target_metric: str | None = None
    target_value: float | None = None
    instance_type: str | None = None
    usd_per_h: float | None = None
    """Billed price of one instance, dollars an hour."""
    usd_per_h_on_demand: float | None = None
    price_note: str = ""
    """``simulated``, or where the price is from and of which day."""
    budget_usd: float | None = None
    budget_warn_at: float | None = None
    """The share of the budget at which to warn."""
    on_loss: str = "end"
    """What becomes of the run when a host is lost: see `console.profile.schema.Fleet.on_loss`."""
    stage_from: str | None = None
    """What is copied to every host before the gang starts: see `console.profile.schema.Data.stage_from`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContinued(Event):
    """A run that had ended is resumed from its last checkpoint, with new hosts."""

    attempt: int
    """Counts from 2."""
    step: int | None
    """Of the checkpoint that it resumes from; None: from the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleAttached(Event):
    """A console came back to a running run."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleDetached(Event):
    """The console left, and the run continues."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStarted(Event):
    """From here this node's instance is billed. In `local` and `static` the price is simulated or none."""

    instance_id: str
    started_t: float
    """Epoch seconds, as EC2 states it."""
    usd_per_h: float | None
    """Billed price at the start; a spot price that changes later is a `PriceQuoted`."""
    usd_per_h_on_demand: float | None
    market: str = ""
    """``spot``, ``on-demand``, ``reservation``, ``capacity-block``; empty where it is not EC2's."""
    instance_type: str | None = None
    zone: str | None = None
    storage_usd_per_h: float | None = None
    """Of its volumes, dollars an hour while the instance exists."""
    address_usd_per_h: float | None = None
    """Of its public IPv4 addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStopped(Event):
    """This node's instance is billed no more."""

    instance_id: str
    stopped_t: float
    reason: str
    taken_back: bool = False
    """EC2 itself took its spot instance back (state reason ``Server.SpotInstanceTermination``); nobody ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceQuoted(Event):
    """What one instance of a type costs in a market, as AWS states it."""

    instance_type: str
    market: str
    """``spot`` or ``on-demand``."""
    zone: str | None
    """None where the price is that of the whole region."""
    usd_per_h: float
    effective_t: float
    """From when on it holds, epoch seconds."""
    source: str
    """Where it is from and of which day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetMoved(Event):
    """The operator set another budget for the run."""

    max_usd: float
    by: str = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementOrdered(Event):
    """The node's host is lost, or soon will be, and the provider was asked for another."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementReady(Event):
    """The other host is there and its key is pinned; it has not replaced the old one yet."""

    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReplaced(Event):
    """Another host becomes the node's; what was known of the old one is dropped."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDropped(Event):
    """The node's host is gone and is not replaced: the gang continues with fewer nodes."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GangRestarting(Event):
    """The trainers of all nodes are ended and will start again from the last checkpoint."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFound(Event):
    """The node has an address and a pinned key."""

    address: str
    port: int
    fingerprint: str
    """SHA-256 of the pinned host key as OpenSSH prints it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected(Event):
    """The node's channel is open and its journal comes from `from_offset` on."""

    from_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUnreachable(Event):
    """The channel broke or could not be opened; the console tries again. Says nothing about the host's life."""

    reason: str
    retry_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLost(Event):
    """The host is gone for good, as its provider says."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRefused(Event):
    """The host cannot take part: wrong key, no Python, no torch, full disk. Trying again would not help."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCommanded(Event):
    """The operator, or the policy in the operator's name, asked the gang for something."""

    id: str
    command: str
    """``start``, ``pause``, ``resume``, ``checkpoint``, ``stop``, ``terminate``; ``drain`` (checkpoint, and leave the
    loop, but the run continues) and ``kill`` before the gang starts again."""
    by: str = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFetched(Event):
    """A checkpoint is on the laptop too, its SHA-256 verified."""

    step: int
    path: str
    """Relative to the run directory."""
    size_bytes: int
    fetch_s: float | None = None
    """How long the way from the host took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRaised(Event):
    """Something that a person should see. `kind` is a word to filter by: ``host``, ``rank``, ``budget``, ``loss``..."""

    kind: str
    text: str
    severity: str = "warning"
    """``info``, ``warning`` or ``critical``."""
    id: str = ""
    """By which its end will be known; empty for what happens in a moment and has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertCleared(Event):
    """What the open alert with this id told of is over."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """The run is over and its hosts are released, unless the reason says otherwise."""

    status: str
    """One of `console.state.status.ENDED`."""
    exit_code: int
    reason: str


KNOWN: dict[str, type[Event]] = {**REMOTE, **vocabulary(globals())}
"""Every event of a run's journal, by name."""


@dataclass(frozen=True, slots=True)
class Record:
    """An event with where and when it was seen."""

    received_t: float
    """The laptop's clock when it came, epoch seconds."""
    t: float
    """The writer's clock when it happened, epoch seconds."""
    event: Event
    node: int | None = None
    offset: int | None = None
    """Byte offset of the line in the node's journal; None for what the laptop witnessed."""


def record_line(record: Record) -> str:
    """The record as a line of the run's journal, without newline."""
    head = f'{{"received":{record.received_t:.4f},'
    if record.node is not None:
        head += f'"node":{record.node},'
    if record.offset is not None:
        head += f'"offset":{record.offset},'
    return head + encode(record.event, record.t)[1:]


def unread_line(line: bytes, *, received_t: float, node: int, offset: int) -> str:
    """A host's line that could not be read, as a line of the run's journal that cannot be read either.

    So that a replay counts what the live run counted; of a damaged line the first 200 characters are kept. A host
    that names ``received``, ``node`` or ``offset`` itself does not replace what the laptop says of its line.
    """
    head = f'{{"received":{received_t:.4f},"node":{node},"offset":{offset},'
    text = line.decode("utf-8", "replace").strip()
    try:
        values = _object(text)
        if isinstance(values.get("event"), str):
            if _OURS.isdisjoint(values):
                return head + text[1:]
            rest = {key: value for key, value in values.items() if key not in _OURS}
            return head + json.dumps(rest, separators=(",", ":"))[1:]
    except (Damaged, ValueError, RecursionError):
        pass
    return head + f'"unread":{json.dumps(text[:200])}}}'


def parse_host_line(line: bytes | str, *, received_t: float, node: int, offset: int) -> Record:
    """The record in a line of a host's journal. Of what only the laptop witnesses a host knows no word.

    Raises:
        Damaged, Unknown: see `remote.wire.codec.decode`.
    """
    values = _object(line)
    return Record(received_t, _time(values, "t"), decode(values, REMOTE), node, offset)


def parse_run_line(line: bytes | str) -> Record:
    """The record in a line of a run's journal: with an offset a host's, in the hosts' vocabulary, else the laptop's.

    Raises:
        Damaged, Unknown: see `remote.wire.codec.decode`.
    """
    values = _object(line)
    node, offset = values.get("node"), values.get("offset")
    if not (node is None or (node.__class__ is int and 0 <= node < 100_000)):
        raise Damaged(f"node is {node!r:.80}")
    if not (offset is None or (offset.__class__ is int and 0 <= offset < 1 << 60)):
        raise Damaged(f"offset is {offset!r:.80}")
    known = KNOWN if offset is None else REMOTE
    return Record(_time(values, "received"), _time(values, "t"), decode(values, known), node, offset)


_OURS = frozenset({"received", "node", "offset"})
"""What the laptop puts before a host's line in the run's journal."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# The scanner itself: `JSONDecoder.decode` adds two matches of white space, a fifth of its time on a short line.
_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder(parse_constant=_no_constant))["scan_once"]


def _object(line: bytes | str) -> Mapping[str, Any]:
    try:
        text = (line if isinstance(line, str) else line.decode()).strip()
        values, end = _scan(text, 0)
    except StopIteration:
        raise Damaged("not JSON") from None
    except (ValueError, RecursionError) as error:
        raise Damaged(f"not JSON: {error}") from None
    if end != len(text):
        raise Damaged(f"not JSON: more after column {end}")
    if not isinstance(values, dict):
        raise Damaged("not a JSON object")
    return values


def _time(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    if (value.__class__ is float or value.__class__ is int) and 0 <= value < 1e11:
        return float(value)
    raise Damaged(f"{key} is {value!r:.80}")


__all__ = [
    "KNOWN",
    "SCHEMA",
    "Damaged",
    "Record",
    "Unknown",
    "parse_host_line",
    "parse_run_line",
    "record_line",
    "unread_line",
]
