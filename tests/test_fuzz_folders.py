"""A sample of `scripts/fuzz_folders.py`: damaged run folders are refused in one line or answered as if whole."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "fuzz_folders.py"


def test_damaged_folders_are_refused_or_answered_as_if_whole(tmp_path):
    assert runpy.run_path(str(SCRIPT))["fuzz"](40, 5, tmp_path) == []
