"""The README's pictures: a log's panes at a moment, as SVG with the viewer's own fonts.

    python bench/picture.py LOG MOMENT OUT.svg [--size 140x44] [--title WORDS] [--keys 4 H]

LOG is a run's journal or any other that ``fastconsole --replay`` reads; MOMENT is what ``g`` takes there: ``3:20`` from
its first record on, ``-1:30`` from its end, ``50%``, or ``e12`` for an epoch; then the keys are pressed.
bench/results/screen.svg is of a run of ``fastconsole local``, bench/results/replay-2018.svg of fast.ai's ``debug.log``
of 2018, without the panes for which that log has little data (``--keys 4 H 1 H``).
"""

from __future__ import annotations

import argparse
import asyncio
import html
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.cells import cell_len

from console.playback.replay import Replay
from console.tui import themes
from console.tui.app import ConsoleApp
from console.tui.dialogs.questions import parse_position

_COLUMN = 12.2
"""Pixels, as Rich draws."""


async def picture(log: Path, moment: str, out: Path, size: tuple[int, int], title: str, keys: list[str]) -> None:
    """Opens the log in the panes, goes to the moment, and saves the screen."""
    if parse_position(moment) is None:
        sys.exit(f"{moment!r} is not a moment; accepted: 3:20, -1:30, 50%, e12")
    source = Replay(log)
    source.playing = False
    app = ConsoleApp(source)
    app.theme = themes.DARK.name
    async with app.run_test(size=size) as pilot:
        await pilot.press("g")
        await pilot.press(*moment, "enter", *keys)
        # The layout depends on the content: waits until nothing moves.
        shown, drawn = "", app.export_screenshot(title=title)
        while shown != drawn:
            await pilot.pause()
            shown, drawn = drawn, app.export_screenshot(title=title)
    # Rich links to fonts on a server; a picture in a README must load nothing.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    # Rich makes random ids; the same picture should be the same file.
    drawn = re.sub(r"terminal-\d+", "terminal", drawn)
    drawn = re.sub(
        r'<text class="([^"]*)" x="([^"]*)" y="([^"]*)" textLength="[^"]*"([^>]*)>([^<]*)</text>', _set, drawn
    )
    out.write_text(re.sub(r"[ \t]*\n+", "\n", drawn))


def _set(text: re.Match[str]) -> str:
    """The text without surrounding blanks, placed at its first letter: some viewers drop blanks and shift the rest."""
    style, x, y, more, words = text.groups()
    letters = html.unescape(words)
    inner = letters.strip("\xa0\n")
    if not inner:
        return ""
    before = len(letters) - len(letters.lstrip("\xa0"))
    columns, words = cell_len(inner), html.escape(inner, quote=False)
    position = f'x="{float(x) + before * _COLUMN:.4g}" y="{y}" textLength="{columns * _COLUMN:.4g}"'
    return f'<text class="{style}" {position}{more}>{words}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("moment")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="140x44")
    parser.add_argument("--title", default="fastconsole")
    parser.add_argument("--keys", nargs="*", default=[])
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    asyncio.run(
        picture(arguments.log, arguments.moment, arguments.out, (width, height), arguments.title, arguments.keys)
    )


if __name__ == "__main__":
    main()
