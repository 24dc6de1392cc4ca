"""Agents that play by a function: answers are carried out, the others learn, and what does not fit is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.fixed_agents import components, fix_agents, weights
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.rollout import evaluate, play
from diffgames.learning.train import initial_profile, train
from toy_games import Aim

CONFIG = PPOConfig(learning_rate=1e-2, passes=4, minibatch=64, episodes=16)


def hits(observation, key):
    return (observation["target"],)


def test_the_fixed_archer_hits_and_the_other_is_untouched():
    """Equal keys: the fixed agent earns the optimum, the other exactly what it earns without anybody fixed."""
    game = Aim()
    profile, key = initial_profile(game, jax.random.key(0), 8), jax.random.key(1)
    plain, _ = evaluate(game, profile, key, 32)
    fixed, _ = evaluate(fix_agents(game, {("archer", 0): hits}), profile, key, 32)
    perfect, _ = evaluate(fix_agents(game, {("archer", i): hits for i in range(2)}), profile, key, 32)
    np.testing.assert_array_equal(plain["archer"][:, 1], fixed["archer"][:, 1])
    np.testing.assert_array_equal(fixed["archer"][:, 0], perfect["archer"][:, 0])
    assert float(plain["archer"][:, 0].mean()) < float(fixed["archer"][:, 0].mean())


def test_nothing_is_learned_from_what_a_fixed_agent_lives_through():
    """Whatever the fixed agent earns, the policy that is learned beside it is bit for bit the same."""
    game = Aim()
    start = initial_profile(game, jax.random.key(0), 8)

    def learned(fixed):
        return train(game, start, CONFIG, jax.random.key(1), 2, learn=("archer",), fixed=fixed).profile

    good, bad = learned({("archer", 0): hits}), learned({("archer", 0): lambda seen, key: (-1.0,)})
    for one, other in zip(jax.tree.leaves(good), jax.tree.leaves(bad), strict=True):
        np.testing.assert_array_equal(one, other)
    both = learned(None)
    leaves = zip(jax.tree.leaves(both), jax.tree.leaves(good), strict=True)
    assert any(not np.array_equal(one, other) for one, other in leaves)


def test_keys_are_new_in_every_step():
    game = fix_agents(Aim(), {("archer", 0): lambda seen, key: (jax.random.uniform(key, (), jnp.float32),)})
    profile = initial_profile(game, jax.random.key(0), 8)
    lived, _ = play(game, profile, jax.random.key(1), 16)
    reward = np.asarray(lived["archer"].reward)[..., 0]
    assert len(np.unique(reward)) == reward.size


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({("bowman", 0): hits}, "archer"),
        ({("archer", 2): hits}, "from 0 to 1"),
        ({("archer", 0): lambda seen, key: (1.0, 2.0)}, "shape"),
        ({("archer", 0): lambda seen, key: (seen["wind"],)}, "it observes time, target"),
        ({("archer", 0): lambda seen, key: (1.0,) if seen["target"] > 0 else (0.0,)}, "jax.numpy.where"),
        ({("archer", 0): lambda seen, key: 1 / 0}, "ZeroDivisionError"),
    ],
)
def test_what_does_not_fit_is_one_line(fixed, words):
    with pytest.raises(InvalidInput) as caught:
        fix_agents(Aim(), fixed)
    assert words in str(caught.value).replace("target, time", "time, target") and "\n" not in str(caught.value)


def test_a_role_of_fixed_agents_cannot_learn():
    fixed = {("archer", i): hits for i in range(2)}
    with pytest.raises(InvalidInput, match="not every agent is fixed"):
        train(Aim(), initial_profile(Aim(), jax.random.key(0), 8), CONFIG, jax.random.key(1), 1, learn=("archer",),
              fixed=fixed)  # fmt: skip


def test_answers_in_words_and_by_name():
    from diffgames.games.markov import Continuous, Discrete

    space = Discrete(("hold", "buy", "sell"))
    assert weights(space, "sell").tolist() == [0, 0, 1]
    assert weights(space, {"buy": jnp.asarray(True)}).tolist() == [0, 1, 0]
    for wrong in ("short", {"short": 1.0}, 3, {"buy": jnp.ones(2)}):
        with pytest.raises(ValueError, match=r"it answered|its weights"):
            weights(space, wrong)
    box = Continuous(("spread", "skew"), (0.0, 0.0), (1.0, 1.0))
    assert components(box, {"skew": 2.0, "spread": 1.0}).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="not spread, skew"):
        components(box, {"skew": 2.0})
