"""A differential game as a Markov game: same costs, an honest order of play, learned by PPO, exported to PettingZoo."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.conformance import check_markov_game
from diffgames.games.differential import DifferentialGame, GaussianLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.learning.policy import AbstractPolicy
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile, train
from diffgames.simulation import as_markov_game, simulate
from quadratic_games import as_game, random_data


class Push(AbstractPolicy):
    """Deterministic: the control gain·x within [−3, 3], read off the observed first state, as a raw action."""

    gain: float

    def initial_carry(self, batch):
        return ()

    def __call__(self, carry, observation):
        mean = jnp.clip(self.gain * observation[:, 1:2] / 3.0, -1.0, 1.0)
        log_deviation = jnp.full_like(mean, -5.0)
        return carry, jnp.concatenate([mean, log_deviation], axis=1), jnp.zeros(observation.shape[0], jnp.float32)


class Constant(eqx.Module):
    """The same control whatever happens."""

    value: jax.Array

    def __call__(self, t, x, i):
        return (self.value,)


def regulator(**changes) -> DifferentialGame:
    """dX = u dt + ½dW from N(1, ½²), cost ∫(4x² + u²) + x_T²."""
    fields = {
        "players": ("regulator",),
        "control_sizes": (1,),
        "drift": lambda t, x, u, i: u[0],
        "diffusion": lambda t, x, u, i: 0.5 * jnp.eye(1),
        "running_cost": lambda t, x, u, i: 4 * x**2 + u[0] ** 2,
        "terminal_cost": lambda x, i: x**2,
        "initial": GaussianLaw(jnp.ones(1), 0.5 * jnp.eye(1)),
        "horizon": 1.0,
        "bounds": ((-3.0, 3.0),),
    }
    return DifferentialGame(**{**fields, **changes})


def test_returns_are_the_costs_of_simulated_paths():
    market = as_markov_game(regulator(), 0.05)
    check_markov_game(market)
    returns, _ = evaluate(market, {"regulator": Push(-1.0)}, jax.random.key(0), 4000)
    paths = simulate(
        regulator(), lambda t, x, i: (jnp.clip(-x, -3, 3),), jax.random.key(1), paths=20_000, steps=20, keep=0
    )
    values = np.asarray(returns["regulator"])[:, 0]
    error = np.hypot(values.std() / np.sqrt(values.size), paths.standard_error[0])
    assert abs(values.mean() + float(paths.cost[0])) < 4 * error + 0.01  # actions explore a little


def test_ppo_learns_a_regulator_better_than_any_constant():
    market = as_markov_game(regulator(), 0.1)
    profile = initial_profile(market, jax.random.key(0), 32)
    config = PPOConfig(episodes=200, passes=8, learning_rate=3e-3, minibatch=1000)
    learned = train(market, profile, config, jax.random.key(1), 25, learn=("regulator",)).profile
    returns, _ = evaluate(market, learned, jax.random.key(2), 2000)
    values = np.asarray(returns["regulator"])[:, 0]
    constants = [
        simulate(regulator(), Constant(jnp.full(1, c)), jax.random.key(3), paths=4000, steps=10, keep=0)
        for c in np.linspace(-3, 3, 13)
    ]
    best = min(constants, key=lambda paths: float(paths.cost[0]))
    lower = values.mean() - 1.65 * values.std() / np.sqrt(values.size)
    assert lower > -float(best.cost[0]) + 1.65 * float(best.standard_error[0])


def test_games_with_regimes_jumps_and_several_players():
    """Two and three players, regimes, both kinds of jumps: the contract holds and an episode's cost is finite."""
    game = as_game(random_data(5, 3, (2, 1), 3))
    market = as_markov_game(game, 0.1, bounds={"player 0": (-1.0, 2.0), "player 1": (-1.0, 1.0)}, substeps=3)
    check_markov_game(market)
    assert [role.observation_size for role in market.roles] == [1 + 3 + 3] * 2
    returns, moved = evaluate(market, initial_profile(market, jax.random.key(0), 8), jax.random.key(1), 50)
    total = np.asarray(moved.cost).sum(axis=0)
    np.testing.assert_allclose(-np.asarray(returns["player 0"])[:, 0], total[:, 0], rtol=1e-4)


def led(**changes) -> DifferentialGame:
    """A leader and a follower that sees its control, and a rule that has no objective."""
    return regulator(
        players=("follower", "rule", "leader"),
        control_sizes=(1, 1, 2),
        drift=lambda t, x, u, i: u[0] + u[1] + u[2][:1],
        running_cost=lambda t, x, u, i: jnp.concatenate([u[0] ** 2, 0 * x, -(u[2][:1] ** 2)]),
        terminal_cost=lambda x, i: jnp.concatenate([x**2] * 3),
        signs=(1, 0, -1),
        tiers=((2,), (0, 1)),
        bounds=((-1.0, 1.0), None, (0.0, 2.0)),
        **changes,
    )


def test_the_order_of_play_and_players_without_objective():
    market = as_markov_game(led(), 0.25, profile=lambda t, x, i: (0 * x, -x, jnp.zeros(2)))
    check_markov_game(market)
    assert [role.name for role in market.roles] == ["leader", "follower"]
    assert market.role("follower").observation_names == ("time", "state_0", "leader_0", "leader_1")
    state = market.reset(jax.random.key(0))
    seen = market.observe(state, {"leader": jnp.asarray([[0.0, 2.0]], jnp.float32)}, "follower")
    np.testing.assert_allclose(seen[0, 2:], [-1.0, 1.0])
    actions = {"leader": jnp.asarray([[0.5, 1.0]], jnp.float32), "follower": jnp.asarray([[0.5]], jnp.float32)}
    _, rewards, _ = market.step(state, actions, jax.random.key(0))
    np.testing.assert_allclose(rewards["follower"], -0.25 * 0.5**2, rtol=1e-6)
    np.testing.assert_allclose(rewards["leader"], -0.25 * 0.5**2, rtol=1e-6)


def test_it_is_a_pettingzoo_environment():
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import api_test

    from diffgames.games.pettingzoo import MarkovGameEnvironment

    market = as_markov_game(led(), 0.25, profile=lambda t, x, i: (0 * x, -x, jnp.zeros(2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PettingZoo warns about unbounded observations, which ours are
        api_test(MarkovGameEnvironment(market), num_cycles=6, verbose_progress=False)


def test_slips_are_named():
    with pytest.raises(InvalidInput, match="dt"):
        as_markov_game(regulator(), 0.3)
    with pytest.raises(InvalidInput, match="bounds"):
        as_markov_game(regulator(bounds=(None,)), 0.1)
    with pytest.raises(InvalidInput, match="profile"):
        as_markov_game(led(), 0.25)
    with pytest.raises(InvalidInput, match="player"):
        as_markov_game(regulator(), 0.1, bounds={"nobody": (0.0, 1.0)})
    for rate in (lambda t, x, u, i: u[0][0], lambda t, x, u, i: jnp.sqrt(0.5 - t)):  # negative, and no number
        law = JumpLaw(rate, lambda t, x, u, z, i: z, FixedMark(jnp.ones(1)))
        with pytest.raises(InvalidInput, match=r"jumps\[0\].rate"):
            as_markov_game(regulator(jumps=(law,)), 0.1)
