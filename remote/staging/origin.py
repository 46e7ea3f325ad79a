"""TODO docstring: remote/staging/origin.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol


class Refused(Exception):
    """The copy cannot be made, and trying again would not help; one sentence."""


class Broken(Exception):
    """A read broke; it may work when it is tried again."""


class Expired(Exception):
    """The addresses are valid no more."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of the source."""

    name: str
    """Its path below the source, with slashes."""
    size: int
    version: str
    """By this two versions of the file are told apart: a SHA-256, an ETag, or the time of its last change."""
    sha256: str = ""
    """Of its content, where the source says."""
    md5: str = ""
    """Of its content, where its ETag is that."""
    mtime_ns: int | None = None
    """Where the source is a folder."""


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
        """How a copy of it is checked: an algorithm of hashlib's and the hex of it; empty where the source says none.

        To be asked after the item was read.
        """
        ...


def whole(source: Source, item: Item) -> bytes:
    """A small file's content. Raises Refused, Broken, Expired."""
    return b"".join(bytes(block) for block in source.read(item, 0, item.size))


def proper(name: str) -> bool:
    """True if a file of this name lands below the folder that it is copied to."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and "\0" not in name


def _raise(error: OSError) -> None:
    raise error
