"""Whether something fits: on a disk, or in a host's memory where the folder is in it.

Standard library only.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_SPARE_BYTES = 64 << 20
"""Left free on a disk, for journals and the like."""
_SPARE_MEMORY = 0.1
"""Of a host's memory: the trainer needs some too."""


def refusal(folder: Path, needed_bytes: int) -> str:
    """Why so much more does not fit into the folder; empty where it does. Raises OSError."""
    if needed_bytes <= 0:
        return ""
    free = shutil.disk_usage(folder).free
    if needed_bytes + _SPARE_BYTES > free:
        return (
            f"{size(needed_bytes)} more do not fit on the disk of {folder}: {size(free)} are free; free some, or name "
            "another disk in data.dir"
        )
    if in_memory(folder):
        available, total = memory_bytes()
        if available is not None and needed_bytes > available - _SPARE_MEMORY * total:
            return (
                f"{size(needed_bytes)} more do not fit in the host's memory ({folder} is in it): {size(available)} of "
                f"{size(total)} are available; name a folder on a disk in data.dir"
            )
    return ""


def size(number: float) -> str:
    """Bytes in words, by thousands."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if number >= 100 or unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"


def in_memory(folder: Path) -> bool:
    """True if the folder is on a file system that lives in memory (Linux)."""
    kind, longest = "", 0
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return False
    path = str(folder.resolve())
    for line in mounts:
        _, place, name, *_ = line.split(" ")
        place = place.replace("\\040", " ")
        if len(place) >= longest and (path == place or path.startswith(place.rstrip("/") + "/")):
            kind, longest = name, len(place)
    return kind in ("tmpfs", "ramfs")


def memory_bytes() -> tuple[float | None, float]:
    """What is available and what there is of the host's memory; None where the kernel does not say."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024.0, int(lines["MemTotal"].split()[0]) * 1024.0
    except (OSError, KeyError, ValueError):
        return None, 0.0
