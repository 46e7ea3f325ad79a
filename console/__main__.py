"""The entry: argv to (a live run | a log) x (the screen | text). The only place where all of them are wired.

What is heavy is imported where it is used: ``--version``, ``--help`` and ``--replay`` need neither Textual, asyncssh,
boto3 nor torch, and a test holds that.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from console import VERSION
from console.config import ConfigError
from console.exits import Exit, exit_of

if TYPE_CHECKING:
    from console.profile import Profile

HELP = """\
fastconsole: train on a gang of hosts from one terminal

  fastconsole                       choose a profile to start, or a run to come back to or look at again
  fastconsole PROFILE               start the run and watch it (as text where stdout is no terminal)
  fastconsole plan PROFILE          what it would rent, how long it takes and what it costs; rents nothing
  fastconsole --replay LOG          a log's story; LOG is a run's journal, a fast.ai 2018 debug.log or a DAWNBench .tsv
  fastconsole --replay LOG --tui    the same in the panes: pause, step, seek, speed
  fastconsole --serve RUN|LOG       the panes in a browser on this machine, to look at only; --port N (default 8018)
  fastconsole attach [RUN]          come back to a run that goes on
  fastconsole resume [RUN]          go on with a stopped or failed run from its last checkpoint
  fastconsole budget RUN USD        another budget for a run that goes on
  fastconsole stop RUN              checkpoint, collect, end the hosts
  fastconsole terminate RUN         end the hosts at once
  fastconsole ps                    runs that go on: of this laptop, and in all regions of the AWS account
  fastconsole runs                  all runs on this laptop
  fastconsole clean                 what runs have left behind at AWS: lists it, and ends it once confirmed
  fastconsole profiles [NAME]       the built-in profiles; one in full
  fastconsole keys                  every key of the screen: its id, the key, what it does
  fastconsole --help | --version

options of a run:
  --headless            text instead of panes
  --read-only           no run controls
  --nodes N             fewer or more nodes than the profile says
  --budget USD          stop before this is passed (resume: instead of the budget that it had)
  --set KEY=VALUE       any key of the profile, for example --set run.seed=7 (may be repeated)

attach, stop and terminate find a run that this laptop does not know by the tags of its instances, in all regions:
  --region REGION       look in this one only

options of ps:
  --json                one object instead of lines
  --aws                 ask AWS although no AWS set-up is seen here (on an instance with a role)
  --region REGION       look in this one only

options of clean:
  --run RUN             only this run, also where it may still train
  --yes                 end it without asking; where nobody can be asked, it is only listed
  --region REGION       look in this one only

options of a plan:
  --json                one object instead of text
  --nodes, --budget, --set as for a run

options of a replay:
  --format FORMAT       text (default), json, jsonl, tsv or csv
  --tui                 the panes
  --speed X             seconds of the run a second, with --tui (default 1)

Ctrl-C once: checkpoint, collect, end the hosts. Twice: end them at once. Closing the terminal leaves the run going.

The screen: ? shows its keys, Ctrl-P every action. $XDG_CONFIG_HOME/fastconsole/config.toml may say theme, mouse, bell,
layout, tick_s, and under [keys] another key for any id of fastconsole keys.

