"""The loop of a live run: read, journal, apply, decide, execute.

Theory. Everything that is known of the run comes in as a record, through the links to the hosts or as something that
this laptop witnessed, and goes into the book (`console.book`). After a change, and once a second, `console.policy` is
asked what follows, and what it says is carried out here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from dataclasses import replace
from typing import Any

import asyncssh

from console import VERSION, policy, state, views
from console.address import HostAddress
from console.book import Book, Observer
from console.checkpoints import Keeper, hand_over, newest, newest_kept
from console.events import (
    SCHEMA,
    AlertRaised,
    ConsoleAttached,
    ConsoleDetached,
    InstanceStopped,
    OperatorCommanded,
    Record,
    RunContinued,
    RunCreated,
    RunEnded,
)
from console.exits import Exit
from console.fleet import Provider, ProviderError
from console.links import Links
from console.profile import Profile
from console.rundir import RunDirectory
from console.state import Checkpoint, Run
from remote.events import StageProgressed
from remote.job import Job, host_folder
from remote.journal import JOURNAL

_TICK_S = 1.0
_SETTLE_S = 0.1
"""Records may come by the hundred; the policy is asked again at most ten times a second."""
_LINGER_S = 600.0
"""How long the results of an unattended run stay on its hosts."""
_UNATTENDED_S = 12 * 3600.0
"""The longest that hosts go on without a console where no budget says less."""
_LAST_WORDS_S = 10.0
"""How long the end waits for the agents' last words."""


