"""``python -m remote.prepare SOURCE DESTINATION``: see `remote.prepare.cli`."""

import sys

from remote.prepare.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
