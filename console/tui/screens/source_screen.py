"""What the parts of a screen (layout, controls, playback, comparison) share: the source and the shown moment."""

from __future__ import annotations

from textual.content import Content

from console.playback.source import Player, Source
from console.tui.draw.moment import NOTHING, Moment, moment_of
from console.tui.widgets.pane import Toned


class SourceScreen(Toned):
    """A screen over a `Source`."""

    def __init__(self, *, read_only: bool) -> None:
        super().__init__()
        self.source: Source | None = None
        """Set by the app once there is one."""
        self.read_only = read_only
        self.moment = Moment(read_only=read_only)
        self.compared = NOTHING
        """What the run is compared with."""

    def show(self, moment: Moment) -> None:
        """Draws the moment. Called inside the app's `batch_update`."""
        raise NotImplementedError

    def moved(self) -> None:
        """Shows the source's present moment without waiting for the next tick."""
        if self.source is not None:
            with self.app.batch_update():
                self.show(moment_of(self.source, read_only=self.read_only, compared=self.compared))

    def present(self) -> Moment:
        """The run as it is now, whatever moment is shown: commands apply to this one."""
        source = self.source
        if isinstance(source, Player) and source.present is not None:
            return moment_of(source.present, read_only=self.read_only)
        return self.moment

    def say(self, sentence: str) -> None:
        """Shows a sentence as a toast."""
        self.notify(Content(sentence).markup, severity="warning", timeout=4)
