"""Answers do not depend on the units of costs, time, states and controls, and are SciPy's at sizes far from one."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_are, solve_discrete_are

from diffgames.errors import RunFailed
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Quadratic
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player
from diffgames.games.partial_observation import partially_observed
from diffgames.games.plain import nash_game, regulator
from diffgames.games.stackelberg import stackelberg_game
from diffgames.solvers import escape_time, potential_lq, solve
from diffgames.solvers.base import Status
from diffgames.solvers.open_loop import open_loop_gain, open_loop_nash
from diffgames.solvers.riccati import value_rate, values_to_go
from diffgames.solvers.stationary import limiting_law
from linear_quadratic_games import random_game

YEAR = 31_536_000.0
ONE = (1.0, 1.0)
CHANGES = [((1e-15, 1e15), 1.0, 1.0), ((1e15, 1e15), 1.0, 1e-6), (ONE, YEAR, 1.0), (ONE, 1 / YEAR, 1e6)]


def in_other_units(game, costs, time, size):
    """Costs of player p × costs[p], units of time per old one, the first state measured in units of `size`."""
    step = 1.0 if game.discrete else time
    unit = np.ones(game.size)
    unit[0] = size

    def scaled(value, rows: Any = 1.0, columns: Any = 1.0, by=1.0):
        return None if value is None else jnp.asarray(by * np.asarray(value) * rows * columns)

    def turned(matrix, by=1.0):
        return scaled(matrix, 1 / unit[:, None], unit, by)

    def moved(matrix):
        return scaled(matrix, 1 / unit[:, None], by=1 / step)

    players = tuple(
        dataclasses.replace(
            player,
            own_input=moved(player.own_input),
            crowd_input=moved(player.crowd_input),
            state_cost=scaled(player.state_cost, unit[:, None], unit, cost / step),
            control_cost=scaled(player.control_cost, by=cost / step),
            cross_cost=scaled(player.cross_cost, unit[:, None], by=cost / step),
            terminal_cost=scaled(player.terminal_cost, unit[:, None], unit, cost),
        )
        for player, cost in zip(game.players, costs, strict=False)
    )
    return dataclasses.replace(
        game,
        players=players,
        drift=turned(game.drift, 1 / step),
        diffusion=turned(game.diffusion, 1 / math.sqrt(step)),
        jump_scale=turned(game.jump_scale),
        jump_rate=scaled(game.jump_rate, by=1 / step),
        generator=scaled(game.generator, by=1 / step),
        switch=turned(game.switch),
        crowd_map=turned(game.crowd_map),
        horizon=game.horizon if game.discrete or game.endless else jnp.asarray(game.horizon * step),
        discount=jnp.asarray(game.discount / step),
    )


GAMES = {
    "leader, crowds, regimes and jumps": lambda: random_game(3, 2, 2, ((0,), (1,)), (1, 1), crowd=True),
    "Nash without end": lambda: nash_game(
        A=[[-0.2, 0.5], [0.3, 0.1]],
        B=[[[1.0], [0.2]], [[0.1], [0.8]]],
        Q=[np.diag([1.0, 0.2]), np.diag([0.1, 1.0])],
        R=[0.7, 1.3],
        noise=[[0.1], [0.2]],
    ),
    "Nash in discrete time without end": lambda: nash_game(
        A=[[0.9, 0.2], [0.1, 1.02]],
        B=[[[1.0], [0.2]], [[0.1], [0.8]]],
        Q=[np.diag([1.0, 0.2]), np.diag([0.1, 1.0])],
        R=[0.7, 1.3],
        discrete=True,
    ),
}


@pytest.mark.parametrize("name", GAMES)
def test_gains_and_values_are_those_of_other_units(name):
    game = in_other_units(GAMES[name](), ONE, 1.0, 1.0)
    known = solve(game)
    gain, value = np.asarray(known.profile.gain(0.0)), np.asarray(known.values)
    for costs, time, size in CHANGES:
        found = solve(in_other_units(game, costs, time, size))
        unit = np.ones(game.size)
        unit[0] = size
        np.testing.assert_allclose(
            np.asarray(found.profile.gain(0.0)) / unit, gain, rtol=1e-9, atol=1e-9 * np.abs(gain).max()
        )
        back = np.asarray(found.values) / unit[:, None] / unit / np.asarray(costs)[:, None, None, None]
        largest = np.abs(value).max(axis=(-1, -2), keepdims=True)
        assert np.all(np.abs(back - value) <= 1e-9 * largest), (costs, time, size)


def gain_of(game):
    return np.asarray(solve(game).profile.gain(0.0))[0, :, :-1]


def test_regulators_without_end_are_scipys_at_every_size():
    """Cases of one shape: costs far below what the plant moves, a year in seconds, published liquidation costs."""
    cases = [(1.0, 1.0, 9e-7, 1.0), (0.5 / YEAR, 1 / YEAR, 1 / YEAR, 1 / YEAR), (1.0, 1.0, 1e-14, 1.0)]
    for scale in (1e-15, 1.0, 1e15):
        cases += [(1.0, 1.0, scale, scale), (0.0, 1.0, 0.95**2 * 1e-6 * scale, 2.5e-6 * scale)]
    for a, b, q, r in cases:
        exact = -b / r * (a + math.sqrt(a * a + b * b / r * q)) * r / b**2
        assert gain_of(regulator(A=a, B=b, Q=q, R=r))[0, 0] == pytest.approx(exact, rel=1e-10)
    for a, b, q in ((1.0, 0.0, 1e-7), (0.0, 0.0, 1e-7), (2.0, 0.0, 1e12)):
        found = solve(regulator(A=a, B=b, Q=q, R=1.0), throw=False)
        assert found.outcome.status == Status.NOT_STATIONARY


def test_stiff_plants_pendulums_and_free_controls_are_scipys():
    """States of 1e-4 and 1e2 seconds, an inverted pendulum on a cart at hardly any cost, and R = 0 in discrete time."""
    pole = np.asarray([[0, 1, 0, 0], [0, -0.1, 2.94, 0], [0, 0, 0, 1], [0, -0.5, 31.2, 0]])
    stiff = np.diag([-1e4, -0.01, -1.0, 0.3])
    stiff[0, 3] = stiff[3, 1] = 1.0
    for drift, push in ((pole, np.asarray([[0], [1.8], [0], [4.5]])), (stiff, np.ones((4, 1)))):
        for cost in (1e-7, 1.0):
            exact = -push.T @ solve_continuous_are(drift, push, cost * np.eye(4), np.eye(1))
            found = gain_of(regulator(A=drift, B=push, Q=cost * np.eye(4), R=1.0))
            np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-15 * np.abs(exact).max())
    drift, push = np.asarray([[1.1, 0.2], [0.0, 0.9]]), np.asarray([[0.0], [1.0]])
    value = solve_discrete_are(drift, push, np.eye(2), np.zeros((1, 1)))
    exact = -np.linalg.solve(push.T @ value @ push, push.T @ value @ drift)
    np.testing.assert_allclose(gain_of(regulator(A=drift, B=push, Q=np.eye(2), R=0.0, discrete=True)), exact, rtol=1e-9)


def test_stiff_games_settle_and_costs_without_end_are_refused():
    """Two players who share one input are one with twice the weight of it, whatever the plant's rates."""
    drift, push = np.diag([-1e4, -0.01]), np.ones((2, 1))
    found = gain_of(nash_game(A=drift, B=[push, push], Q=[np.eye(2)] * 2, R=[1.0, 1.0]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)
    # S solves AᵀS + SA + Q − 3 S B BᵀS = 0 by symmetry, a regulator's equation with three times the input's weight
    value = solve_continuous_are(drift, push, np.eye(2), np.eye(1) / 3)
    np.testing.assert_allclose(found[0], -(push.T @ value)[0], rtol=1e-8)
    for q, exact in ((1.0, -1.0), (1e-7, -(1 + math.sqrt(1 + 3e-7)) / 3)):
        np.testing.assert_allclose(gain_of(nash_game(A=1.0, B=[1.0, 1.0], Q=[q, q], R=[1.0, 1.0])), exact, rtol=1e-9)
    idle = solve(nash_game(A=1.0, B=[0.0, 0.0], Q=[1e-7, 1.0], R=[1.0, 1.0]), throw=False)
    assert idle.outcome.status == Status.NOT_STATIONARY


def test_finite_horizons_keep_ten_digits_at_every_size():
    root = math.sqrt(2.0)
    exact = math.tanh(5 * root) / (root - math.tanh(5 * root))
    for cost in (1e-15, 1e-9, 1.0, 1e15):
        for time in (1.0, YEAR, 1 / YEAR):
            game = regulator(A=1 / time, B=1.0, Q=cost, R=cost * time**2, horizon=jnp.asarray(5.0 * time))
            assert float(solve(game).value(0.0)[0, 0, 0, 0]) / (cost * time) == pytest.approx(exact, rel=1e-10)
    for cost in (1e-15, 1.0, 1e12):
        game = regulator(A=0.0, B=1.0, Q=-cost, R=cost, horizon=jnp.asarray(2.0))
        assert escape_time(game, 2.0) == pytest.approx(math.pi / 2, rel=1e-9)


def test_filters_of_small_noise_and_known_starts():
    def observed(a, noise, seen, covariance: Any = None, horizon: Any = math.inf):
        plant = regulator(A=a, B=1.0, Q=1.0, R=1.0, noise=noise, horizon=horizon)
        return solve(partially_observed(plant, 1.0, seen, covariance=covariance))

    cases = [(1.0, 1e-4, 1.0, None), (1.0, 0.0, 1.0, 1.0), (0.0, 1e-3, 1e-3, None), (0.0, 1e-9, 1e-9, None)]
    for a, noise, seen, start in cases:
        exact = seen**2 * (a + math.sqrt(a * a + (noise / seen) ** 2))
        assert float(observed(a, noise, seen, start).covariance()[0, 0]) == pytest.approx(exact, rel=1e-9)
    assert float(observed(1.0, 0.0, 1.0, 1.0).cost) == pytest.approx(6 + 4 * math.sqrt(2.0), rel=1e-9)
    assert float(observed(0.0, 0.0, 1.0, 1.0).covariance()[0, 0]) == pytest.approx(0.0, abs=1e-12)
    for noise in (1.0, 1e-6):
        found = observed(0.0, noise, noise, horizon=jnp.asarray(10.0)).dual
        to_go = np.asarray(found.time)[:-1]
        scaled = np.asarray(found.values)[:-1, 0, 0, 0, 0] / noise**2
        assert scaled[0] == pytest.approx(math.tanh(10.0), rel=1e-10)
        np.testing.assert_allclose(scaled, np.tanh(10.0 - to_go), rtol=1e-8)  # by the integrator's interpolant
    with pytest.raises(RunFailed, match="do the observations see every mode"):
        solve(partially_observed(regulator(A=1.0, B=1.0, Q=1.0, R=1.0, noise=1.0), 0.0, 1.0))


def test_open_loop_and_a_crowds_potential_in_other_units():
    def committed(cost, time):
        game = nash_game(
            A=0.3 / time,
            B=[1.0, 0.5],
            Q=[1.0 * cost[0], 0.4 * cost[1]],
            R=[0.7 * cost[0] * time**2, 1.1 * cost[1] * time**2],
            Q_T=[0.0, 2.0 * cost[1] * time],
            horizon=1.5 * time,
        )
        _, costates = open_loop_nash(game, 3)
        return np.asarray(open_loop_gain(game, 0.0, costates[0]))[:, 0] * time

    known = committed(ONE, 1.0)
    np.testing.assert_allclose(committed((1e-15, 1e15), YEAR), known, rtol=1e-9)

    def crowd(cost, time, length):
        return potential_lq.exact(
            crowd_game(
                Quadratic(cost / time / length**2),
                networks.complete(2),
                np.asarray([[0.6], [-0.4]]) * length,
                start=np.zeros(1),
                terminal_weight=cost / length**2,
                effort=0.25 * cost * time / length**2,
                noise=0.2 * length / math.sqrt(time),
                horizon=time,
            ),
            5,
        )

    known = crowd(1.0, 1.0, 1.0)
    for cost, time, length in ((1e-15, YEAR, 1.0), (1e15, 1.0, 1e-6)):
        found = crowd(cost, time, length)
        assert found.potential / cost == pytest.approx(known.potential, rel=1e-9)
        np.testing.assert_allclose(found.gain * time, known.gain, rtol=1e-8, atol=1e-9 * np.abs(known.gain).max())
        np.testing.assert_allclose(found.mean / length, known.mean, rtol=1e-8, atol=1e-10)


def test_average_costs_go_by_the_recurrent_class_of_the_start():
    """Two regimes of noise 1 and 3 in dx = u dt, ∫ x² + u²: S = 1, so each costs its own variance."""

    def held(generator):
        one = jnp.ones((2, 1, 1))
        corner = jnp.zeros((2, 2, 2)).at[:, 0, 0].set(1.0)
        return LinearQuadraticGame(
            drift=jnp.zeros((2, 2, 2)),
            players=(Player("p", jnp.zeros((2, 2, 1)).at[:, 0].set(1.0), corner, one, jnp.zeros((2, 2, 2))),),
            horizon=math.inf,
            diffusion=jnp.zeros((2, 1, 2, 2)).at[:, 0, 0, 1].set(jnp.asarray([1.0, 3.0])),
            generator=jnp.asarray(generator),
        )

    cases = {((0.0, 0.0), (0.0, 0.0)): (1.0, 9.0), ((-1.0, 1.0), (3.0, -3.0)): (3.0, 3.0)}
    cases[((-1e-7, 1e-7), (0.0, 0.0))] = (9.0, 9.0)
    for generator, expected in cases.items():
        np.testing.assert_allclose(solve(held(generator)).average_cost, [expected], rtol=1e-9)

    three = jnp.asarray([[-1.0, 0.25, 0.75], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(limiting_law(three), [[0, 0.25, 0.75], [0, 1, 0], [0, 0, 1]], atol=1e-12)


class Auction(eqx.Module):
    """A state cost of 1, and 20 more from t = .49 on for .02."""

    breaks: jnp.ndarray

    def __call__(self, t):
        inside = (t >= self.breaks[0]) & (t < self.breaks[1])
        return jnp.where(inside, 21.0, 1.0) * jnp.zeros((1, 2, 2)).at[0, 0, 0].set(1.0)


@pytest.mark.parametrize("width", [0.02, 1e-5])
def test_short_events_are_not_stepped_over(width):
    """A cost over a short time, named by its breaks or (the wider one) not, against SciPy stopped at the breaks."""
    auction = Auction(jnp.asarray([0.49, 0.49 + width]))
    base = regulator(A=0.0, B=1.0, Q=1.0, R=1.0, horizon=jnp.asarray(1.0))
    value = np.zeros(1)
    for end, start, cost in ((1.0, 0.49 + width, 1.0), (0.49 + width, 0.49, 21.0), (0.49, 0.0, 1.0)):
        flow = solve_ivp(lambda _, s, q=cost: q - s**2, (0.0, end - start), value, "DOP853", rtol=1e-12, atol=1e-14)
        value = flow.y[:, -1]
    kinds = [auction] if width < 1e-3 else [auction, lambda t: auction(t)]
    for kind in kinds:
        game = eqx.tree_at(lambda g: g.players[0].state_cost, base, kind, is_leaf=lambda leaf: leaf is None)
        assert float(solve(game).value(0.0)[0, 0, 0, 0]) == pytest.approx(value[0], rel=1e-9)


@pytest.mark.parametrize("width", [0.01, 0.05])
def test_values_that_are_zero_until_a_pulse_are_no_escape(width):
    """Nothing costs but from t = ½ − w to ½ + w: S = √20 tanh(2√20 w) there, and a/(1 + a(½ − w)) at the start."""
    base = regulator(A=0.0, B=1.0, Q=1.0, R=1.0, horizon=1.0)

    def pulse(t):
        inside = jnp.abs(t - 0.5) < width
        return jnp.where(inside, 20.0, 0.0) * jnp.zeros((1, 2, 2)).at[0, 0, 0].set(1.0)

    game = eqx.tree_at(lambda g: g.players[0].state_cost, base, pulse, is_leaf=lambda leaf: leaf is None)
    after = math.sqrt(20) * math.tanh(2 * math.sqrt(20) * width)
    wanted = after / (1 + after * (0.5 - width))
    assert float(solve(game).value(0.0)[0, 0, 0, 0]) == pytest.approx(wanted, rel=1e-8)


def test_a_pole_of_third_order_is_an_escape():
    """Its distance is three times S/Ṡ, which falls to zero along a line that two times before show."""
    game = stackelberg_game(
        A0=[[0.3, 0.6], [0.0, 0.4]],
        B0=[[1.0], [0.4]],
        F0=[[-0.3], [0.1]],
        sigma0=[[0.0], [0.0]],
        A=1.2,
        B=0.9,
        D=0.9,
        F=0.0,
        G=[[-0.2, 0.2]],
        sigma=0.0,
        Gamma0=[[-0.2], [-0.2]],
        Gamma1=[[-3.4, 0.9]],
        Gamma2=0.3,
        Q=1.0,
        Q0=[[1.1, 0.2], [0.2, 1.8]],
        R=1.0,
        R0=1.0,
        R1=1.0,
        R2=-1.4,
        discount=0.1,
        horizon=2.0,
    )
    values, outcome = values_to_go(game, jnp.asarray([1.539, 1.54, 2.0]))
    rates = [value_rate(game, jnp.zeros(()), value) for value in values[:2]]
    first, second = (float(v[1, 0, 0, 0] / r[1, 0, 0, 0]) for v, r in zip(values[:2], rates, strict=True))
    assert (first - second) / 1e-3 == pytest.approx(1 / 3, rel=0.05)
    assert outcome.status == Status.ESCAPED
    assert float(outcome.escape_time) == pytest.approx(1.54 + 1e-3 * second / (first - second), abs=1e-4)


def test_a_search_that_ends_early_is_no_search_without_escape():
    plant = regulator(A=[[-1e7, 0.0], [0.0, -0.1]], B=[[1.0], [1.0]], Q=np.eye(2), R=1.0, horizon=1.0)
    with pytest.raises(RunFailed, match="stiff"):
        escape_time(plant, 1.0)
