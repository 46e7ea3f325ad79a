"""The loop of a live run: read, journal, apply, decide, execute.

Theory. Everything that is known of the run comes in as a record, through the links to the hosts or as something that
this laptop witnessed, and goes into the book (`console.journal.store`). After a change, and once a second,
`console.policy.decide` is asked what follows, and what it says is carried out here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import asyncssh

from console import VERSION
from console.billing import budget
from console.fleet.provider import Provider, ProviderError
from console.health.monitor import AlertMonitor
from console.journal import reader
from console.journal.directory import RunDirectory
from console.journal.store import Observer, RunStore
from console.journal.whole_log import whole_log
from console.live import inbox, nccl
from console.live.checkpoints import CheckpointFetcher, hand_over, newest, newest_kept
from console.live.leases import _UNATTENDED_MINUTES, _Lease
from console.live.links import Links
from console.live.manifest_sync import Manifest
from console.live.presigned import courier
from console.live.rank_logs import LogFetcher
from console.live.replacements import Replacements
from console.policy import decide, decisions, endings
from console.profile.schema import Profile
from console.reports.receipt import receipt
from console.ssh.address import HostAddress
from console.ssh.errors import HostRefused, HostUnreachable
from console.state.events import (
    SCHEMA,
    AlertRaised,
    BudgetMoved,
    ConsoleAttached,
    ConsoleDetached,
    GangRestarting,
    InstanceStopped,
    NodeDropped,
    OperatorCommanded,
    Record,
    RunContinued,
    RunCreated,
    RunEnded,
)
from console.state.outcome import Exit
from console.state.run import CRITICAL, Checkpoint, LogLine, Run
from console.state.status import (
    FAILED,
    LAUNCHING,
    NODE_DROPPED,
    PAUSED,
    RESUMABLE,
    STOPPING,
    TRAINING,
    UNREACHABLE,
)
from remote.wire.events import StageProgressed
from remote.wire.job import Job
from remote.wire.layout import JOURNAL, host_folder

_TICK_S = 1.0
_SETTLE_S = 0.1
"""Records may come by the hundred; the policy is asked again at most ten times a second."""
_LINGER_S = 600.0
"""How long the results of an unattended run stay on its hosts."""
_LAST_WORDS_S = 10.0
"""How long the end waits for the agents' last words."""


