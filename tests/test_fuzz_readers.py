"""A sample of `scripts/fuzz_readers.py`: damaged files are read to finite numbers or refused in one line."""

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "fuzz_readers.py"


def test_damaged_files_are_read_or_refused(tmp_path):
    assert runpy.run_path(str(SCRIPT))["fuzz"](400, 1, tmp_path) == []
