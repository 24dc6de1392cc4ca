"""Spectral gap, its sensitivity and the Poincaré constant of a regime chain."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.games.switching_graph import (
    gap_sensitivity,
    generator_of,
    poincare_constant,
    spectral_gap,
    stationary_law,
)
from diffgames.studies.market_maker_parameters import GENERATOR

BASE = np.asarray(GENERATOR)


def test_reference_gap_and_the_boost_that_lowers_it():
    assert spectral_gap(BASE) == pytest.approx(0.9)
    boosted = BASE.copy()
    boosted[1, 2] += 0.5
    assert spectral_gap(generator_of(boosted)) == pytest.approx(0.8156, abs=5e-5)


def test_sensitivity_is_the_derivative():
    slopes = gap_sensitivity(BASE)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        step = np.zeros((3, 3))
        step[i, j] = 1e-6
        change = spectral_gap(generator_of(BASE + step)) - spectral_gap(generator_of(BASE - step))
        assert slopes[i, j] == pytest.approx(change / 2e-6, abs=1e-6)


def test_poincare_constant_is_below_the_gap_and_equal_for_reversible_chains():
    rng = np.random.default_rng(1)
    for _ in range(20):
        generator = generator_of(rng.uniform(0.1, 2.0, (4, 4)))
        assert poincare_constant(generator) <= spectral_gap(generator) + 1e-12
        law, symmetric = rng.dirichlet(np.ones(4)), rng.uniform(0.1, 2.0, (4, 4))
        reversible = generator_of((symmetric + symmetric.T) / law[:, None])
        np.testing.assert_allclose(stationary_law(reversible), law, atol=1e-10)
        assert poincare_constant(reversible) == pytest.approx(spectral_gap(reversible))


def test_chains_that_fall_apart():
    assert spectral_gap(np.zeros((3, 3))) == 0.0
    assert spectral_gap(np.zeros((1, 1))) == 0.0 and poincare_constant(np.zeros((1, 1))) is None
    assert poincare_constant(generator_of(np.array([[0, 1.0], [0, 0]]))) is None, "one regime has no weight"


def test_risk_differs_between_regimes_by_no_more_than_the_poincare_constant_allows():
    """−U̇ = φ + ΠU from U = 0, φ oscillating: ‖U_⊥(τ)‖ in L²(π) against (1 − e^{−λ_P τ}) / λ_P · sup ‖φ_⊥‖."""
    rng = np.random.default_rng(2)
    for size in (3, 5):
        generator = generator_of(rng.uniform(0.1, 1.0, (size, size)))
        law, constant = stationary_law(generator), poincare_constant(generator)
        base, wave = rng.normal(size=(2, size))
        times = np.linspace(0.0, 4.0, 41)

        def apart(values, law=law):
            difference = values - law @ values
            return np.sqrt(law @ difference**2)

        path = solve_ivp(
            lambda tau, u, base=base, wave=wave, generator=generator: base + wave * np.sin(5 * tau) + generator @ u,
            (0.0, 4.0),
            np.zeros(size),
            t_eval=times,
            rtol=1e-9,
        ).y.T
        most = max(apart(base + wave * np.sin(phase)) for phase in np.linspace(0, 2 * np.pi, 101))
        bounds = (1 - np.exp(-constant * times)) / constant * most
        found = np.asarray([apart(values) for values in path])
        assert np.all(found <= bounds + 1e-9)
        assert found[-1] > 0.05 * bounds[-1]
