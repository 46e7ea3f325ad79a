"""TODO docstring: remote/wire/layout.py."""

from __future__ import annotations

COMMANDS = "commands.jsonl"


LOCK = "agent.lock"
"""Held by the living agent; holds its pid, or ``ended`` once it ended in order."""


JOB = "job.json"


LAUNCH = "launch.json"
"""What the present attempt of the gang was told: ``rdzv_endpoint``, ``rdzv_id``, ``rdzv_node`` (who holds it),
``nnodes`` (fewer than the job's where places are empty), ``attempt``."""


HOST_PID = "FASTCONSOLE_HOST_PID"
"""Environment: the process that is this embedded host."""


REFUSED = 10
"""Exit status: the host cannot take part; the sentence is on stderr."""


def host_folder(run_id: str, node: int) -> str:
    """A node's folder of a run on its host, below the home folder. Hosts may share one home (a cluster's NFS does)."""
    return f".fastconsole/runs/{run_id}/node-{node:02d}"


JOURNAL = "journal.jsonl"
"""The journal's name in a run's folder on a host."""


LOGS = "logs"
"""The files' folder in a run's folder on a host."""


OUTPUTS = "FASTCONSOLE_RANK_OUTPUTS"
"""Environment of the launcher: for each local rank the descriptors of its stdout and stderr, ``5:7,9:11``."""


ADDRESSES = "addresses.json.gz"
"""In a run's folder on a host: ``{"serial": n, "objects": [[name, bytes, etag, address], ...]}``."""


CONTENTS = "packed.json"
"""The table of contents of a packed data set (`remote.data.packed`, which needs numpy)."""


S3 = "s3://"
