"""Names that both ends know: of files in a run's folder on a host, of environment variables, of an exit status.

`host_folder` is a run's folder on a host; every file named here lies in it, except `CONTENTS`.
"""

from __future__ import annotations

COMMANDS = "commands.jsonl"
"""The console's commands, one a line, which the agent carries out."""
JOB = "job.json"
"""What the agent runs: a `remote.wire.job.Job`."""
JOURNAL = "journal.jsonl"
"""The events of the agent and of the ranks."""
LAUNCH = "launch.json"
"""The present attempt of the ranks: ``rdzv_endpoint``, ``rdzv_id``, ``rdzv_node`` (the node that holds it), ``nnodes``
(fewer than the job's after the loss of a node), ``attempt``."""
LOCK = "agent.lock"
"""Held by the running agent. Contains its pid, or ``ended`` after an orderly end."""
LOGS = "logs"
"""Folder of the ranks' output files."""
ADDRESSES = "addresses.json.gz"
"""Presigned addresses for staging: ``{"serial": n, "objects": [[name, bytes, etag, address], ...]}``."""

CONTENTS = "packed.json"
"""Table of contents of a packed data set, in the data set's folder (`remote.data.packed`, which needs numpy)."""
S3 = "s3://"

HOST_PID = "FASTCONSOLE_HOST_PID"
"""Environment: the process that is this embedded host."""
OUTPUTS = "FASTCONSOLE_RANK_OUTPUTS"
"""Environment of the launcher: for each local rank the descriptors of its stdout and stderr, ``5:7,9:11``."""

REFUSED = 10
"""Exit status: the host cannot take part; the reason is on stderr."""


def host_folder(run_id: str, node: int) -> str:
    """A node's folder of a run on its host, below the home folder. Hosts may share a home folder (NFS on a cluster)."""
    return f".fastconsole/runs/{run_id}/node-{node:02d}"
