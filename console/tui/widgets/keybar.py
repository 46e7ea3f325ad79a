"""The last line: the keys that apply now."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.binding import Binding

from console.tui.draw.ink import Ink, Line, cells
from console.tui.draw.moment import Moment
from console.tui.keys import context
from console.tui.widgets.pane import Pane

LAST = ("app.help", "app.leave")
"""Always shown, at the right end."""


class KeyBar(Pane, can_focus=False):
    """Keys with their names, as many as fit; a click presses one."""

    def draw(self, moment: Moment, width: int, height: int) -> tuple[Sequence[Line], Sequence[Line]]:
        """The bindings that are enabled and apply to the moment."""
        shown = [binding for binding in self._bindings_now() if _applies(binding, moment)]
        last = [binding for binding in shown if binding.id in LAST]
        room = width - sum(_width(self._label(binding), binding) for binding in last)
        inks: list[Ink] = []
        for binding in shown:
            label = self._label(binding)
            if binding.id in LAST or _width(label, binding) > room:
                continue
            room -= _width(label, binding)
            inks += _ink(label, binding)
        inks.append((" " * max(0, room), "plain"))
        for binding in last:
            inks += _ink(self._label(binding), binding)
        return [tuple(inks)], ()

    def _bindings_now(self) -> list[Binding]:
        active = self.screen.active_bindings.values()
        seen: dict[str, Binding] = {}
        for key in active:
            if key.enabled and key.binding.show and key.binding.id:
                seen.setdefault(key.binding.id, key.binding)
        # Run, playback, focused pane; the keys that are always there come last.
        order = ("run", "play", "", "pane", "app")
        return sorted(
            seen.values(), key=lambda binding: order.index(found if (found := context(binding)) in order else "")
        )

    def _label(self, binding: Binding) -> str:
        return self.app.get_key_display(binding)

    async def on_click(self, event: events.Click) -> None:
        """Presses the key that was clicked."""
        end = 0
        line = self._head[0] if self._head else ()
        for index in range(len(line)):
            end += cells(line[index][0])
            if event.x < end:
                words = line[index][0] if line[index][1] == "accent" else line[index - 1][0]
                for binding in self._bindings_now():
                    if self._label(binding) == words.strip():
                        await self.screen.run_action(binding.action)
                        return
                return


def _applies(binding: Binding, moment: Moment) -> bool:
    name = binding.id or ""
    if name == "run.pause":
        return bool(moment.controls & {"pause", "resume"})
    return not name.startswith("run.") or name.removeprefix("run.") in moment.controls


def _ink(label: str, binding: Binding) -> list[Ink]:
    return [(f" {label}", "accent"), (f" {binding.description} ", "dim")]


def _width(label: str, binding: Binding) -> int:
    return cells(label) + cells(binding.description) + 3
