"""Prepares a data set once, so that every run reads it fast: ImageNet's folders or tars to packed sets.

``python -m remote.prepare SOURCE DESTINATION [--sizes 160,352,full] [--workers N]``; what SOURCE may look like is in
`remote.prepare.originals`, what DESTINATION becomes in `remote.data.packed`, and how in `remote.prepare.pack`.
``--check`` reads a prepared data set back.

No torch here.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from remote.data import packed
from remote.data.packed import FULL, Contents
from remote.prepare.encode import QUALITY
from remote.prepare.pack import REPORT, SAY_S, SPLITS, Progress, Say, prepare, sizes_text
from remote.prepare.shard import Odd
from remote.wire.events import StageProgressed
from remote.wire.journal import Journal, NullJournal
from remote.wire.layout import JOURNAL

NAMED = 10
"""So many odd pictures are named at the end; the report names all."""


def _parse_sizes(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    try:
        sides = {FULL if word == "full" else int(word) for word in words}
        if any(side != FULL and not 16 <= side <= 4096 for side in sides):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 160,352,full (16 to 4096 px each)") from None
    return tuple(sorted(sides, key=lambda side: side or 1 << 20))


def _parse_workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes from 1 to 1024")
    return int(text)


def _told(progress: Progress) -> str:
    what = {"list": "looked at", "prepare": "pictures", "check": "pictures"}[progress.stage]
    text = f"{progress.stage}: {progress.done:,}"
    text += (f" of {progress.total:,}" if progress.total is not None else "") + f" {what}"
    if progress.per_s is not None:
        text += f", {progress.per_s:,.0f}/s"
    if progress.eta_s is not None:
        text += f", {_duration(progress.eta_s)} left"
    return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def main(arguments: list[str]) -> int:
    """The command; exit status 0 done, 1 something is in the way, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m remote.prepare", description="Packs ImageNet for fast loading.")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="the folder with ImageNet's folders or tars")
    parser.add_argument("destination", metavar="DESTINATION", type=Path, nargs="?", help="where the packed sets go")
    parser.add_argument("--sizes", type=_parse_sizes, default=(160, 352, FULL), help="160,352,full by default")
    parser.add_argument("--workers", type=_parse_workers, help="processes; one a core by default")
    parser.add_argument("--quality", type=int, default=QUALITY, choices=range(50, 101), metavar="50-100")
    parser.add_argument(
        "--val-classes", type=Path, help="which class each validation picture is of, where they lie flat"
    )
    parser.add_argument("--journal", type=Path, metavar="FOLDER", help="a run's folder, to say the progress there too")
    parser.add_argument("--check", action="store_true", help="read the data set in SOURCE back instead")
    options = parser.parse_args(arguments)
    if (options.destination is None) != options.check:
        parser.error("give SOURCE and DESTINATION, or --check and a prepared data set")
    screen = sys.stderr.isatty()

    def say(progress: Progress) -> None:
        text = _told(progress)
        journal.emit(StageProgressed(stage=progress.stage, done=progress.done, total=progress.total, detail=text))
        sys.stderr.write(f"\r\033[K{text}" if screen else f"{text}\n")
        sys.stderr.flush()

    try:
        journal: Journal | NullJournal = Journal(options.journal / JOURNAL) if options.journal else NullJournal()
        if options.check:
            return _say_check(options.source, say, screen)
        contents, odd = prepare(
            options.source,
            options.destination,
            sides=options.sizes,
            workers=options.workers,
            quality=options.quality,
            val_classes=options.val_classes,
            say=say,
        )
    except ConnectionError:
        # One that was killed in the middle of a word to this one.
        sys.stderr.write(("\n" if screen else "") + "a process that prepared pictures was ended; say the same again\n")
        return 1
    except (ValueError, OSError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        sys.stderr.write(("\n" if screen else "") + f"{where}{text}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; say the same again to go on\n")
        return 130
    sys.stderr.write("\n" if screen else "")
    _say_end(contents, odd, options.destination)
    return 0


def _say_check(root: Path, say: Say, screen: bool) -> int:
    wrong = check(root, say)
    sys.stderr.write("\n" if screen else "")
    for sentence in wrong[:NAMED]:
        sys.stderr.write(f"{sentence}\n")
    if len(wrong) > NAMED:
        sys.stderr.write(f"and {len(wrong) - NAMED:,} more\n")
    if not wrong:
        sys.stdout.write(f"{root}: every picture is as it was written\n")
    return 1 if wrong else 0


def _say_end(contents: Contents, odd: list[Odd], destination: Path) -> None:
    write = sys.stdout.write
    counted = ", ".join(f"{count:,} for {split}" for split, count in contents.images.items())
    gib = sum(about["size"] for about in contents.files.values()) / 2**30
    sizes = sizes_text(contents.sides)
    write(f"{destination}: {counted}, {len(contents.classes):,} classes, sizes {sizes}, {gib:,.1f} GiB\n")
    for what in ("left out", "repaired"):
        mine = [one for one in odd if one.what == what]
        if mine:
            write(f"{what}: {len(mine):,} (all in {destination / REPORT})\n")
        for one in mine[:NAMED]:
            write(f"  {one.name}: {one.why}\n")


def check(root: Path, say: Say = lambda progress: None) -> list[str]:
    """Reads a prepared data set back; what is wrong with it, one sentence each.

    Raises ValueError where there is none.
    """
    contents = Contents.read(root)
    wrong = []
    for name, about in contents.files.items():
        if name.endswith(".data"):
            continue  # picture by picture below
        path = root / name
        if not path.exists():
            wrong.append(f"{path} is missing")
        elif packed.sha256_of(path) != about["sha256"]:
            wrong.append(f"{path} is not as it was written")
    if wrong:
        return wrong
    total = sum(contents.images.values()) * len(contents.sides)
    began, done, said = time.monotonic(), 0, 0.0
    for split in SPLITS:
        for side in contents.sides:
            one_set = packed.PackedSet(root, contents, split, side)
            for index, whole in enumerate(one_set.verified()):
                done += 1
                if not whole:
                    wrong.append(f"{one_set.name(index)} is damaged in picture {index}")
                if time.monotonic() - said >= SAY_S:
                    said = time.monotonic()
                    per_s = done / (said - began) if said > began else None
                    say(Progress("check", done, total, per_s, (total - done) / per_s if per_s else None))
            one_set.close()
    return wrong