exit codes: 0 target reached, or finished where there is none; or detached. 1 a bug of ours. 2 wrong usage or profile.
3 the run failed. 4 stopped by the budget. 5 finished without reaching the target. 6 no hosts. 130 interrupted.
A replay exits as the run that it replays did. A plan exits with 6 where what it asks for cannot be had. clean exits
with 3 where something is left, and with 6 where a region did not answer; ps --aws likewise.
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
    # A stream that was closed before the start is None.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        code = int(_dispatch(words))
        # Here and not at Python's own exit, where an error would be a traceback.
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _say(f"{error} (fastconsole --help shows what there is)", Exit.USAGE)
    except ConfigError as error:
        return _say(str(error), Exit.USAGE)
    except BrokenPipeError:
        _write_no_more()
        return Exit.DONE
    except OSError as error:
        _write_no_more()
        return _say(f"{error.filename or 'stdout'}: {error.strerror or error}", Exit.FAILED)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _write_no_more() -> None:
    """Whoever read our output has seen enough, or its disk is full. Python would say so again at its own exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say(sentence: str, code: Exit) -> int:
    print(f"fastconsole: {sentence}", file=sys.stderr)
    return code


def _dispatch(words: list[str]) -> int:
    if not words:
        return _start()
    if words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return Exit.DONE
    if words[0] == "--version":
        print(f"fastconsole {VERSION}")
        return Exit.DONE
    if words[0] in _COMMANDS:
        return _COMMANDS[words[0]](words[1:])
    if words[0] == "--serve" or words[0].startswith("--serve="):
        return _serve(words)
    if words[0] == "--watch":
        return _watch(words[1:])
    if any(word == "--replay" or word.startswith("--replay=") for word in words):
        return _replay(words)
    return _run(words)


def _start() -> int:
    """The start screen, and then what was chosen on it."""
    if not _terminal():
        raise UsageError(_which_profile())
    from console import start_list
    from console.config import load
    from console.tui.start import StartApp

    config = load()
    chosen = StartApp(start_list.profiles, start_list.runs, config=config).run(mouse=config.mouse)
    if chosen is None:
        return Exit.DONE
    if chosen.verb == start_list.START:
        return _run([chosen.name])
    if chosen.verb == start_list.REPLAY:
        from console.commands import replay_on_screen
        from console.rundir import runs_home

        return replay_on_screen(str(runs_home() / chosen.name / "run.jsonl"), 1.0, chosen.compared)
    return _COMMANDS[chosen.verb]([chosen.name])


def _serve(words: list[str]) -> int:
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--serve", metavar="RUN|LOG", required=True)
    parser.add_argument("--port", type=_port)
    options = parser.parse_args(words)
    from console import commands, serving
    from console.replay import LogError

    try:
        return commands.serve(options.serve, serving.DEFAULT_PORT if options.port is None else options.port)
    except LogError as error:
        return _say(str(error), Exit.USAGE)


def _watch(words: list[str]) -> int:
    """What `--serve` runs for each page; not for hands."""
    if len(words) != 1:
        raise UsageError("--watch takes one journal")
    from console.commands import watch
    from console.replay import LogError

    try:
        return watch(words[0])
    except LogError as error:
        return _say(str(error), Exit.USAGE)


def _port(text: str) -> int:
    number = _number(text, accepted := "a port, from 0 (any that is free) to 65535")
    if not number.is_integer() or not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not {accepted}")
    return int(number)


def _which_profile() -> str:
    from console.profile import builtin_names

    return f"say which profile: {', '.join(builtin_names())}, or a path that ends in .toml"


def replay_parser() -> argparse.ArgumentParser:
    """The options of ``--replay``."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--replay", metavar="LOG", required=True)
    parser.add_argument("--format", choices=FORMATS, default="text")
    parser.add_argument("--tui", action="store_true")
    parser.add_argument("--speed", type=_speed, default=1.0)
    parser.add_argument("--headless", action="store_true")
    return parser


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


