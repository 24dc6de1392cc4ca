"""`scripts/golden.py` on the five cheapest studies, and what it calls equal."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

CHEAPEST = ("replay", "exchange-fit", "market-maker", "games-in-games", "regime-risk")
SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "golden.py"


@pytest.fixture(scope="module")
def golden():
    return runpy.run_path(str(SCRIPT))


def test_a_difference_is_told_with_its_place_and_both_values(golden):
    before = {"headline": {"gap": [1.0, 2.0], "rate": None, "steps": 3}, "certificate": {"how": "exact"}}
    after = {"headline": {"gap": [1.0, 2.0 + 1e-15], "steps": 3}, "certificate": {"how": "searched"}}
    told = list(golden["differences"](before, after, exact=True))
    assert told == [
        "headline.gap[1]: 2.0 → 2.000000000000001",
        "headline.rate: None → 'nothing'",
        "certificate.how: 'exact' → 'searched'",
    ]


def test_rounding_passes_on_another_platform_and_a_changed_number_does_not(golden):
    before, rounded = {"gap": [1.0, 1e-3], "residual": 1e-14}, {"gap": [1.0, 1e-3 + 1e-9], "residual": -3e-13}
    assert list(golden["differences"](before, rounded, exact=False)) == []
    for changed in ({"gap": [1.0, 1.001e-3]}, {"gap": [1.0 + 1e-6, 1e-3]}, {"gap": [1.0]}, {"gap": [1.0, None]}):
        assert len(list(golden["differences"](before, before | changed, exact=False))) == 1


def test_every_record_is_of_a_registered_study(golden):
    recorded = {path.stem for path in golden["FOLDER"].glob("*.json")}
    assert recorded - {golden["LISTING"]} <= set(golden["STUDIES"])
    assert set(CHEAPEST) <= set(golden["PORTABLE"]) <= recorded


@pytest.mark.slow
def test_the_cheapest_studies_find_what_is_recorded():
    """In a process of its own, whose threads and flags are those of `diffgames run`, not of the tests."""
    own = {name: value for name, value in os.environ.items() if name != "NPROC"}
    found = subprocess.run([sys.executable, str(SCRIPT), "compare", *CHEAPEST], env=own, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
