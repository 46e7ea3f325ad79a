"""Every key of the console's main screen, each with an id (for remapping) and a tooltip (for help and palette)."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding

RUN: Final = [
    Binding(
        "s", "control('start')", "start", id="run.start", tooltip="Start the run, or resume from its last checkpoint"
    ),
    Binding("space", "pause", "pause/resume", id="run.pause", tooltip="Pause at a step boundary, or resume"),
    Binding("c", "control('checkpoint')", "checkpoint", id="run.checkpoint", tooltip="Save a checkpoint now"),
    Binding("x", "stop", "stop", id="run.stop", tooltip="Stop gracefully: checkpoint, fetch, release the hosts"),
    Binding(
        "r",
        "control('restart')",
        "restart",
        id="run.restart",
        tooltip="Restart failed workers from the last checkpoint",
    ),
    Binding("b", "budget", "budget", id="run.budget", tooltip="Change the budget; the hosts' leases follow"),
    Binding(
        "T,shift+t",
        "terminate",
        "terminate",
        key_display="T",
        id="run.terminate",
        tooltip="Terminate all hosts at once, without a checkpoint",
    ),
]
"""Controls of a live run."""

PLAY: Final = [
    Binding("space,p", "play", "play/pause", id="play.toggle", tooltip="Play or pause"),
    Binding(
        "left_square_bracket",
        "step(-1)",
        "back",
        key_display="[",
        id="play.back",
        tooltip="Back one step, epoch or alert (a live run keeps running)",
    ),
    Binding(
        "right_square_bracket",
        "step(1)",
        "forward",
        key_display="]",
        id="play.forward",
        tooltip="Forward one step, epoch or alert",
    ),
    Binding(
        "left_curly_bracket",
        "marker(-1)",
        "previous marker",
        show=False,
        key_display="{",
        id="play.marker_before",
        tooltip="Previous marker: phase, epoch, alert, key or restart",
    ),
    Binding(
        "right_curly_bracket",
        "marker(1)",
        "next marker",
        show=False,
        key_display="}",
        id="play.next_marker",
        tooltip="Next marker",
    ),
    Binding("plus,equals_sign", "speed(2.0)", "faster", key_display="+", id="play.faster", tooltip="Twice as fast"),
    Binding("minus", "speed(0.5)", "slower", key_display="-", id="play.slower", tooltip="Half as fast"),
    Binding(
        "g",
        "go_to",
        "go to",
        id="play.go_to",
        tooltip="Go to a time (3:20), before the end (-1:30), a percentage (50%) or an epoch (e12)",
    ),
    Binding("home", "seek_start", "first", show=False, priority=True, id="play.start", tooltip="First record"),
    Binding(
        "end",
        "seek_end",
        "last",
        show=False,
        priority=True,
        id="play.end",
        tooltip="Last record; in a live run, back to live",
    ),
    Binding("L,shift+l", "loop", "loop", key_display="L", id="play.loop", tooltip="Toggle loop"),
]
"""Controls of playback: of a log, or of a live run's past."""

PANES: Final = [
    *(
        Binding(str(number), f"pane({number})", name, show=False, id=f"pane.{name.lower()}", tooltip=f"Go to {name}")
        for number, name in enumerate(("Nodes", "Progress", "Cost", "Log"), start=1)
    ),
    Binding("5,A,shift+a", "pane(5)", "Alerts", show=False, id="pane.alerts", tooltip="Go to Alerts (also A)"),
    Binding("tab", "next_pane(1)", "next pane", show=False, id="pane.next", tooltip="Next pane"),
    Binding("shift+tab", "next_pane(-1)", "previous pane", show=False, id="pane.previous", tooltip="Previous pane"),
    Binding(
        "H,shift+h",
        "hide",
        "hide",
        show=False,
        key_display="H",
        id="pane.hide",
        tooltip="Hide the pane (its number shows it again)",
    ),
    Binding(
        "less_than_sign",
        "widen(-1)",
        "narrower",
        show=False,
        key_display="<",
        id="pane.narrower",
        tooltip="Narrower column",
    ),
    Binding(
        "greater_than_sign",
        "widen(1)",
        "wider",
        show=False,
        key_display=">",
        id="pane.wider",
        tooltip="Wider column",
    ),
    Binding("ctrl+up", "heighten(-1)", "lower", show=False, id="pane.lower", tooltip="Less height"),
    Binding("ctrl+down", "heighten(1)", "higher", show=False, id="pane.higher", tooltip="More height"),
    Binding("0", "reset_layout", "reset", show=False, id="pane.reset", tooltip="Reset the layout"),
    Binding("z", "zoom", "maximise", id="pane.zoom", tooltip="Maximise the pane, or restore it"),
    Binding("escape", "back", "back", show=False, id="pane.back", tooltip="Close"),
]
"""Focus, size and layout of the panes."""

APP: Final = [
    Binding(
        "ctrl+p", "command_palette", "actions", show=False, priority=True, id="app.palette", tooltip="Command palette"
    ),
    Binding(
        "exclamation_mark",
        "shell",
        "shell",
        show=False,
        key_display="!",
        id="app.shell",
        tooltip="Shell on the node under the cursor",
    ),
    Binding("y", "copy", "copy", show=False, id="app.copy", tooltip="Copy the focused pane"),
    Binding("ctrl+s", "screenshot", "screenshot", show=False, id="app.picture", tooltip="Save a screenshot (SVG)"),
    Binding(
        "ctrl+t",
        "change_theme",
        "theme",
        show=False,
        id="app.theme",
        tooltip="Choose a theme: dark, light, high contrast, colour-blind",
    ),
    Binding("question_mark", "help", "help", key_display="?", id="app.help", tooltip="Keys"),
    Binding("q", "leave", "quit", id="app.leave", tooltip="Quit (asks first during a run)"),
    Binding(
        "ctrl+c",
        "interrupt",
        "quit",
        show=False,
        priority=True,
        id="app.interrupt",
        tooltip="Quit; pressed twice, stop the run",
    ),
]
"""Keys that work everywhere."""

CONTEXTS: Final = {
    "run": "Run",
    "play": "Playback",
    "pane": "Panes",
    "nodes": "Nodes",
    "node": "Node",
    "progress": "Progress",
    "log": "Log",
    "alerts": "Alerts",
    "start": "Start screen",
    "app": "Everywhere",
}
"""Headings of the help, by the first part of a key's id."""


def context(binding: Binding) -> str:
    """The first part of the key's id."""
    return (binding.id or "").partition(".")[0]