class LiveRun:
    """A run that is going on, and the console that drives it: a `console.playback.source.Source`."""

    def __init__(self, profile: Profile, directory: RunDirectory, provider: Provider, run: Run | None = None) -> None:
        """`run`: what the directory's journal tells so far, for a run that is attached to or goes on.

        Raises:
            OSError: the journal cannot be opened.
        """
        self.profile = profile
        self.directory = directory
        self._provider = provider
        self._store = RunStore(directory.journal, run)
        self._links = Links(self._store, directory.run_id, self._prepare, provider.lost)
        self._checkpoint_fetcher = CheckpointFetcher(self._store, directory)
        self._manifest = Manifest(directory.run_id, wanted=provider.gives_back and not provider.embedded)
        self._replacements = Replacements(self._store, provider, self._move)
        self._presigner = courier(profile, directory.run_id)
        self._starting: asyncio.Task[None] | None = None
        self._addresses: dict[int, HostAddress] = {}
        self._gang_addresses: dict[int, str] = {}
        self._changed = asyncio.Event()
        self._again = asyncio.Event()
        self._detach = False
        self._attaching = False
        self._lease = _Lease()
        self._store.observe(lambda before, after, record: self._changed.set())
        self._store.observe(self._manifest.observe)
        self._alert_monitor = AlertMonitor(self._store, profile.alerts, directory.path)
        self._log_fetcher = LogFetcher(directory, self._alert_monitor.tell)

    # --- what a screen sees (console.playback.source.Source) ---

    @property
    def run(self) -> Run:
        return self._store.run

    @property
    def title(self) -> str:
        return self.profile.name

    def now(self) -> float:
        return time.time()

    @property
    def controls(self) -> frozenset[str]:
        """What can be asked of the run as it stands."""
        status = self.run.status
        if status == LAUNCHING:
            return frozenset({"stop", "terminate", "budget", "detach"})
        if status == TRAINING:
            return frozenset({"pause", "checkpoint", "stop", "terminate", "budget", "detach"})
        if status == PAUSED:
            return frozenset({"resume", "checkpoint", "stop", "terminate", "budget", "detach"})
        if status == STOPPING:
            return frozenset({"terminate", "budget", "detach"})
        if status in RESUMABLE:
            return frozenset({"start", "restart", "budget"})
        return frozenset()

    async def command(self, command: str, **arguments: Any) -> None:
        """Does one of `controls`; others are ignored (the run moved on since the key was pressed).

        Raises:
            ValueError: the `arguments` make no sense at this moment, in one sentence.
        """
        if command not in self.controls:
            return
        if command == "budget":
            self._move_budget(**arguments)
        elif command == "detach":
            self._detach = True
            self._changed.set()
        elif command in ("start", "restart"):
            if self.run.budget_usd is not None and (refusal := budget.again_refusal(self.run, self.now())):
                raise ValueError(refusal)
            self._again.set()
        else:
            self._order(command)

    def whole_log(self) -> Iterator[LogLine]:
        """Every line of the log, from the journal (console.playback.source.Chronicle)."""
        return whole_log(reader.read(self.directory.journal))

    def observe(self, observer: Observer) -> None:
        """Has every change told to the observer."""
        self._store.observe(observer)

    # --- beginnings ---

    def begin(self) -> None:
        """A new run: writes its first record."""
        profile, fleet, target = self.profile, self.profile.fleet, self.profile.run.target
        self._store.witness(
            RunCreated(
                schema=SCHEMA,
                run_id=self.directory.run_id,
                version=VERSION,
                profile=profile.name,
                profile_text=profile.text,
                overrides=profile.overrides,
                provider=fleet.provider,
                nnodes=fleet.nodes,
                nproc_per_node=profile.run.nproc_per_node,
                accelerator=profile.run.accelerator,
                target_metric=target.metric if target else None,
                target_value=target.value if target else None,
                instance_type=fleet.instance_type,
                usd_per_h=fleet.usd_per_h,
                usd_per_h_on_demand=fleet.usd_per_h_on_demand,
                price_note=fleet.price_note or ("simulated" if fleet.provider == "local" else ""),
                budget_usd=profile.budget.max_usd,
                budget_warn_at=profile.budget.warn_at,
                on_loss=fleet.on_loss,
                stage_from=profile.data.stage_from,
            )
        )

    def resume(self, budget_usd: float | None = None) -> None:
        """A run that has ended: it goes on from its last checkpoint, with hosts of its own and maybe another budget."""
        kept = newest_kept(self.run, self.directory)
        self._attaching = False
        self._manifest.recall(self.directory.journal)
        step = kept.step if kept else None
        self._store.witness(RunContinued(attempt=self.run.attempt + 1, step=step))
        if budget_usd is not None:
            self._store.witness(BudgetMoved(max_usd=budget_usd))

    def attach(self) -> None:
        """A run that goes on on its hosts: the console comes back to it."""
        self._attaching = True
        self._manifest.recall(self.directory.journal)
        self._store.witness(ConsoleAttached(pid=os.getpid()))

    # --- the run ---

    async def work(self) -> None:
        """Drives the run until it has ended or is left, and once more whenever it is started again."""
        while True:
            await self.drive()
            if self._detach:
                return
            self._again.clear()
            await self._again.wait()
            self.resume()

    async def drive(self) -> None:
        """Drives the run until it has ended or is left."""
        end: decisions.EndRun | None = None
        launch, watch = asyncio.create_task(self._bring_up()), asyncio.create_task(self._watch())
        try:
            end = await self._until_end(launch, watch)
        except asyncio.CancelledError:
            # The screen went away, by whatever door: the run goes on, and its budget and leases bound it.
            self._detach = True
            raise
        except OSError as error:
            # The laptop's own disk: the journal cannot grow, so nothing more may happen on the hosts.
            end = decisions.EndRun(FAILED, Exit.FAILED, f"{error.filename}: {error.strerror}")
        finally:
            beside = [launch, watch, *([self._starting] if self._starting else [])]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._replacements.cancel()
            self._manifest.cancel()
            self._log_fetcher.cancel()
            if self._presigner is not None:
                self._presigner.cancel()
            if end is not None:
                await self._close(end)
                await self._alert_monitor.finish()
            elif self._detach:
                await self._alert_monitor.finish()
                await self._leave()
            else:
                # Broken: nothing may prolong a lease now, and the leases end the hosts.
                await self._links.hang_up()

    async def _until_end(self, launch: asyncio.Task[None], watch: asyncio.Task[None]) -> decisions.EndRun | None:
        """Works until the run is over (how it ended) or the operator leaves (None)."""
        while not self._detach:
            self._changed.clear()
            await self._take_orders()
            self._links.check()
            try:
                self._replacements.check()
                for task in (launch, watch, self._starting):
                    if task is not None and task.done():
                        task.result()
            except ProviderError as error:
                return decisions.EndRun(UNREACHABLE, Exit.UNREACHABLE, str(error))
            for decision in decide.decide(self.run, self.now()):
                if isinstance(decision, decisions.EndRun):
                    return decision
                self._carry_out(decision)
            self._alert_monitor.look(self.now())
            self._checkpoint_fetcher.look(self._links.connections)
            self._log_fetcher.look(self._links.connections)
            self._manifest.look(self._links.connections)
            self._send_addresses()
            self._hold_leases()
            await asyncio.sleep(_SETTLE_S)
            try:
                # Not wait_for: until Python 3.12 it can swallow a cancellation that comes with the event.
                async with asyncio.timeout(_TICK_S):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return None

    def _carry_out(self, decision: decisions.Decision) -> None:
        match decision:
            case decisions.StartGang():
                if self._starting is None or self._starting.done():
                    self._starting = asyncio.create_task(self._start_gang())
            case decisions.StopGang(reason):
                self._store.witness(AlertRaised(kind="budget", text=reason, severity=CRITICAL))
                self._order("stop", by="budget")
            case decisions.Warn(kind, text):
                self._store.witness(AlertRaised(kind=kind, text=text))
            case decisions.SaveCheckpoint():
                self._order("checkpoint", by="console")
            case decisions.DrainGang():
                self._order("drain", by="console")
            case decisions.KillGang():
                self._order("kill", by="console")
            case decisions.RestartGang(reason):
                self._store.witness(GangRestarting(reason=reason))
            case decisions.OrderReplacement(node, reason):
                self._replacements.order(node, reason)
            case decisions.SwapNode(node, reason):
                self._links.drop(node)
                self._serve(self._replacements.take(node, reason))
            case decisions.DropNode(node, reason):
                self._links.drop(node)
                self._store.witness(NodeDropped(reason=reason), node)
            case decisions.EndRun():
                raise AssertionError("an end is no decision to carry out beside the run")

    async def _bring_up(self) -> None:
        """Links every host as soon as it is there."""
        if self._presigner is not None and not self._attaching:
            # Before anything is rented for a data set that is not there.
            await self._presigner.look()
        async for one in self._provider.adopt() if self._attaching else self._provider.bring_up():
            if isinstance(one, HostAddress):
                self._serve(one)
            else:
                node, event = one
                self._store.witness(event, node)

    async def _watch(self) -> None:
        """Takes in what only the provider knows."""
        async for node, event in self._provider.watch():
            self._store.witness(event, node)

    def _serve(self, address: HostAddress) -> None:
        self._addresses[address.node] = address
        self._links.serve(address)

    def _move(self, address: HostAddress) -> None:
        self._links.drop(address.node)
        self._serve(address)

    def _send_addresses(self) -> None:
        """Has the hosts hold valid addresses of what they copy."""
        if self._presigner is None:
            return
        for text in self._presigner.serve(self.run, self._links.connections):
            if all(alert.text != text for alert in self.run.alerts):
                self._store.witness(AlertRaised(kind="data", text=text))

    async def _prepare(self, connection: asyncssh.SSHClientConnection, address: HostAddress) -> str | None:
        peer = connection.get_extra_info("peername")
        self._gang_addresses[address.node] = address.gang_address or (peer[0] if peer else address.host)
        await self._manifest.leave(connection, address.node)
        if self.run.nodes[address.node].agent is not None:
            return None
        if self._presigner is not None:
            try:
                await self._presigner.send(connection, address.node)
            except ProviderError as error:
                raise HostRefused(str(error)) from None
        return self._job(address.node).to_json()

    def _job(self, node: int) -> Job:
        profile = self.profile
        return Job(
            run_id=self.directory.run_id,
            node=node,
            nnodes=profile.fleet.nodes,
            nproc_per_node=profile.run.nproc_per_node,
            recipe=profile.recipe(self._provider.data_dir(profile)),
            address=self._gang_addresses[node],
            max_restarts=profile.run.max_restarts,
            env=nccl.in_a_job(profile),
            lease_s=budget.lease_s(self.run, self.now(), profile.budget.lease_minutes),
            lease_end=self._provider.lease_end,
            lease_file=self._provider.lease_file,
            stage_from=profile.data.stage_from or "",
            metadata_url=self._provider.metadata_url,
            linger_s=_LINGER_S,
            embedded=self._provider.embedded,
        )

    # --- commands ---

    def _order(self, name: str, *, by: str = "operator", **arguments: Any) -> None:
        """Journals a command and puts it on its way to every host; `terminate` is the console's own to carry out."""
        command = {"id": secrets.token_hex(6), "command": name, **arguments}
        self._store.witness(OperatorCommanded(id=command["id"], command=name, by=by))
        if name != "terminate":
            self._links.send(command, keep=True)

    async def _start_gang(self) -> None:
        """Starts the trainers on every node that is there; the first of them holds the rendezvous.

        A connection that breaks under it ends the try, and the policy asks for another.
        """
        present = [node for node in self.run.nodes if node.status != NODE_DROPPED]
        last = newest(self.run)
        if last is not None and last.node is None:
            # No disk of the gang holds it. Any one node will do: the ranks look who has the newest.
            kept, connection = newest_kept(self.run, self.directory), self._links.connections.get(present[0].node)
            if connection is None:
                return
            if kept is not None:
                try:
                    await self._hand_over(connection, kept, present[0].node)
                except HostUnreachable:
                    return
        first = present[0]
        assert first.agent is not None
        port = self.profile.run.rdzv_port or first.agent.free_port
        host = self._gang_addresses[first.node]
        self._order(
            "start",
            by="console",
            rdzv_endpoint=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            rdzv_id=f"{self.directory.run_id}-{self.run.attempt}",
            rdzv_node=first.node,
            nnodes=len(present),
            attempt=self.run.attempt,
        )

    async def _hand_over(self, connection: asyncssh.SSHClientConnection, checkpoint: Checkpoint, node: int) -> None:
        step = f"step {checkpoint.step}"
        self._store.witness(StageProgressed(stage="checkpoint", done=0, total=1, detail=step), node)
        await hand_over(connection, checkpoint, self.directory, node)
        self._store.witness(StageProgressed(stage="checkpoint", done=1, total=1, detail=step), node)

    # --- budget and leases ---

    def _move_budget(self, usd: float, by: str = "operator") -> None:
        """Another budget, of which policy and leases know at once. Raises ValueError."""
        refusal = budget.refusal(self.run, self.now(), usd)
        if refusal:
            raise ValueError(refusal)
        self._store.witness(BudgetMoved(max_usd=usd, by=by))

    async def _take_orders(self) -> None:
        """Carries out what another process asks of this console."""
        for order in inbox.take(self.directory.path):
            refusal = ""
            if order.command not in self.controls:
                refusal = f"cannot {order.command} now: the run is {self.run.status}"
            try:
                await self.command(order.command, **order.arguments)
            except (ValueError, TypeError) as error:
                refusal = str(error)
            inbox.answer(self.directory.path, order, refusal)

    def _hold_leases(self) -> None:
        """Moves the leases now and then, and at once where the budget's end has moved."""
        lease_minutes, now = self.profile.budget.lease_minutes, self.now()
        seconds = budget.lease_s(self.run, now, lease_minutes)
        lease = _Lease(now, now + seconds, self.run.budget_usd, self._links.speaking)
        if lease.differs(self._lease, lease_minutes * 60 / 6):
            self._lease = lease
            self._move_leases(seconds, attended=True)

    def _move_leases(self, seconds: float, *, attended: bool) -> None:
        self._links.send({"id": "lease", "command": "lease", "seconds": seconds, "attended": attended})

    # --- ends ---

    async def _leave(self) -> None:
        """Lets the run go on without this console, until its budget is used up at the latest."""
        self._move_leases(budget.lease_s(self.run, self.now(), _UNATTENDED_MINUTES), attended=False)
        # The words must be on the hosts before the channels close.
        await self._manifest.finish(self._links.connections, _LAST_WORDS_S)
        await asyncio.sleep(0.5)
        await self._links.hang_up()
        self._store.witness(ConsoleDetached(pid=os.getpid()))
        await self._provider.leave()
        self._store.close()
        self.directory.leave()

    async def _close(self, end: decisions.EndRun) -> None:
        """Ends what runs on the hosts, fetches what is there, gives the hosts back, and writes the last record."""
        self._links.send({"id": secrets.token_hex(6), "command": "kill"})
        await self._checkpoint_fetcher.finish(self._links.connections, self._provider.disk)
        await self._log_fetcher.finish(self._links.connections, self._provider.disk, self.run.nnodes)
        self._links.send({"id": secrets.token_hex(6), "command": "end", "reason": end.status})
        # The agents say their last words and end, which ends the channels; one that does not must not keep the rest.
        await self._links.ended(_LAST_WORDS_S)
        await self._links.hang_up()
        async for node, event in self._provider.give_back():
            self._store.witness(event, node)
        self._end(end)

    def _end(self, end: decisions.EndRun) -> None:
        self._store.witness(RunEnded(status=end.status, exit_code=int(end.exit_code), reason=end.reason))
        self.directory.write_receipt(receipt(self.run, self.now()))

    async def salvage(self) -> bool:
        """For a run that has not ended and that no console drives: True if hosts of it are still there.

        Where they are not, what their disks still tell is taken in, the last checkpoint is kept, and the run is ended
        with the sentence of what happened.
        """
        if await self._provider.remains():
            return True
        addresses, _ = self.directory.read_fleet()
        last_t = {node.node: node.last_received or self.run.started or self.now() for node in self.run.nodes}

        def remember(before: Run, after: Run, record: Record | None) -> None:
            if record is not None and record.node is not None and record.offset is not None:
                last_t[record.node] = record.t

        self._store.observe(remember)
        for address in addresses:
            disk = self._provider.disk(address.node)
            journal = disk / host_folder(self.directory.run_id, address.node) / JOURNAL if disk else None
            if journal is not None and journal.is_file():
                offset = self.run.nodes[address.node].last_offset or 0
                whole = journal.read_bytes()[offset:].rpartition(b"\n")[0]
                if whole:
                    self._store.take_lines(address.node, whole.split(b"\n"), offset)
        await self._checkpoint_fetcher.finish({}, self._provider.disk)
        await self._log_fetcher.finish({}, self._provider.disk, self.run.nnodes)
        end = endings.salvaged(self.run)
        async for node, event in self._provider.give_back():
            # They ended when they last spoke, and not now that somebody looks; EC2 knows better.
            if isinstance(event, InstanceStopped) and node is not None and not self._provider.states_ends:
                event = replace(event, stopped_t=last_t[node])
            self._store.witness(event, node)
        self._end(end)
        return False