def plan_parser() -> argparse.ArgumentParser:
    """The options of ``plan``."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("profile", nargs="?")
    parser.add_argument("--json", action="store_true")
    _profile_options(parser)
    return parser


def _profile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=_whole)
    parser.add_argument("--budget", type=_dollars)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def _replay(words: list[str]) -> int:
    options = replay_parser().parse_args(words)
    if options.tui and options.headless:
        raise UsageError("--tui is the panes and --headless is text; say one of them")
    if options.tui and options.format != "text":
        raise UsageError(f"--format {options.format} is for the text that --tui is not")
    from console.replay import LogError

    try:
        if options.tui:
            if not _terminal():
                raise UsageError("--tui needs a terminal: stdin and stdout are not both one, or TERM is dumb")
            from console.commands import replay_on_screen

            return replay_on_screen(options.replay, options.speed)
        from console import export
        from console.replay import fold, open_log

        log = open_log(options.replay)
        try:
            run = export.write(log, options.format, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            # `| head` has seen enough; how the run ended is still asked.
            _write_no_more()
            run = fold(options.replay)
        return exit_of(run)
    except LogError as error:
        return _say(str(error), Exit.USAGE)


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


def _run(words: list[str]) -> int:
    options = _run_options(words, "profile", optional=False)
    from console.profile import ProfileError

    try:
        profile = _profile(options)
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    from console import commands

    return commands.run(profile, headless=options.headless, read_only=options.read_only)


def _plan(words: list[str]) -> int:
    options = plan_parser().parse_args(words)
    if options.profile is None:
        raise UsageError(_which_profile())
    from console.profile import ProfileError

    try:
        profile = _profile(options)
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    from console import commands

    return commands.plan(profile, as_json=options.json)


def _profile(options: argparse.Namespace) -> Profile:
    """The profile that is named, with the options laid over it. Raises ProfileError."""
    from console.profile import load

    overrides = list(options.set)
    if options.nodes is not None:
        overrides.append(f"fleet.nodes={options.nodes}")
    if options.budget is not None:
        overrides.append(f"budget.max_usd={options.budget}")
    return load(options.profile, overrides)


def _on_run(name: str) -> Callable[[list[str]], int]:
    def command(words: list[str]) -> int:
        options = _run_options(words, "run", optional=name in ("attach", "resume"))
        from console import commands

        if options.budget is not None and name != "resume":
            raise UsageError("--budget is for resume; fastconsole budget RUN USD sets that of a run that goes on")
        if options.region is not None and name == "resume":
            raise UsageError("--region is for attach, stop and terminate; a run that has ended has no instances")
        if name == "attach":
            return commands.attach(
                options.run, headless=options.headless, read_only=options.read_only, region=options.region
            )
        if name == "resume":
            return commands.resume(
                options.run, headless=options.headless, read_only=options.read_only, budget_usd=options.budget
            )
        return commands.end(options.run, at_once=name == "terminate", region=options.region)

    return command


def _budget(words: list[str]) -> int:
    parser = _Parser(prog="fastconsole budget", add_help=False, allow_abbrev=False)
    parser.add_argument("run", nargs="?")
    parser.add_argument("usd", nargs="?", metavar="USD")
    options = parser.parse_args(words)
    if options.run is None or options.usd is None:
        raise UsageError("say which run and how many dollars: fastconsole budget RUN USD")
    from console.budget import dollars

    usd = dollars(options.usd)
    if usd is None:
        raise UsageError(f"argument USD: {options.usd!r} is not an amount of dollars")
    from console import commands

    return commands.set_budget(options.run, usd)


def _runs(words: list[str]) -> int:
    _nothing_more(words)
    from console import lists

    return lists.runs()


def ps_parser() -> argparse.ArgumentParser:
    """The options of ``ps``."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--aws", action="store_true")
    parser.add_argument("--region")
    return parser


def _ps(words: list[str]) -> int:
    options = ps_parser().parse_args(words)
    from console import lists

    return lists.ps(as_json=options.json, ask_aws=options.aws, region=options.region)


def clean_parser() -> argparse.ArgumentParser:
    """The options of ``clean``."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("--run")
    parser.add_argument("--yes", action="store_true")
    parser.add_argument("--region")
    return parser


def _clean(words: list[str]) -> int:
    options = clean_parser().parse_args(words)
    from console import cleaning

    return cleaning.clean(run_id=options.run, yes=options.yes, region=options.region)


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
        # Read as a profile first, so that a file of another kind is not poured into the terminal.
        load(words[0])
        print(find(words[0]).read_text(encoding="utf-8"), end="")
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    return Exit.DONE


def _nothing_more(words: list[str]) -> None:
    if words:
        raise UsageError(f"unrecognized arguments: {' '.join(words)}")


def _keys(words: list[str]) -> int:
    _nothing_more(words)
    from console.tui.keymap import table

    print("id\tkey\tmeaning")
    for row in table():
        print("\t".join(row))
    return Exit.DONE


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    **{name: _on_run(name) for name in ("attach", "resume", "stop", "terminate")},
    "budget": _budget,
    "ps": _ps,
    "runs": _runs,
    "clean": _clean,
    "keys": _keys,
    "plan": _plan,
    "profiles": _profiles,
}

if __name__ == "__main__":
    sys.exit(main())
