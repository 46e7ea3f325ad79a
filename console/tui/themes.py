"""Colours. The ramp of the heat map changes in lightness with its value, so that it reads without hue as well."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from textual.color import Color
from textual.theme import Theme


def contrast(first: str, second: str) -> float:
    """Contrast of two colours, 1 to 21 (W3C, Web Content Accessibility Guidelines 2.1, "contrast ratio")."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in Color.parse(colour).normalized
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _ramp(ramp: Sequence[str], texts: Sequence[str], sparks: Sequence[str]) -> dict[str, str]:
    """Variables of the ramp: what numbers stand on, the numbers in that of `texts` which reads best there, and columns
    on the theme's ground."""
    variables: dict[str, str] = {}
    for step, (ground, spark) in enumerate(zip(ramp, sparks, strict=True)):
        variables[f"heat-{step}"] = ground
        variables[f"heat-text-{step}"] = max(texts, key=partial(contrast, ground))
        variables[f"spark-{step}"] = spark
    return variables


_RAMP: Final = (
    *("#252c39", "#2b3350", "#303f73", "#304f92", "#2a66a6"),
    *("#2588b8", "#1f97a6", "#27ad97", "#3dc488", "#63de8c"),
)

DARK: Final = Theme(
    name="fastconsole",
    primary="#4cb8ff",
    secondary="#8aa4c8",
    accent="#4cb8ff",
    success="#4fd18b",
    warning="#f0b64a",
    error="#ff6473",
    foreground="#d7dee8",
    background="#0b0f14",
    surface="#0f151c",
    panel="#18202b",
    dark=True,
    variables={
        **_ramp(
            _RAMP,
            ("#061012", "#f6f9fd"),
            (
                *("#8494a8", "#7080a8", "#6a7fbd", "#5e8bd0", "#4c98d4"),
                *("#35a2cf", "#2bb0c0", "#27ad97", "#3dc488", "#63de8c"),
            ),
        ),
        "curve-loss": "#e8a87c",
        "curve-top5": "#4fd18b",
        "curve-top1": "#6f9dff",
        "curve-eval-loss": "#d96f8e",
        "curve-rate": "#4cc9d8",
        "curve-lr": "#b7a1f0",
        "curve-share": "#c9c25a",
        "ghost": "#c3b2e8",
        "past-0": "#e06fc8",
        "past-1": "#d8a03a",
        "past-2": "#58b0a0",
        "past-3": "#a4b84a",
        "past-4": "#c77d5a",
        "faint": "#3c4858",
        "stale": "#66758a",
        "dim": "#8494a8",
        "footer-key-foreground": "#4cb8ff",
    },
)

LIGHT: Final = Theme(
    name="fastconsole-light",
    primary="#0b62b5",
    secondary="#4a5d78",
    accent="#0b62b5",
    success="#136f3f",
    warning="#8a5300",
    error="#b3182a",
    foreground="#17202b",
    background="#fbfcfd",
    surface="#f0f3f6",
    panel="#dfe6ee",
    dark=False,
    variables={
        **_ramp(
            (
                *("#eef1f5", "#dfe9f1", "#cbe0ec", "#b0d6e3", "#8ec9d6"),
                *("#66b8c6", "#3f9fb3", "#1d7890", "#136382", "#0b4763"),
            ),
            ("#0c141c", "#ffffff"),
            (
                *("#56677b", "#526a80", "#4a6f88", "#3f7390", "#337392"),
                *("#2a7190", "#226b8a", "#1b6583", "#136382", "#0b4763"),
            ),
        ),
        "curve-loss": "#9c4a12",
        "curve-top5": "#136f3f",
        "curve-top1": "#2b4fc4",
        "curve-eval-loss": "#a3264f",
        "curve-rate": "#0b6b78",
        "curve-lr": "#6a3fb5",
        "curve-share": "#6b5f00",
        "ghost": "#6c4fa8",
        "past-0": "#a8208c",
        "past-1": "#8a5300",
        "past-2": "#1c6b5e",
        "past-3": "#56660f",
        "past-4": "#8f4524",
        "faint": "#b9c3cf",
        "stale": "#8793a1",
        "dim": "#56677b",
        "footer-key-foreground": "#0b62b5",
    },
)

