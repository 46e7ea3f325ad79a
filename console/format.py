"""Figures as text: money, percentages, times, sizes, and untrusted text made fit for a terminal. Pure."""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal


def amount(number: float) -> str:
    """Bytes, by thousands: ``310 MB``, ``8.4 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{_number(number)} {unit}"
        number /= 1000
    return f"{_number(number)} TB"


def part_of(done: int, total: int | None) -> str:
    """Bytes done of all, in the unit of all: ``1.2 of 8.4 GB``."""
    if total is None:
        return amount(done)
    shown = amount(total)
    unit = shown.split()[-1]
    scale = 1000.0 ** ("B", "kB", "MB", "GB", "TB").index(unit)
    return f"{_number(done / scale)} of {shown}"


def _number(number: float) -> str:
    return f"{number:.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


def cents(usd: float) -> int:
    """Dollars in whole cents, half a cent up."""
    # The shortest decimal that means this float: 1.005 is a half cent, though its binary value lies just below.
    return int((Decimal(repr(usd)) * 100).to_integral_value(ROUND_HALF_UP))


_LAST_T = 1e11
"""Of the calendar: the year 5138."""


def metric_name(metric: str) -> str:
    """``top5`` as it is written: ``top-5``."""
    return {"top1": "top-1", "top5": "top-5"}.get(metric, plain(metric, 20))


def money(usd: float | None) -> str:
    """Dollars to the cent, half a cent up; below a cent four decimals."""
    if usd is None:
        return "—"
    if 0 < abs(usd) < 0.01 or not math.isfinite(usd):
        return f"${usd:,.4f}"
    whole, part = divmod(abs(cents(usd)), 100)
    return f"{'-' if usd < 0 else ''}${whole:,}.{part:02}"


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A fraction as a percentage, rounded down, so that a target is not shown as met before it is."""
    if fraction is None:
        return "—"
    # The small term is for fractions such as 0.931, which times 1000 falls just short of 931.
    whole = math.floor(fraction * 10 ** (2 + decimals) + 1e-6)
    return f"{whole / 10**decimals:.{decimals}f} %"


def clock(seconds: float | None) -> str:
    """Seconds as ``02:03``, from an hour on as ``1:02:03``."""
    if seconds is None:
        return "—"
    hours, minutes, rest = _hours_minutes_seconds(seconds)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def duration(seconds: float) -> str:
    """Seconds as they stand in a sentence: ``2:03``, from an hour on ``1:02:03``."""
    hours, minutes, rest = _hours_minutes_seconds(seconds)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def long_clock(seconds: float) -> str:
    """Seconds with their hours always: ``0:02:03``."""
    hours, minutes, rest = _hours_minutes_seconds(seconds)
    return f"{hours}:{minutes:02}:{rest:02}"


def _hours_minutes_seconds(seconds: float) -> tuple[int, int, int]:
    minutes, rest = divmod(max(0, int(min(seconds, 1e12))), 60)
    return minutes // 60, minutes % 60, rest


def time_of_day(t: float, now: float) -> str:
    """A moment by the laptop's clock and calendar: ``14:32``, and with the day where that is not today's."""
    if not 0 <= t < _LAST_T:
        return "—"
    moment, today = datetime.fromtimestamp(t), datetime.fromtimestamp(min(max(now, 0.0), _LAST_T))
    return f"{moment:%H:%M}" if moment.date() == today.date() else f"{moment:%d %b %H:%M}"


def count(number: int | None) -> str:
    """A whole number with thousands separated."""
    return "—" if number is None else f"{number:,}"


def whole(number: float | None) -> str:
    """A number rounded to a whole one, with thousands separated."""
    return "—" if number is None else f"{number:,.0f}"


def decimals(number: float | None) -> str:
    """A number with three decimals."""
    return "—" if number is None else f"{number:.3f}"


# CSI and OSC sequences whole, other escapes with the character that they take, then every control left over: C0 and C1,
# and the format characters that reorder text.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str, columns: int = 4096, *, strip: bool = True) -> str:
    """Text of a host or a log, fit for a terminal: one line, no control sequences, at most `columns` characters.

    Without `strip`, blanks at its ends stay.
    """
    clean = _CONTROL.sub(lambda match: " " if match[0] in "\t\n\r" else "", text[: 4 * columns + 1024])
    clean = clean.strip() if strip else clean
    return clean if len(clean) <= columns else clean[: max(0, columns - 1)] + "…"
