"""Propagation of chaos: fitted exponents and their intervals, errors of the size that theory says."""

import jax
import numpy as np

from diffgames.studies.propagation_of_chaos import PropagationConfig, certify, errors, theory
from diffgames.studies.rates import fitted_exponent


def test_exponents_are_fitted_with_an_interval_that_covers():
    rng = np.random.default_rng(2)
    sizes = np.asarray([10.0, 100.0, 1000.0])
    inside = 0
    for _ in range(200):
        noisy = 2 * sizes[:, None] ** -0.5 * np.exp(0.3 * rng.normal(size=(3, 12)))
        slope, width = fitted_exponent(sizes, noisy)
        inside += abs(slope + 0.5) < width
    assert inside > 180
    assert fitted_exponent(sizes, np.zeros((3, 4))) == (None, None)


def test_chaos_propagates_at_the_exact_size_in_every_dimension():
    """Coupling and crowd within sampling of the scheme's exact moments; exponents near −1/2; W₁ slower in d = 3."""
    config = PropagationConfig(players=(20, 200, 2_000), law_players=(32, 128), replications=60, steps=10)
    for d in (1, 3):
        found = errors(config, d, jax.random.key(d))
        exact = theory(config, d, np.asarray(config.players))
        for kind in ("coupling", "crowd"):
            ratio = (found[kind] ** 2).mean(axis=1) / exact[kind] ** 2
            assert np.all(np.abs(ratio - 1) < 4 * np.sqrt(2 / (60 * d))), (d, kind, ratio)
            slope, width = fitted_exponent(np.asarray(config.players, float), found[kind])
            assert abs(slope + 0.5) < max(2 * width, 0.02)
    slope, width = fitted_exponent(np.asarray(config.law_players, float), found["wasserstein"])
    assert -0.5 + width < slope < -0.2
    assert certify(config).gap < 1e-9
