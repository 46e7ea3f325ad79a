"""What both apps and all parts of the console's app stand on: configuration, keys, theme, and what is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual.app import App
from textual.content import Content

from console.config import Config, Remembered, recall, remember
from console.tui import themes
from console.tui.keymap import check, whole_keymap

Result = TypeVar("Result")


class AppBase(App[Result]):
    """An app with the operator's keys and theme. Screens, dialogs and the palette import this class and no app."""

    CSS_PATH: ClassVar = "console.tcss"
    TITLE = "fastconsole"

    def __init__(self, config: Config | None = None) -> None:
        """`config`: the operator's; without one nothing is remembered either.

        Raises:
            ConfigError: the configuration names a key or an id that does not exist.
        """
        super().__init__()
        self.config = config or Config()
        self.keymap: dict[str, str] = {}
        """Keys that replace the bindings' own, by the bindings' ids."""
        self.set_keymap(check(self.config) if self.config.keys else {})
        for theme in themes.ALL:
            self.register_theme(theme)
        self.remembered = Remembered() if config is None else recall()
        """What the operator changed on the screen, now and in earlier sessions."""
        wanted = self.config.theme or self.remembered.theme
        self.theme = wanted if wanted in self.available_themes else themes.fitting(self.console.color_system).name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The colours that Textual's own themes do not have."""
        return (themes.DARK if self.current_theme.dark else themes.LIGHT).variables

    def set_keymap(self, keymap: Mapping[str, str]) -> None:
        """Gives bindings, by id, other keys than their own."""
        self.keymap = dict(keymap)
        super().set_keymap(whole_keymap(keymap))

    def remember(self, **changes: Any) -> None:
        """Stores what was changed on the screen for the next start."""
        self.remembered = replace(self.remembered, **changes)
        if self.config.path != Path():
            try:
                remember(self.remembered)
            except OSError as error:
                self.notify(Content(f"Not remembered: {error.strerror or error}").markup, severity="warning")
