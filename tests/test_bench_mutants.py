"""The sample of mutants and the table of what became of them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))

import mutants

NAMES = {f"console/{file}.py": [f"{file}.f__mutmut_{number}" for number in range(count)] for file, count in
         (("a", 300), ("b", 60), ("c", 3))}  # fmt: skip


def test_a_sample_is_the_same_for_a_seed_and_has_of_each_file_its_part() -> None:
    sample = mutants.sampled(NAMES, 121, 7)
    assert sample == mutants.sampled({file: list(reversed(NAMES[file])) for file in reversed(NAMES)}, 121, 7)
    assert sample != mutants.sampled(NAMES, 121, 8)
    assert len(set(sample)) == 121
    assert [sum(name.startswith(file) for name in sample) for file in "abc"] == [100, 20, 1]
    assert set(mutants.sampled(NAMES, 1000, 0)) == {name for names in NAMES.values() for name in names}


def test_the_table_counts_what_was_sampled() -> None:
    found: dict[str, dict[str, int | None]] = {
        "a.py": {"killed": 1, "survived": 0, "endless": -24, "nobody calls it": 33, "not sampled": 1},
        "b.py": {"not sampled either": None},
    }
    rows, missed = mutants.table(found, {"killed", "survived", "endless", "nobody calls it"})
    assert rows[2:] == ["| `a.py` | 5 | 4 | 2 | 1 | 1 | 50.0% |", "| all | 6 | 4 | 2 | 1 | 1 | 50.0% |"]
    assert missed == ["survived", "nobody calls it"]