class LiveRun:
    """A run that is going on, and the console that drives it: a `console.source.Source`."""

    def __init__(self, profile: Profile, directory: RunDirectory, provider: Provider, run: Run | None = None) -> None:
        """`run`: what the directory's journal tells so far, for a run that is attached to or goes on.

        Raises:
            OSError: the journal cannot be opened.
        """
        self.profile = profile
        self.directory = directory
        self._provider = provider
        self._book = Book(directory.journal, run)
        self._links = Links(self._book, directory.run_id, self._prepare, provider.lost)
        self._keeper = Keeper(self._book, directory)
        self._addresses: dict[int, HostAddress] = {}
        self._gang_addresses: dict[int, str] = {}
        self._changed = asyncio.Event()
        self._again = asyncio.Event()
        self._detach = False
        self._attaching = False
        self._starting_from: Checkpoint | None = None
        self._book.observe(lambda before, after, record: self._changed.set())

    # --- what a screen sees (console.source.Source) ---

    @property
    def run(self) -> Run:
        return self._book.run

    @property
    def title(self) -> str:
        return self.profile.name

    def now(self) -> float:
        return time.time()

    @property
    def controls(self) -> frozenset[str]:
        """What can be asked of the run as it stands."""
        status = self.run.status
        if status == state.LAUNCHING:
            return frozenset({"stop", "terminate", "detach"})
        if status == state.TRAINING:
            return frozenset({"pause", "checkpoint", "stop", "terminate", "detach"})
        if status == state.PAUSED:
            return frozenset({"resume", "checkpoint", "stop", "terminate", "detach"})
        if status == state.STOPPING:
            return frozenset({"terminate", "detach"})
        if status in (state.STOPPED, state.FAILED, state.OVER_BUDGET, state.UNREACHABLE):
            return frozenset({"start", "restart"})
        return frozenset()

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
        self._book.observe(observer)

    # --- beginnings ---

    def begin(self) -> None:
        """A new run: writes its first record."""
        profile, fleet, target = self.profile, self.profile.fleet, self.profile.run.target
        self._book.witness(
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
            )
        )

    def resume(self) -> None:
        """A run that has ended: it goes on from its last checkpoint, with hosts of its own."""
        self._starting_from = newest_kept(self.run, self.directory)
        self._attaching = False
        step = self._starting_from.step if self._starting_from else None
        self._book.witness(RunContinued(attempt=self.run.attempt + 1, step=step))

    def attach(self) -> None:
        """A run that goes on on its hosts: the console comes back to it."""
        self._attaching = True
        self._book.witness(ConsoleAttached(pid=os.getpid()))

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
        end: policy.EndRun | None = None
        launch = asyncio.create_task(self._bring_up())
        try:
            end = await self._until_end(launch)
        except asyncio.CancelledError:
            # The screen went away, by whatever door: the run goes on, and its budget and leases bound it.
            self._detach = True
            raise
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
                # Broken: nothing may prolong a lease now, and the leases end the hosts.
                await self._links.hang_up()

    async def _until_end(self, launch: asyncio.Task[None]) -> policy.EndRun | None:
        """Works until the run is over (how it ended) or the operator leaves (None)."""
        lease_s = self.profile.budget.lease_minutes * 60
        lease_moved = float("-inf")
        while not self._detach:
            self._changed.clear()
            self._links.check()
            if launch.done():
                try:
                    launch.result()
                except ProviderError as error:
                    return policy.EndRun(state.UNREACHABLE, Exit.UNREACHABLE, str(error))
            for decision in policy.decide(self.run, self.now()):
                if isinstance(decision, policy.EndRun):
                    return decision
                self._carry_out(decision)
            self._keeper.look(self._links.connections)
            if time.monotonic() - lease_moved > lease_s / 6:
                lease_moved = time.monotonic()
                self._move_leases(lease_s, attended=True)
            await asyncio.sleep(_SETTLE_S)
            try:
                # Not wait_for: until Python 3.12 it can swallow a cancellation that comes with the event.
                async with asyncio.timeout(_TICK_S):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return None

    def _carry_out(self, decision: policy.StartGang | policy.StopGang | policy.Warn) -> None:
        if isinstance(decision, policy.StartGang):
            self._start_gang()
        elif isinstance(decision, policy.StopGang):
            self._book.witness(AlertRaised(kind="budget", text=decision.reason))
            self._order("stop", by="budget")
        else:
            self._book.witness(AlertRaised(kind=decision.kind, text=decision.text))

    async def _bring_up(self) -> None:
        """Links every host as soon as it is there."""
        if self._attaching:
            for address in self.directory.read_fleet()[0]:
                self._serve(address)
            return
        async for one in self._provider.bring_up():
            if isinstance(one, HostAddress):
                self._serve(one)
            else:
                node, event = one
                self._book.witness(event, node)

    def _serve(self, address: HostAddress) -> None:
        self._addresses[address.node] = address
        self._links.serve(address)

    async def _prepare(self, connection: asyncssh.SSHClientConnection, address: HostAddress) -> str | None:
        peer = connection.get_extra_info("peername")
        self._gang_addresses[address.node] = address.gang_address or (peer[0] if peer else address.host)
        if self._attaching or self.run.nodes[address.node].agent is not None:
            return None
        # Any one node will do: the ranks look who has the newest checkpoint.
        if self._starting_from is not None and address.node == 0 and self.run.nodes[0].agent is None:
            step = f"step {self._starting_from.step}"
            self._book.witness(StageProgressed(stage="checkpoint", done=0, total=1, detail=step), 0)
            await hand_over(connection, self._starting_from, self.directory, 0)
            self._book.witness(StageProgressed(stage="checkpoint", done=1, total=1, detail=step), 0)
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
            env=dict(profile.run.env),
            lease_s=profile.budget.lease_minutes * 60,
            lease_end=self._provider.lease_end,
            linger_s=_LINGER_S,
            embedded=self._provider.embedded,
        )

    # --- commands ---

    def _order(self, name: str, *, by: str = "operator", **arguments: Any) -> None:
        """Journals a command and puts it on its way to every host; `terminate` is the console's own to carry out."""
        command = {"id": secrets.token_hex(6), "command": name, **arguments}
        self._book.witness(OperatorCommanded(id=command["id"], command=name, by=by))
        if name != "terminate":
            self._links.send(command, keep=True)

    def _start_gang(self) -> None:
        first = self.run.nodes[0].agent
        assert first is not None
        port = self.profile.run.rdzv_port or first.free_port
        host = self._gang_addresses[0]
        self._order(
            "start",
            by="console",
            rdzv_endpoint=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            rdzv_id=f"{self.directory.run_id}-{self.run.attempt}",
            attempt=self.run.attempt,
        )

    def _move_leases(self, seconds: float, *, attended: bool) -> None:
        self._links.send({"id": "lease", "command": "lease", "seconds": seconds, "attended": attended})

    # --- ends ---

    async def _leave(self) -> None:
        """Lets the run go on without this console, until its budget is used up at the latest."""
        left_s = _UNATTENDED_S
        cost, budget = views.cost(self.run, self.now()), self.profile.budget.max_usd
        if budget is not None and cost.usd_per_h and cost.billed_usd is not None:
            left_s = min(left_s, max(0.0, budget - cost.billed_usd) / cost.usd_per_h * 3600)
        self._move_leases(left_s, attended=False)
        # The words must be on the hosts before the channels close.
        await asyncio.sleep(0.5)
        await self._links.hang_up()
        self._book.witness(ConsoleDetached(pid=os.getpid()))
        await self._provider.leave()
        self._book.close()
        self.directory.leave()

    async def _close(self, end: policy.EndRun) -> None:
        """Ends what runs on the hosts, fetches what is there, gives the hosts back, and writes the last record."""
        self._links.send({"id": secrets.token_hex(6), "command": "kill"})
        last = newest(self.run)
        await self._keeper.finish(self._links.connections, self._provider.disk(last.node) if last else None)
        self._links.send({"id": secrets.token_hex(6), "command": "end", "reason": end.status})
        # The agents say their last words and end, which ends the channels; one that does not must not keep the rest.
        await self._links.ended(_LAST_WORDS_S)
        await self._links.hang_up()
        async for node, event in self._provider.give_back():
            self._book.witness(event, node)
        self._end(end)

    def _end(self, end: policy.EndRun) -> None:
        self._book.witness(RunEnded(status=end.status, exit_code=int(end.exit_code), reason=end.reason))
        self.directory.write_receipt(views.receipt(self.run, self.now()))

    async def salvage(self) -> bool:
        """For a run that has not ended and that no console drives: True if hosts of it are still there.

        Where they are not, what their disks still tell is taken in, the last checkpoint is kept, and the run is ended
        with the sentence of what happened.
        """
        addresses, _ = self.directory.read_fleet()
        lost = [await self._provider.lost(address.node) for address in addresses]
        if addresses and not all(lost):
            return True
        last_t = {node.node: node.last_received or self.run.started or self.now() for node in self.run.nodes}

        def remember(before: Run, after: Run, record: Record | None) -> None:
            if record is not None and record.node is not None and record.offset is not None:
                last_t[record.node] = record.t

        self._book.observe(remember)
        for address in addresses:
            disk = self._provider.disk(address.node)
            journal = disk / host_folder(self.directory.run_id, address.node) / JOURNAL if disk else None
            if journal is not None and journal.is_file():
                offset = self.run.nodes[address.node].last_offset or 0
                whole = journal.read_bytes()[offset:].rpartition(b"\n")[0]
                if whole:
                    self._book.take_lines(address.node, whole.split(b"\n"), offset)
        last = newest(self.run)
        await self._keeper.finish({}, self._provider.disk(last.node) if last else None)
        end = policy.salvaged(self.run)
        async for node, event in self._provider.give_back():
            # They ended when they last spoke, and not now that somebody looks.
            if isinstance(event, InstanceStopped):
                event = replace(event, stopped_t=last_t[node])
            self._book.witness(event, node)
        self._end(end)
        return False
