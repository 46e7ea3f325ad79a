"""TODO docstring: console/commands/plan.py."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from console.commands.options import UsageError, _Parser, _profile, _profile_options, _say, _which_profile
from console.state.outcome import Exit

if TYPE_CHECKING:
    from console.profile.schema import Profile

import json
from typing import TYPE_CHECKING

from console.commands.errors import note, report_errors
from console.profile.schema import Profile, ProfileError

if TYPE_CHECKING:
    # asyncssh comes with it; the screen paints before that is imported.
    pass


def plan_parser() -> argparse.ArgumentParser:
    """The options of ``plan``."""
    parser = _Parser(prog="fastconsole", add_help=False, allow_abbrev=False)
    parser.add_argument("profile", nargs="?")
    parser.add_argument("--json", action="store_true")
    _profile_options(parser)
    return parser


def _plan(words: list[str]) -> int:
    options = plan_parser().parse_args(words)
    if options.profile is None:
        raise UsageError(_which_profile())

    try:
        profile = _profile(options)
    except ProfileError as error:
        return _say(str(error), Exit.USAGE)
    from console.commands import plan

    return plan.plan(profile, as_json=options.json)


@report_errors
def plan(profile: Profile, *, as_json: bool) -> int:
    """Prints what the profile would rent, how long it would take and what it would cost."""
    from console.fleet.aws import offers
    from console.planning import as_json as plan_json
    from console.planning import report
    from console.planning.make import make
    from console.planning.predict import predict

    if profile.fleet.provider == "aws" and sys.stderr.isatty():
        note("asking AWS for prices, zones and quotas …")
    planned = make(profile, offers.ask(profile), predict(profile))
    if as_json:
        print(json.dumps(plan_json.as_json(planned), indent=1, ensure_ascii=False))
    else:
        print(report.text(planned), end="")
    return Exit.UNREACHABLE if planned.problems else Exit.DONE
