"""``fastconsole plan``: what a profile would rent, how long it takes, what it costs; nothing is rented."""

from __future__ import annotations

import json
import sys

from console.commands.errors import note, report_errors
from console.commands.options import Parser, load_profile, profile_parser
from console.state.outcome import Exit


def parser() -> Parser:
    """Its options."""
    made = profile_parser("plan", "What the profile would rent, how long it takes and what it costs. Rents nothing.")
    made.add_argument("--json", action="store_true", help="one JSON object instead of text")
    return made


@report_errors
def main(words: list[str]) -> int:
    """Prints the plan; 6 where something stands in its way."""
    options = parser().parse_args(words)
    profile = load_profile(options)
    from console.fleet.aws import offers
    from console.planning import report
    from console.planning.as_json import as_json
    from console.planning.make import make
    from console.planning.predict import predict

    if profile.fleet.provider == "aws" and sys.stderr.isatty():
        note("asking AWS for prices, zones and quotas …")
    planned = make(profile, offers.ask(profile), predict(profile))
    if options.json:
        print(json.dumps(as_json(planned), indent=1, ensure_ascii=False))
    else:
        print(report.text(planned), end="")
    return Exit.UNREACHABLE if planned.problems else Exit.DONE
