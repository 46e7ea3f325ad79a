"""The entry: argv to (a live run | a log) x (the screen | text). The only place where all of them are wired.

What is heavy is imported where it is used: ``--version``, ``--help`` and ``--replay`` need neither Textual, asyncssh,
boto3 nor torch, and a test holds that.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from console import VERSION
from console.exits import Exit, exit_of

HELP = """\
fastconsole: train on a gang of hosts from one terminal

  fastconsole PROFILE               start the run and watch it (as text where stdout is no terminal)
  fastconsole --replay LOG          a log's story; LOG is a run's journal, a fast.ai 2018 debug.log or a DAWNBench .tsv
  fastconsole --replay LOG --tui    the same in the panes: pause, step, seek, speed
  fastconsole attach [RUN]          come back to a run that goes on
  fastconsole resume [RUN]          go on with a stopped or failed run from its last checkpoint
  fastconsole stop RUN              checkpoint, collect, end the hosts
  fastconsole terminate RUN         end the hosts at once
  fastconsole ps                    runs that go on
  fastconsole runs                  all runs on this laptop
  fastconsole profiles [NAME]       the built-in profiles; one in full

options of a run:
  --headless            text instead of panes
  --read-only           no run controls
  --nodes N             fewer or more nodes than the profile says
  --budget USD          stop before this is passed
  --set KEY=VALUE       any key of the profile, for example --set run.seed=7 (may be repeated)

options of a replay:
  --format FORMAT       text (default), json, jsonl, tsv or csv
  --tui                 the panes
  --speed X             seconds of the run a second, with --tui (default 1)

Ctrl-C once: checkpoint, collect, end the hosts. Twice: end them at once. Closing the terminal leaves the run going.

exit codes: 0 target reached, or finished where there is none; or detached. 1 a bug of ours. 2 wrong usage or profile.
3 the run failed. 4 stopped by the budget. 5 finished without reaching the target. 6 no hosts. 130 interrupted.
A replay exits as the run that it replays did.
"""

FORMATS = ("text", "json", "jsonl", "tsv", "csv")


class UsageError(Exception):
    """Wrong usage, in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return int(_dispatch(words))
    except UsageError as error:
        return _say(f"{error} (fastconsole --help shows what there is)", Exit.USAGE)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would say so again at its own exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _say(sentence: str, code: Exit) -> int:
    print(f"fastconsole: {sentence}", file=sys.stderr)
    return code


def _dispatch(words: list[str]) -> int:
    if not words:
        from console.profile import builtin_names

        print(HELP, end="", file=sys.stderr)
        return _say(f"say which profile: {', '.join(builtin_names())}, or a path that ends in .toml", Exit.USAGE)
    if words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return Exit.DONE
    if words[0] == "--version":
        print(f"fastconsole {VERSION}")
        return Exit.DONE
    if words[0] in _COMMANDS:
        return _COMMANDS[words[0]](words[1:])
    if any(word == "--replay" or word.startswith("--replay=") for word in words):
        return _replay(words)
    return _run(words)


def _replay(words: list[str]) -> int:
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--replay", metavar="LOG", required=True)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--tui", action="store_true")
    parser.add_argument("--speed", type=_speed, default=1.0)
    parser.add_argument("--headless", action="store_true")
    options = parser.parse_args(words)
    from console.replay import LogError

    try:
        if options.tui:
            if not sys.stdout.isatty():
                raise UsageError("--tui needs a terminal, and stdout is none")
            from console.commands import replay_on_screen

            return replay_on_screen(options.replay, options.speed)
        from console import export
        from console.replay import open_log

        return exit_of(export.write(open_log(options.replay), options.format, sys.stdout))
    except LogError as error:
        return _say(str(error), Exit.USAGE)


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is no speed between 0 and 10000")
    return speed


def _run_options(words: list[str], positional: str, *, optional: bool) -> argparse.Namespace:
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument(positional, nargs="?" if optional else None)
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--read-only", action="store_true")
    if positional == "profile":
        parser.add_argument("--nodes", type=int)
        parser.add_argument("--budget", type=float)
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(words)
    options.headless = options.headless or not (sys.stdout.isatty() and sys.stdin.isatty())
    if options.headless and options.read_only:
        raise UsageError("--read-only is for the panes, and there are none without a terminal")
    return options


def _run(words: list[str]) -> int:
    options = _run_options(words, "profile", optional=False)
    overrides = list(options.set)
    if options.nodes is not None:
        overrides.append(f"fleet.nodes={options.nodes}")
    if options.budget is not None:
        overrides.append(f"budget.max_usd={options.budget}")
    from console.profile import ProfileError, load

    try:
        profile = load(options.profile, overrides)
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    from console import commands

    return commands.run(profile, headless=options.headless, read_only=options.read_only)


def _on_run(name: str) -> Callable[[list[str]], int]:
    def command(words: list[str]) -> int:
        options = _run_options(words, "run", optional=name in ("attach", "resume"))
        from console import commands

        if name == "attach":
            return commands.attach(options.run, headless=options.headless, read_only=options.read_only)
        if name == "resume":
            return commands.resume(options.run, headless=options.headless, read_only=options.read_only)
        return commands.end(options.run, at_once=name == "terminate")

    return command


def _list(words: list[str], *, going_on: bool) -> int:
    _nothing_more(words)
    from console import commands

    return commands.list_runs(going_on=going_on)


def _profiles(words: list[str]) -> int:
    from console.profile import ProfileError, builtin_names, find, load

    if not words:
        for name in builtin_names():
            profile = load(name)
            title = profile.text.splitlines()[0].lstrip("# ").rstrip(".")
            print(f"{name:24} {title}")
        return Exit.DONE
    _nothing_more(words[1:])
    try:
        print(find(words[0]).read_text(), end="")
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    return Exit.DONE


def _nothing_more(words: list[str]) -> None:
    if words:
        raise UsageError(f"unrecognized arguments: {' '.join(words)}")


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    **{name: _on_run(name) for name in ("attach", "resume", "stop", "terminate")},
    "ps": lambda words: _list(words, going_on=True),
    "runs": lambda words: _list(words, going_on=False),
    "profiles": _profiles,
}

if __name__ == "__main__":
    sys.exit(main())
