"""TODO docstring: console/commands/profiles.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.commands.options import _nothing_more, _say
from console.state.outcome import Exit

if TYPE_CHECKING:
    pass


def _profiles(words: list[str]) -> int:
    from console.profile.load import builtin_names, find, load
    from console.profile.schema import ProfileError

    if not words:
        for name in builtin_names():
            profile = load(name)
            title = profile.text.splitlines()[0].lstrip("# ").rstrip(".")
            print(f"{name:24} {title}")
        return Exit.DONE
    _nothing_more(words[1:])
    try:
        # Read as a profile first, so that a file of another kind is not poured into the terminal.
        load(words[0])
        print(find(words[0]).read_text(encoding="utf-8"), end="")
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    return Exit.DONE


def _keys(words: list[str]) -> int:
    _nothing_more(words)
    from console.tui.keymap import table

    print("id\tkey\tmeaning")
    for row in table():
        print("\t".join(row))
    return Exit.DONE
