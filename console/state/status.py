"""The statuses of a run and of a node, and the sets of them that decisions ask for.

The words are stored (``run_ended`` and the status documents) and do not change.
"""

from __future__ import annotations

from typing import Final

LAUNCHING: Final = "launching"
TRAINING: Final = "training"
PAUSED: Final = "paused"
STOPPING: Final = "stopping"
REACHED: Final = "reached"
FINISHED: Final = "finished"
MISSED: Final = "missed"
STOPPED: Final = "stopped"
FAILED: Final = "failed"
OVER_BUDGET: Final = "over budget"
UNREACHABLE: Final = "unreachable"

LIVE: Final = (LAUNCHING, TRAINING, PAUSED, STOPPING)
"""The run has not ended."""
ENDED: Final = (REACHED, FINISHED, MISSED, STOPPED, FAILED, OVER_BUDGET, UNREACHABLE)
RESUMABLE: Final = (STOPPED, FAILED, OVER_BUDGET, UNREACHABLE)
"""The run ended before its schedule did: ``fastconsole resume`` accepts it."""

NODE_WAITING: Final = "waiting"
"""It has no host yet."""
NODE_LAUNCHING: Final = "launching"
NODE_CONNECTED: Final = "connected"
"""Its host answers; no rank runs on it."""
NODE_TRAINING: Final = "training"
NODE_PAUSED: Final = "paused"
NODE_DONE: Final = "done"
"""Its trainer ended well."""
NODE_UNREACHABLE: Final = "unreachable"
"""Its host does not answer; nothing is known of its trainer."""
NODE_FAILED: Final = "failed"
"""Its trainer, its agent or its copy of the data set failed."""
NODE_REFUSED: Final = "refused"
"""Its host cannot take part."""
NODE_LOST: Final = "lost"
"""Its host is gone for good, and another one may come."""
NODE_DROPPED: Final = "dropped"
"""Its host is gone, and the run continues without this node."""

NODE_STARTING: Final = (NODE_WAITING, NODE_LAUNCHING)
NODE_LIVE: Final = (NODE_CONNECTED, NODE_TRAINING, NODE_PAUSED)
"""Its host answers and its trainer has not ended."""
NODE_GONE: Final = (NODE_LOST, NODE_DROPPED)
"""It has no host any more."""
NODE_ENDED: Final = (NODE_DONE, NODE_FAILED, *NODE_GONE)
"""Nothing of the run is left to run on it."""
