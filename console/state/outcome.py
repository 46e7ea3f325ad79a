"""How the program ends: its exit codes, and the one that a run comes to."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from console.state import status
from console.state.run import Run

CUT_OFF: Final = "cut off"
"""What a log without an end says of its run, where neither the target nor the schedule's end is in it."""


class Exit(IntEnum):
    """Exit codes; scripts rely on them."""

    DONE = 0
    """The target was reached, or the run finished where it has no target."""
    OUR_BUG = 1
    """An error that is ours; Python's own code for a traceback."""
    USAGE = 2
    """Wrong usage, a wrong profile, or a file that is not a log."""
    FAILED = 3
    """The run failed, or its log is cut off before anything better is known."""
    OVER_BUDGET = 4
    """Stopped by the budget."""
    MISSED = 5
    """Finished without reaching the target."""
    UNREACHABLE = 6
    """The hosts could not be had or reached."""
    INTERRUPTED = 130
    """Stopped by the operator (128 + SIGINT, as shells count)."""


_OF_STATUS: Final = {
    status.REACHED: Exit.DONE,
    status.FINISHED: Exit.DONE,
    status.MISSED: Exit.MISSED,
    status.STOPPED: Exit.INTERRUPTED,
    status.OVER_BUDGET: Exit.OVER_BUDGET,
    status.UNREACHABLE: Exit.UNREACHABLE,
}


def outcome(run: Run) -> str:
    """How the run ended: its status where it says so, else what its training tells, else `CUT_OFF`.

    A log may stop short of the run's own end and still hold what one wants to know: the target reached, or all epochs
    done without it.
    """
    if run.status in status.ENDED:
        return run.status
    if run.target is not None:
        return status.REACHED
    if run.finished is not None and run.finished.reason == "finished":
        return status.MISSED if run.created is not None and run.created.target_value is not None else status.FINISHED
    return CUT_OFF


def exit_of(run: Run) -> Exit:
    """The exit code of a run: the one that it ended with, else the one of its `outcome`; 3 where it is cut off.

    3 and not 0, because a script that asks "did it get there?" must not hear yes from a log that does not say so.
    """
    if run.status in status.ENDED and run.exit_code is not None:
        try:
            return Exit(run.exit_code)
        except ValueError:
            pass
    return _OF_STATUS.get(outcome(run), Exit.FAILED)
