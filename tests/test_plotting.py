"""The house style: legends beside the data, paths broken where they jump, few round ticks on colour bars."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from diffgames.plotting import calendar, colour_bar, legends, new_figure, path_with_jumps


@pytest.mark.parametrize("columns", [1, 3])
def test_a_legend_stands_beside_its_axes_and_takes_none_of_their_width(columns):
    figure, axes = new_figure(columns=columns)
    for number, ax in enumerate(axes):
        ax.plot([0.0, 1.0], [0.0, 1.0], label=f"a curve with a long name, the {number}th")
    FigureCanvasAgg(figure).draw()
    before = [ax.get_window_extent().width for ax in axes]
    legends(*axes)
    FigureCanvasAgg(figure).draw()
    for place, ax in enumerate(axes):
        legend, page = ax.get_legend(), figure.bbox
        assert legend is not None
        box, here = legend.get_window_extent(), ax.get_window_extent()
        assert box.x0 >= here.x1 and box.x1 <= page.x1 + 1
        assert here.width >= 0.9 * before[place]
        if place + 1 < columns:
            assert box.x1 <= axes[place + 1].get_tightbbox().x0 + 1


def test_axes_that_say_the_same_share_one_legend_and_silent_axes_have_none():
    _, axes = new_figure(columns=2)
    for ax in axes:
        ax.plot([0.0, 1.0], label="calm")
    legends(*axes)
    assert axes[0].get_legend() is None and axes[1].get_legend() is not None
    silent, (alone,) = new_figure()
    width = silent.get_figwidth()
    legends(alone)
    assert alone.get_legend() is None and silent.get_figwidth() == width


def test_a_path_is_broken_where_it_jumps():
    _, (ax,) = new_figure()
    points = np.asarray([[0.0, 0.0], [1.0, 0.1], [2.0, 5.1], [3.0, 5.2]])
    path_with_jumps(ax, points, np.asarray([False, True, False]), colour="black")
    path, jump = ax.lines
    np.testing.assert_array_equal(path.get_xydata(), [*points[:2], [np.nan, np.nan], *points[2:]])
    np.testing.assert_array_equal(jump.get_xydata(), points[1:3])
    assert jump.get_linestyle() == ":"


def test_a_colour_bar_has_few_round_ticks_whatever_the_levels():
    figure, axes = new_figure()
    grid = np.linspace(-4.9, 13.3, 40)
    image = axes[0].contourf(np.add.outer(grid, grid), levels=np.linspace(-4.9, 13.0, 22), extend="max")
    bar = colour_bar(image, axes, "value")
    FigureCanvasAgg(figure).draw()
    ticks = bar.get_ticks()
    assert 2 < len(ticks) <= 8
    np.testing.assert_allclose(ticks, np.round(ticks), atol=1e-9)
    heights = bar.ax.transData.transform([(0.0, tick) for tick in (-4.9, 0.0, 4.0, 13.0)])[:, 1]
    shares = (heights - heights[0]) / (heights[-1] - heights[0])
    np.testing.assert_allclose(shares, (np.array([-4.9, 0.0, 4.0, 13.0]) + 4.9) / 17.9, atol=1e-6)
    beyond = bar.ax.transData.transform([(0.0, -8.0), (0.0, 16.0)])[:, 1]
    assert beyond[0] < heights[0] - 1 and beyond[1] > heights[-1] + 1, "no number beyond the levels is on the bar"


def test_the_calendar_tells_the_days_of_a_week_and_its_month():
    figure, (ax,) = new_figure()
    ax.plot(np.datetime64("2018-03-24T00", "h") + np.arange(168), np.zeros(168))
    calendar(ax)
    FigureCanvasAgg(figure).draw()
    said = [tick.get_text() for tick in ax.get_xticklabels()]
    assert {"25", "26", "30"} <= set(said) and ax.xaxis.get_offset_text().get_text() == "2018-Mar"
