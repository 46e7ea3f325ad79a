"""``fastconsole profiles``: the built-in profiles, or one in full."""

from __future__ import annotations

from console.commands.errors import report_errors
from console.commands.options import Parser
from console.profile.load import builtin_names, find, load
from console.state.outcome import Exit


def parser() -> Parser:
    """Its options."""
    made = Parser("profiles", "Lists the built-in profiles, or prints one in full.")
    made.add_argument("profile", nargs="?", metavar="NAME")
    return made


@report_errors
def main(words: list[str]) -> int:
    """Prints a line a profile, or the text of the one that is named."""
    options = parser().parse_args(words)
    if options.profile is None:
        for name in builtin_names():
            title = load(name).text.splitlines()[0].lstrip("# ").rstrip(".")
            print(f"{name:24} {title}")
        return Exit.DONE
    # Read as a profile first, so that a file of another kind is not written to the terminal.
    load(options.profile)
    print(find(options.profile).read_text(encoding="utf-8"), end="")
    return Exit.DONE
