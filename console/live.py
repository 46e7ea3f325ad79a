"""The loop of a live run: read, journal, apply, decide, execute.

Theory. Everything that is known of the run comes in as a record: a line of a host's journal, or something that this
laptop witnessed. A record is appended to the run's journal first and folded into the state second, so that what a
replay sees is what the screen saw. After a change, and once a second, `console.policy` is asked what follows, and what
it says is carried out here. One task a host keeps that host's channel open for as long as the run lives; a host that
is lost is a record in the journal and never an exception that climbs out of its task.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from console import VERSION, policy, state, views
from console.address import HostAddress
from console.events import (
    SCHEMA,
    AlertRaised,
    CheckpointFetched,
    ConsoleAttached,
    ConsoleDetached,
    Damaged,
    HostConnected,
    HostFound,
    HostLost,
    HostRefused,
    HostUnreachable,
    InstanceStopped,
    OperatorCommanded,
    Record,
    RunContinued,
    RunCreated,
    RunEnded,
    Unknown,
    parse_host_line,
    unread_line,
)
from console.exits import Exit
from console.fleet import Provider, ProviderError
from console.hosts import Channel, Code, connect, fetch, fingerprint, ship, upload
from console.hosts import HostRefused as Refused
from console.hosts import HostUnreachable as Unreachable
from console.journal import RunJournal
from console.profile import Profile
from console.rundir import RunDirectory
from console.state import Checkpoint, Run, apply, lose
from remote.events import Event, StageProgressed
from remote.job import Job, host_folder
from remote.journal import JOURNAL

Observer = Callable[[Run, Run, Record | None], None]
"""Called after a change with the run before, the run after, and the record (None where a line could not be read)."""

_TICK_S = 1.0
_BACKOFF_S = (0.5, 8.0)
"""First and longest wait before a host is tried again."""
_LINGER_S = 600.0
"""How long the results of an unattended run stay on its hosts."""
_UNATTENDED_S = 12 * 3600.0
"""The longest that hosts go on without a console where no budget says less."""
_GANG_COMMANDS = frozenset({"pause", "resume", "checkpoint", "stop", "kill"})


class LiveRun:
    """A run that is going on, and the console that drives it: a `console.source.Source`."""

    def __init__(self, profile: Profile, directory: RunDirectory, provider: Provider, run: Run | None = None) -> None:
        """`run`: what the directory's journal tells so far, for a run that is attached or goes on."""
        self.profile = profile
        self.directory = directory
        self._provider = provider
        self._journal = RunJournal(directory.journal)
        self._run = run or Run()
        self._observers: list[Observer] = []
        self._changed = asyncio.Event()
        self._again = asyncio.Event()
        self._hosts: dict[int, asyncio.Task[None]] = {}
        self._addresses: dict[int, HostAddress] = {}
        self._channels: dict[int, Channel] = {}
        self._connections: dict[int, Any] = {}
        self._code = Code.read()
        self._sent: dict[str, dict[str, Any]] = {}
        self._detach = False
        self._checkpoint_task: asyncio.Task[None] | None = None
        self._starting: Checkpoint | None = None
        self._attach_only = False

    # --- what a screen sees (console.source.Source) ---

    @property
    def run(self) -> Run:
        return self._run

    @property
    def title(self) -> str:
        return self.profile.name

    def now(self) -> float:
        return time.time()

    @property
    def controls(self) -> frozenset[str]:
        """What can be asked of the run as it stands."""
        run = self._run
        if not run.live:
            again = run.status in (state.STOPPED, state.FAILED, state.OVER_BUDGET, state.UNREACHABLE)
            return frozenset({"start", "restart"}) if again else frozenset()
        controls = {"stop", "terminate", "detach"}
        if run.status == state.PAUSED:
            controls |= {"resume", "checkpoint"}
        elif run.status == state.TRAINING:
            controls |= {"pause", "checkpoint"}
        elif run.status == state.STOPPING:
            controls = {"terminate", "detach"}
        return frozenset(controls)

    async def command(self, command: str) -> None:
        """Does one of `controls`; others are ignored (the run moved on since the key was pressed)."""
        if command not in self.controls:
            return
        if command == "detach":
            self._detach = True
            self._changed.set()
        elif command in ("start", "restart"):
            self._again.set()
        else:
            self._order(command)

    def observe(self, observer: Observer) -> None:
        """Has every change told to the observer."""
        self._observers.append(observer)

    # --- the journal ---

    def witness(self, event: Event, node: int | None = None) -> None:
        """Records what this laptop saw."""
        now = round(time.time(), 4)
        self._take(Record(now, now, event, node))

    def _take(self, *records: Record) -> None:
        self._journal.append(*records)
        for record in records:
            before = self._run
            self._run = apply(before, record)
            for observer in self._observers:
                observer(before, self._run, record)
        self._changed.set()

    def _take_lines(self, node: int, lines: list[bytes], offset: int) -> None:
        """Whole lines of a host's journal, the first at `offset`; those already known are passed over."""
        received = round(time.time(), 4)
        batch: list[Record] = []
        known = self._run.nodes[node].last_offset
        for line in lines:
            if known is None or offset > known:
                try:
                    batch.append(parse_host_line(line, received=received, node=node, offset=offset))
                except (Damaged, Unknown) as error:
                    self._take(*batch)
                    batch = []
                    self._journal.append_text(unread_line(line, received=received, node=node, offset=offset) + "\n")
                    before = self._run
                    self._run = lose(before, **{type(error).__name__.lower(): 1})
                    for observer in self._observers:
                        observer(before, self._run, None)
            offset += len(line) + 1
        self._take(*batch)

    # --- the run ---

    async def work(self) -> None:
        """Drives the run until it has ended or is left, and goes on when asked to start it again."""
        while True:
            await self._drive()
            if self._detach:
                return
            self._again.clear()
            await self._again.wait()
            self._continue()

    async def drive_once(self) -> None:
        """Drives the run until it has ended or is left."""
        await self._drive()

    def begin(self) -> None:
        """Writes the first record of a new run."""
        profile = self.profile
        target = profile.run.target
        self.witness(
            RunCreated(
                schema=SCHEMA,
                run_id=self.directory.run_id,
                version=VERSION,
                profile=profile.name,
                profile_text=profile.text,
                overrides=profile.overrides,
                provider=profile.fleet.provider,
                nnodes=profile.fleet.nodes,
                nproc_per_node=profile.run.nproc_per_node,
                accelerator=profile.run.accelerator,
                target_metric=target.metric if target else None,
                target_value=target.value if target else None,
                instance_type=profile.fleet.instance_type,
                usd_per_h=profile.fleet.usd_per_h,
                usd_per_h_on_demand=profile.fleet.usd_per_h_on_demand,
                price_note=profile.fleet.price_note or ("simulated" if profile.fleet.provider == "local" else ""),
                budget_usd=profile.budget.max_usd,
                budget_warn_at=profile.budget.warn_at,
            )
        )

    def resume(self) -> None:
        """Prepares a run that has ended to go on from its last checkpoint, with hosts of its own."""
        self._continue()

    def attach(self) -> None:
        """Prepares to come back to a run that goes on on its hosts."""
        self._attach_only = True
        self.witness(ConsoleAttached(pid=os.getpid()))
        addresses, _ = self.directory.read_fleet()
        self._addresses = {address.node: address for address in addresses}

    def _continue(self) -> None:
        kept = [one for one in self._run.checkpoints if one.fetched and (self.directory.path / one.fetched).is_file()]
        self._starting = max(kept, key=lambda one: one.step, default=None)
        self._attach_only = False
        self._detach = False
        self._sent.clear()
        self.witness(RunContinued(attempt=self._run.attempt + 1, step=self._starting.step if self._starting else None))

    async def _drive(self) -> None:
        end: policy.EndRun | None = None
        launch = asyncio.create_task(self._bring_up())
        try:
            end = await self._until_end(launch)
        except OSError as error:
            # The laptop's own disk: the journal cannot grow, so nothing more may happen on the hosts.
            end = policy.EndRun(state.FAILED, Exit.FAILED, f"{error.filename}: {error.strerror}")
        finally:
            launch.cancel()
            await asyncio.gather(launch, return_exceptions=True)
            if end is not None:
                await self._close(end)
            elif self._detach:
                await self._leave()
            else:
                # Cancelled or broken: nothing may prolong a lease now, and the leases end the hosts.
                await self._hang_up()

    async def _until_end(self, launch: asyncio.Task[None]) -> policy.EndRun | None:
        last_lease = 0.0
        lease_s = self.profile.budget.lease_minutes * 60
        while not self._detach:
            if launch.done() and not launch.cancelled() and launch.exception() is not None:
                error = launch.exception()
                if isinstance(error, (ProviderError, Refused, Unreachable)):
                    return policy.EndRun(state.UNREACHABLE, Exit.UNREACHABLE, str(error))
                assert error is not None
                raise error
            for decision in policy.decide(self._run, self.now()):
                if isinstance(decision, policy.EndRun):
                    return decision
                if isinstance(decision, policy.StartGang):
                    self._start_gang()
                elif isinstance(decision, policy.StopGang):
                    self.witness(AlertRaised(kind="budget", text=decision.reason))
                    self._order("stop", by="budget")
                else:
                    self.witness(AlertRaised(kind=decision.kind, text=decision.text))
            self._fetch_newest_checkpoint()
            if time.monotonic() - last_lease > lease_s / 6:
                last_lease = time.monotonic()
                self._move_leases(lease_s, attended=True)
            self._changed.clear()
            try:
                # Records may come by the hundred; the policy is asked again at most ten times a second.
                await asyncio.sleep(0.1)
                await asyncio.wait_for(self._changed.wait(), _TICK_S)
            except TimeoutError:
                continue
        return None

    # --- hosts ---

    async def _bring_up(self) -> None:
        if self._attach_only:
            for address in self._addresses.values():
                self._serve(address)
            return
        async for one in self._provider.bring_up():
            if isinstance(one, HostAddress):
                self._serve(one)
            else:
                node, event = one
                self.witness(event, node)

    def _serve(self, address: HostAddress) -> None:
        self._addresses[address.node] = address
        self._hosts[address.node] = asyncio.create_task(self._host(address))

    async def _host(self, address: HostAddress) -> None:
        """One host's task: connect, ship, attach, read; again after every break, for as long as the run lives."""
        node, wait_s = address.node, _BACKOFF_S[0]
        while True:
            began = time.monotonic()
            try:
                if await self._converse(address):
                    return
            except Refused as error:
                self.witness(HostRefused(reason=str(error)), node)
                return
            except Unreachable as error:
                lost = await self._provider.lost(node)
                if lost is not None:
                    self.witness(HostLost(reason=lost), node)
                    return
                if time.monotonic() - began > 10:
                    wait_s = _BACKOFF_S[0]
                pause_s = wait_s * random.uniform(0.7, 1.3)
                self.witness(HostUnreachable(reason=str(error), retry_s=round(pause_s, 1)), node)
                await asyncio.sleep(pause_s)
                wait_s = min(wait_s * 2, _BACKOFF_S[1])

    async def _converse(self, address: HostAddress) -> bool:
        """One connection from its beginning to its end; True where the agent ended in order."""
        node = address.node
        launching = self._run.nodes[node].agent is None
        if launching:
            self.witness(StageProgressed(stage="connect", done=0, total=1), node)
        connection = await connect(address)
        try:
            self._connections[node] = connection
            if self._run.nodes[node].fingerprint is None:
                peer = connection.get_extra_info("peername") or (address.host, address.port or 22)
                self.witness(HostFound(address=peer[0], port=peer[1], fingerprint=fingerprint(connection)), node)
            if launching:
                self.witness(StageProgressed(stage="connect", done=1, total=1), node)
            last = self._run.nodes[node].last_offset
            job_json = None
            if not self._attach_only:
                await ship(connection, self._code, lambda done, total: self._shipped(node, done, total))
                if self._starting is not None and launching and node == 0:
                    await self._hand_over(connection, self._starting)
                job_json = self._job(address).to_json()
            if launching:
                self.witness(StageProgressed(stage="agent", done=0, total=1), node)
            offset = last or 0
            channel = await Channel.open(
                connection, address, self._code, self.directory.run_id, offset=offset, job_json=job_json
            )
            self._channels[node] = channel
            self.witness(HostConnected(from_offset=offset), node)
            self._send_again(node, channel)
            held = b""
            async for piece in channel.pieces():
                whole, newline, held = (held + piece).rpartition(b"\n")
                if newline:
                    self._take_lines(node, whole.split(b"\n"), offset)
                    offset += len(whole) + 1
            await channel.verdict()
            return True
        finally:
            self._channels.pop(node, None)
            self._connections.pop(node, None)
            connection.abort()

    def _shipped(self, node: int, done: int, total: int) -> None:
        before = self._run.nodes[node]
        # Every file would be a record; a quarter of them is progress enough.
        if before.agent is None and (done in (1, total) or done % max(1, total // 4) == 0):
            self.witness(StageProgressed(stage="ship", done=done, total=total, detail="files"), node)

    def _job(self, address: HostAddress) -> Job:
        profile = self.profile
        connection = self._connections.get(address.node)
        peer = connection.get_extra_info("peername")[0] if connection else address.host
        return Job(
            run_id=self.directory.run_id,
            node=address.node,
            nnodes=profile.fleet.nodes,
            nproc_per_node=profile.run.nproc_per_node,
            recipe=profile.recipe(self._provider.data_dir(profile)),
            address=address.gang_address or peer,
            max_restarts=profile.run.max_restarts,
            env=dict(profile.run.env),
            lease_s=profile.budget.lease_minutes * 60,
            lease_end=self._provider.lease_end,
            linger_s=_LINGER_S,
            embedded=self._provider.embedded,
        )

    # --- commands ---

    def _order(self, name: str, *, by: str = "operator", **arguments: Any) -> None:
        """Journals a command and puts it on its way to every host."""
        command = {"id": secrets.token_hex(6), "command": name, **arguments}
        self.witness(OperatorCommanded(id=command["id"], command=name, by=by))
        if name in _GANG_COMMANDS or name == "start":
            self._sent[command["id"]] = command
            for channel in self._channels.values():
                channel.send(command)

    def _send_again(self, node: int, channel: Channel) -> None:
        """What this node has not acknowledged yet; an agent that did it already passes over the id."""
        for command in self._run.commands:
            if command.id in self._sent and node not in command.done and node not in command.refused:
                channel.send(self._sent[command.id])

    def _start_gang(self) -> None:
        first = self._run.nodes[0]
        assert first.agent is not None
        port = self.profile.run.rdzv_port or first.agent.free_port
        host = self._job(self._addresses[0]).address
        endpoint = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._order(
            "start",
            by="console",
            rdzv_endpoint=endpoint,
            rdzv_id=f"{self.directory.run_id}-{self._run.attempt}",
            attempt=self._run.attempt,
        )

    def _move_leases(self, seconds: float, *, attended: bool) -> None:
        for channel in self._channels.values():
            channel.send({"id": "lease", "command": "lease", "seconds": seconds, "attended": attended})

    # --- checkpoints ---

    async def _hand_over(self, connection: Any, checkpoint: Checkpoint) -> None:
        """Puts the checkpoint that the run goes on from on a host; the gang finds it there by itself."""
        assert checkpoint.fetched is not None
        local = self.directory.path / checkpoint.fetched
        folder = host_folder(self.directory.run_id, 0) + "/"
        self.witness(StageProgressed(stage="checkpoint", done=0, total=1, detail=f"step {checkpoint.step}"), 0)
        # The sum comes last: to the trainer a checkpoint with a sum is a whole one.
        await upload(connection, local, folder + checkpoint.path)
        await upload(connection, local.with_suffix(".json"), str(Path(folder + checkpoint.path).with_suffix(".json")))
        self.witness(StageProgressed(stage="checkpoint", done=1, total=1, detail=f"step {checkpoint.step}"), 0)

    def _fetch_newest_checkpoint(self) -> None:
        """Starts to fetch the newest checkpoint, unless that is under way: a lost host must not take it along."""
        if self._checkpoint_task is not None and not self._checkpoint_task.done():
            return
        newest = max(self._run.checkpoints, key=lambda one: one.step, default=None)
        if newest is not None and newest.fetched is None and newest.node in self._connections:
            self._checkpoint_task = asyncio.create_task(self._fetch(newest))

    async def _fetch(self, checkpoint: Checkpoint) -> None:
        connection = self._connections.get(checkpoint.node)
        local = self.directory.checkpoints / Path(checkpoint.path).name
        remote_path = f"{host_folder(self.directory.run_id, checkpoint.node)}/{checkpoint.path}"
        try:
            disk = self._provider.disk(checkpoint.node)
            if connection is not None:
                size = await fetch(connection, remote_path, local, checkpoint.sha256)
            elif disk is not None:
                await asyncio.to_thread(local.write_bytes, await asyncio.to_thread((disk / remote_path).read_bytes))
                size = local.stat().st_size
            else:
                return
            head = {"sha256": checkpoint.sha256, "size_bytes": size, "step": checkpoint.step}
            local.with_suffix(".json").write_text(json.dumps(head))
        except (Unreachable, ValueError, OSError) as error:
            # Two are kept on the host; an older one may be gone by now. The next one will come.
            if checkpoint is max(self._run.checkpoints, key=lambda one: one.step):
                self.witness(AlertRaised(kind="checkpoint", text=f"step {checkpoint.step} was not fetched: {error}"))
                await asyncio.sleep(2.0)
            return
        path = str(local.relative_to(self.directory.path))
        self.witness(CheckpointFetched(step=checkpoint.step, path=path, size_bytes=size))
        for old in self._run.checkpoints:
            if old.fetched and old.fetched != path and old.step < checkpoint.step:
                (self.directory.path / old.fetched).unlink(missing_ok=True)
                (self.directory.path / old.fetched).with_suffix(".json").unlink(missing_ok=True)

    # --- the end ---

    async def _leave(self) -> None:
        """Lets the run go on without this console."""
        left_s = _UNATTENDED_S
        cost = views.cost(self._run, self.now())
        budget = self.profile.budget.max_usd
        if budget is not None and cost.usd_per_h and cost.billed_usd is not None:
            left_s = min(left_s, max(0.0, budget - cost.billed_usd) / cost.usd_per_h * 3600)
        self._move_leases(left_s, attended=False)
        # The words must be on the hosts before the channels close.
        await asyncio.sleep(0.5)
        await self._hang_up()
        self.witness(ConsoleDetached(pid=os.getpid()))
        await self._provider.leave()
        self._journal.close()
        self.directory.leave()

    async def _hang_up(self) -> None:
        for task in self._hosts.values():
            task.cancel()
        await asyncio.gather(*self._hosts.values(), return_exceptions=True)
        self._hosts.clear()

    async def _close(self, end: policy.EndRun) -> None:
        """Ends what runs on the hosts, fetches what is there, gives the hosts back, and writes the last record."""
        command = {"id": secrets.token_hex(6), "command": "kill"}
        for channel in self._channels.values():
            channel.send(command)
        if self._checkpoint_task is not None:
            await asyncio.gather(self._checkpoint_task, return_exceptions=True)
        newest = max(self._run.checkpoints, key=lambda one: one.step, default=None)
        if newest is not None and newest.fetched is None:
            await self._fetch(newest)
        for channel in self._channels.values():
            channel.send({"id": secrets.token_hex(6), "command": "end", "reason": end.status})
        # The agents say their last words and end, which ends the channels; a host that does not must not keep the rest.
        if self._hosts:
            await asyncio.wait(self._hosts.values(), timeout=10.0)
        await self._hang_up()
        async for node, event in self._provider.give_back():
            self.witness(event, node)
        self._ended(end)

    def _ended(self, end: policy.EndRun) -> None:
        self.witness(RunEnded(status=end.status, exit_code=int(end.exit_code), reason=end.reason))
        cost = views.cost(self._run, self.now())
        self.directory.write_receipt(
            {
                "run_id": self.directory.run_id,
                "status": end.status,
                "reason": end.reason,
                "cost_usd": cost.billed_usd,
                "cost_on_demand_usd": cost.on_demand_usd,
                "price_note": cost.note,
                "nodes": [
                    {
                        "node": node.node,
                        "instance": billing.instance_id,
                        "started_t": billing.started_t,
                        "stopped_t": billing.stopped_t,
                        "usd_per_h": billing.usd_per_h,
                        "usd_per_h_on_demand": billing.usd_per_h_on_demand,
                    }
                    for node in self._run.nodes
                    for billing in node.billing
                ],
            }
        )

    # --- a run whose console died ---

    async def salvage(self) -> bool:
        """For a run that has not ended and that no console drives: True if its hosts are still there.

        Where they are not, what their disks still tell is taken in, the last checkpoint is saved, and the run is ended
        with the sentence of what happened.
        """
        addresses, _ = self.directory.read_fleet()
        lost = {address.node: await self._provider.lost(address.node) for address in addresses}
        if addresses and not all(lost.values()):
            return True
        last_t = {node.node: node.last_received or self._run.started or self.now() for node in self._run.nodes}

        def remember(before: Run, after: Run, record: Record | None) -> None:
            if record is not None and record.node is not None and record.offset is not None:
                last_t[record.node] = record.t

        self.observe(remember)
        for address in addresses:
            disk = self._provider.disk(address.node)
            journal = disk / host_folder(self.directory.run_id, address.node) / JOURNAL if disk else None
            if journal is not None and journal.is_file():
                offset = self._run.nodes[address.node].last_offset or 0
                with journal.open("rb") as file:
                    file.seek(offset)
                    whole = file.read().rpartition(b"\n")[0]
                if whole:
                    self._take_lines(address.node, whole.split(b"\n"), offset)
        newest = max(self._run.checkpoints, key=lambda one: one.step, default=None)
        if newest is not None and newest.fetched is None:
            await self._fetch(newest)
        end = policy.salvaged(self._run)
        async for node, event in self._provider.give_back():
            # They ended when they last spoke, and not now that somebody looks.
            if isinstance(event, InstanceStopped):
                event = replace(event, stopped_t=last_t[node])
            self.witness(event, node)
        self._ended(end)
        return False
