"""A sample of `scripts/fuzz_settings.py`: settings are taken or refused in one line, none ends in a traceback."""

import runpy
import warnings
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "fuzz_settings.py"


def test_odd_settings_are_taken_or_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers at the ends of their range overflow, and are refused for it
        assert runpy.run_path(str(SCRIPT))["fuzz"](500, 1, tmp_path, started=0.03) == []
