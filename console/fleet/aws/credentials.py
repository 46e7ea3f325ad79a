"""Whether this laptop has an AWS set-up at all, determined without boto3 and without any call.

A laptop without one must not wait: boto3 asks EC2's metadata service for credentials last, which does not answer on a
machine that is not an instance. On an instance with a role, where that service is the only set-up, ``--aws`` is needed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from console.journal.directory import all_runs

_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))
_A_LOGIN = re.compile(
    r"^\s*(aws_access_key_id|sso_\w+|role_arn|credential_process|credential_source|login_session)\s*=", re.MULTILINE
)
"""The settings in these files that lead to credentials; a region alone does not."""


def is_set_up() -> bool:
    """True if the user's environment or files name AWS credentials, valid or not."""
    return any(os.environ.get(name) for name in _ENVIRONMENT) or any(_leads(*file) for file in _FILES)


def _leads(variable: str, usual: str) -> bool:
    try:
        text = Path(os.environ.get(variable) or usual).expanduser().read_text(errors="replace")
    except (OSError, RuntimeError):
        return False
    return _A_LOGIN.search(text) is not None


def rents_here() -> bool:
    """True if a run of this laptop rented instances and has not ended."""
    return any(run.read_fleet()[1].get("provider") == "aws" and not run.ended() for run in all_runs())
