"""TODO docstring: console/commands/options.py."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from console.state.outcome import Exit

if TYPE_CHECKING:
    from console.profile.schema import Profile


FORMATS = ("text", "json", "jsonl", "tsv", "csv")


class UsageError(Exception):
    """Wrong usage, in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def _write_no_more() -> None:
    """Whoever read our output has seen enough, or its disk is full. Python would say so again at its own exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say(sentence: str, code: Exit) -> int:
    print(f"fastconsole: {sentence}", file=sys.stderr)
    return code


def _port(text: str) -> int:
    number = _number(text, accepted := "a port, from 0 (any that is free) to 65535")
    if not number.is_integer() or not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
    return int(number)


def _which_profile() -> str:
    from console.profile.load import builtin_names

    return f"say which profile: {', '.join(builtin_names())}, or a path that ends in .toml"


def run_parser(positional: str) -> argparse.ArgumentParser:
    """The options of a run that is started (`positional` is ``profile``) or that exists (``run``)."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    # Asked for by hand, so that an unknown option is named before what is missing.
    parser.add_argument(positional, nargs="?")
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--read-only", action="store_true")
    if positional == "run":
        parser.add_argument("--budget", type=_dollars)
        parser.add_argument("--region")
    if positional == "profile":
        _profile_options(parser)
    return parser


def _profile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=_whole)
    parser.add_argument("--budget", type=_dollars)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def _terminal() -> bool:
    """True if the panes can be drawn and keys be read; a dumb terminal cannot place text."""
    both = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    if both and os.environ.get("TERM") == "dumb":
        print("fastconsole: TERM=dumb can draw no panes, so this is text; another TERM shows them", file=sys.stderr)
        return False
    return both


def _number(text: str, accepted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}") from None


def _speed(text: str) -> float:
    speed = _number(text, accepted := "a speed above 0, up to 10000")
    if not 0 < speed <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
    return speed


def _whole(text: str) -> int:
    number = _number(text, accepted := "a whole number")
    if not number.is_integer():
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
    return int(number)


def _dollars(text: str) -> float:
    return _number(text, "an amount of dollars")


def _run_options(words: list[str], positional: str, *, optional: bool) -> argparse.Namespace:
    options = run_parser(positional).parse_args(words)
    if not optional and getattr(options, positional) is None:
        raise UsageError(_which_profile() if positional == "profile" else "say which run; fastconsole runs lists them")
    options.headless = options.headless or not _terminal()
    if options.headless and options.read_only:
        raise UsageError("--read-only is for the panes, and there are none without a terminal")
    return options


def _profile(options: argparse.Namespace) -> Profile:
    """The profile that is named, with the options laid over it. Raises ProfileError."""
    from console.profile.load import load

    overrides = list(options.set)
    if options.nodes is not None:
        overrides.append(f"fleet.nodes={options.nodes}")
    if options.budget is not None:
        overrides.append(f"budget.max_usd={options.budget}")
    return load(options.profile, overrides)


def _nothing_more(words: list[str]) -> None:
    if words:
        raise UsageError(f"unrecognized arguments: {' '.join(words)}")
