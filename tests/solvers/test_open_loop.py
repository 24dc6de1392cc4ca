"""Open-loop Nash equilibria: stationary to first order, convex to second, and gone where they should be."""

import math

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.plain import h_infinity_game, nash_game, regulator
from diffgames.solvers import escape_time, solve
from diffgames.solvers.open_loop import open_loop_gain, open_loop_nash
from linear_quadratic_games import random_game


def test_one_player_alone_is_the_regulator():
    alone = regulator(A=[[0.3]], B=[[1.0]], Q=[[1.0]], R=[[1.0]], Q_T=[[0.5]], horizon=1.0)
    _, matrices = open_loop_nash(alone, times=3)
    np.testing.assert_allclose(matrices[0, 0], solve(alone).value(0.0)[0, 0], atol=1e-9)


def test_two_players_solve_their_boundary_value_problem():
    weights = [np.eye(1), 2 * np.eye(1)]
    game = nash_game(A=[[0.3]], B=[[[1.0]], [[0.7]]], Q=weights, R=[np.eye(1)] * 2, Q_T=[np.eye(1)] * 2, horizon=1.0)
    _, matrices = open_loop_nash(game, times=3)
    start = [1.0, float(matrices[0, 0, 0, 0]), float(matrices[0, 1, 0, 0])]

    def flow(_, y):
        x, one, two = y
        return [0.3 * x - one - 0.49 * two, -x - 0.3 * one, -2 * x - 0.3 * two]

    end = solve_ivp(flow, (0, 1), start, rtol=1e-11, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(end[1:], end[0], rtol=1e-8)  # λ_p(T) = x(T)
    feedback = solve(game).value(0.0)[:, 0, 0, 0]
    assert np.abs(np.asarray(feedback) - start[1:]).max() > 1e-3, "feedback Nash is another equilibrium"


STEPS = 128


class Committed:
    """Costs of controls that are functions of time, by the moments of the state: Runge–Kutta, everything on a grid."""

    def __init__(self, game, start: np.ndarray):
        time, costates = open_loop_nash(game, times=2 * STEPS + 1)
        c = jax.jit(jax.vmap(game.coefficients))(time)
        self.c = {key: np.asarray(value) for key, value in c._asdict().items()}
        gains = np.asarray(jax.jit(jax.vmap(lambda t, m: open_loop_gain(game, t, m)))(time, costates))
        self.game, self.time, self.start = game, np.asarray(time), start
        mean = self._march(lambda k, z: self.c["drift"][k, 0] @ z + self.c["input"][k, 0] @ gains[k] @ z, start)
        self.controls = np.einsum("kab,kb->ka", gains, mean)

    def cost(self, p: int, change: np.ndarray) -> float:
        """J_p where p adds `change` [times, K] (its own components) to its committed control."""
        controls, n, rho = self.controls + change, self.start.size, float(self.game.discount)

        def rate(k, y):
            m, second = y[:n], y[n:-1].reshape(n, n)
            c = {key: value[k] for key, value in self.c.items()}
            push = c["input"][0] @ controls[k]
            grown = c["drift"][0] @ second + np.outer(push, m)
            noise = sum(one @ second @ one.T for one in c["diffusion"][0])
            jumps = zip(c["jump_rate"][0], c["jump_scale"][0], strict=True)
            noise = noise + sum(intensity * one @ second @ one.T for intensity, one in jumps)
            spent = np.sum(c["state_cost"][p, 0] * second) + 2 * m @ c["cross_cost"][p, 0] @ controls[k]
            spent += controls[k] @ c["control_cost"][p, 0] @ controls[k]
            moved = c["drift"][0] @ m + push
            return np.concatenate([moved, (grown + grown.T + noise).ravel(), [np.exp(-rho * self.time[k]) * spent]])

        end = self._march(rate, np.concatenate([self.start, np.outer(self.start, self.start).ravel(), [0.0]]))[-1]
        final = np.sum(np.asarray(self.game.terminal)[p, 0] * end[n:-1].reshape(n, n))
        return end[-1] + np.exp(-rho * self.time[-1]) * final

    def _march(self, rate, y: np.ndarray) -> np.ndarray:
        """Values at all grid times; those between two steps by the cubic through both ends."""
        h, found = self.time[2], [y]
        for k in range(0, 2 * STEPS, 2):
            a = rate(k, y)
            b = rate(k + 1, y + h / 2 * a)
            c = rate(k + 1, y + h / 2 * b)
            d = rate(k + 2, y + h * c)
            ahead = y + h / 6 * (a + 2 * b + 2 * c + d)
            found += [(y + ahead) / 2 + h / 8 * (a - rate(k + 2, ahead)), ahead]
            y = ahead
        return np.asarray(found)


def test_nobody_gains_by_committing_otherwise():
    """Cross costs, noise in the state, jumps, discount, a maximising player, oscillating coefficients, all at once."""
    game = random_game(6, 2, 1, ((0, 1),), (1, 2), waves=True, signs=(1, -1))
    play = Committed(game, np.asarray([1.0, -0.5, 1.0]))
    rng = np.random.default_rng(1)
    for p, place in enumerate(game.control_slices):
        base = play.cost(p, np.zeros_like(play.controls))
        for _ in range(2):
            change = np.zeros_like(play.controls)
            waves = np.sin(np.outer(play.time, rng.uniform(1, 6, 2)) + rng.uniform(0, 6, 2))
            change[:, place] = waves[:, : place.stop - place.start]
            more, less = play.cost(p, change), play.cost(p, -change)
            bend = game.players[p].sign * (more + less - 2 * base)
            assert bend > 1e-2
            assert abs(more - less) < 1e-6 * bend


def test_there_is_none_where_a_player_could_gain_without_bound():
    """Given u(t), the disturbance faces −K̇ = 1 + 4K²: it escapes at π/4, long before the feedback saddle point does."""
    game = h_infinity_game(A=0.0, B=1.0, D=2.0, Q=1.0, R=1.0, gamma=1.0, horizon=0.85)
    assert escape_time(game, 0.85) is None
    with pytest.raises(RunFailed, match=f"{math.pi / 4:.9f}"):
        open_loop_nash(game)


def test_slips_are_named():
    with pytest.raises(InvalidInput, match="generator"):
        open_loop_nash(random_game(0, 2, 2, ((0, 1),), (1, 1)))
    with pytest.raises(InvalidInput, match="horizon"):
        open_loop_nash(regulator(A=[[0.3]], B=[[1.0]], Q=[[1.0]], R=[[1.0]]))
    with pytest.raises(InvalidInput, match="tiers"):
        open_loop_nash(random_game(0, 2, 1, ((0,), (1,)), (1, 1)))
