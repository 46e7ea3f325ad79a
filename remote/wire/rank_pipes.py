"""Pipes for what the ranks print: the agent reads one pair a rank, so that it knows who printed what."""

from __future__ import annotations

import os

from remote.wire.layout import OUTPUTS


class RankPipes:
    """Pipes for stdout and stderr of each rank of a node; the launcher inherits their writing ends."""

    def __init__(self, ranks: int) -> None:
        """Raises OSError where there are no descriptors left."""
        pipes = [(os.pipe(), os.pipe()) for _ in range(ranks)]
        self.reading = [(out[0], err[0]) for out, err in pipes]
        self._writing = [(out[1], err[1]) for out, err in pipes]

    @property
    def inherited(self) -> list[int]:
        """The descriptors that the launcher needs."""
        return [fd for pair in self._writing for fd in pair]

    @property
    def env_value(self) -> str:
        """The value of the environment variable `OUTPUTS` for the launcher."""
        return ",".join(f"{out}:{err}" for out, err in self._writing)

    def close_writing(self) -> None:
        """Closes the writing ends here, once the launcher has them: readers see the end when the last rank ends."""
        for fd in self.inherited:
            os.close(fd)
        self._writing = []


def redirect_output(local_rank: int) -> None:
    """In a rank: sends stdout and stderr to the rank's own pipes, if the launcher has some for it."""
    pairs = os.environ.get(OUTPUTS, "").split(",")
    if local_rank < len(pairs) and ":" in pairs[local_rank]:
        out, _, err = pairs[local_rank].partition(":")
        os.dup2(int(out), 1)
        os.dup2(int(err), 2)
