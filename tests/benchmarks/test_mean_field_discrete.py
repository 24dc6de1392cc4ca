"""The benchmark of discrete mean-field games on its small game: both sides, where MFGLib is there, stop together."""

import pytest

from diffgames.benchmarks import mean_field_discrete


@pytest.mark.slow
def test_it_stops_where_mfglib_stops():
    found = mean_field_discrete.run(games=("beach-bar",))
    assert found["our_iterations"] == {"beach-bar": 24} and found["chain_newton_exploitability"] <= 1e-10
    assert found.get("mfglib_iterations", {"beach-bar": 24}) == {"beach-bar": 24}
