"""The common NVIDIA Xid errors: what they mean and what to do about them, in a few words. Pure.

From NVIDIA's "XID Errors" (docs.nvidia.com/deploy/xid-errors): the table of errors and its notes on recovery.
"""

from __future__ import annotations

from typing import Final

# These sentences are in the alerts of a replayed journal, and so in its JSON: they stay as they are.
XIDS: Final = {
    13: "a fault in the program's own kernels, mostly",
    31: "the program used memory that is not its own, mostly",
    43: "it stopped a program after a fault of its own",
    45: "it ended work after another fault: look at the one before",
    48: "a memory error that could not be corrected; the card wants a reset",
    63: "a row of memory was set aside; the card wants a reset when the run is over",
    64: "a row of memory could not be set aside; replace the host",
    74: "NVLink to another GPU failed; collectives may hang: replace the host",
    79: "the GPU has fallen off the bus: replace the host",
    92: "many memory errors that could be corrected; watch it",
    94: "a memory error that hit this program alone; it starts again from its checkpoint",
    95: "a memory error that may have hit others; the card wants a reset",
    119: "its firmware does not answer; replace the host",
    120: "its firmware failed; replace the host",
}
GRAVE: Final = frozenset({48, 64, 74, 79, 95, 119, 120})
"""After these a GPU does not recover by itself."""


def meaning(xid: int) -> str:
    """What it means and what to do; a reference to NVIDIA's table for an uncommon number."""
    return XIDS.get(xid, "NVIDIA's table of Xid errors says what it means")
