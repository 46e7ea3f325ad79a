"""Without textual-serve, --serve is a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from canned_source import scene

from console.journal.writer import RunJournal


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunJournal(path) as journal:
        journal.append(*scene("training", nodes=2))
    script = (
        "import sys; sys.modules['textual_serve.server'] = None; from console.__main__ import main; "
        f"sys.exit(main(['--serve', {str(path)!r}]))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert said.returncode == 2
    assert "pip install 'fastconsole[serve]'" in said.stderr
