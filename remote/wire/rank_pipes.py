"""TODO docstring: remote/wire/rank_pipes.py."""

from __future__ import annotations

import os

from remote.wire.layout import OUTPUTS


class RankPipes:
    """Pipes for the stdout and the stderr of each rank of a node; the launcher inherits their writing ends."""

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
    def spoken(self) -> str:
        """What the launcher is told of them, in `OUTPUTS`."""
        return ",".join(f"{out}:{err}" for out, err in self._writing)

    def close_writing(self) -> None:
        """Once the launcher has them: their end is then the end of all who hold them."""
        for fd in self.inherited:
            os.close(fd)
        self._writing = []


def speak_through_pipes(local_rank: int) -> None:
    """For a rank: from here on its stdout and stderr are its own, where its launcher has such pipes for it."""
    pairs = os.environ.get(OUTPUTS, "").split(",")
    if local_rank < len(pairs) and ":" in pairs[local_rank]:
        out, _, err = pairs[local_rank].partition(":")
        os.dup2(int(out), 1)
        os.dup2(int(err), 2)
