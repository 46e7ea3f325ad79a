"""``fastconsole keys``: every key of the screen."""

from __future__ import annotations

from console.commands.errors import report_errors
from console.commands.options import Parser
from console.state.outcome import Exit


def parser() -> Parser:
    """Its options: none."""
    return Parser("keys", "Lists every key of the screen: its id for config.toml, the key, what it does.")


@report_errors
def main(words: list[str]) -> int:
    """Prints the table of keys, tab-separated."""
    parser().parse_args(words)
    from console.tui.keymap import table

    print("id\tkey\tmeaning")
    for row in table():
        print("\t".join(row))
    return Exit.DONE
