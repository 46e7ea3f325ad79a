"""The generated parts of the pages in docs/: python docs/generate.py [--check] [FOLDER]

A page holds a generated part between ``<!-- generated: NAME -->`` and ``<!-- end -->``. Every such part is written anew
from the code. With ``--check`` nothing is written: where a part differs, its page is named and the exit status is 1.
FOLDER holds the pages; by default it is the folder of this file.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import subprocess
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from textual.keys import format_key

from console.config import ACCEPTED, EXAMPLE, Config
from console.profile.alerts import FACTS, LIMITS
from console.profile.phases import PhaseSection
from console.profile.schema import Profile
from console.profile.values import Words, accepted
from console.state.events import KNOWN, SCHEMA
from console.state.outcome import Exit
from console.tui.keymap import table
from console.tui.keys import CONTEXTS
from remote.wire.events import REMOTE

ROOT: Final = Path(__file__).resolve().parent.parent
PART: Final = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# --- the profile -----------------------------------------------------------------------------------------------------

NO_KEYS: Final = ("limits", "withheld")
"""Fields of `[alerts]` that are not keys of their own: the thresholds have a section for each kind."""


def docs_below(kind: type) -> dict[str, str]:
    """The text below each field of a class, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        name = field.target if isinstance(field, ast.AnnAssign) else getattr(field, "targets", [None])[0]
        text = below.value if isinstance(below, ast.Expr) else None
        if isinstance(name, ast.Name) and isinstance(text, ast.Constant) and isinstance(text.value, str):
            found[name.id] = line_of(text.value)
    return found


def line_of(text: str) -> str:
    """A docstring as one line of Markdown."""
    return " ".join(text.split()).replace("``", "`")


