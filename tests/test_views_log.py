"""The log as one reads it: what of a failure's output is shown."""

from __future__ import annotations

from run_story import trained

from console.views.log import failure_lines
from remote.wire import events as re


def test_of_a_recursions_traceback_the_last_lines_are_kept() -> None:
    story = trained(epochs=1)
    story.hears(1, re.RankFailed(rank=3, exit_code=1, message="RecursionError"))
    story.hears(1, re.LogPrinted(text="Traceback (most recent call last):", rank=3, stream="stderr"))
    for number in range(300):
        story.hears(1, re.LogPrinted(text=f"  frame {number}", rank=3, stream="stderr"))
    story.hears(1, re.LogPrinted(text="RecursionError: maximum recursion depth", rank=3, stream="stderr"))
    story.hears(1, re.LogPrinted(text="bye", rank=3, stream="stderr"))
    shown = [entry.line.text for entry in failure_lines(story.run)]
    assert len(shown) == 200
    assert shown[0] == "  frame 101"
    assert shown[-2:] == ["  frame 299", "RecursionError: maximum recursion depth"]
