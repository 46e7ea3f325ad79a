"""Comparing the run with past runs: choosing them, reading their logs in threads, racing one as the ghost."""

from __future__ import annotations

import asyncio

from console.compare.comparison import Past
from console.tui.dialogs.past_runs import PastRunsDialog
from console.tui.screens.source_screen import SourceScreen
from console.tui.widgets.progress import ProgressPane


class ComparisonScreen(SourceScreen):
    """The part of a screen that compares the run with past ones."""

    def on_progress_pane_comparing(self, event: ProgressPane.Comparing) -> None:
        """Asks for the runs."""
        self.run_worker(self._ask(), group="compare", exclusive=True, exit_on_error=False)

    async def _ask(self) -> None:
        from console.compare import past_runs

        found = await asyncio.to_thread(past_runs.found)
        own = self.moment.run.run_id
        chosen = [past.path for past in self.compared.pasts]
        screen = PastRunsDialog([run for run in found if run.name != own], chosen)
        self.app.push_screen(screen, self._have_chosen)

    def _have_chosen(self, paths: tuple[str, ...] | None) -> None:
        if paths is not None:
            self.run_worker(self.compare_with(paths), group="compare", exclusive=True, exit_on_error=False)

    async def compare_with(self, paths: tuple[str, ...]) -> None:
        """Reads the logs, each in a thread, and shows each once it is read; reports one that cannot be read."""
        from console.compare import past_runs

        known = {past.path: past for past in self.compared.pasts}
        pasts: list[Past] = []
        for number, path in enumerate(paths, start=1):
            past = known.get(path)
            if past is None:
                loading = f"reading {number} of {len(paths)} …"
                self.compared = self.compared.with_pasts(tuple(pasts), loading)
                self.moved()
                try:
                    past = await asyncio.to_thread(past_runs.load, path)
                except ValueError as error:
                    self.say(str(error))
                    continue
            pasts.append(past)
        self.compared = self.compared.with_pasts(tuple(pasts))
        self.moved()

    def on_progress_pane_racing(self, event: ProgressPane.Racing) -> None:
        """Races against the next ghost."""
        self.compared = self.compared.next_ghost(self.moment.run)
        ghost = self.compared.ghost(self.moment.run)
        self.say("Ghost off." if ghost is None else f"Ghost: {ghost.name}.")
        self.moved()
