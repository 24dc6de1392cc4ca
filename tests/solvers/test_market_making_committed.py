"""Committed policies: equal to feedback where the market maker's answer changes nothing, a saddle point elsewhere."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.market_making_input import market_making_game
from diffgames.solvers.market_making import solve_market_maker
from diffgames.solvers.market_making_committed import _value, committed_gains, solve_committed
from diffgames.studies.market_maker_parameters import MarketMakingParameters, game_of

SMALL = {
    "sigma": (1.0, 3.0),
    "A": (30.0, 15.0),
    "generator": ((-0.5, 0.5), (1.0, -1.0)),
    "attack": ((0.0, 2.0), (0.0, 0.0)),
    "stabilize": ((0.0, 0.4), (0.0, 0.0)),
    "switching": "strategic",
    "inventory_max": 2,
    "effort_attack": 8.0,
    "effort_stabilize": 4.0,
}


@pytest.fixture(scope="module")
def committed():
    game = market_making_game(**SMALL)
    return game, solve_committed(game, steps=10)


@pytest.mark.slow
def test_without_an_answer_to_commit_to_the_readings_agree():
    """No trades and a stress that does not depend on θ: the market maker's answer moves nothing."""
    game = market_making_game(**SMALL | {"A": 1e-9, "stress": "inventory", "effort_attack": 1.0})
    feedback, committed = solve_market_maker(game, steps=40), solve_committed(game, steps=40)
    assert feedback.attack_effort.max() > 0.05
    np.testing.assert_allclose(committed.attack_effort, feedback.attack_effort, atol=2e-3)
    np.testing.assert_allclose(committed.stress, feedback.stress, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_neither_side_finds_a_better_policy(committed):
    game, solution = committed
    gains = committed_gains(game, np.asarray(solution.attack_effort), np.asarray(solution.stabilize_effort))
    assert all(gain < 1e-5 for _, gain in gains.values())
    feedback = solve_market_maker(game, steps=10)
    gains = committed_gains(game, np.asarray(feedback.attack_effort), np.asarray(feedback.stabilize_effort))
    assert gains["attack"][1] > 1e-3, "the feedback efforts leave a committed attacker something"


def test_it_is_a_saddle_point_in_random_directions(committed):
    game, solution = committed
    tables = {"attack": solution.attack_effort[::-1], "stabilize": solution.stabilize_effort[::-1]}
    value = float(_value(tables, game, 4)[0])
    rng = np.random.default_rng(0)
    for name, sign in (("attack", -1), ("stabilize", 1)):
        for _ in range(3):
            step = jnp.clip(tables[name] + 0.2 * rng.normal(size=tables[name].shape), 0.0, 1.0)
            assert sign * (float(_value(tables | {name: step}, game, 4)[0]) - value) > 0


@pytest.mark.slow
def test_free_efforts_settle_between_nothing_and_all():
    """Both bang-bang: best responses chatter, shares shrink; what either side finds in a search is next to nothing."""
    game = game_of(MarketMakingParameters(effort_attack=0.0, effort_stabilize=0.0), "strategic")
    solution = solve_committed(game, steps=50)
    attack = np.asarray(solution.attack_effort)
    between = (attack > 0.01) & (attack < 0.99)
    assert 0 < between.mean() < 0.1 and attack.min() >= 0 and attack.max() <= 1
    gains = committed_gains(game, attack, np.asarray(solution.stabilize_effort))
    assert max(gain for _, gain in gains.values()) < 1e-6 * abs(gains["attack"][0])


def test_the_stored_table_is_what_the_market_maker_answers(committed):
    _, solution = committed
    assert solution.theta.shape == (11, 2, 5) and bool(solution.finished)
    assert np.all(solution.rates >= 0)


def test_what_cannot_be_solved_is_told():
    with pytest.raises(InvalidInput, match="reading"):
        solve_committed(market_making_game(**SMALL | {"switching": "exogenous"}))
    with pytest.raises(RunFailed, match=r"no fixed point of the committed policies found: after 2 .* effort_attack"):
        solve_committed(market_making_game(**SMALL), steps=10, most=2)
