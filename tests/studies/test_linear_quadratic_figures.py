"""Figures that linear-quadratic studies share, drawn from datasets as a report reads them."""

import numpy as np
import xarray as xr

from diffgames.studies.linear_quadratic_figures import escaping, theory_and_dots, theory_and_simulation


def test_every_state_has_a_line_of_theory_and_dots_at_a_few_simulated_times():
    theory = (np.arange(5.0), np.array([[1.0, 2.0]] * 5), np.full((5, 2), 0.5))
    seen = (np.linspace(0.0, 4.0, 64), np.array([[1.5, 2.5]] * 64), np.full((64, 2), 0.25))
    ax = theory_and_dots(theory_and_simulation(["leader", "crowd"], theory, seen))
    drawn = ax.get_lines()
    assert [line.get_label() for line in drawn[::4]] == ["leader", "crowd"]
    assert drawn[4].get_ydata().tolist() == [2.0] * 5
    heights = [set(line.get_ydata()) for line in drawn[5:8]]
    assert heights == [{2.5}, {2.0}, {3.0}], "the simulated mean, and two deviations below and above it"
    assert drawn[5].get_xdata().size == 16
    low = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (low.min(), low.max()) == (0.0, 2.0)


def test_values_that_escape_are_shown_with_the_time_of_the_escape():
    values = np.exp(np.arange(12.0)).reshape(3, 2, 2)
    data = xr.Dataset(
        {"S": (("to_go", "regime", "z"), values, {"long_name": "P"})},
        coords={"to_go": ("to_go", [0.0, 1.0, 2.0], {"long_name": "time to go"})},
        attrs={"escape_time": 2.125},
    )
    ax = escaping("S", "regime")(data)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time to go", "P")
    first, second, escape = ax.get_lines()
    assert first.get_ydata().tolist() == values[:, 0, 0].tolist()
    assert second.get_ydata().tolist() == values[:, 1, 0].tolist()
    assert escape.get_label() == "escape 2.125" and set(escape.get_xdata()) == {2.125}
