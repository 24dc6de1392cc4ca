"""Inter-bank lending: published values, the engine, the exact response, first passages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from diffgames.errors import InvalidInput
from diffgames.games.interbank import MEAN_FIELD, InterBankGame, Lending
from diffgames.simulation import simulate
from diffgames.simulation.first_passage import first_passage
from diffgames.solvers import solve
from diffgames.studies.systemic_risk import SystemicRiskConfig, limit_gaps
from diffgames.verification.linear_quadratic_response import exact_gaps

ETA = {2: 0.5600369898, 5: 0.5271059712, 10: 0.5227980180, 24: 0.5216272089, 50: 0.5214385464, 0: 0.5213820996}
MU = {10: 0.2220499416, 24: 0.2361165854, 50: 0.2414011858, 0: 0.2463113467}


def game(banks: int, **changes) -> InterBankGame:
    return InterBankGame(**{"a": 0.1, "q": 0.1, "c": 0.5, "epsilon": 0.5, "rho": 0.2, "sigma": 1.0, "horizon": 1.0,
                            "banks": banks, **changes})  # fmt: skip


def test_the_closed_form_gives_the_reference_values():
    zero = jnp.zeros(())
    for banks, eta in ETA.items():
        np.testing.assert_allclose(game(banks).eta(zero), eta, rtol=1e-9)
    for banks, mu in MU.items():
        np.testing.assert_allclose(game(banks).mu(zero), mu, rtol=1e-9)


def test_the_closed_form_solves_its_equations_at_random_parameters():
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, q, c, extra, rho, sigma = rng.uniform(0.1, 2.0, 6)
        one = game(int(rng.integers(2, 20)), a=a, q=q, c=c, epsilon=q**2 + extra, rho=rho / 2, sigma=sigma)
        t, k = jnp.asarray(0.4), 1.0 - one.inverse**2
        slope = jax.grad(one.eta)(t)
        eta = one.eta(t)
        np.testing.assert_allclose(slope, 2 * (a + q) * eta + k * eta**2 - extra, rtol=1e-9)
        np.testing.assert_allclose(one.eta(jnp.asarray(1.0)), c, rtol=1e-12)
        np.testing.assert_allclose(
            jax.grad(one.mu)(t), -0.5 * sigma**2 * (1 - one.rho**2) * (1 - one.inverse) * eta, rtol=1e-9
        )


def test_the_engine_and_the_exact_response_agree_with_the_closed_form():
    """The engine sees matrices, the verifier only functions; both find what the formula says."""
    one = game(4, initial_deviation=0.3)
    value = np.asarray(solve(one.as_linear_quadratic()).value(0.0))[0, 0]
    np.testing.assert_allclose(2 * value[0, 0] / (1 - 1 / 4) ** 2, one.eta(jnp.zeros(())), rtol=1e-7)
    np.testing.assert_allclose(value[-1, -1], one.mu(jnp.zeros(())), rtol=1e-7)
    found = exact_gaps(one.as_differential(), Lending(one), players=[0])
    assert found.gap < 1e-9
    np.testing.assert_allclose(-found["bank 0"].value, one.value(), rtol=1e-7)


def test_playing_the_limit_costs_less_and_less():
    gaps = limit_gaps(SystemicRiskConfig(gap_banks=(2, 4)))
    assert 0 < gaps[1] < 0.6 * gaps[0]


def test_first_passages_of_brownian_motion_and_of_the_mean_reserve():
    """2 Φ(D/(σ√T)) from ten steps alone, as the bridge in between is exact."""
    rng = np.random.default_rng(1)
    steps = 10
    x = np.cumsum(rng.normal(size=(40_000, steps)) * np.sqrt(1 / steps), axis=1)
    x = np.concatenate([np.zeros((x.shape[0], 1)), x], axis=1)
    share = first_passage(x, -0.7, 1.0, 1 / steps, rng).mean()
    np.testing.assert_allclose(share, 2 * ndtr(-0.7), atol=4 * 0.5 / np.sqrt(x.shape[0]))
    one = game(3)
    paths = simulate(one.as_differential(), Lending(one), jax.random.key(0), paths=8_000, steps=10)
    mean = np.asarray(paths.state).mean(axis=2)
    spread = np.sqrt(0.2**2 + 0.96 / 3)
    share = first_passage(mean, -0.7, spread, 0.1, rng).mean()
    np.testing.assert_allclose(share, one.systemic_probability(-0.7), atol=4 * 0.45 / np.sqrt(8_000))


def test_slips_are_named():
    with pytest.raises(InvalidInput, match="banks"):
        game(1)
    with pytest.raises(InvalidInput, match="q"):
        game(5, q=1.0)
    with pytest.raises(InvalidInput, match="limit"):
        game(MEAN_FIELD).as_differential()
