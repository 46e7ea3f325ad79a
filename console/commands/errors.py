"""Errors of commands: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

from console.fleet.provider import ProviderError
from console.journal.open_log import LogError
from console.profile.schema import ProfileError
from console.state.outcome import Exit

_SILENT_S: Final = 1.0
"""A wait that is longer is explained."""

P = ParamSpec("P")
T = TypeVar("T")


class CommandError(Exception):
    """What was asked for cannot be done, in one sentence."""

    def __init__(self, sentence: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(sentence)
        self.code = code


_EXITS: Final[dict[type[Exception], Exit]] = {
    ProfileError: Exit.USAGE,
    LogError: Exit.USAGE,
    ProviderError: Exit.UNREACHABLE,
}
"""Errors that are a sentence by themselves, and the exit code of each."""


def report_errors(command: Callable[P, int]) -> Callable[P, int]:
    """Errors of a command as a sentence and an exit code."""

    @functools.wraps(command)
    def wrapped(*arguments: P.args, **keywords: P.kwargs) -> int:
        try:
            return command(*arguments, **keywords)
        except CommandError as error:
            note(str(error))
            return error.code
        except tuple(_EXITS) as error:
            note(str(error))
            return next(code for kind, code in _EXITS.items() if isinstance(error, kind))
        except BrokenPipeError:
            raise
        except OSError as error:
            note(f"{error.filename or 'this machine'}: {error.strerror or error}")
            return Exit.FAILED

    return wrapped


def note(sentence: str) -> None:
    """A sentence for the person at the terminal; what a script reads is on stdout."""
    print(f"fastconsole: {sentence}", file=sys.stderr, flush=True)


def discard_stdout() -> None:
    """The reader of our output is gone, or its disk is full. Python would complain once more at its own exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


async def waiting(work: Coroutine[Any, Any, T], sentence: str) -> T:
    """The result of the work. A person at a terminal who waits for it is told what for."""
    task = asyncio.ensure_future(work)
    if sys.stderr.isatty():
        await asyncio.wait([task], timeout=_SILENT_S)
        if not task.done():
            note(sentence)
    return await task
