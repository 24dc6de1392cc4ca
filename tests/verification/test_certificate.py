"""A certificate's own rules: what may stand in an entry, and what it says where nobody deviates."""

import dataclasses
import json
import math

import numpy as np
import pytest

from diffgames.errors import InvalidInput, RunFailed
from diffgames.verification.certificate import Certificate, exact_gap, gap_of_pairs, unbounded_gap

SOUND = exact_gap("player", 2.0, 0.5, 0.1, selected="")


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": (0.6, 0.4)},  # turned round
        {"interval": (0.6, 0.7)},  # the gain is not in it
        {"interval": (0.4, math.inf)},
        {"interval": (math.nan, 0.6)},
        {"lower": 0.7, "upper": 0.6},
        {"upper": 0.4},
    ],
)
def test_an_interval_is_finite_in_order_and_holds_its_gain(wrong):
    with pytest.raises(RunFailed, match=r"player.*(interval|bounds)"):
        dataclasses.replace(SOUND, **wrong)


def test_an_infinite_gain_has_an_infinite_interval():
    found = unbounded_gap("player", 1.0, "it escapes")
    assert found.gap == math.inf
    with pytest.raises(RunFailed, match="interval"):
        dataclasses.replace(found, interval=(0.0, 1.0))


def test_without_entries_it_says_why_and_lists_its_checks():
    with pytest.raises(InvalidInput, match="unseen"):
        Certificate((), "two books")
    found = Certificate((), "two books", "nobody deviates", {"differ": 0, "change": None})
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["gap"] is None and plain["checks"] == {"differ": 0, "change": None}
    assert plain["unseen"] == "nobody deviates" and found.gap == math.inf and found.significant == ()
    assert "nobody deviates" in repr(found) and "differ: 0" in repr(found)
    with pytest.raises(RunFailed, match="change"):
        Certificate((SOUND,), "two books", checks={"change": math.nan})


def test_paired_values_are_sound():
    found = gap_of_pairs("player", np.arange(3.0), np.arange(3.0) + 0.5)
    assert found.gain == found.lower == found.upper == 0.5
