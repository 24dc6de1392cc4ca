"""Trained deviators against games whose best responses are known, and against planted bad profiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.fixed_agents import fix_agents
from diffgames.learning.policy import FixedProbabilities, actor_critic
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile
from diffgames.verification.best_response import _begin, _remember, best_response, exploitability
from diffgames.verification.deviation import DEVIATOR, Deviation
from toy_games import Aim, Cournot, Proportional

CONFIG = PPOConfig(learning_rate=5e-3, passes=8, minibatch=256, episodes=64)


def certificate(game, k, **options):
    profile = {"firm": Proportional(jnp.float32(k))}
    settings = {"updates": 30, "evaluations": 3, "validation_episodes": 200, "episodes": 400, "width": 16}
    agents = {"first firm": ("firm", 0), "last firm": ("firm", game.firms - 1)}
    return exploitability(game, profile, agents, CONFIG, jax.random.key(0), **{**settings, **options})


@pytest.fixture(scope="module")
def planted():
    """Everybody sells half of the equilibrium quantity."""
    game = Cournot()
    return game, certificate(game, 0.125)


def test_the_gain_over_a_planted_profile_is_the_known_one(planted):
    """Within the interval from below: at most the exact gain, and nine tenths of it."""
    game, found = planted
    exact = game.gain(0.125)
    for entry in found.entries:
        assert entry.lower > 0.9 * exact and entry.gain < exact + 3 * entry.standard_error
        assert entry.budget.updates == 30 and entry.curves["fresh"][-1].updates == 30
        assert entry.curves["fresh"][0].gain < entry.curves["fresh"][-1].gain
    assert set(found.significant) == {"first firm", "last firm"}


def test_nothing_is_found_at_the_equilibrium():
    game = Cournot()
    found = certificate(game, 0.25)
    for entry in found.entries:
        assert entry.gain < 0.01 * game.gain(0.0) and entry.upper < 0.02


def test_a_deviation_is_the_same_game_with_one_agent_apart():
    """The deviator that plays the profile's policy earns what the agent earned, up to rounding, for every agent."""
    game = Cournot()
    profile = {"firm": Proportional(jnp.float32(0.2))}
    returns = evaluate(game, profile, jax.random.key(3), 8, explore=False)[0]["firm"]
    for index in range(game.firms):
        apart = evaluate(
            Deviation(game, "firm", index), {**profile, DEVIATOR: profile["firm"]}, jax.random.key(3), 8, explore=False
        )[0]
        np.testing.assert_allclose(apart[DEVIATOR][:, 0], returns[:, index], rtol=1e-6)
        np.testing.assert_allclose(apart["firm"], np.delete(np.asarray(returns), index, axis=1), rtol=1e-6)


def test_what_a_fixed_agent_could_gain_is_found():
    """An archer that a function plays: nothing to gain for one that hits, what it loses for one that shoots past."""
    game, key = Aim(), jax.random.key(0)
    profile = initial_profile(game, jax.random.key(1), 8)

    def gap(act):
        fixed = fix_agents(game, {("archer", 0): act})
        options = {"updates": 30, "validation_episodes": 64, "episodes": 128, "played": fixed}
        found = best_response(fixed.without("archer", 0), profile, "archer", 0, CONFIG, key, **options).gap
        return found, float(evaluate(fixed, profile, key, 128)[0]["archer"][:, 0].mean())

    (good, most), (bad, least) = gap(lambda seen, key: (seen["target"],)), gap(lambda seen, key: (-1.0,))
    assert good.gain <= 0.0
    assert 0.8 * (most - least) < bad.lower and bad.gain < 1.2 * (most - least)


def test_a_sure_gain_is_chosen_before_a_gamble():
    """Validation gains of two starts: 0.2 on average but ±4 an episode, and 0.1 in every episode."""
    game = Cournot()
    policy = actor_critic(game.roles[0], jax.random.key(0), 4)
    deviations = Deviation(game, "firm", jnp.asarray([0], jnp.int32))
    search = _begin(deviations, [policy, policy], CONFIG, jax.random.key(1), points=1)
    gamble = 0.2 + 4.0 * jnp.tile(jnp.asarray([1.0, -1.0], jnp.float32), 8)
    difference = jnp.zeros((2, 2, 1, 16), jnp.float32).at[0, 0, 0].set(gamble).at[1, 0, 0].set(0.1)
    found = _remember(search, search.learners, difference)
    assert found.best_trial[0].tolist() == [0, 1, 0]
    assert float(found.best_score[0]) == pytest.approx(0.1, rel=1e-5)


def test_unknown_roles_and_agents_are_named():
    game = Cournot()
    with pytest.raises(InvalidInput, match=r"^role"):
        Deviation(game, "bank", 0)
    with pytest.raises(InvalidInput, match=r"^index"):
        Deviation(game, "firm", 3)
    with pytest.raises(InvalidInput, match=r"^updates"):
        certificate(game, 0.2, updates=0)


class Planted(Proportional):
    """A provider of stated habits: spread, skew per unit of inventory observed, hedge fraction (raw, in [−1, 1])."""

    habit: Float[Array, "3"]

    def __call__(self, carry, observation):
        inventory = observation[:, 1]
        spread, slope, hedge = self.habit
        one = jnp.ones_like(inventory)
        mean = jnp.stack([spread * one, slope * inventory, hedge * one], axis=1)
        head = jnp.concatenate([mean, jnp.full_like(mean, -2.0)], axis=1)
        return carry, head, jnp.zeros_like(inventory)


@pytest.mark.slow
@pytest.mark.parametrize(
    "habit",
    [
        pytest.param((0.0, 2.0, -1.0), id="skews with the wrong sign"),
        pytest.param((1.0, 0.0, -1.0), id="quotes too wide to trade and never hedges"),
    ],
)
def test_bad_providers_of_the_market_are_caught(build_market, habit):
    """The certificate of the main job finds what a planted bad provider gives away, at the quick preset's budget."""
    market = build_market(providers=(1, 2), takers=(6, 2), probability=1.0, steps=40)
    takers = FixedProbabilities.of([0.2, 0.4, 0.4])
    profile = {"provider": Planted(k=jnp.float32(0), habit=jnp.asarray(habit, jnp.float32)), "taker": takers}
    config = PPOConfig(learning_rate=2e-3, passes=6, minibatch=2048, episodes=60, gae_lambda=0.9)
    found = exploitability(
        market,
        profile,
        {"bad provider": ("provider", 1)},
        config,
        jax.random.key(1),
        updates=12,
        evaluations=2,
        validation_episodes=50,
        episodes=200,
        width=32,
    )
    (entry,) = found.entries
    assert entry.lower > 0 and found.significant == ("bad provider",)


@pytest.mark.slow
def test_a_taker_that_never_trades_is_caught(build_market):
    """Takers are to buy three times in four and to sell once; who holds misses both, and the deviator finds it."""
    market = build_market(providers=(1,), takers=(6, 2), probability=1.0, steps=40)
    profile = initial_profile(market, jax.random.key(0), 16)
    profile = {"provider": profile["provider"], "taker": FixedProbabilities.of([1.0, 0.0, 0.0])}
    config = PPOConfig(learning_rate=2e-3, passes=6, minibatch=2048, episodes=60, gae_lambda=0.9)
    found = exploitability(
        market,
        profile,
        {"taker": ("taker", 0)},
        config,
        jax.random.key(1),
        updates=12,
        evaluations=2,
        validation_episodes=50,
        episodes=200,
        width=32,
    )
    assert found.entries[0].lower > 0
