"""Colours by calculation: what is read has contrast, the ramp reads without hue, and some eyes see no red and green."""

from __future__ import annotations

import re as regex
from itertools import pairwise
from pathlib import Path

import pytest
from canned_source import CannedSource, scene
from desk import desk, rare_collections
from rich._palettes import STANDARD_PALETTE
from rich.color import Color as RichColor
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import Theme

from console.tui import themes
from console.tui.app import ConsoleApp
from console.views.metrics import HEATS

__all__ = ["rare_collections"]

EACH = pytest.mark.parametrize("theme", themes.ALL, ids=lambda theme: theme.name)
STYLES = (Path(__file__).parent.parent / "console/tui/console.tcss").read_text()

# How a colour looks without red or green cones, in linear RGB (Machado, Oliveira, Fernandes, IEEE Transactions on
# Visualization and Computer Graphics 15(6), 2009, severity 1.0).
BLIND = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


def linear(colour: str) -> list[float]:
    parts = Color.parse(colour).normalized
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB, white D65."""
    r, g, b = (max(0.0, part) for part in rgb)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (part ** (1 / 3) if part > 216 / 24389 else (24389 / 27 * part + 16) / 116 for part in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one: str, other: str, eye: str) -> float:
    """CIE 1976 colour difference as that eye sees it; about 2 is the least that is noticed."""
    seen = []
    for colour in (one, other):
        rgb = linear(colour)
        seen.append(lab([sum(weight * part for weight, part in zip(row, rgb, strict=True)) for row in BLIND[eye]]))
    return float(sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5)


@EACH
def test_what_is_read_has_contrast(theme: Theme) -> None:
    ground = str(theme.background)
    texts = [theme.foreground, theme.success, theme.warning, theme.error, theme.accent, theme.variables["dim"]]
    texts += [colour for name, colour in theme.variables.items() if name.startswith(("curve", "ghost", "past"))]
    for text in texts:
        assert themes.contrast(str(text), ground) >= 4.5, text
    for step in range(HEATS):
        assert themes.contrast(theme.variables[f"heat-text-{step}"], theme.variables[f"heat-{step}"]) >= 4.5, step
        assert themes.contrast(theme.variables[f"spark-{step}"], ground) >= 4, step
    for chip in (theme.success, theme.warning, theme.error, theme.accent):
        assert themes.contrast(str(chip), ground) >= 4.5, chip


@EACH
def test_the_ramp_reads_without_hue(theme: Theme) -> None:
    lights = [lab(linear(theme.variables[f"heat-{step}"]))[0] for step in range(HEATS)]
    if not theme.dark:
        lights.reverse()
    assert lights == sorted(lights)
    if theme is not themes.SIXTEEN:
        assert all(later - earlier > 2 for earlier, later in pairwise(lights)), lights


def test_high_contrast_is_high() -> None:
    theme = themes.HIGH_CONTRAST
    for text in (theme.foreground, theme.success, theme.warning, theme.error, theme.variables["dim"]):
        assert themes.contrast(str(text), str(theme.background)) >= 7
    assert themes.contrast(theme.variables["faint"], str(theme.background)) >= 4.5


@pytest.mark.parametrize("eye", sorted(BLIND))
def test_good_doubtful_and_bad_differ_for_every_eye(eye: str) -> None:
    theme = themes.COLOUR_BLIND
    colours = [str(theme.success), str(theme.warning), str(theme.error)]
    pairs = [(one, other) for place, one in enumerate(colours) for other in colours[place + 1 :]]
    assert min(distance(*pair, eye) for pair in pairs) > 30
    usual = distance(str(themes.DARK.success), str(themes.DARK.error), eye)
    assert distance(colours[0], colours[2], eye) > 80 > 2 * usual, "else there would be no need of another theme"
    steps = [theme.variables[f"heat-{step}"] for step in range(HEATS)]
    assert min(distance(*pair, eye) for pair in pairwise(steps)) > 5


def test_sixteen_colours_are_none_but_the_terminals() -> None:
    theme = themes.SIXTEEN
    colours = {theme.foreground, theme.background, theme.success, theme.warning, theme.error, theme.accent, theme.panel}
    colours |= {value for value in theme.variables.values() if value.startswith("#")}
    for colour in colours:
        number = RichColor.parse(str(colour)).downgrade(ColorSystem.STANDARD).number
        assert number is not None
        assert Color(*STANDARD_PALETTE[number]).hex.lower() == str(colour), colour


@EACH
def test_every_colour_of_the_stylesheet_is_in_every_theme(theme: Theme) -> None:
    app = ConsoleApp(CannedSource())
    used = set(regex.findall(r"\$([a-z0-9-]+)", STYLES))
    app.theme = theme.name
    assert used <= set(app.get_css_variables())
    assert {name for name in used if name.startswith(("heat", "spark", "faint", "dim", "stale"))} <= set(
        theme.variables
    )


@pytest.mark.parametrize(
    ("system", "wanted"),
    [("truecolor", themes.DARK), ("256", themes.DARK), (None, themes.DARK), ("standard", themes.SIXTEEN)],
)
def test_the_theme_fits_the_terminal(system: str | None, wanted: Theme) -> None:
    assert themes.fitting(system) is wanted


async def test_another_theme_paints_the_cells_anew() -> None:
    async with desk(CannedSource(scene("training", nodes=4, gpus=8))) as one:
        pane = one.pane("nodes")
        seen = set()
        for theme in themes.ALL:
            one.app.theme = theme.name
            await one.pilot.pause()
            line = pane.render_line(3)
            grounds = {str(segment.style.bgcolor.name) for segment in line if segment.style and segment.style.bgcolor}
            assert theme.variables["heat-9"] in grounds
            seen.add(frozenset(grounds))
        assert len(seen) == len(themes.ALL)
