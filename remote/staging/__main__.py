"""``python -m remote.staging FOLDER AGENT_PID``, by the agent: see `remote.staging.copy`."""

import sys
from pathlib import Path

from remote.parent_death import end_with_parent
from remote.staging.copy import main

if __name__ == "__main__":
    end_with_parent(int(sys.argv[2]))
    sys.exit(main(Path(sys.argv[1])))
