"""What cloud-init does on an instance before the first connection: the launch's host key, the first lease, the disks.

The text is JSON under cloud-init's first line; JSON is YAML, without YAML's ambiguities. The lease is armed by
``bootcmd``, the first of the modules used here (they run in the order bootcmd, write-files, users-groups, ssh) and long
before sshd starts. Its only secret is the launch's host key, which every instance of the launch can read;
`console.fleet.rental.bootstrap` has each host replace it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh

LIMIT_BYTES = 16 * 1024
"""EC2's limit on user data, before it is encoded for the wire."""

LEASE_FILE = "/run/fastconsole/lease"
"""The file by which a host's login user moves the deadline: see ``host/lease.sh``."""
DATA_DIR = "/opt/dlami/nvme/fastconsole"
"""The login user's folder on the local NVMe disks, or on the root volume if there are none: ``host/nvme.sh``."""

_HOST = Path(__file__).with_name("host")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

# Arguments: name, script, unit. A file is written beside and renamed, since bootcmd runs at every boot.
_INSTALL = """\
umask 022
mkdir -p /usr/local/sbin /etc/systemd/system
put() { printf '%s' "$1" >"$2.part" && chmod "$3" "$2.part" && mv -f "$2.part" "$2"; }
put "$2" "/usr/local/sbin/$1" 755
put "$3" "/etc/systemd/system/$1.service" 644
systemctl daemon-reload
"""
# Queued only: waiting for a unit here would deadlock with the boot, which waits for this. Without systemd the script
# runs by itself.
_ARM = f"""{_INSTALL}\
systemctl enable "$1.service"
systemctl start --no-block "$1.service" || {{ setsid "/usr/local/sbin/$1" "$4" "$5" </dev/null >/dev/null 2>&1 & }}
"""
_MOUNT = f"""{_INSTALL}\
systemctl start --no-block "$1.service"
"""


def user_data(*, host_key: asyncssh.SSHKey, authorized_keys: Sequence[str], lease_s: float, user: str) -> str:
    """The user data of a launch.

    `host_key` is the launch's own (ed25519), `authorized_keys` are those that may log in as `user`, the image's login
    user; the host powers itself off `lease_s` after its boot unless its lease is moved.

    Raises:
        ValueError: `user` is not the name of a Linux user.
    """
    if not _USER.fullmatch(user):
        raise ValueError(f"fleet.user is {user!r}; accepted is a Linux user's name, for example ubuntu or ec2-user")
    seconds = str(max(1, math.ceil(lease_s)))
    lease_unit = _read("lease.service").replace("@SECONDS@", seconds).replace("@USER@", user)
    nvme_unit = _read("nvme.service").replace("@USER@", user)
    config: dict[str, Any] = {
        "bootcmd": [
            ["sh", "-c", _ARM, "sh", "fastconsole-lease", _read("lease.sh"), lease_unit, seconds, user],
            ["sh", "-c", _MOUNT, "sh", "fastconsole-nvme", _read("nvme.sh"), nvme_unit],
        ],
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ed25519_private": host_key.export_private_key().decode(),
            "ed25519_public": host_key.export_public_key().decode(),
        },
        "ssh_authorized_keys": list(authorized_keys),
        "ssh_pwauth": False,
        "disable_root": user != "root",
        # They take minutes at the instance's price, and a lock that set-up commands of the profile would wait for.
        "package_update": False,
        "package_upgrade": False,
    }
    text = "#cloud-config\n" + json.dumps(config, indent=1) + "\n"
    assert text.isascii()
    assert len(text) <= LIMIT_BYTES, f"{len(text)} bytes of user data; EC2 takes {LIMIT_BYTES}"
    return text


def _read(name: str) -> str:
    return _HOST.joinpath(name).read_text()
