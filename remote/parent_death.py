"""Ends a process with its parent: no rank outlives its launcher, no launcher its agent, no agent its host.

Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def end_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Has the kernel send this process signal `number` when its parent ends. `parent` is the expected pid.

    Linux only (prctl(2), PR_SET_PDEATHSIG: the parent is the thread that forked); elsewhere it does nothing.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        # The parent ended before the call.
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants whose own parent ends, daemons too (Linux only)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
