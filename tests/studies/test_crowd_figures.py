"""What the crowd's figures draw, on the line, in the plane and in space."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from diffgames.studies import crowd_figures


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_paths_are_drawn_in_the_first_two_coordinates_or_over_time(dimension):
    rng = np.random.default_rng(dimension)
    times = np.linspace(0.0, 2.0, 9)
    axes = ("time", "player", "axis")
    paths = xr.Dataset(
        {
            "mean": (axes, rng.normal(size=(9, 3, dimension))),
            "deviation": (axes, rng.uniform(0.1, 0.3, (9, 3, dimension))),
            "sample": (("path", *axes), rng.normal(size=(4, 9, 3, dimension))),
            "jumped": (("path", "step", "player"), np.eye(8, dtype=np.int8)[None, :, :1].repeat(4, 0).repeat(3, 2)),
        },
        coords={"time": times},
    )
    targets, start = rng.normal(size=(3, dimension)), np.zeros(dimension)
    figure = crowd_figures.crowd_paths(paths, targets, start, "crowd", samples=2)
    mean = figure.axes[0]
    line = next(one for one in mean.lines if len(one.get_xdata()) == 9)
    wanted = (times, paths["mean"][:, 0, 0]) if dimension == 1 else paths["mean"][:, 0, :2].values.T
    np.testing.assert_allclose(line.get_data(), wanted)
    crosses = [one.get_xydata()[0] for one in mean.lines if one.get_marker() == "X"]
    np.testing.assert_allclose(crosses, np.c_[np.full(3, 2.0), targets] if dimension == 1 else targets[:, :2])
    single = figure.axes[-1]
    broken = [one for one in single.lines if np.isnan(one.get_xdata()).any()]
    assert len(broken) == 3 and all(np.isnan(one.get_xdata()[1]) for one in broken)
    assert [text.get_text() for text in single.texts] == ["all jump, t = 0.25"]
    assert len(figure.axes) == (3 if dimension == 1 else 4) and mean.get_xlabel() == (
        "time [time]" if dimension == 1 else "x₁ [length]"
    )
    plt.close(figure)


@pytest.mark.parametrize("dimension", [1, 2])
def test_large_crowds_are_drawn_stream_by_stream(dimension):
    rng = np.random.default_rng(0)
    crowd = xr.Dataset(
        {
            "position": (("mark", "player", "axis"), rng.normal(size=(2, 10, dimension))),
            "mean": (("time", "stream", "axis"), rng.normal(size=(5, 2, dimension))),
        },
        coords={"time": np.linspace(0, 1, 5), "mark": [0.5, 1.0], "stream_of": ("player", np.arange(10) % 2)},
    )
    figure = crowd_figures.crowd_at_marks(crowd, rng.normal(size=(2, dimension)))
    first = figure.axes[0].collections[0].get_offsets()
    shown = crowd["position"].values[0, ::2]
    np.testing.assert_allclose(first, np.c_[np.full(5, 0.5), shown] if dimension == 1 else shown)
    plt.close(figure)
