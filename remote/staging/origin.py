"""The source of a copy: what it offers, how reading it fails, and which of its files make up the data set.

Standard library only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from remote.wire.layout import CONTENTS

BLOCK_BYTES = 1 << 20
"""Of a read."""


class Refused(Exception):
    """The copy cannot be made, and a retry would not help; the message is one sentence for the user."""


class Broken(Exception):
    """A read failed, and may work when it is tried again."""


class Expired(Exception):
    """The addresses are no longer valid."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the source."""

    name: str
    """Its path below the source, with slashes."""
    size: int
    version: str
    """Differs between versions of the file: its ETag, or the time of its last change."""
    sha256: str = ""
    """Of its content; empty where the source does not say."""
    md5: str = ""
    """Of its content, where its ETag is that; else empty."""
    mtime_ns: int | None = None
    """Time of its last change, where the source is a folder."""


class Source(Protocol):
    """Where the files come from."""

    name: str

    def items(self) -> list[Item]:
        """All files. Raises Refused."""
        ...

    def read(self, item: Item, start: int, end: int) -> Iterator[memoryview]:
        """The bytes of a range, in blocks; each is valid until the next is asked for.

        Raises:
            Refused, Broken, Expired
        """
        ...

    def digest(self, item: Item) -> tuple[str, str]:
        """A hashlib algorithm and the hex digest that a copy must have; empty where the source does not say.

        To be called after the item was read.
        """
        ...


def read_all(source: Source, item: Item) -> bytes:
    """A small file's content. Raises Refused, Broken, Expired."""
    return b"".join(bytes(block) for block in source.read(item, 0, item.size))


def is_safe(name: str) -> bool:
    """True if a file of this name is written below the folder that it is copied to."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\0" not in name


def contents(source: Source, items: list[Item]) -> tuple[list[Item], bytes]:
    """The files to copy, and the text of the table of contents where the source is a packed data set.

    Of a packed data set only what its table names is copied, and checked by the SHA-256 in the table.

    Raises:
        Refused: a name leads out of the folder, the table cannot be read, or a file that it names is missing.
        Broken, Expired
    """
    for item in items:
        if not is_safe(item.name):
            raise Refused(
                f"{source.name} holds {item.name!r}, which would be written outside the folder that it is copied to"
            )
    by_name = {item.name: item for item in items}
    table = by_name.get(CONTENTS)
    if table is None:
        if not items:
            raise Refused(f"{source.name} holds no files (data.stage_from)")
        return items, b""
    text = read_all(source, table)
    try:
        files = {
            str(name): (int(about["size"]), str(about["sha256"])) for name, about in json.loads(text)["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(
            f"{source.name}/{CONTENTS} is damaged ({type(error).__name__}): prepare the data set anew"
        ) from None
    wanted = []
    for name, (size, sha256) in files.items():
        found = by_name.get(name)
        if found is None:
            raise Refused(f"{source.name}/{name} is missing, which its {CONTENTS} names; was the upload complete?")
        if found.size != size:
            raise Refused(
                f"{source.name}/{name} has {found.size:,} bytes and its {CONTENTS} says {size:,}; copy it there again"
            )
        # The source's own version is kept: the read asks for it.
        wanted.append(Item(name, size, found.version, sha256, "", found.mtime_ns))
    return wanted, text
