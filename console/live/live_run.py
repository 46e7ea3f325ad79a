"""The loop of a live run: read, journal, apply, decide, execute.

Theory. Everything that is known of the run comes in as a record, from the hosts over the links or from what this
machine sees itself, and goes into the store (`console.journal.store`). After a change, and once a second,
`console.policy.decide` is asked what follows, and its decisions are carried out here.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any, Final

import asyncssh

from console.billing import budget
from console.fleet.provider import Provider, ProviderError
from console.health.monitor import AlertMonitor
from console.journal import reader
from console.journal.directory import RunDirectory
from console.journal.store import Observer, RunStore
from console.journal.whole_log import whole_log
from console.live import inbox
from console.live.checkpoints import CheckpointFetcher, newest_kept
from console.live.closing import Closing
from console.live.first_record import run_created
from console.live.gang import Gang
from console.live.leases import Leases
from console.live.links import Links
from console.live.manifest_sync import Manifest
from console.live.presigned import presigner_for
from console.live.rank_logs import LogFetcher
from console.live.replacements import Replacements
from console.policy import controls, decisions
from console.policy.decide import decide
from console.profile.schema import Profile
from console.ssh.address import HostAddress
from console.ssh.errors import HostRefused
from console.state.events import (
    AlertRaised,
    BudgetMoved,
    ConsoleAttached,
    GangRestarting,
    NodeDropped,
    RunContinued,
)
from console.state.outcome import Exit
from console.state.run import CRITICAL, LogLine, Run
from console.state.status import FAILED, UNREACHABLE

_TICK_S: Final = 1.0
_SETTLE_S: Final = 0.1
"""Records may come by the hundred; the policy is asked again at most ten times a second."""


class LiveRun:
    """A live run and the console that drives it: a `console.playback.source.Source`."""

    def __init__(self, profile: Profile, directory: RunDirectory, provider: Provider, run: Run | None = None) -> None:
        """`run`: what the directory's journal tells so far, for a run that is attached to or resumed.

        Raises:
            OSError: the journal cannot be opened.
        """
        self.profile = profile
        self.directory = directory
        self._provider = provider
        self._store = RunStore(directory.journal, run)
        self._links = Links(self._store, directory.run_id, self._prepare, provider.lost)
        self._gang = Gang(profile, directory, provider, self._store, self._links)
        self._leases = Leases(profile.budget.lease_minutes, self._links.send)
        self._replacements = Replacements(self._store, provider, self._move)
        self._manifest = Manifest(directory.run_id, wanted=provider.releases_hosts and not provider.embedded)
        self._presigner = presigner_for(profile, directory.run_id)
        self._changed = asyncio.Event()
        self._store.observe(lambda before, after, record: self._changed.set())
        self._store.observe(self._manifest.observe)
        self._alert_monitor = AlertMonitor(self._store, profile.alerts, directory.path)
        self._checkpoint_fetcher = CheckpointFetcher(self._store, directory)
        self._log_fetcher = LogFetcher(directory, self._alert_monitor.log)
        self._closing = Closing(directory, self._store, provider, self._checkpoint_fetcher, self._log_fetcher)
        self._again = asyncio.Event()
        self._detach = False
        self._attaching = False

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
        return controls.controls(self.run.status)

    async def command(self, command: str, **arguments: Any) -> None:
        """Does one of `controls`; others are ignored (the run moved on since the key was pressed).

        Raises:
            ValueError: the `arguments` cannot be used at this moment, in one sentence.
        """
        if command not in self.controls:
            return
        if command == "budget":
            self._move_budget(**arguments)
        elif command == "detach":
            self._detach = True
            self._changed.set()
        elif command in ("start", "restart"):
            if self.run.budget_usd is not None and (refusal := budget.resume_refusal(self.run, self.now())):
                raise ValueError(refusal)
            self._again.set()
        else:
            self._gang.order(command)

    def whole_log(self) -> Iterator[LogLine]:
        """Every line of the log, from the journal (console.playback.source.Chronicle)."""
        return whole_log(reader.read(self.directory.journal))

    def observe(self, observer: Observer) -> None:
        """Calls the observer after every change."""
        self._store.observe(observer)

    # --- beginnings ---

    def begin(self) -> None:
        """A new run: writes its first record."""
        self._store.witness(run_created(self.profile, self.directory.run_id))

    def resume(self, budget_usd: float | None = None) -> None:
        """A run that has ended: it continues from its last checkpoint, on new hosts and maybe with another budget."""
        kept = newest_kept(self.run, self.directory)
        self._attaching = False
        self._manifest.load(self.directory.journal)
        step = kept.step if kept else None
        self._store.witness(RunContinued(attempt=self.run.attempt + 1, step=step))
        if budget_usd is not None:
            self._store.witness(BudgetMoved(max_usd=budget_usd))

    def attach(self) -> None:
        """A run that is running on its hosts without a console: this one drives it from now on."""
        self._attaching = True
        self._manifest.load(self.directory.journal)
        self._store.witness(ConsoleAttached(pid=os.getpid()))

    # --- the run ---

    async def work(self) -> None:
        """Drives the run until it has ended or is left, and again whenever it is resumed."""
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
            # The screen is gone, however it was closed: the run continues, and its budget and leases bound it.
            self._detach = True
            raise
        except OSError as error:
            # This machine's own disk: the journal cannot grow, so nothing more may happen on the hosts.
            end = decisions.EndRun(FAILED, Exit.FAILED, f"{error.filename}: {error.strerror}")
        finally:
            launch.cancel()
            watch.cancel()
            await self._gang.cancel()
            await asyncio.gather(launch, watch, return_exceptions=True)
            await self._replacements.cancel()
            self._manifest.cancel()
            self._log_fetcher.cancel()
            if self._presigner is not None:
                self._presigner.cancel()
            if end is not None:
                await self._closing.close(end, self._links)
                await self._alert_monitor.finish()
            elif self._detach:
                await self._alert_monitor.finish()
                self._leases.leave_unattended(self.run, self.now())
                await self._closing.leave(self._links, self._manifest)
            else:
                # Broken: nothing may prolong a lease now, so that the leases end the hosts.
                await self._links.close()

    async def _until_end(self, launch: asyncio.Task[None], watch: asyncio.Task[None]) -> decisions.EndRun | None:
        """Works until the run is over (how it ended) or the operator leaves (None)."""
        while not self._detach:
            self._changed.clear()
            await self._take_orders()
            self._links.check()
            try:
                self._replacements.check()
                self._gang.check()
                for task in (launch, watch):
                    if task.done():
                        task.result()
            except ProviderError as error:
                return decisions.EndRun(UNREACHABLE, Exit.UNREACHABLE, str(error))
            for decision in decide(self.run, self.now()):
                if isinstance(decision, decisions.EndRun):
                    return decision
                self._carry_out(decision)
            self._alert_monitor.check(self.now())
            self._checkpoint_fetcher.fetch_newest(self._links.connections)
            self._log_fetcher.fetch_new(self._links.connections)
            self._manifest.update(self._links.connections)
            self._send_addresses()
            self._leases.hold(self.run, self.now(), self._links.linked)
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
                self._gang.start()
            case decisions.StopGang(reason):
                self._store.witness(AlertRaised(kind="budget", text=reason, severity=CRITICAL))
                self._gang.order("stop", by="budget")
            case decisions.Warn(kind, text):
                self._store.witness(AlertRaised(kind=kind, text=text))
            case decisions.SaveCheckpoint():
                self._gang.order("checkpoint", by="console")
            case decisions.DrainGang():
                self._gang.order("drain", by="console")
            case decisions.KillGang():
                self._gang.order("kill", by="console")
            case decisions.RestartGang(reason):
                self._store.witness(GangRestarting(reason=reason))
            case decisions.OrderReplacement(node, reason):
                self._replacements.order(node, reason)
            case decisions.SwapNode(node, reason):
                self._links.drop(node)
                self._links.serve(self._replacements.take(node, reason))
            case decisions.DropNode(node, reason):
                self._links.drop(node)
                self._store.witness(NodeDropped(reason=reason), node)
            case decisions.EndRun():
                raise AssertionError("the end of the run is not carried out here")

    async def _bring_up(self) -> None:
        """Links every host as soon as it is up."""
        if self._presigner is not None and not self._attaching:
            # Before anything is rented for a data set that does not exist.
            await self._presigner.list_source()
        async for report in self._provider.adopt() if self._attaching else self._provider.bring_up():
            if isinstance(report, HostAddress):
                self._links.serve(report)
            else:
                node, event = report
                self._store.witness(event, node)

    async def _watch(self) -> None:
        """Records what only the provider knows."""
        async for node, event in self._provider.watch():
            self._store.witness(event, node)

    def _move(self, address: HostAddress) -> None:
        self._links.drop(address.node)
        self._links.serve(address)

    def _send_addresses(self) -> None:
        """Keeps the addresses valid by which the hosts copy the data set."""
        if self._presigner is None:
            return
        for text in self._presigner.renew(self.run, self._links.connections):
            if all(alert.text != text for alert in self.run.alerts):
                self._store.witness(AlertRaised(kind="data", text=text))

    async def _prepare(self, connection: asyncssh.SSHClientConnection, address: HostAddress) -> str | None:
        """What a host needs before it is attached to; its job, None where its agent has it already."""
        self._gang.add(connection, address)
        await self._manifest.write(connection, address.node)
        if self.run.nodes[address.node].agent is not None:
            return None
        if self._presigner is not None:
            try:
                await self._presigner.send(connection, address.node)
            except ProviderError as error:
                raise HostRefused(str(error)) from None
        return self._gang.job(address.node).to_json()

    def _move_budget(self, usd: float, by: str = "operator") -> None:
        """Sets another budget; policy and leases go by it at once. Raises ValueError."""
        refusal = budget.refusal(self.run, self.now(), usd)
        if refusal:
            raise ValueError(refusal)
        self._store.witness(BudgetMoved(max_usd=usd, by=by))

    async def _take_orders(self) -> None:
        """Carries out what another process asks of this console."""
        for order in inbox.take(self.directory.path):
            refusal = controls.refusal(order.command, self.run.status)
            try:
                await self.command(order.command, **order.arguments)
            except (ValueError, TypeError) as error:
                refusal = str(error)
            inbox.answer(self.directory.path, order, refusal)

    async def salvage(self) -> bool:
        """For a run that has not ended and that no console drives: True if hosts of it are still there.

        Where they are not, the run is ended with what their disks still hold.
        """
        return await self._closing.salvage()