def kinds(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows, but for None."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(one for one in options if one is not type(None))


def toml_default(field: Field[Any]) -> str:
    """A field's default as a profile would write it."""
    if field.default is MISSING and field.default_factory is MISSING:
        return "required"
    value = field.default if field.default is not MISSING else {}
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    if isinstance(value, tuple):
        return "`[]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def takes(field: Field[Any], hint: Any) -> str:
    """What a key accepts, with words as code."""
    for rule in field.metadata.values():
        if isinstance(rule, Words):
            return ", ".join(f"`{word}`" for word in rule.words)
    return accepted(field, hint)


def profile_keys(kind: type, skip: Sequence[str] = ()) -> str:
    """The table of a section's keys."""
    below, hints = docs_below(kind), typing.get_type_hints(kind)
    rows = []
    for field in fields(kind):
        if field.name in skip:
            continue
        if field.name not in below:
            sys.exit(f"docs/generate.py: {kind.__name__}.{field.name} has no docstring below it")
        rows.append((f"`{field.name}`", takes(field, hints[field.name]), toml_default(field), below[field.name]))
    return as_table(("key", "accepted", "default", "meaning"), rows)


def sections() -> dict[str, type]:
    """The class of each section, as `Profile` has them."""
    hints = typing.get_type_hints(Profile)
    found = {name: kinds(hints[name])[0] for name in ("fleet", "budget", "run", "data", "record", "alerts")}
    found["target"] = kinds(typing.get_type_hints(found["run"])["target"])[0]
    return {**found, "phase": PhaseSection}


# --- alerts ----------------------------------------------------------------------------------------------------------


def alert_limits() -> str:
    """The thresholds of each kind that the console looks for."""
    rows = [
        (f"`{kind}`", limit.unit, f"{limit.enter:g}", f"{limit.leave:g}", f"{limit.hold_s:g}")
        for kind, limit in LIMITS.items()
    ]
    return as_table(("kind", "unit", "enter", "leave", "hold_s"), rows)


def alert_facts() -> str:
    """The kinds that have no thresholds."""
    return ", ".join(f"`{kind}`" for kind in FACTS) + "\n"


# --- keys ------------------------------------------------------------------------------------------------------------

MORE_CONTEXTS: Final = {"dialog": "In a question", "prompt": "In an input line", "help": "In the help"}


def shown(keys: str) -> str:
    """A binding's keys as people write them; ``T`` and ``shift+t`` are one."""
    words: list[str] = []
    for key in keys.split(","):
        *modifiers, last = key.strip().split("+")
        capital = len(last) == 1 and modifiers == ["shift"]
        word = "+".join([*modifiers, format_key(last)]) if modifiers and not capital else format_key(last)
        word = last.upper() if capital else word
        if word not in words:
            words.append(word)
    return " ".join("`` ` ``" if word == "`" else f"`{word}`" for word in words)


def key_tables() -> str:
    """A table of keys for each context."""
    names = {**CONTEXTS, **MORE_CONTEXTS}
    rows = list(table())
    parts = []
    unnamed = {identity.partition(".")[0] for identity, _, _ in rows} - set(names)
    if unnamed:
        sys.exit(f"docs/generate.py: the keys of {', '.join(sorted(unnamed))} have no heading")
    for context, title in names.items():
        found = [
            (shown(keys), meaning, f"`{identity}`")
            for identity, keys, meaning in rows
            if identity.partition(".")[0] == context
        ]
        parts.append(f"### {title}\n\n" + as_table(("key", "what it does", "id"), found))
    return "\n".join(parts)


# --- the command line ------------------------------------------------------------------------------------------------


def help_text() -> str:
    """What ``fastconsole --help`` prints."""
    words = [sys.executable, "-m", "console", "--help"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return f"```text\n{said}```\n"


def exit_codes() -> str:
    """The exit codes."""
    below = docs_below(Exit)
    return as_table(("code", "meaning"), [(f"{code.value}", below[code.name]) for code in Exit])


def config_keys() -> str:
    """The keys of the configuration file."""
    by_name = {field.name: field for field in fields(Config)}
    rows = [(f"`{key}`", accepted, toml_default(by_name[key])) for key, accepted in ACCEPTED.items()]
    return as_table(("key", "accepted", "default"), rows)


def config_example() -> str:
    """A configuration file."""
    return f"```toml\n{EXAMPLE}```\n"


# --- events ----------------------------------------------------------------------------------------------------------


def json_type(hint: Any) -> str:
    """What a field of an event is in JSON."""
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    words = []
    for option in options:
        if option is type(None):
            words.append("null")
        elif typing.get_origin(option) is tuple:
            words.append(f"list of {json_type(typing.get_args(option)[0])}")
        else:
            words.append(names[option])
    return " or ".join(words)


def json_default(field: Field[Any]) -> str:
    """A field's default in JSON; empty where it is always there."""
    if field.default is MISSING and field.default_factory is MISSING:
        return ""
    value = field.default
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return "[]" if isinstance(value, tuple) else f'"{value}"' if isinstance(value, str) else f"{value:g}"


def event_tables(events: Mapping[str, type]) -> str:
    """A section for each event."""
    parts = []
    for name, kind in events.items():
        below, hints = docs_below(kind), typing.get_type_hints(kind)
        rows = [
            (f"`{field.name}`", json_type(hints[field.name]), json_default(field), below.get(field.name, ""))
            for field in fields(kind)
        ]
        text = line_of(inspect.getdoc(kind) or "")
        parts.append(f"### {name}\n\n{text}\n\n" + as_table(("field", "type", "default", "meaning"), rows))
    return "\n".join(parts)


# --- pages -----------------------------------------------------------------------------------------------------------


def as_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"

    return line(head) + "|" + "---|" * len(head) + "\n" + "".join(map(line, rows))


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "fleet": lambda: profile_keys(sections()["fleet"]),
    "budget": lambda: profile_keys(sections()["budget"]),
    "run": lambda: profile_keys(sections()["run"]),
    "target": lambda: profile_keys(sections()["target"]),
    "data": lambda: profile_keys(sections()["data"]),
    "phase": lambda: profile_keys(sections()["phase"]),
    "record": lambda: profile_keys(sections()["record"]),
    "alerts": lambda: profile_keys(sections()["alerts"], NO_KEYS),
    "limits": alert_limits,
    "facts": alert_facts,
    "keys": key_tables,
    "help": help_text,
    "exit-codes": exit_codes,
    "config": config_keys,
    "config-example": config_example,
    "schema": lambda: f"The version of this form is {SCHEMA}.\n",
    "host-events": lambda: event_tables(REMOTE),
    "console-events": lambda: event_tables({name: kind for name, kind in KNOWN.items() if name not in REMOTE}),
}
"""What is generated, by the name that a page gives it."""


def rewritten(page: str) -> str:
    """The page with its generated parts as the code has them now. KeyError for a name that is none."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}{PARTS[found[2]]()}{found[3]}"

    return PART.sub(part, page)


def pages(folder: Path) -> Iterator[Path]:
    """The pages, sorted."""
    yield from sorted(folder.glob("*.md"))


def main(arguments: Sequence[str]) -> int:
    """The command; the exit status."""
    parser = argparse.ArgumentParser(prog="python docs/generate.py", description="Writes the generated parts of docs/.")
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page differs")
    options = parser.parse_args(arguments)
    status = 0
    for page in pages(options.folder):
        text = page.read_text(encoding="utf-8")
        new = rewritten(text)
        if new == text:
            continue
        if options.check:
            sys.stderr.write(f"docs/{page.name} differs from the code: run python docs/generate.py\n")
            status = 1
        else:
            page.write_text(new, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
