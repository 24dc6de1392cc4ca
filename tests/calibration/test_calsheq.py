"""Λ in the market, its proposals, and the compiled game that differs by episode."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from diffgames.calibration import bayesian, calsheq
from diffgames.calibration.connectivity_market import ConnectivityMarket
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import experiment_targets
from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame, Continuous, Role
from diffgames.learning.policy import AbstractPolicy, actor_critic
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.rollout import PerEpisode, play
from diffgames.studies.calibration import build_problem
from diffgames.studies.calibration_parameters import CalibrationConfig
from diffgames.studies.calibration_steps import random_takers


class Level(AbstractMarkovGame):
    """A walk that its agent steers, from a level that may differ by episode."""

    level: Array

    @property
    def roles(self):
        return (Role("walker", 1, ("place",), Continuous(("step",), (-1.0,), (1.0,))),)

    @property
    def horizon(self):
        return 3

    def reset(self, key):
        return self.level + jax.random.normal(key, (1,), jnp.float32)

    def observe(self, state, actions, role):
        return (state * self.level)[:, None]

    def step(self, state, actions, key):
        state = state + actions["walker"][:, 0] * self.level + jax.random.normal(key, (1,), jnp.float32)
        return state, {"walker": state}, {"place": state, "unwanted": state}


def test_each_episode_plays_its_own_game_as_if_all_played_it():
    install = lambda game, law: eqx.tree_at(lambda g: g.level, game, law)  # noqa: E731 - shorthand in a test
    game, laws, key = Level(jnp.float32(1.0)), jnp.asarray([0.5, 1.0, -2.0], jnp.float32), jax.random.key(4)
    profile = {"walker": actor_critic(game.roles[0], jax.random.key(1), 8)}
    lived, kept = play(PerEpisode(game, laws, install), profile, key, 3, keep=lambda record: record["place"])
    for episode, law in enumerate(laws):
        alone, records = play(install(game, law), profile, key, 3)
        for together, one in ((lived["walker"].reward, alone["walker"].reward), (kept, records["place"])):
            np.testing.assert_allclose(together[:, episode], one[:, episode], rtol=1e-5)
    assert not np.allclose(lived["walker"].reward[:, 0], play(game, profile, key, 3)[0]["walker"].reward[:, 0])


def test_the_calibrator_moves_within_the_ranges_and_may_ignore_the_state():
    space = SupertypeProfile(10, risk=True)
    assert len(space.names) == len(space.high) == len(space.start(0.5)) == 23
    laws = jnp.broadcast_to(jnp.asarray(space.start(0.5)), (2, 23))
    raw = jnp.asarray([[3.0] * 23, [-0.1] * 23], jnp.float32)
    for increments, value in ((True, 0.5 - 0.1), (False, 0.45)):  # −0.1 of [−1, 1]; the same place of [0, 1]
        moved = np.asarray(space.moved(laws, raw, increments))
        np.testing.assert_allclose(moved[0], space.high)  # clipped
        np.testing.assert_allclose(moved[1, :20], value, rtol=1e-5)
        seen = np.asarray(space.seen(laws, increments))
        assert np.all(seen[:, :20] == (0.0 if increments else 1.0))


@pytest.mark.parametrize(("acquisition", "kappa"), [("ucb", 0.5), ("ucb", 1.5), ("ei", 0.5)])
def test_bayesian_optimization_finds_the_top_of_a_hill(acquisition, kappa):
    top, high, rng = np.asarray([0.3, 4.0]), np.asarray([1.0, 5.0], np.float32), np.random.default_rng(0)
    tried, rewards = np.zeros((0, 2)), np.zeros(0)
    for _ in range(16):
        one = bayesian.propose(tried, rewards, high, kappa, rng, acquisition)
        assert np.all((one >= 0) & (one <= high))
        value = 1 / (1 + np.sum(np.abs((one - top) / high)))
        tried, rewards = np.vstack([tried, one]), np.append(rewards, value)
    assert rewards.max() > 0.9 > rewards[: bayesian.INITIAL].max()
    with pytest.raises(InvalidInput, match="kappa"):
        bayesian.propose(tried, rewards, high, -1.0, rng)


def test_expected_improvement_is_the_mean_of_what_is_better_and_random_search_looks_at_nothing():
    draws = np.random.default_rng(0).normal(0.3, 0.5, 200_000)
    found = bayesian.expected_improvement(np.asarray([0.3, 0.3]), np.asarray([0.5, 0.0]), 0.4)
    assert found[0] == pytest.approx(np.maximum(draws - 0.4, 0).mean(), abs=4 * 0.3 / 200_000**0.5)
    assert found[1] == 0.0
    high, seen = np.ones(2, np.float32), (np.ones((9, 2)), np.arange(9.0))
    drawn = [bayesian.propose(*seen, high, 0.5, np.random.default_rng(3), "random") for _ in range(2)]
    assert np.array_equal(drawn[0], np.random.default_rng(3).random(2)) and np.array_equal(*drawn)


class AlikeQuotes(AbstractPolicy):
    """All quote the reference price, up to equal noise, and do not hedge."""

    def initial_carry(self, batch):
        return ()

    def __call__(self, carry, observation):
        head = jnp.asarray([-1.0, 0.0, -1.0, -9.0, -9.0, -9.0], jnp.float32)
        batch = observation.shape[0]
        return carry, jnp.broadcast_to(head[None, :], (batch, 6)), jnp.zeros((batch,), jnp.float32)


@pytest.fixture(scope="module")
def problem():
    """Experiment 1 on few takers."""
    config = CalibrationConfig(takers_of_each_size=6, steps=6, episodes=8, width=8, passes=1, updates=2)
    return build_problem(config, 0, 1)[0]


@pytest.mark.slow
def test_with_alike_quotes_the_market_is_the_one_of_connectivity_alone(problem):
    """Without the exchange, which is the better venue now and then; shares are then of what is traded."""
    closed = jax.tree.map(jnp.zeros_like, problem.market.connectivity.taker_exchange)
    problem = eqx.tree_at(lambda p: p.market.connectivity.taker_exchange, problem, closed)
    links = np.random.default_rng(5).random((2, 10))
    profile = {**random_takers(), "provider": AlikeQuotes()}
    law = jnp.asarray(links.reshape(1, -1), jnp.float32)
    seen, rewards, _ = calsheq.measure(problem, profile, law, jax.random.key(2), 300)
    expected = ConnectivityMarket((1, 4), takers=(6,) * 10).exact(links)
    share = np.asarray(seen.share, float)
    wanted = np.asarray(expected.share / expected.share.sum())
    assert np.all(np.abs(share.mean(axis=0) - wanted) < 4 * share.std(axis=0) / 300**0.5)
    assert np.abs(np.median(seen.percentiles, axis=0) - expected.percentiles).max() <= 1.0
    assert np.all((np.asarray(rewards) > 0) & (np.asarray(rewards) <= 1))


@pytest.mark.slow
def test_an_update_carries_the_particles_and_a_frozen_law_stays(problem):
    both = (PPOConfig(episodes=8, passes=1, minibatch=512), PPOConfig(episodes=8, passes=2))
    role = problem.market.role("provider")
    agents = calsheq.new_learner(actor_critic(role, jax.random.key(0), 8), both[0])
    calibrator = calsheq.new_calibrator(problem.space, True, jax.random.key(1), 8, both[1])
    laws = jnp.broadcast_to(jnp.asarray(problem.space.start(0.5)), (8, 20))
    begun = calsheq.start(problem, random_takers(), agents, calibrator, laws, jax.random.key(2), both, 2)
    state = calsheq.calibrate(problem, random_takers(), begun, both, 2)
    history = jax.tree.map(np.asarray, state.history)
    np.testing.assert_allclose(history["law"][-1], np.asarray(state.laws).mean(axis=0), rtol=1e-5)
    assert np.all(history["law_deviation"][0] > 0.1) and int(state.index) == 2
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), state.calibrator.policy, calibrator.policy)
    assert any(jax.tree.leaves(changed))
    again = calsheq.calibrate(problem, random_takers(), begun, both, 2)
    assert eqx.tree_equal(again.laws, state.laws)
    assert experiment_targets(1) == problem.targets
