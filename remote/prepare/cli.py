"""The command: ``python -m remote.prepare SOURCE DESTINATION [--sizes 160,352,full] [--workers N]``.

It packs ImageNet's folders or tars. `remote.prepare.originals` has the layouts that SOURCE may have, and
`remote.data.packed` the format of DESTINATION. ``--check`` reads a packed data set back.

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
from remote.prepare.pack import REPORT, REPORT_S, SPLITS, Progress, Report, prepare, sizes_text
from remote.prepare.shard import Odd
from remote.wire.events import StageProgressed
from remote.wire.journal import Journal, NullJournal
from remote.wire.layout import JOURNAL

NAMED = 10
"""Odd pictures that are named at the end; the report names all."""


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


def _text(progress: Progress) -> str:
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
    """Runs the command; exit status 0: done, 1: it failed, 2: wrong usage, 130: interrupted."""
    parser = argparse.ArgumentParser(prog="python -m remote.prepare", description="Packs ImageNet for fast loading.")
    parser.add_argument("source", metavar="SOURCE", type=Path, help="the folder with ImageNet's folders or tars")
    parser.add_argument("destination", metavar="DESTINATION", type=Path, nargs="?", help="where the packed sets go")
    parser.add_argument("--sizes", type=_parse_sizes, default=(160, 352, FULL), help="160,352,full by default")
    parser.add_argument("--workers", type=_parse_workers, help="processes; one a core by default")
    parser.add_argument("--quality", type=int, default=QUALITY, choices=range(50, 101), metavar="50-100")
    parser.add_argument(
        "--val-classes",
        type=Path,
        help="a file with the class of each validation picture, where they are not in class folders",
    )
    parser.add_argument(
        "--journal", type=Path, metavar="FOLDER", help="a run's folder, to report the progress in its journal too"
    )
    parser.add_argument("--check", action="store_true", help="read the data set in SOURCE back instead")
    options = parser.parse_args(arguments)
    if (options.destination is None) != options.check:
        parser.error("give SOURCE and DESTINATION, or --check and a prepared data set")
    screen = sys.stderr.isatty()

    def report(progress: Progress) -> None:
        text = _text(progress)
        journal.emit(StageProgressed(stage=progress.stage, done=progress.done, total=progress.total, detail=text))
        sys.stderr.write(f"\r\033[K{text}" if screen else f"{text}\n")
        sys.stderr.flush()

    try:
        journal: Journal | NullJournal = Journal(options.journal / JOURNAL) if options.journal else NullJournal()
        if options.check:
            return _print_check(options.source, report, screen)
        contents, odd = prepare(
            options.source,
            options.destination,
            sides=options.sizes,
            workers=options.workers,
            quality=options.quality,
            val_classes=options.val_classes,
            report=report,
        )
    except ConnectionError:
        # A process that was killed while it wrote to this one.
        sys.stderr.write(
            ("\n" if screen else "") + "a process that prepared pictures was killed; run the same command again\n"
        )
        return 1
    except (ValueError, OSError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        sys.stderr.write(("\n" if screen else "") + f"{where}{text}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; run the same command again to continue\n")
        return 130
    sys.stderr.write("\n" if screen else "")
    _print_end(contents, odd, options.destination)
    return 0


def _print_check(root: Path, report: Report, screen: bool) -> int:
    wrong = check(root, report)
    sys.stderr.write("\n" if screen else "")
    for sentence in wrong[:NAMED]:
        sys.stderr.write(f"{sentence}\n")
    if len(wrong) > NAMED:
        sys.stderr.write(f"and {len(wrong) - NAMED:,} more\n")
    if not wrong:
        sys.stdout.write(f"{root}: every picture is as it was written\n")
    return 1 if wrong else 0


def _print_end(contents: Contents, odd: list[Odd], destination: Path) -> None:
    write = sys.stdout.write
    counted = ", ".join(f"{count:,} for {split}" for split, count in contents.images.items())
    gib = sum(about["size"] for about in contents.files.values()) / 2**30
    sizes = sizes_text(contents.sides)
    write(f"{destination}: {counted}, {len(contents.classes):,} classes, sizes {sizes}, {gib:,.1f} GiB\n")
    for what in ("left out", "repaired"):
        mine = [picture for picture in odd if picture.what == what]
        if mine:
            write(f"{what}: {len(mine):,} (all in {destination / REPORT})\n")
        for picture in mine[:NAMED]:
            write(f"  {picture.name}: {picture.why}\n")


def check(root: Path, report: Report = lambda progress: None) -> list[str]:
    """Reads a packed data set back; returns what is wrong with it, one sentence each.

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
    began, done, reported = time.monotonic(), 0, 0.0
    for split in SPLITS:
        for side in contents.sides:
            packed_set = packed.PackedSet(root, contents, split, side)
            for index, whole in enumerate(packed_set.verified()):
                done += 1
                if not whole:
                    wrong.append(f"{packed_set.name(index)} is damaged in picture {index}")
                if time.monotonic() - reported >= REPORT_S:
                    reported = time.monotonic()
                    per_s = done / (reported - began) if reported > began else None
                    report(Progress("check", done, total, per_s, (total - done) / per_s if per_s else None))
            packed_set.close()
    return wrong
