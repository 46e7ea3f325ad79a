"""Colours. The ramp of the heat map grows in lightness with its value, so that it reads without hue as well."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

_RAMP: Final = (
    *("#252c39", "#2b3350", "#303f73", "#304f92", "#2a66a6"),
    *("#237fad", "#1f97a6", "#27ad97", "#3dc488", "#63de8c"),
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
        **{f"heat-{step}": colour for step, colour in enumerate(_RAMP)},
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
        "dim": "#8494a8",
        "footer-key-foreground": "#4cb8ff",
    },
)
