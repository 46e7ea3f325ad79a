"""Every key of the console's main screen. Each has an id, so that it can be remapped, and a tooltip for the help."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding

RUN: Final = [
    Binding(
        "s", "control('start')", "start", id="run.start", tooltip="Start the run, or go on from its last checkpoint"
    ),
    Binding(
        "space", "pause", "pause/resume", id="run.pause", tooltip="Pause the gang at a step boundary, or resume it"
    ),
    Binding("c", "control('checkpoint')", "checkpoint", id="run.checkpoint", tooltip="Save a checkpoint now"),
    Binding("x", "stop", "stop", id="run.stop", tooltip="Stop gracefully: checkpoint, fetch, give the hosts back"),
    Binding(
        "r", "control('restart')", "restart", id="run.restart", tooltip="Restart what failed from the last checkpoint"
    ),
    Binding("b", "budget", "budget", id="run.budget", tooltip="Set another budget; the hosts' leases follow it"),
    Binding(
        "T,shift+t",
        "terminate",
        "terminate",
        key_display="T",
        id="run.terminate",
        tooltip="Terminate all hosts at once, with nothing saved",
    ),
]
"""What is done to a live run."""

PLAY: Final = [
    Binding("space,p", "play", "play/hold", id="play.toggle", tooltip="Let the clock run on from here, or hold it"),
    Binding(
        "left_square_bracket",
        "step(-1)",
        "back",
        key_display="[",
        id="play.back",
        tooltip="One step, epoch or alert back in time; a live run goes on meanwhile",
    ),
    Binding(
        "right_square_bracket",
        "step(1)",
        "forward",
        key_display="]",
        id="play.forward",
        tooltip="One step, epoch or alert forward",
    ),
    Binding(
        "left_curly_bracket",
        "marker(-1)",
        "marker before",
        show=False,
        key_display="{",
        id="play.marker_before",
        tooltip="Back to the marker before: a phase, an epoch, an alert, a key, a restart",
    ),
    Binding(
        "right_curly_bracket",
        "marker(1)",
        "next marker",
        show=False,
        key_display="}",
        id="play.next_marker",
        tooltip="On to the next marker",
    ),
    Binding("plus,equals_sign", "speed(2.0)", "faster", key_display="+", id="play.faster", tooltip="Twice as fast"),
    Binding("minus", "speed(0.5)", "slower", key_display="-", id="play.slower", tooltip="Half as fast"),
    Binding(
        "g",
        "go_to",
        "go to",
        id="play.go_to",
        tooltip="Go to a time (3:20), back from the end (-1:30), a share (50%) or an epoch (e12)",
    ),
    Binding("home", "seek_start", "first", show=False, priority=True, id="play.start", tooltip="To the first record"),
    Binding(
        "end",
        "seek_end",
        "last",
        show=False,
        priority=True,
        id="play.end",
        tooltip="To the last record; of a live run, back to the present",
    ),
    Binding(
        "L,shift+l", "loop", "loop", key_display="L", id="play.loop", tooltip="Begin again when the log is at its end"
    ),
]
"""What is done to the clock: a log's, or that of a live run's past."""

PANES: Final = [
    *(
        Binding(str(place), f"pane({place})", name, show=False, id=f"pane.{name.lower()}", tooltip=f"Go to {name}")
        for place, name in enumerate(("Nodes", "Progress", "Cost", "Log"), start=1)
    ),
    Binding("5,A,shift+a", "pane(5)", "Alerts", show=False, id="pane.alerts", tooltip="Go to Alerts; A does so too"),
    Binding("tab", "next_pane(1)", "next pane", show=False, id="pane.next", tooltip="The next pane"),
    Binding("shift+tab", "next_pane(-1)", "pane before", show=False, id="pane.previous", tooltip="The pane before"),
    Binding(
        "H,shift+h",
        "hide",
        "hide",
        show=False,
        key_display="H",
        id="pane.hide",
        tooltip="Hide the pane; its number shows it again",
    ),
    Binding(
        "less_than_sign",
        "widen(-1)",
        "narrower",
        show=False,
        key_display="<",
        id="pane.narrower",
        tooltip="A narrower column for the pane",
    ),
    Binding(
        "greater_than_sign",
        "widen(1)",
        "wider",
        show=False,
        key_display=">",
        id="pane.wider",
        tooltip="A wider column for the pane",
    ),
    Binding("ctrl+up", "heighten(-1)", "lower", show=False, id="pane.lower", tooltip="Less height for the pane"),
    Binding("ctrl+down", "heighten(1)", "higher", show=False, id="pane.higher", tooltip="More height for the pane"),
    Binding(
        "0", "as_at_first", "as at first", show=False, id="pane.reset", tooltip="All panes shown, in their first sizes"
    ),
    Binding("z", "zoom", "maximise", id="pane.zoom", tooltip="Give the pane the whole screen, or its place again"),
    Binding("escape", "back", "back", show=False, id="pane.back", tooltip="Put away what is open"),
]
"""How one moves about."""

APP: Final = [
    Binding(
        "ctrl+p", "command_palette", "actions", show=False, priority=True, id="app.palette", tooltip="Every action"
    ),
    Binding(
        "exclamation_mark",
        "shell",
        "shell",
        show=False,
        key_display="!",
        id="app.shell",
        tooltip="A shell on the node under the cursor; exit returns",
    ),
    Binding("y", "copy", "copy", show=False, id="app.copy", tooltip="Copy what the focused pane says to the clipboard"),
    Binding(
        "ctrl+s", "screenshot", "picture", show=False, id="app.picture", tooltip="Save a picture of the screen (SVG)"
    ),
    Binding(
        "ctrl+t",
        "change_theme",
        "theme",
        show=False,
        id="app.theme",
        tooltip="Choose the colours: dark, light, high contrast, colour-blind",
    ),
    Binding("question_mark", "help", "help", key_display="?", id="app.help", tooltip="All keys"),
    Binding("q", "leave", "quit", id="app.leave", tooltip="Leave; asks first while a run is going on"),
    Binding(
        "ctrl+c",
        "interrupt",
        "quit",
        show=False,
        priority=True,
        id="app.interrupt",
        tooltip="Like q; a second time stops the run",
    ),
]
"""What works everywhere."""

CONTEXTS: Final = {
    "run": "The run",
    "play": "Time",
    "pane": "Panes",
    "nodes": "In Nodes",
    "node": "In a node",
    "progress": "In Progress",
    "log": "In Log",
    "alerts": "In Alerts",
    "start": "The start screen",
    "app": "Everywhere",
}
"""What the first part of a key's id means."""


def context(binding: Binding) -> str:
    """The first part of the key's id."""
    return (binding.id or "").partition(".")[0]
