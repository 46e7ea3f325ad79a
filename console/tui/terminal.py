"""Uses of the terminal beside drawing: title, bell, clipboard, screenshots, and a shell on a node."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from textual.content import Content

from console.paths import state_home
from console.tui.base import AppBase
from console.tui.draw import marks
from console.tui.draw.ink import clean
from console.tui.draw.moment import Moment
from console.tui.screens.node import NodeScreen
from console.tui.suspend import lend
from console.tui.widgets.nodes import NodesPane
from console.tui.widgets.pane import Pane
from console.views import progress

Shell = Callable[[int], Sequence[str]]
"""The command that opens a shell on a node. Raises ValueError with a sentence where there is none."""

SSH_FAILED = 255
"""ssh's own exit code; any other is that of the remote shell's last command."""
_VISIT = f"""\
echo "$0: exit returns to fastconsole"; "$@"; code=$?
if [ $code = {SSH_FAILED} ]; then printf 'ssh failed; Enter returns to fastconsole '; read -r _; fi; exit $code
"""


class Terminal(AppBase[int]):
    """The part of the app that talks to the terminal."""

    shell: Shell | None = None
    _titled = ""

    # --- title and bell ----------------------------------------------------------------------------------------------

    def set_title(self, moment: Moment) -> None:
        """Shows the run's progress in the terminal's title."""
        title = title_of(moment)
        if title != self._titled:
            # The terminal pushes its own title on a stack (XTWINOPS 22), from which `on_unmount` pops it (23).
            first = "" if self._titled else "\x1b[22;2t"
            self._titled = title
            self._write(f"{first}\x1b]2;{title}\x07")

    def on_unmount(self) -> None:
        """Restores the terminal's title."""
        if self._titled:
            self._write("\x1b[23;2t")

    def _write(self, sequence: str) -> None:
        if self._driver is not None and not self.is_headless and not self.is_web:
            self._driver.write(sequence)
            self._driver.flush()

    def bell(self) -> None:
        """Rings, unless the configuration turns the bell off."""
        if self.config.bell:
            super().bell()

    # --- copies ---------------------------------------------------------------------------------------------

    def action_copy(self) -> None:
        """Copies the focused pane's text to the clipboard."""
        pane = self.focused
        if not isinstance(pane, Pane):
            self._tell("No pane to copy.")
            return
        lines = pane.lines()
        self.copy_to_clipboard("\n".join(lines) + "\n")
        self._tell(f"Copied {len(lines)} lines of {pane.id}, if the terminal supports OSC 52.")

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """Saves a screenshot and shows its path."""
        if self.is_web:
            # To the browser, not to the machine that serves.
            self.deliver_screenshot(filename, path)
            return
        name = filename or time.strftime("fastconsole-%Y%m%d-%H%M%S.svg")
        for folder in (Path(path) if path else Path.cwd(), state_home()):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._tell(f"Saved as {self.save_screenshot(name, str(folder))}")
                return
            except OSError as error:
                failed = f"{folder}: {error.strerror or error}"
        self._tell(f"Cannot save the screenshot: {failed}")

    # --- a shell on a node -------------------------------------------------------------------------------------------

    def action_shell(self) -> None:
        """Lends the terminal to a shell on the node under the cursor."""
        node = self._pointed()
        if self.shell is None or node is None:
            self._tell("No node to open a shell on." if self.shell else "A shell needs a live run.")
            return
        try:
            command = list(self.shell(node))
        except (ValueError, OSError) as error:
            self._tell(str(error))
            return
        self.run_worker(self._visit(node, command), group="shell", exclusive=True, exit_on_error=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A read-only console has no shell."""
        return not (action == "shell" and self.shell is None)

    def _pointed(self) -> int | None:
        if isinstance(self.screen, NodeScreen):
            return self.screen.node
        panes = self.screen.query(NodesPane)
        return panes.first().cursor if panes else None

    async def _visit(self, node: int, command: list[str]) -> None:
        try:
            code = await lend(self, ["sh", "-c", _VISIT, f"node {node}", *command])
        except OSError as error:
            self._tell(f"No shell on node {node}: {error.strerror or error}")
            return
        self._tell(
            f"No shell on node {node}: ssh failed." if code == SSH_FAILED else f"Closed the shell on node {node}."
        )

    def _tell(self, sentence: str) -> None:
        self.notify(Content(clean(sentence)).markup, timeout=6)


def title_of(moment: Moment) -> str:
    """``42 % training · local``: progress, status, title."""
    at = progress.progress(moment.run)
    share = f"{at.fraction * 100:.0f} % " if at.fraction is not None and moment.run.live else ""
    status = marks.status_word(moment.run.status).lower() if moment.run.records else "fastconsole"
    return "".join(letter for letter in f"{share}{status} · {clean(moment.title)}"[:100] if letter.isprintable())
