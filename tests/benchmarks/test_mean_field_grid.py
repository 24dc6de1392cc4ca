"""The benchmark of mean-field games on cells, small: steps stay few as cells double and noise falls."""

import pytest

from diffgames.benchmarks import mean_field_grid


@pytest.mark.slow
def test_steps_stay_few_as_cells_double_and_noise_falls():
    found = mean_field_grid.run(cells=(10, 20), viscosities=(1.0, 0.01), middle=20)
    assert found["unsolved"] == 0 and abs(found["exploitability"]) < 1e-8
    assert max(found["steps"].values()) <= 10 and max(found["steps_by_viscosity"].values()) <= 10
    assert found["steps"]["20"] <= found["steps"]["10"] + 1
