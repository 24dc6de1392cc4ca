"""Truncating infinitely many small jumps, against the moments of tempered stable measures."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma, gammainc, gammaincc

from diffgames.errors import InvalidInput
from diffgames.games.crowd import crowd_game
from diffgames.games.distributed import DistributedGame
from diffgames.games.kernels import Quadratic
from diffgames.games.small_jumps import truncate
from diffgames.solvers.distributed_paths import draw_noise, graded_grid

ALPHA = 0.7


def tempered(z):
    return abs(z) ** (-1.0 - ALPHA) * np.exp(-abs(z))


def test_moments_of_a_tempered_stable_measure():
    """∫_{|z|<ε} zᵐ ν = Γ(m − α) P(m − α, ε) per side; the second moment is kept whole."""
    cut = 0.05
    found = truncate(tempered, cut)
    second, third = ((2 * gamma(m - ALPHA) * gammainc(m - ALPHA, cut)) for m in (2, 3))
    assert found.third_moment == pytest.approx(third, rel=1e-6)
    assert found.variance >= second * (1 - 1e-9)
    total = found.variance + found.rate * found.weights @ found.marks**2
    assert total == pytest.approx(2 * gamma(2 - ALPHA), rel=1e-9)
    assert abs(found.weights @ found.marks) < 1e-12
    assert found.rate == pytest.approx(2 * quad(tempered, cut, np.inf)[0], rel=1e-8)
    assert found.weak_error(2.0) == pytest.approx((third + found.mark_error) / 3, rel=1e-6)


def test_more_cells_leave_less_of_the_error_of_the_marks():
    """Variance in cells of relative width h is h²/12 of the size squared, and the error falls with it."""
    few, many = (truncate(tempered, 0.05, cells=cells) for cells in (64, 128))
    assert few.mark_error / many.mark_error == pytest.approx(4.0, rel=0.1)
    assert many.mark_error < 0.01 * 2 * gamma(3 - ALPHA)


def test_one_sided_measures_keep_their_mean_and_variance():
    found = truncate(lambda z: np.exp(-z) / z**1.4, 0.1, two_sided=False)
    assert found.marks.min() > 0.1 and np.all(found.weights >= 0)
    assert found.rate * found.weights @ found.marks == pytest.approx(gamma(0.6) * gammaincc(0.6, 0.1), rel=1e-8)
    assert found.variance + found.rate * found.weights @ found.marks**2 == pytest.approx(gamma(1.6), rel=1e-8)


def test_errors_fall_with_the_cut():
    """Weak error of small jumps ∝ ε^{3−α}, strong error ∝ ε^{1−α/2}, as ε → 0."""
    coarse, fine = (truncate(tempered, cut, cells=1024) for cut in (0.02, 0.01))
    assert np.log2(coarse.third_moment / fine.third_moment) == pytest.approx(3 - ALPHA, abs=0.03)
    assert np.log2(coarse.strong_error(1.0) / fine.strong_error(1.0)) == pytest.approx(1 - ALPHA / 2, abs=0.03)
    assert fine.weak_error(1.0) < coarse.weak_error(1.0)


def test_simulated_variance_is_that_of_the_measure():
    found = truncate(tempered, 0.1)
    sigma, jumps = found.noise(np.ones((3, 1)))
    toy = crowd_game(Quadratic(), np.zeros((3, 3)), np.zeros((3, 1)), start=np.zeros(1), noise=0.0)
    game = DistributedGame(toy.costs, toy.initial, 1.0, diffusion=sigma, jumps=(jumps,))
    sums = np.asarray(draw_noise(game, graded_grid(1.0, 10), jax.random.key(0), 6000).increments).sum(axis=0).ravel()
    fourth = 2 * gamma(4 - ALPHA) + 3 * (2 * gamma(2 - ALPHA)) ** 2
    error = np.sqrt((fourth - (2 * gamma(2 - ALPHA)) ** 2) / sums.size)
    assert sums.var() == pytest.approx(2 * gamma(2 - ALPHA), abs=4 * error)


def test_what_is_no_levy_measure_is_refused():
    with pytest.raises(InvalidInput, match="density"):
        truncate(lambda z: abs(z) ** -3.5, 0.1, largest=1.0)
    with pytest.raises(InvalidInput, match="density"):
        truncate(lambda z: -1.0, 0.1, largest=1.0)
