"""``torchrun --nproc-per-node 2 -m remote.train JOB.json FOLDER``: a gang by hand, without an agent."""

import sys
from pathlib import Path

from remote.train.run_rank import main
from remote.wire.job import Job

if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: torchrun ... -m remote.train JOB.json FOLDER")
    sys.exit(main(Job.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
