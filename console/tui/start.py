"""The screen of a bare ``fastconsole``: what can be started, come back to, or looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from console.config import Config, recall
from console.tui import themes
from console.tui.dialogs.choice import Answer, Dialog
from console.tui.draw.ink import cells, clean, fit
from console.tui.keymap import check, whole_keymap

if TYPE_CHECKING:
    from console.tui.choices import Choice


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be done."""

    verb: str
    """As in `console.commands.chooser`."""
    name: str
    compared: tuple[str, ...] = ()
    """Journals of runs to lay over it."""


class StartApp(App[Chosen]):
    """A list to filter by typing; `run()` returns what was chosen, None where one left."""

    CSS_PATH = "console.tcss"
    TITLE = "fastconsole"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "down", show=False, priority=True, id="start.down", tooltip="The next line"),
        Binding("up", "move(-1)", "up", show=False, priority=True, id="start.up", tooltip="The line before"),
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
            "the other way",
            id="start.other",
            priority=True,
            tooltip="Resume or replay the run instead",
        ),
        Binding(
            "ctrl+o",
            "mark",
            "compare",
            id="start.mark",
            priority=True,
            tooltip="Lay this run over the one that is opened",
        ),
        Binding("escape,ctrl+c,ctrl+q", "leave", "leave", priority=True, id="start.leave", tooltip="Leave"),
    ]

    def __init__(self, *readers: Callable[[], Iterator[Choice]], config: Config | None = None) -> None:
        """`readers` yield the lines, in threads, each a group of its own.

        Raises:
            ConfigError: the configuration names a key or an id that does not exist.
        """
        super().__init__()
        if config is not None and config.keys:
            self.set_keymap(whole_keymap(check(config)))
        for one in themes.ALL:
            self.register_theme(one)
        fitting = themes.fitting(self.console.color_system).name
        theme = None if config is None else config.theme or recall().theme
        self.theme = theme if theme in self.available_themes else fitting
        self._readers = readers
        self._choices: list[list[Choice]] = [[] for _ in readers]
        self._reading = len(readers)
        self._marked: dict[str, str] = {}
        """Journals of the runs to compare with, by the runs' names."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The colours that Textual's own themes do not have."""
        return (themes.DARK if self.current_theme.dark else themes.LIGHT).variables

    def compose(self) -> ComposeResult:
        """What one types, what fits it, and the keys."""
        yield Label("", id="start-title")
        yield Input(placeholder="type to find a profile or a run", compact=True, id="start-filter")
        yield OptionList(id="start-list", compact=True, markup=False)
        yield Label("", id="start-keys")

    def on_mount(self) -> None:
        """Paints, then reads."""
        self.query_one("#start-list").can_focus = False
        self.query_one(Input).focus()
        self._redraw()
        for place, reader in enumerate(self._readers):
            self.run_worker(self._read(place, reader), exit_on_error=False)

    async def _read(self, place: int, reader: Callable[[], Iterator[Choice]]) -> None:
        lines = reader()
        while (choice := await asyncio.to_thread(next, lines, None)) is not None:
            self._choices[place].append(choice)
            self._redraw()
        self._reading -= 1
        self._redraw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Another filter."""
        self._redraw()

    def on_resize(self, event: events.Resize) -> None:
        """Another width."""
        self.call_after_refresh(self._redraw)

    def _found(self) -> list[Choice]:
        words = self.query_one(Input).value.lower().split()
        every = [choice for group in self._choices for choice in group]
        return [one for one in every if all(word in f"{one.name} {one.state} {one.what}".lower() for word in words)]

    def _redraw(self) -> None:
        options, found = self.query_one(OptionList), self._found()
        at = options.highlighted
        current = options.get_option_at_index(at).id if at is not None and at < options.option_count else None
        wide = max([12, *(cells(one.name) for one in found)])
        wide = min(wide, max(12, self.size.width // 3))
        options.clear_options()
        options.add_options([Option(self._line(one, wide), id=one.name) for one in found])
        names = [one.name for one in found]
        if found:
            options.highlighted = names.index(current) if current in names else 0
        count = f"{len(found)} of {sum(map(len, self._choices))}"
        reading = " · reading …" if self._reading else ""
        self.query_one("#start-title", Label).update(Content(f" fastconsole   {count}{reading}"))
        self._say_keys()

    def _line(self, one: Choice, wide: int) -> Content:
        mark = "◆ " if one.name in self._marked else "  "
        tone = {"": "$error", "attach": "bold $success", "start": "$accent"}.get(one.verb, "$foreground")
        state = {"": one.state, "start": "start"}.get(one.verb, one.state)
        room = max(1, self.size.width - wide - 24)
        return Content.assemble(
            mark,
            (fit(clean(one.name), wide), tone),
            "  ",
            (fit(clean(state), 14), "$dim"),
            "  ",
            fit(clean(one.what), room),
        )

    def _say_keys(self) -> None:
        one = self._current()
        words = ["Esc leaves"]
        if one is not None and one.path:
            words.insert(0, "Ctrl-O compares")
        if one is not None and one.other:
            words.insert(0, f"Ctrl-G {one.other[0]}s")
        if one is not None and one.verb:
            words.insert(0, f"Enter {one.verb}{'es' if one.verb == 'attach' else 's'}")
        self.query_one("#start-keys", Label).update(Content(" " + " · ".join(words)))

    def _current(self) -> Choice | None:
        at = self.query_one(OptionList).highlighted
        found = self._found()
        return found[at] if at is not None and at < len(found) else None

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """What can be done with the line."""
        self._say_keys()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click opens."""
        self.action_choose()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A question that is open has its own keys."""
        return action not in ("move", "choose", "other", "mark") or len(self.screen_stack) == 1

    def action_move(self, by: int) -> None:
        """Another line."""
        options = self.query_one(OptionList)
        if options.option_count:
            options.highlighted = max(0, min(options.option_count - 1, (options.highlighted or 0) + by))

    def action_choose(self) -> None:
        """Does what the line is for; asks first where it costs."""
        one = self._current()
        if one is not None:
            self._do(one, one.verb)

    def action_other(self) -> None:
        """Does the other thing that can be done with it."""
        one = self._current()
        if one is not None and one.other:
            self._do(one, one.other[0])

    def action_mark(self) -> None:
        """Lays the run over the one that is opened, or no more."""
        one = self._current()
        if one is not None and one.path and self._marked.pop(one.name, None) is None:
            self._marked[one.name] = one.path
        self._redraw()

    def action_leave(self) -> None:
        """Closes a question, or the screen."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit(None)

    def _do(self, one: Choice, verb: str) -> None:
        if not verb:
            self.notify(Content(clean(one.what)).markup, severity="warning", timeout=6)
            return
        marked = tuple(path for name, path in self._marked.items() if name != one.name)
        chosen = Chosen(verb, one.name, marked)
        if verb == "resume":
            question = ("Go on with the run?", [f"{clean(one.name)} goes on from its last checkpoint, on new hosts."])
        elif one.costs:
            question = (f"Start {clean(one.name)}?", [clean(one.costs)])
        else:
            self.exit(chosen)
            return
        answers = [Answer("s", "Start", "start", danger=True), Answer("n", "Not now", "cancel")]
        self.push_screen(Dialog(*question, answers), lambda answer: self.exit(chosen) if answer == "start" else None)
