"""The study of round trips: the book pays nobody, the mid does, and a market that paid would be named."""

import numpy as np
import pytest
import xarray as xr

from diffgames.errors import InvalidInput
from diffgames.execution import run_study
from diffgames.markets.round_trips import Earned
from diffgames.studies.round_trips import RoundTripConfig, _paid, earnings_of, t_values


def test_the_book_pays_nobody_and_the_mid_pays_buyers(tmp_path):
    """One headline says both: what the test finds marked to the mid it does not find marked to the book."""
    settings = {"sizes": [10.0], "episodes": 8, "steps": 60}
    headline = run_study("round-trips", settings=settings, out=tmp_path / "run", quiet=True).finished()["headline"]
    assert headline["earns"] < 0 < headline["critical"] < headline["earns_at_mid"]
    assert headline["mid"]["buy every step"][0] > 0 > headline["book"]["buy every step"][0]


def _earnings(book: list[float], errors: list[float]) -> xr.Dataset:
    flat = np.zeros(len(book))
    return earnings_of(
        RoundTripConfig(sizes=(2.0,)), ["a", "b", "c"], [Earned(np.array(book), np.array(errors), flat, flat)]
    )


def test_a_schedule_that_the_book_pays_is_named():
    """Planted: one certain gain, one loss, one gain within its noise."""
    planted = _earnings([5.0, -1.0, 0.1], [1.0, 0.2, 0.1])
    (warning,) = _paid(planted, 3.5)
    assert "a at 2 lots earns 5 ± 2" in warning
    np.testing.assert_allclose(t_values(planted, "book"), [[5.0, -5.0, 1.0]])
    np.testing.assert_array_equal(t_values(_earnings([1.0, -1.0, 0.0], [0.0] * 3), "book"), [[np.inf, -np.inf, 0.0]])


@pytest.mark.parametrize("settings", [{"sizes": []}, {"sizes": [1.0, 1.0]}, {"sizes": [-1.0]}, {"episodes": 1}])
def test_wrong_sizes_are_refused(settings, tmp_path):
    with pytest.raises(InvalidInput):
        run_study("round-trips", settings=settings, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