# The ramp is cividis, made to look the same with and without red-green colour blindness (Nunez, Anderton, Renslow,
# PLoS ONE 13(7), 2018); good, doubtful and bad are sky blue, yellow and vermilion of Okabe and Ito's palette
# (jfly.uni-koeln.de/color, 2002).
COLOUR_BLIND: Final = Theme(
    name="fastconsole-colour-blind",
    primary="#56b4e9",
    secondary="#9aa5b1",
    accent="#7cc7f2",
    success="#56b4e9",
    warning="#f0e442",
    error="#d55e00",
    foreground="#dfe4ea",
    background="#0b0e13",
    surface="#10151c",
    panel="#1a212c",
    dark=True,
    variables={
        **_ramp(
            (
                *("#00224e", "#123570", "#3b496c", "#575d6d", "#707173"),
                *("#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"),
            ),
            ("#0a0a05", "#ffffff"),
            (
                *("#7a8bab", "#7a8bab", "#7f8cab", "#868f9f", "#8f9094"),
                *("#9a9688", "#a59c74", "#c3b369", "#e1cc55", "#fee838"),
            ),
        ),
        "curve-loss": "#e69f00",
        "curve-top5": "#56b4e9",
        "curve-top1": "#f0e442",
        "curve-eval-loss": "#cc79a7",
        "curve-rate": "#009e73",
        "curve-lr": "#b9a6e0",
        "curve-share": "#c8c8b0",
        "ghost": "#c9b8e8",
        "past-0": "#cc79a7",
        "past-1": "#e69f00",
        "past-2": "#009e73",
        "past-3": "#f0e442",
        "past-4": "#9fb4c8",
        "faint": "#434c59",
        "stale": "#6f7b8a",
        "dim": "#939fae",
        "footer-key-foreground": "#7cc7f2",
    },
)

HIGH_CONTRAST: Final = Theme(
    name="fastconsole-high-contrast",
    primary="#6cd0ff",
    secondary="#ffffff",
    accent="#6cd0ff",
    success="#5dff9b",
    warning="#ffe14d",
    error="#ff8f8f",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#2a2a2a",
    dark=True,
    variables={
        **_ramp(
            (
                *("#101010", "#1c1c30", "#1a2f66", "#144a99", "#0f5ec4"),
                *("#46a7f0", "#79c3f7", "#a7daff", "#d3edff", "#ffffff"),
            ),
            ("#000000", "#ffffff"),
            (
                *("#c0c0c0", "#c0c0d8", "#a9c1ff", "#93c2ff", "#7fc2ff"),
                *("#79c3f7", "#8fd0fb", "#a7daff", "#d3edff", "#ffffff"),
            ),
        ),
        "curve-loss": "#ffb98a",
        "curve-top5": "#5dff9b",
        "curve-top1": "#a9c1ff",
        "curve-eval-loss": "#ff9fbb",
        "curve-rate": "#7ff0ff",
        "curve-lr": "#d4c4ff",
        "curve-share": "#ffef8a",
        "ghost": "#e2d4ff",
        "past-0": "#ff9fe8",
        "past-1": "#ffc966",
        "past-2": "#8ff0dc",
        "past-3": "#d8f07a",
        "past-4": "#ffb898",
        "faint": "#8c8c8c",
        "stale": "#a0a0a0",
        "dim": "#d0d0d0",
        "footer-key-foreground": "#6cd0ff",
    },
)

# Only colours that a terminal of 16 has (as Rich's standard palette), so that none is rounded to another.
SIXTEEN: Final = Theme(
    name="fastconsole-16",
    primary="#55ffff",
    secondary="#aaaaaa",
    accent="#55ffff",
    success="#55ff55",
    warning="#ffff55",
    error="#ff5555",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#555555",
    dark=True,
    variables={
        **_ramp(
            (
                *("#000000", "#000000", "#0000aa", "#0000aa", "#00aaaa"),
                *("#00aaaa", "#aaaaaa", "#aaaaaa", "#ffffff", "#ffffff"),
            ),
            ("#000000", "#ffffff"),
            (
                *("#aaaaaa", "#aaaaaa", "#5555ff", "#5555ff", "#00aaaa"),
                *("#00aaaa", "#aaaaaa", "#aaaaaa", "#ffffff", "#ffffff"),
            ),
        ),
        "curve-loss": "#ffff55",
        "curve-top5": "#55ff55",
        "curve-top1": "#ff55ff",
        "curve-eval-loss": "#ff5555",
        "curve-rate": "#55ffff",
        "curve-lr": "#ffffff",
        "curve-share": "#aaaaaa",
        "ghost": "#aaaaaa",
        "past-0": "#ff55ff",
        "past-1": "#ffff55",
        "past-2": "#55ffff",
        "past-3": "#55ff55",
        "past-4": "#ff5555",
        "faint": "#555555",
        "stale": "#555555",
        "dim": "#aaaaaa",
        "footer-key-foreground": "#55ffff",
    },
)

ALL: Final = (DARK, LIGHT, COLOUR_BLIND, HIGH_CONTRAST, SIXTEEN)


def fitting(color_system: str | None) -> Theme:
    """The theme for a terminal where nobody chose one; `color_system` as Rich calls it.

    Anything more than 16 colours shows the dark theme well; what has 16 or fewer would round it to a few, some of them
    black on black. Without any colour (``NO_COLOR``) the dark theme is shown in greys.
    """
    return SIXTEEN if color_system in ("standard", "windows") else DARK
