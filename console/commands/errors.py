"""Errors of commands: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

from console.fleet.provider import ProviderError
from console.journal import open_log
from console.profile.schema import ProfileError
from console.state.outcome import Exit

_SILENT_S: Final = 1.0
"""Who waits longer is told for what."""

P = ParamSpec("P")
T = TypeVar("T")


class CommandError(Exception):
    """What was asked for cannot be done, in one sentence."""

    def __init__(self, sentence: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(sentence)
        self.code = code


def report_errors(command: Callable[P, int]) -> Callable[P, int]:
    """Errors of a command as a sentence and an exit code."""

    @functools.wraps(command)
    def wrapped(*arguments: P.args, **keywords: P.kwargs) -> int:
        try:
            return command(*arguments, **keywords)
        except CommandError as error:
            note(str(error))
            return error.code
        except ProfileError as error:
            note(str(error))
            return Exit.USAGE
        except open_log.LogError as error:
            note(str(error))
            return Exit.USAGE
        except ProviderError as error:
            note(str(error))
            return Exit.UNREACHABLE
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            note(f"{error.filename or 'this machine'}: {error.strerror or error}")
            return Exit.FAILED

    return wrapped


def note(sentence: str) -> None:
    """A sentence for the person at the terminal; what a script reads is on stdout."""
    print(f"fastconsole: {sentence}", file=sys.stderr, flush=True)


async def waiting(work: Coroutine[Any, Any, T], sentence: str) -> T:
    """What the work comes to; a person at a terminal who waits for it is told for what."""
    task = asyncio.ensure_future(work)
    if sys.stderr.isatty():
        await asyncio.wait([task], timeout=_SILENT_S)
        if not task.done():
            note(sentence)
    return await task
