"""The entry: what the first words of the command line mean, and ``--help``.

A command is a module of `console.commands` with its parser and what it does, imported when it is called: ``--version``,
``--help`` and ``--replay`` need neither Textual, asyncssh, boto3 nor torch, and a test holds that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from console import VERSION
from console.commands.options import UsageError, is_terminal, which_profile
from console.config import ConfigError
from console.state.outcome import Exit

HELP = """\
fastconsole: train a model on many GPU hosts from one terminal

  fastconsole                       choose a profile to start, or a run to attach to, replay or resume
  fastconsole PROFILE               start a run and watch it (as text where stdout is not a terminal)
  fastconsole plan PROFILE          what it would rent, how long it takes, what it costs; rents nothing
  fastconsole --replay LOG          a log as text or data; LOG is a run's journal, a fast.ai 2018 debug.log or a
                                    DAWNBench .tsv
  fastconsole --replay LOG --tui    the same log in the panes: pause, step, seek, speed
  fastconsole --serve RUN|LOG       the panes in a browser on this machine, to look at only
  fastconsole attach [RUN]          attach to an active run
  fastconsole resume [RUN]          continue a stopped or failed run from its last checkpoint
  fastconsole budget RUN USD        set another budget for an active run
  fastconsole stop RUN              save a checkpoint, fetch it, end the hosts
  fastconsole terminate RUN         end the hosts at once
  fastconsole ps                    active runs: of this laptop, and in all regions of the AWS account
  fastconsole runs                  all runs on this laptop
  fastconsole clean                 what runs have left behind at AWS: list it, end it once confirmed
  fastconsole profiles [NAME]       the built-in profiles; one in full
  fastconsole keys                  every key of the screen: its id, the key, what it does
  fastconsole --help | --version

  fastconsole COMMAND --help        the options of one command

options of a run:
  --headless            text instead of panes
  --read-only           panes without run controls
  --nodes N             another number of nodes than the profile's
  --budget USD          stop before this is passed (resume: instead of the budget that it had)
  --set KEY=VALUE       any key of the profile, for example --set run.seed=7 (may be repeated)
attach, stop and terminate find a run of another laptop by the tags of its instances, in all regions:
  --region REGION       look in this one only
options of plan: --json, and --nodes, --budget, --set as for a run
options of ps:
  --json                one JSON object instead of lines
  --aws                 ask AWS although no AWS set-up is seen here (on an instance with a role)
  --region REGION       look in this one only
options of clean:
  --run RUN             only this run, also where it may still train
  --yes                 end it without asking; where nobody can be asked, it is only listed
  --region REGION       look in this one only
options of --replay:
  --format FORMAT       text (default), json, jsonl, tsv or csv
  --tui                 the panes
  --speed X             seconds of the run a second, with --tui (default 1)
options of --serve:
  --port N              default 8018; 0 takes any free one

Ctrl-C once: save a checkpoint, fetch it, end the hosts. Twice: end them at once. Closing the terminal leaves the run
running.

On the screen ? shows the keys and Ctrl-P every action. $XDG_CONFIG_HOME/fastconsole/config.toml can set theme, mouse,
bell, layout, tick_s and, under [keys], another key for any id of fastconsole keys.

exit codes: 0 target reached, finished without a target, or detached. 1 internal error. 2 wrong usage or profile. 3 the
run failed. 4 stopped by the budget. 5 finished without reaching the target. 6 no hosts. 130 interrupted.
A replay exits as the run that it replays did. A plan exits with 6 where what it asks for cannot be had. clean exits
with 3 where something is left, and with 6 where a region did not answer; ps --aws likewise.
"""

COMMANDS = {
    "attach": ("attach", "main"),
    "budget": ("budget", "main"),
    "clean": ("clean", "main"),
    "keys": ("keys", "main"),
    "plan": ("plan", "main"),
    "profiles": ("profiles", "main"),
    "ps": ("ps", "main"),
    "resume": ("resume", "main"),
    "runs": ("runs", "main"),
    "stop": ("stop", "stop"),
    "terminate": ("stop", "terminate"),
}
"""By the first word: the module of `console.commands` and the function in it that takes the other words."""


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
        return _fail(f"{error} (fastconsole --help lists the commands)", Exit.USAGE)
    except ConfigError as error:
        return _fail(str(error), Exit.USAGE)
    except BrokenPipeError:
        _discard_stdout()
        return Exit.DONE
    except OSError as error:
        _discard_stdout()
        return _fail(f"{error.filename or 'stdout'}: {error.strerror or error}", Exit.FAILED)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _discard_stdout() -> None:
    from console.commands.errors import discard_stdout

    discard_stdout()


def _fail(sentence: str, code: Exit) -> int:
    print(f"fastconsole: {sentence}", file=sys.stderr)
    return code


def _dispatch(words: list[str]) -> int:
    if not words:
        return _start()
    first = words[0]
    if first in ("-h", "--help", "help"):
        print(HELP, end="")
        return Exit.DONE
    if first == "--version":
        print(f"fastconsole {VERSION}")
        return Exit.DONE
    try:
        if first in COMMANDS:
            return _command(*COMMANDS[first])(words[1:])
        if first == "--serve" or first.startswith("--serve="):
            return _command("serve", "main")(words)
        if first == "--watch":
            return _command("serve", "page")(words[1:])
        if any(word == "--replay" or word.startswith("--replay=") for word in words):
            return _command("replay", "main")(words)
        return _command("run", "main")(words)
    except SystemExit:
        # argparse has printed the command's help.
        return Exit.DONE


def _command(module: str, function: str) -> Callable[[list[str]], int]:
    command: Callable[[list[str]], int] = getattr(import_module(f"console.commands.{module}"), function)
    return command


def _start() -> int:
    """The start screen, and then what was chosen on it."""
    if not is_terminal():
        raise UsageError(which_profile())
    from console.commands import chooser
    from console.config import load
    from console.tui import choices
    from console.tui.start import StartApp

    config = load()
    chosen = StartApp(chooser.profiles, chooser.runs, config=config).run(mouse=config.mouse)
    if chosen is None:
        return Exit.DONE
    if chosen.verb == choices.REPLAY:
        from console.commands.replay import on_screen
        from console.paths import runs_home

        return on_screen(str(runs_home() / chosen.name / "run.jsonl"), 1.0, chosen.compared)
    return _dispatch([chosen.name] if chosen.verb == choices.START else [chosen.verb, chosen.name])


if __name__ == "__main__":
    sys.exit(main())
