"""The gangs of the other tests leave nothing behind, also where a test is killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
STARTER = """
import sys
from pathlib import Path
import gang
root = Path(sys.argv[1])
recipe = gang.recipe(gang.picture_folder(root / "data", train=28, val=14), batch=2, epochs=100_000)
started = gang.start(recipe, root, 2)
print(*(rank.pid for rank in started.ranks), flush=True)
started.join(600)
"""


def test_ranks_end_with_who_started_them(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
    )
    try:
        assert starter.stdout is not None
        ranks = [os.pidfd_open(int(pid)) for pid in starter.stdout.readline().split()]
        assert len(ranks) == 2
        starter.kill()
        for rank in ranks:
            ended, _, _ = select.select([rank], [], [], 30)
            if not ended:
                signal.pidfd_send_signal(rank, signal.SIGKILL)
            os.close(rank)
            assert ended, "a rank goes on"
    finally:
        starter.kill()
        starter.wait()
