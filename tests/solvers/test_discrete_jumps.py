"""Jumps in discrete time: Poisson counts per step, valued by summing over their law; short steps near a process."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import poisson

from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine
from diffgames.solvers import solve
from diffgames.verification.linear_response import matrix_gaps

RATE, REGIMES, N = np.array([[0.7, 1.6], [0.3, 0.9]]), 2, 2
OWN_COST = ([1.0, 0.2], [0.1, 1.5])


def jumping(horizon, discrete=True, h=1.0):
    """Two players, two regimes, two laws (scale and shift); per step of h the coefficients of a continuous game."""
    rng = np.random.default_rng(5)
    a, b = 0.4 * rng.normal(size=(REGIMES, N, N)), rng.normal(size=(2, REGIMES, N, 1))
    scale = affine(0.3 * rng.normal(size=(REGIMES, 2, N, N)), 0.2 * rng.normal(size=(REGIMES, 2, N)))
    still = jnp.broadcast_to(jnp.eye(N + 1) if discrete else jnp.zeros((N + 1, N + 1)), (REGIMES, N + 1, N + 1))
    generator = np.array([[-0.4, 0.4], [0.3, -0.3]])
    weight = jnp.broadcast_to(jnp.diag(jnp.array([1.0, 0.5, 0.1])), (REGIMES, N + 1, N + 1))
    step = h if discrete else 1.0
    players = tuple(
        Player(
            name=f"player {p}",
            own_input=step * jnp.concatenate([jnp.asarray(b[p]), jnp.zeros((REGIMES, 1, 1))], axis=1),
            state_cost=step * (1.0 + p) * weight,
            control_cost=step
            * jnp.broadcast_to(jnp.diag(jnp.array([1.0, 0.2] if p == 0 else [0.1, 1.5])), (REGIMES, 2, 2)),
            terminal_cost=weight,
        )
        for p in range(2)
    )
    return LinearQuadraticGame(
        drift=still + step * affine(jnp.asarray(a), 0.1 * jnp.ones((REGIMES, N))),
        players=players,
        horizon=horizon,
        jump_scale=scale,
        jump_rate=step * jnp.asarray(RATE),
        generator=step * jnp.asarray(generator),
        discount=step * 0.1,
        discrete=discrete,
    )


def test_a_step_is_worth_what_its_counts_say():
    """V(0, z) = c + e^{−ρ} Σ_j π_ij E[z⁺ᵀ G z⁺], the mean by summing over counts, at the gains that were found."""
    game = jumping(1)
    solution = solve(game)
    z, c = np.array([0.7, -1.2, 1.0]), jumping(1)
    drift, scale = np.asarray(c.drift), np.asarray(c.jump_scale)
    counts = np.arange(40)
    for p, player in enumerate(game.players):
        for i in range(REGIMES):
            u = np.asarray(solution.profile.gain(0.0))[i] @ z
            inputs = np.concatenate([np.asarray(one.own_input)[i] for one in game.players], axis=1)
            mean = drift[i] @ z + inputs @ u
            ahead = 0.0
            chance = [poisson.pmf(counts, RATE[i, q]) for q in range(2)]
            for k, first in zip(counts, chance[0], strict=True):
                for m, second in zip(counts, chance[1], strict=True):
                    end = mean + scale[i, 0] @ z * (k - RATE[i, 0]) + scale[i, 1] @ z * (m - RATE[i, 1])
                    ahead += first * second * (end @ np.asarray(player.terminal_cost)[i] @ end)
            value = z @ np.asarray(player.state_cost)[i] @ z + u @ np.asarray(player.control_cost)[i] @ u
            value += np.exp(-0.1) * ahead  # the terminal cost is the same in both regimes
            assert float(z @ np.asarray(solution.value(0.0))[p, i] @ z) == pytest.approx(value, rel=1e-9)
    second = np.broadcast_to(np.outer(z, z), (REGIMES, N + 1, N + 1))
    assert matrix_gaps(game, solution.profile, jnp.asarray(second)).gap < 1e-10


def test_short_steps_approach_the_jump_process_at_first_order():
    exact = np.asarray(solve(jumping(1.0, discrete=False)).value(0.0))
    errors = [
        np.abs(np.asarray(solve(jumping(steps, h=1.0 / steps)).value(0.0)) - exact).max() for steps in (50, 100, 200)
    ]
    assert all(1.8 < a / b < 2.2 for a, b in itertools.pairwise(errors)), errors


def test_jumps_make_what_they_move_dearer():
    game = jumping(5)
    calm = dataclasses.replace(game, jump_scale=None, jump_rate=None)
    assert np.all(np.asarray(solve(game).value(0.0))[:, :, -1, -1] > np.asarray(solve(calm).value(0.0))[:, :, -1, -1])
