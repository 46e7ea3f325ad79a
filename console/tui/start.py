"""The screen of a bare ``fastconsole``: profiles to start, runs to attach to, resume or replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from console.config import Config
from console.tui.base import AppBase
from console.tui.choices import ATTACH, RESUME, START, Choice
from console.tui.dialogs.choice import Answer, ChoiceDialog
from console.tui.draw.ink import cells, clean, fit


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the operator chose."""

    verb: str
    """One of the constants of `console.tui.choices`."""
    name: str
    compared: tuple[str, ...] = ()
    """Journals of runs to compare it with."""


class StartApp(AppBase[Chosen]):
    """A list that is filtered by typing; `run()` returns what was chosen, None after Esc."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "down", show=False, priority=True, id="start.down", tooltip="The next line"),
        Binding("up", "move(-1)", "up", show=False, priority=True, id="start.up", tooltip="The previous line"),
        Binding(
            "pagedown", "move(10)", "ten down", show=False, priority=True, id="start.page_down", tooltip="Ten down"
        ),
        Binding("pageup", "move(-10)", "ten up", show=False, priority=True, id="start.page_up", tooltip="Ten up"),
        Binding(
            "enter", "choose", "open", priority=True, id="start.choose", tooltip="Start, attach or replay the line"
        ),
        Binding(
            "ctrl+g",
            "other",
            "other action",
            id="start.other",
            priority=True,
            tooltip="The other action: resume or replay the run",
        ),
        Binding(
            "ctrl+o",
            "mark",
            "compare",
            id="start.mark",
            priority=True,
            tooltip="Compare this run with the one that is opened",
        ),
        Binding("escape,ctrl+c,ctrl+q", "leave", "quit", priority=True, id="start.leave", tooltip="Quit"),
    ]

    def __init__(self, *readers: Callable[[], Iterator[Choice]], config: Config | None = None) -> None:
        """`readers` yield the choices, each in a thread of its own, and each a group of the list.

        Raises:
            ConfigError: the configuration names a key or an id that does not exist.
        """
        super().__init__(config)
        self._readers = readers
        self._choices: list[list[Choice]] = [[] for _ in readers]
        self._reading = len(readers)
        self._marked: dict[str, str] = {}
        """Journals of the runs to compare with, by the runs' names."""

    def compose(self) -> ComposeResult:
        """Title, filter, list and keys."""
        yield Label("", id="start-title")
        yield Input(placeholder="type to find a profile or a run", compact=True, id="start-filter")
        yield OptionList(id="start-list", compact=True, markup=False)
        yield Label("", id="start-keys")

    def on_mount(self) -> None:
        """Paints, then reads."""
        self.query_one("#start-list").can_focus = False
        self.query_one(Input).focus()
        self._redraw()
        for group, reader in zip(self._choices, self._readers, strict=True):
            self.run_worker(self._read(group, reader), exit_on_error=False)

    async def _read(self, group: list[Choice], reader: Callable[[], Iterator[Choice]]) -> None:
        choices = reader()
        while (choice := await asyncio.to_thread(next, choices, None)) is not None:
            group.append(choice)
            self._redraw()
        self._reading -= 1
        self._redraw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Applies the filter."""
        self._redraw()

    def on_resize(self, event: events.Resize) -> None:
        """Fits the lines to the new width."""
        self.call_after_refresh(self._redraw)

    def _found(self) -> list[Choice]:
        words = self.query_one(Input).value.lower().split()
        every = [choice for group in self._choices for choice in group]
        return [
            choice
            for choice in every
            if all(word in f"{choice.name} {choice.state} {choice.what}".lower() for word in words)
        ]

    def _redraw(self) -> None:
        options, found = self.query_one(OptionList), self._found()
        at = options.highlighted
        current = options.get_option_at_index(at).id if at is not None and at < options.option_count else None
        wide = max([12, *(cells(choice.name) for choice in found)])
        wide = min(wide, max(12, self.size.width // 3))
        options.clear_options()
        options.add_options([Option(self._line(choice, wide), id=choice.name) for choice in found])
        names = [choice.name for choice in found]
        if found:
            options.highlighted = names.index(current) if current in names else 0
        count = f"{len(found)} of {sum(map(len, self._choices))}"
        reading = " · reading …" if self._reading else ""
        self.query_one("#start-title", Label).update(Content(f" fastconsole   {count}{reading}"))
        self._show_keys()

    def _line(self, choice: Choice, wide: int) -> Content:
        mark = "◆ " if choice.name in self._marked else "  "
        tone = {"": "$error", ATTACH: "bold $success", START: "$accent"}.get(choice.verb, "$foreground")
        state = START if choice.verb == START else choice.state
        room = max(1, self.size.width - wide - 24)
        return Content.assemble(
            mark,
            (fit(clean(choice.name), wide), tone),
            "  ",
            (fit(clean(state), 14), "$dim"),
            "  ",
            fit(clean(choice.what), room),
        )

    def _show_keys(self) -> None:
        choice = self._current()
        words = ["Esc quit"]
        if choice is not None and choice.path:
            words.insert(0, "Ctrl-O compare")
        if choice is not None and choice.other:
            words.insert(0, f"Ctrl-G {choice.other[0]}")
        if choice is not None and choice.verb:
            words.insert(0, f"Enter {choice.verb}")
        self.query_one("#start-keys", Label).update(Content(" " + " · ".join(words)))

    def _current(self) -> Choice | None:
        at = self.query_one(OptionList).highlighted
        found = self._found()
        return found[at] if at is not None and at < len(found) else None

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Shows the keys that apply to the line."""
        self._show_keys()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click opens."""
        self.action_choose()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An open dialog has its own keys."""
        return action not in ("move", "choose", "other", "mark") or len(self.screen_stack) == 1

    def action_move(self, by: int) -> None:
        """Moves the highlight."""
        options = self.query_one(OptionList)
        if options.option_count:
            options.highlighted = max(0, min(options.option_count - 1, (options.highlighted or 0) + by))

    def action_choose(self) -> None:
        """Runs the line's action; asks first where it costs money."""
        choice = self._current()
        if choice is not None:
            self._do(choice, choice.verb)

    def action_other(self) -> None:
        """Runs the line's other action."""
        choice = self._current()
        if choice is not None and choice.other:
            self._do(choice, choice.other[0])

    def action_mark(self) -> None:
        """Adds the run to those that the opened one is compared with, or removes it."""
        choice = self._current()
        if choice is not None and choice.path and self._marked.pop(choice.name, None) is None:
            self._marked[choice.name] = choice.path
        self._redraw()

    def action_leave(self) -> None:
        """Closes a dialog, or the screen."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit(None)

    def _do(self, choice: Choice, verb: str) -> None:
        if not verb:
            self.notify(Content(clean(choice.what)).markup, severity="warning", timeout=6)
            return
        marked = tuple(path for name, path in self._marked.items() if name != choice.name)
        chosen = Chosen(verb, choice.name, marked)
        name, start = clean(choice.name), "Start"
        if verb == RESUME:
            start = "Resume"
            question = ("Resume the run?", [f"{name} resumes from its last checkpoint, on new hosts."])
        elif choice.costs:
            question = (f"Start {name}?", [clean(choice.costs)])
        else:
            self.exit(chosen)
            return
        answers = [Answer(start[0].lower(), start, "start", danger=True), Answer("n", "Cancel", "cancel")]
        self.push_screen(
            ChoiceDialog(*question, answers), lambda answer: self.exit(chosen) if answer == "start" else None
        )
