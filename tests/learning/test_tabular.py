"""Tabular ascent: observed updates to their digits, rock–paper–scissors, the rule that never takes a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.equilibria.shared import exploitability, iteration_bound, shared_payoff
from diffgames.errors import InvalidInput
from diffgames.games.tabular import decision, matrix_game
from diffgames.learning.tabular import NoiseLaw, projected_ascent, softmax_ascent

with jax.enable_x64(True):
    GAME = decision(np.array([0.0, 0.5, 1.0]))
    UNIFORM = jnp.full((1, 1, 3), 1 / 3, jnp.float64)
KNOWN = {"epsilon": 0.1, "actions": 3, "diameter": 2.0}


@pytest.fixture(autouse=True)
def double():
    """The digits are those of double precision, whatever JAX's flag says."""
    with jax.enable_x64(True):
        yield


def payoff(first, second):
    return shared_payoff(GAME, first, second)


def first_met(path):
    return int(np.flatnonzero(np.asarray(exploitability(GAME, path)) <= 0.1)[0])


def test_observed_updates():
    assert first_met(projected_ascent(payoff, UNIFORM, jnp.full(40, 1 / 24))) == 20
    bound = iteration_bound("softmax", **KNOWN)
    path, taken = softmax_ascent(payoff, UNIFORM, step=bound.step, barrier=bound.barrier, updates=800)
    assert first_met(path) == 688 and bool(jnp.all(taken))


def test_steps_that_fall_but_do_not_sum_up_reach_it_and_stay():
    """Corollary 3.10: α_n = (1/24)/√n."""
    path = projected_ascent(payoff, UNIFORM, (1 / 24) / jnp.sqrt(jnp.arange(1.0, 2001.0)))
    gains = np.asarray(exploitability(GAME, path))
    assert gains[-1] == 0 and (np.diff(gains) <= 1e-15).all()


def test_rock_paper_scissors_runs_away_from_its_equilibrium():
    game = matrix_game(np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]))
    path = projected_ascent(
        lambda first, second: shared_payoff(game, first, second), jnp.array([[[0.5, 0.3, 0.2]]]), jnp.full(2000, 0.05)
    )
    away = np.linalg.norm(np.asarray(path)[:, 0, 0] - 1 / 3, axis=1)
    assert away[[0, 100, 500]] == pytest.approx([0.216, 0.314, 0.414], abs=5e-4)
    assert away[1999] == pytest.approx(0.425, abs=5e-4)  # it has met the edge, and swings between .408 and .439
    assert float(exploitability(game, path[-1:])[0]) == pytest.approx(0.522, abs=5e-4)


def test_noise_is_bounded_or_has_moments_and_the_printed_rule_takes_no_step():
    law, key = NoiseLaw((-0.5, 1.0), (2 / 3, 1 / 3)), jax.random.key(0)
    bound = iteration_bound("softmax", noise=(law.least, law.largest), **KNOWN)
    path, _ = softmax_ascent(payoff, UNIFORM, step=bound.step, barrier=bound.barrier, updates=2500, noise=law, key=key)
    assert 688 < first_met(path) < bound.corrected
    moments = iteration_bound("softmax", variance=law.moment(2), eta_reached=0.25, **KNOWN)
    shares = []
    for factor in (moments.step, 1.0):
        _, taken = softmax_ascent(
            payoff,
            UNIFORM,
            step=moments.step,
            barrier=moments.barrier,
            updates=200,
            noise=law,
            key=key,
            threshold=0.25 * factor,
        )
        shares.append(float(jnp.mean(taken)))
    assert shares[0] > 0.9 and shares[1] == 0.0


def test_noise_has_mean_zero():
    with pytest.raises(InvalidInput, match="mean zero"):
        NoiseLaw((-0.5, 1.0), (0.5, 0.5))
