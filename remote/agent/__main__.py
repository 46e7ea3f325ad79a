"""``python -m remote.agent attach RUN_ID NODE --from OFFSET [--start]``: see `remote.agent.attach`."""

import sys

from remote.agent.attach import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
