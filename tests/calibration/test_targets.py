"""Statistics, losses and rewards of a calibration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.calibration import targets
from diffgames.calibration.targets import LARGE_SIZES, SMALL_SIZES, Statistics, Target, experiment_targets
from diffgames.errors import InvalidInput


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=10, max_size=10).filter(any))
def test_percentiles_are_those_of_the_trades_one_by_one(counts):
    """By the definition, in whole numbers: with n trades in order, the mean of those around the place np (numpy's
    "averaged_inverted_cdf", whose product 0.7 n of rounded numbers misses ties)."""
    sizes = np.arange(1.0, 11.0)
    trades, n = np.repeat(sizes, counts), sum(counts)
    tenths = [round(10 * p) for p in targets.PROBABILITIES]
    expected = [(trades[-(-n * tenth // 10) - 1] + trades[n * tenth // 10]) / 2 for tenth in tenths]
    np.testing.assert_allclose(targets.percentiles(np.asarray(counts, float), sizes), expected, atol=1e-5)


def test_who_trades_nothing_has_percentiles_of_zero():
    assert not np.any(targets.percentiles(np.zeros(10), np.arange(1.0, 11.0)))


def test_losses_by_hand():
    seen = Statistics(share=np.asarray([0.1, 0.6]), percentiles=np.asarray([LARGE_SIZES, [5] * 9], float))
    assert Target("equal", (0.25,), 0).loss(seen) == pytest.approx(0.15)
    assert Target("at least", (0.15,), 1).loss(seen) == 0.0
    assert Target("at least", (0.8,)).loss(seen) == pytest.approx(0.1)
    assert Target("percentiles", LARGE_SIZES, 0).loss(seen) == 0.0
    last = Target("percentiles", SMALL_SIZES, 1)
    assert last.loss(seen) == pytest.approx(12 / 9)
    assert (last.unit, Target("equal", (0.25,)).unit) == ("lots", "1")
    expected = 1 / (1 + 0.5 * (0.05 + 0.1) + 0.2 * 12 / 9)
    assert float(targets.reward(experiment_targets(2), seen)) == pytest.approx(expected, rel=1e-6)


def test_the_reciprocals_of_equation_19_reward_what_is_met_alone():
    both = experiment_targets(4)
    far = Statistics(share=np.asarray([0.25, 0.0]), percentiles=np.zeros((2, 9)))
    assert float(targets.reciprocal_reward(both, far, floor=0.01)) == pytest.approx(1 / 0.01 + 1 / 0.55)
    with pytest.raises(InvalidInput, match="floor"):
        targets.reciprocal_reward(both, far, floor=0.0)


@pytest.mark.parametrize("kind, value, supertype", [("equal", (1.5,), 0), ("percentiles", (1.0, 2.0), 0)])
def test_targets_that_nothing_can_meet_are_refused(kind, value, supertype):
    with pytest.raises(InvalidInput, match="target"):
        Target(kind, value, supertype)


def test_there_are_four_experiments():
    assert [len(experiment_targets(k)) for k in (1, 2, 3, 4)] == [3, 4, 4, 2]
    with pytest.raises(InvalidInput, match="experiment"):
        experiment_targets(0)


def test_quotes_count_toward_their_neighbors_and_a_point_nobody_quoted_has_the_mean_flow():
    at = (-0.5, 0.0, 1.0)
    near = np.asarray(targets.near(np.asarray([-0.6, -0.5, -0.25, 0.25, 1.0, 1.1]), at))
    expected = [[0, 0, 0], [1, 0, 0], [0.5, 0.5, 0], [0, 0.75, 0.25], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(near, expected, atol=1e-12)
    lots = np.asarray([10.0, 0.0, 3.0])
    np.testing.assert_allclose(targets.flow_curve(lots, np.asarray([4.0, 0.0, 1.0]), np.asarray(2.5)), [2.5, 2.5, 2.75])


def test_a_curve_and_any_statistic_have_losses_in_their_units():
    measure = targets.Measure("inventory", "lots", lambda record: record)
    seen = Statistics(
        share=np.asarray([0.1, 0.6]),
        percentiles=np.asarray([LARGE_SIZES, [5] * 9], float),
        flow=np.asarray([[4.0, 2.0], [9.0, 9.0]]),
        measured={"inventory": np.asarray(7.0)},
    )
    curve = Target("flow", (5.0, 1.5), 0, at=(-0.5, 0.5))
    assert float(curve.loss(seen)) == pytest.approx(0.75)
    other = Target("statistic", (10.0,), measure=measure)
    assert float(other.loss(seen)) == pytest.approx(3.0)
    assert (curve.unit, other.unit) == ("lots a step", "lots")
    some = Target("percentiles", (8.0, 11.0), 0, at=(0.1, 0.9))
    assert float(some.loss(seen)) == pytest.approx(0.5)
    assert targets.flow_points([some, curve]) == (-0.5, 0.5)
    with pytest.raises(InvalidInput, match="no prices"):
        curve.loss(Statistics(share=seen.share, percentiles=seen.percentiles))
    with pytest.raises(InvalidInput, match="same prices"):
        targets.flow_points([curve, Target("flow", (1.0, 1.0), 1, at=(0.0, 1.0))])


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "flow", "value": (1.0, 2.0), "supertype": 0, "at": (0.5, -0.5)},
        {"kind": "flow", "value": (1.0, -2.0), "supertype": 0, "at": (-0.5, 0.5)},
        {"kind": "percentiles", "value": (2.0, 1.0), "supertype": 0, "at": (0.1, 0.9)},
        {"kind": "percentiles", "value": (1.0, 2.0), "supertype": 0, "at": (0.1, 0.95)},
        {"kind": "statistic", "value": (1.0,)},
    ],
)
def test_curves_that_are_none_are_refused(wrong):
    with pytest.raises(InvalidInput, match="target"):
        Target(**wrong)
