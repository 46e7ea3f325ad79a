"""The entry: argv to (a live run | a log) x (the screen | text). The only place where all of them are wired.

What is heavy is imported where it is used: ``--version``, ``--help`` and ``--replay`` need neither Textual, asyncssh,
boto3 nor torch, and a test holds that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console import VERSION
from console.commands.clean import _clean
from console.commands.control import _budget
from console.commands.listing import _ps, _runs
from console.commands.options import UsageError, _say, _terminal, _which_profile, _write_no_more
from console.commands.plan import _plan
from console.commands.profiles import _keys, _profiles
from console.commands.replay import _replay
from console.commands.run import _on_run, _run
from console.commands.serve import _serve, _watch
from console.config import ConfigError
from console.state.outcome import Exit

if TYPE_CHECKING:
    pass

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
    from console.commands import chooser
    from console.config import load
    from console.tui import choices
    from console.tui.start import StartApp

    config = load()
    chosen = StartApp(chooser.profiles, chooser.runs, config=config).run(mouse=config.mouse)
    if chosen is None:
        return Exit.DONE
    if chosen.verb == choices.START:
        return _run([chosen.name])
    if chosen.verb == choices.REPLAY:
        from console.commands.replay import replay_on_screen
        from console.paths import runs_home

        return replay_on_screen(str(runs_home() / chosen.name / "run.jsonl"), 1.0, chosen.compared)
    return _COMMANDS[chosen.verb]([chosen.name])


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
