"""Exact laws of quotes against SciPy on the generator written out by hand, closed forms, and the game's own θ."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from diffgames.errors import InvalidInput
from diffgames.games.market_making_input import market_making_game
from diffgames.simulation.market_maker import Surroundings, predator_push
from diffgames.simulation.market_maker_exact import (
    certainty_equivalents,
    inventory_survival,
    wealth_moments,
    worst_reply,
)
from diffgames.solvers.market_making import solve_market_maker
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of
from diffgames.verification.market_maker import profile_value

RICH = MarketMakingParameters(
    jump_rate=2.0,
    jump_mean=-0.5,
    jump_deviation=0.3,
    sizes=(1, 2),
    size_shares=(0.7, 0.3),
    flow_imbalance=0.2,
    terminal_penalty=0.1,
    running_penalty=0.01,
    drift=0.4,
    inventory_max=4,
    T=0.3,
)


@pytest.fixture(scope="module")
def rich():
    """The equilibrium of a game with everything in it, quotes kept for a fortieth of the horizon at their middles."""
    game = game_of(RICH, "strategic")
    solution = solve_market_maker(game, steps=80)
    push, pay = (jnp.asarray(part) for part in predator_push(game))
    around = Surroundings(rates=solution.rates[1::2], push=push, pay=pay)
    return game, solution, (np.asarray(solution.ask)[1::2], np.asarray(solution.bid)[1::2]), around


def by_hand(game, quotes, around, step):
    """The generator of the chain at a step, state by state."""
    n, q, bound = game.regimes, game.inventory, game.inventory_max
    place = {(i, int(x)): i * q.size + j for i in range(n) for j, x in enumerate(q)}
    matrix, earned = np.zeros((len(place), len(place))), []
    for (i, x), row in place.items():
        for sign, table, flow in ((-1, quotes[0], game.ask_flow), (1, quotes[1], game.bid_flow)):
            for index, size in enumerate(game.sizes):
                if abs(x + sign * size) <= bound:
                    offset = table[step, i, x + bound, index]
                    rate = float(flow[i, index]) * np.exp(-float(game.k[i]) * offset)
                    matrix[row, place[i, x + sign * size]] += rate
                    earned.append((row, rate, size * offset, place[i, x + sign * size]))
        for j in range(n):
            if j != i:
                matrix[row, place[j, x]] += float(around.rates[step, i, j, x + bound])
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix, earned


def test_survival_and_moments_are_those_of_scipy(rich):
    game, _, quotes, around = rich
    q, h = np.tile(game.inventory, 3).astype(float), 0.3 / 40
    alive = np.abs(q) < 3
    survival, mean, square = alive.astype(float), np.zeros(q.size), np.zeros(q.size)
    price = np.tile(0.4 + np.asarray(around.push[0]), 3) * q
    variance = (np.repeat(np.asarray(game.sigma) ** 2, game.inventory.size) + 2.0 * (0.5**2 + 0.3**2)) * q**2
    for step in reversed(range(40)):
        matrix, earned = by_hand(game, quotes, around, step)
        survival = expm(np.where(alive[:, None] & alive[None], matrix, 0.0) * h) @ survival * alive

        def field(_, y, matrix=matrix, earned=earned):
            m, s = np.split(y, 2)
            change, second = matrix @ m + price, matrix @ s + variance + 2 * price * m
            for row, rate, gain, after in earned:
                change[row] += rate * gain
                second[row] += rate * (gain**2 + 2 * gain * m[after])
            return np.concatenate([change, second])

        found = solve_ivp(field, (0, h), np.concatenate([mean, square]), rtol=1e-11, atol=1e-11, method="DOP853")
        mean, square = np.split(found.y[:, -1], 2)
    moments = wealth_moments(game, *quotes, around)
    assert np.allclose(np.ravel(inventory_survival(game, *quotes, around, limit=3)), survival, atol=1e-7)
    assert np.allclose(np.ravel(moments.mean), mean, atol=1e-6)
    assert np.allclose(np.ravel(moments.deviation), np.sqrt(square - mean**2), atol=1e-6)


def test_the_equilibrium_is_worth_theta_and_what_the_certificate_says(rich):
    """Middles of steps meet the moving quotes to second order: 40 steps are four times as far off as 80 would be."""
    game, solution, quotes, around = rich
    value = certainty_equivalents(game, *quotes, around)
    assert np.abs(value - solution.theta[0]).max() < 5e-3
    assert np.abs(value - profile_value(game, profile_of(game, solution))).max() < 5e-3
    finer = solve_market_maker(game, steps=160)
    half = dataclasses.replace(around, rates=finer.rates[1::2])
    close = certainty_equivalents(game, np.asarray(finer.ask)[1::2], np.asarray(finer.bid)[1::2], half)
    assert np.abs((4 * close - value) / 3 - solution.theta[0]).max() < 2e-4


def test_a_walk_without_skew_survives_as_the_heat_kernel_says():
    """Naive quotes make a symmetric walk of rate Λ a side: survival by its sine series, 36.0% in the reference case."""
    game, steps = game_of(MarketMakingParameters(), "strategic"), 8
    half = float(np.log1p(0.1 / 1.5) / 0.1 + 0.1 * 0.5 * 0.5)
    offers, zero = np.full((steps, 3, 21, 1), half), jnp.zeros((3, 21))
    around = Surroundings(rates=jnp.zeros((steps, 3, 3, 21)), push=zero, pay=zero)
    rate = 140 * np.exp(-1.5 * half)
    odd = np.arange(1, 20, 2)
    angle = odd * np.pi / 20
    inner = np.array([np.sin(a * np.arange(1, 20)).sum() for a in angle])
    series = (np.sin(10 * angle) * inner * np.exp(-2 * rate * (1 - np.cos(angle)))).sum() / 10
    exact = float(inventory_survival(game, offers, offers, around)[0, 10])
    assert exact == pytest.approx(series, abs=1e-6) and exact == pytest.approx(0.360, abs=5e-4)


def test_the_worst_reply_is_worse_than_any_other_and_may_be_played(rich):
    game, _, quotes, around = rich
    base = np.asarray(game.generator) * (1 - np.eye(3))
    chance = dataclasses.replace(around, rates=jnp.broadcast_to(jnp.asarray(base)[None, :, :, None], (40, 3, 3, 9)))
    full = dataclasses.replace(chance, rates=chance.rates + game.attack[None, :, :, None])
    value, rates = worst_reply(game, *quotes, chance)
    played = certainty_equivalents(game, *quotes, dataclasses.replace(chance, rates=rates))
    assert np.allclose(value, played, atol=1e-9)
    for other in (chance, full, around):
        assert np.all(value <= certainty_equivalents(game, *quotes, other) + 1e-3)
    neutral = dataclasses.replace(game, gamma=jnp.zeros(()))
    close = dataclasses.replace(game, gamma=jnp.asarray(1e-6))
    assert np.allclose(worst_reply(neutral, *quotes, chance)[0], worst_reply(close, *quotes, chance)[0], atol=1e-3)


def test_survival_may_be_differentiated_by_the_quotes(rich):
    game, _, (ask, bid), around = rich

    def survival(shift):
        return inventory_survival(game, jnp.asarray(ask) + shift, jnp.asarray(bid), around, limit=3)[0, 4]

    slope = float(jax.grad(survival)(jnp.zeros(())))
    difference = float(survival(jnp.asarray(1e-5)) - survival(jnp.asarray(-1e-5))) / 2e-5
    assert slope == pytest.approx(difference, rel=1e-5)


def test_quotes_hit_at_any_rate_are_no_trouble():
    """An offer 20 below the mid is hit 1e15 times a second: the inventory is gone at once, at that price."""
    game = market_making_game(switching="none", sigma=1.0, A=140.0, xi=0.0, inventory_max=1)
    ask = np.full((4, 1, 3, 1), np.inf)
    ask[:, :, 2] = -20.0
    zero = jnp.zeros((1, 3))
    around = Surroundings(rates=jnp.zeros((4, 1, 1, 3)), push=zero, pay=zero)
    moments = wealth_moments(game, ask, np.full_like(ask, np.inf), around)
    assert np.asarray(moments.mean)[0] == pytest.approx([0.0, 0.0, -20.0], abs=1e-9)
    assert np.asarray(moments.deviation)[0] == pytest.approx([1.0, 0.0, 0.0], abs=1e-5)


def test_a_limit_outside_the_grid_is_named(rich):
    game, _, quotes, around = rich
    with pytest.raises(InvalidInput, match="limit"):
        inventory_survival(game, *quotes, around, limit=5)
