"""A screen as text that a person can read in a diff: the characters as they stand, and under them their tones.

A line of tones is run-length: ``3, 8 good, 2, 4 heat-9`` are three plain columns, eight in the tone ``good``, and so on
to the last that is not plain. What no pane painted is named by the theme's colours: ``$accent on $surface``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.style import Style
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
from textual.app import App
from textual.geometry import Region

from console.tui.draw.ink import TONES
from console.tui.widgets.pane import Pane

Look = tuple[object, ...]
"""All of a style that one sees."""
NAMED = (
    "dim",
    "faint",
    "background",
    "surface",
    "panel",
    "foreground",
    "accent",
    "success",
    "warning",
    "error",
    "primary",
)


class Drawings(SingleFileSnapshotExtension):
    """A file a picture, named for its test."""

    _file_extension = "txt"
    _write_mode = WriteMode.TEXT


def drawn(app: App[object], region: Region | None = None) -> str:
    """What the terminal shows of the region, or all of it."""
    whole = app.screen.size.region
    region = whole if region is None else region.intersection(whole)
    names = _names(app)
    grounds = {look[1] for look, name in names.items() if name == ""}
    texts, tones = [], []
    for strip in app.screen._compositor.render_strips()[region.y : region.bottom]:
        strip = strip.crop(region.x, region.right)
        texts.append(strip.text.rstrip())
        pieces = ((len(text), _tone(text, style or Style.null(), names, grounds)) for text, style, _ in strip)
        tones.append(", ".join(_runs(pieces)))
    lines = [*texts, "─" * 40]
    first = 1
    for line, same in groupby(tones):
        last = first + len(list(same)) - 1
        if line:
            lines.append(f"{first}: {line}" if first == last else f"{first}-{last}: {line}")
        first = last + 1
    return "\n".join(lines) + "\n"


def _runs(pieces: Iterable[tuple[int, str]]) -> Iterator[str]:
    joined = [(sum(size for size, _ in same), tone) for tone, same in groupby(pieces, key=lambda one: one[1])]
    while joined and not joined[-1][1]:
        joined.pop()
    for size, tone in joined:
        yield f"{size} {tone}".rstrip()


def _look(style: Style) -> Look:
    color = style.color.triplet if style.color else None
    ground = style.bgcolor.triplet if style.bgcolor else None
    return (color, ground, style.bold, style.dim, style.italic, style.underline, style.reverse)


def _tone(text: str, style: Style, names: dict[Look, str], grounds: set[object]) -> str:
    look = _look(style)
    if not text.strip() and not (look[5] or look[6]) and look[1] in grounds:
        # Of a blank one sees the ground alone.
        return ""
    return names[look] if look in names else _by_colours(style, names, blank=not text.strip())


def _by_colours(style: Style, names: dict[Look, str], *, blank: bool) -> str:
    color, ground = (one.triplet if one else None for one in (style.color, style.bgcolor))
    words: list[str] = []
    if not blank:
        words += [word for word in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, word)]
        words.append(names.get((color,), color.hex if color else "default"))
    if ground is not None and (ground,) in names and names[ground,] != "$background":
        words.append(f"on {names[ground,]}")
    elif ground is not None and (ground,) not in names:
        words.append(f"on {ground.hex}")
    return " ".join(words) or "blank"


def _names(app: App[object]) -> dict[Look, str]:
    """Of looks the tones, of colours the theme's names; an empty name is what is plain."""
    names: dict[Look, str] = {}
    variables = app.theme_variables
    for name in [*NAMED, *app.current_theme.variables]:
        triplet = Style.parse(str(variables[name])).color if str(variables.get(name, "")).startswith("#") else None
        if triplet is not None:
            names.setdefault((triplet.triplet,), f"${name}")
    for screen in app.screen_stack:
        for pane in screen.query(Pane):
            for tone in TONES:
                names.setdefault(_look(pane._style(tone, False)), "" if tone == "plain" else tone)
                names.setdefault(_look(pane._style(tone, True)), f"{tone}+cursor")
    return names
