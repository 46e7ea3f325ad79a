"""Texts that are compared whole with the files in ``__snapshots__``.

After a change that is meant: ``pytest THE_TEST --snapshot-update``, and read the difference.
"""

from __future__ import annotations

from typing import Any

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode


class Pages(SingleFileSnapshotExtension):
    """A file a text, named for its test."""

    _file_extension = "txt"
    _write_mode = WriteMode.TEXT


def figures(value: Any) -> Any:
    """The value with its figures to nine digits: the last ones depend on the machine's arithmetic."""
    match value:
        case dict():
            return {key: figures(item) for key, item in value.items()}
        case list() | tuple():
            return [figures(item) for item in value]
        case float():
            return float(f"{value:.9g}")
        case _:
            return value
