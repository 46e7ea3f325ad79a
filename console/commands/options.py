"""What the command lines share: a parser whose errors are one sentence, and the kinds of values."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from console.profile.schema import Profile


class UsageError(Exception):
    """Wrong usage, in one sentence."""


class Parser(argparse.ArgumentParser):
    """A command's parser: ``--help`` prints its options, and what is wrong raises `UsageError`."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"fastconsole {command}".strip(), description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def profile_parser(command: str, description: str) -> Parser:
    """A parser for a command on a profile, with the options that override its keys."""
    parser = Parser(command, description)
    # Asked for by hand, so that an unknown option is named before what is missing.
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="a built-in profile's name, or a .toml file")
    parser.add_argument("--nodes", type=whole, metavar="N", help="fleet.nodes: another number of nodes")
    parser.add_argument("--budget", type=dollars, metavar="USD", help="budget.max_usd: stop before this is passed")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key, as run.seed=7 (may be repeated)"
    )
    return parser


def add_screen_options(parser: Parser) -> None:
    """The options of a command that opens the panes."""
    parser.add_argument("--headless", action="store_true", help="text instead of panes")
    parser.add_argument("--read-only", action="store_true", help="panes without run controls")


def headless(options: argparse.Namespace) -> bool:
    """True where the run is told as text: asked for, or no terminal. Raises UsageError where that makes no sense."""
    text = bool(options.headless) or not is_terminal()
    if text and options.read_only:
        raise UsageError("--read-only is for the panes, and there are none without a terminal")
    return text


def load_profile(options: argparse.Namespace) -> Profile:
    """The profile that the options of a `profile_parser` name, with the overrides applied.

    Raises:
        UsageError: none is named.
        ProfileError: it cannot be read or is wrong.
    """
    if options.profile is None:
        raise UsageError(which_profile())
    from console.profile.load import load

    overrides = list(options.set)
    if options.nodes is not None:
        overrides.append(f"fleet.nodes={options.nodes}")
    if options.budget is not None:
        overrides.append(f"budget.max_usd={options.budget}")
    return load(options.profile, overrides)


def which_profile() -> str:
    """The sentence that asks for a profile."""
    from console.profile.load import builtin_names

    return f"which profile? {', '.join(builtin_names())}, or a path that ends in .toml"


def named_run(options: argparse.Namespace) -> str:
    """The run that the options name. Raises UsageError where they name none."""
    if options.run is None:
        raise UsageError("which run? fastconsole runs lists them")
    return str(options.run)


def is_terminal() -> bool:
    """True if the panes can be drawn and keys be read; a dumb terminal cannot position text."""
    both = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if both and os.environ.get("TERM") == "dumb":
        print("fastconsole: TERM=dumb cannot draw panes, so this is text; another TERM shows them", file=sys.stderr)
        return False
    return both


def number(text: str, accepted: str) -> float:
    """A number; `accepted` says what is expected."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}") from None


def whole(text: str) -> int:
    """A whole number."""
    value = number(text, accepted := "a whole number")
    if not value.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
    return int(value)


def dollars(text: str) -> float:
    """An amount of dollars."""
    return number(text, "a dollar amount")


def speed(text: str) -> float:
    """Seconds of a log a second."""
    value = number(text, accepted := "a speed above 0, up to 10000")
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
    return value


def port(text: str) -> int:
    """A TCP port; 0 is any that is free."""
    value = number(text, accepted := "a port from 0 (any free one) to 65535")
    if not value.is_integer() or not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
    return int(value)
