"""Whether a copy fits on a disk, or in the host's memory where the folder is on a file system in memory.

Standard library only.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_SPARE_BYTES = 64 << 20
"""Left free on a disk, for journals."""
_SPARE_MEMORY = 0.1
"""Share of the host's memory that is left for the trainer."""


def refusal(folder: Path, needed_bytes: int) -> str:
    """Why `needed_bytes` more do not fit into the folder; empty where they do. Raises OSError."""
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
    """Bytes as text, in decimal units: ``1.5 GB``."""
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
        _, mount, name, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if len(mount) >= longest and (path == mount or path.startswith(mount.rstrip("/") + "/")):
            kind, longest = name, len(mount)
    return kind in ("tmpfs", "ramfs")


def memory_bytes() -> tuple[float | None, float]:
    """(available, total) memory of the host; (None, 0) where the kernel does not say."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024.0, int(lines["MemTotal"].split()[0]) * 1024.0
    except (OSError, KeyError, ValueError):
        return None, 0.0
