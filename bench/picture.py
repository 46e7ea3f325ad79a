"""The README's picture, from a run's journal: python bench/picture.py JOURNAL SECONDS OUT.svg

SECONDS is the moment of the run to show, from its first record.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from console.replay import Replay
from console.tui.app import ConsoleApp


async def picture(journal: Path, seconds: float, out: Path) -> None:
    """Opens the journal in the panes at the moment and saves what they show."""
    source = Replay(journal)
    source.playing = False
    source.seek(source.start + seconds)
    app = ConsoleApp(source)
    async with app.run_test(size=(120, 40)) as pilot:
        app.tick(force=True)
        await pilot.pause()
        await pilot.pause()
        drawn = app.export_screenshot(title="fastconsole local")
    # Rich points to fonts on a server; a picture in a README asks nobody for anything.
    out.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(picture(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
