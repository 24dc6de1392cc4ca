"""One policy update against hand computation: surrogate, KL adaptation, packing, Adam against optax."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from diffgames.errors import InvalidInput
from diffgames.learning import adam
from diffgames.learning.policy import actor_critic
from diffgames.learning.ppo import PPOConfig, adapted, improve, learning_rate, new_learner, pack, surrogate, unpack
from diffgames.learning.rollout import play
from toy_games import Aim, Door


def test_the_surrogate_takes_the_worse_of_ratio_and_clipped_ratio():
    ratio, advantage = jnp.asarray([1.5, 1.5, 0.5, 0.5, 1.1]), jnp.asarray([2.0, -2.0, 2.0, -2.0, 1.0])
    np.testing.assert_allclose(surrogate(ratio, advantage, 0.3), [1.3 * 2, 1.5 * -2, 0.5 * 2, 0.7 * -2, 1.1])


@pytest.mark.parametrize(("kl", "factor"), [(0.021, 1.5), (0.019, 1.0), (0.006, 1.0), (0.004, 0.5)])
def test_the_kl_coefficient_moves_by_1_5_and_a_half_outside_half_to_twice_the_target(kl, factor):
    assert float(adapted(jnp.float32(0.2), jnp.float32(kl), 0.01)) == pytest.approx(0.2 * factor)


@pytest.mark.parametrize("norm", [None, 0.1])
def test_adam_is_optax_adam(norm):
    """Ten steps on two arrays, also with a clipped gradient."""
    start = {"a": jnp.asarray([1.0, -2.0], jnp.float32), "b": jnp.asarray([[0.5]], jnp.float32)}
    chain = [optax.clip_by_global_norm(norm)] if norm else []
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        twin = optax.chain(*chain, optax.adam(1e-2))
        other, state = start, twin.init(start)
        ours, moments = start, adam.start(start)
        for step in range(10):
            gradient = jax.tree.map(lambda leaf, step=step: jnp.cos(leaf * (step + 1)), start)
            updates, state = twin.update(gradient, state)
            other = optax.apply_updates(other, updates)
            ours, moments = adam.descend(ours, moments, gradient, 1e-2, norm)
    for name in start:
        np.testing.assert_allclose(ours[name], other[name], rtol=2e-6)


@pytest.mark.parametrize("game", [Aim(), Door()])
def test_packing_keeps_every_column(game):
    role = game.roles[0]
    policy = actor_critic(role, jax.random.key(0), 8)
    experience = play(game, {role.name: policy}, jax.random.key(1), 5)[0][role.name]
    rows = pack(role, experience, PPOConfig(), whole_sequences=False)
    samples = unpack(role, rows)
    count = game.horizon * 5 * role.count
    np.testing.assert_allclose(samples.observation, experience.observation.reshape(count, -1))
    np.testing.assert_allclose(samples.action, experience.action.reshape(samples.action.shape))
    assert float(jnp.mean(samples.advantage)) == pytest.approx(0.0, abs=1e-5)
    assert float(jnp.std(samples.advantage)) == pytest.approx(1.0, rel=1e-4)


def test_an_update_raises_the_probability_of_what_paid():
    """One update on the doors: the policy's expected reward on the same states rises, and the KL is reported."""
    game = Door()
    role = game.roles[0]
    learner = new_learner(actor_critic(role, jax.random.key(0), 16), PPOConfig(learning_rate=1e-2))
    experience = play(game, {"guest": learner.policy}, jax.random.key(1), 64)[0]["guest"]
    config = PPOConfig(learning_rate=1e-2, passes=4, minibatch=128, episodes=64)
    improved, metrics = improve(learner, role, experience, config, jax.random.key(2))

    def right(policy):
        head = policy((), jnp.eye(4, dtype=jnp.float32))[1]
        return float(jnp.mean(jnp.diag(jax.nn.softmax(head))))

    assert right(improved.policy) > right(learner.policy) + 0.05
    assert float(metrics.kl) > 0 and np.isfinite(float(metrics.value_loss))


def test_the_learning_rate_falls_linearly_to_its_final_value():
    config = PPOConfig(learning_rate=1e-2, final_learning_rate=1e-3, annealing_updates=10)
    rates = [float(learning_rate(config, jnp.float32(done))) for done in (0, 5, 10, 20)]
    np.testing.assert_allclose(rates, [1e-2, 5.5e-3, 1e-3, 1e-3], rtol=1e-6)
    assert float(learning_rate(PPOConfig(), jnp.float32(7))) == pytest.approx(1e-4)


def test_an_annealed_update_takes_the_rate_of_its_place_in_the_training():
    """After all updates but for a rate of 1e-9, the policy does not move any more."""
    game = Door()
    role = game.roles[0]
    config = PPOConfig(
        learning_rate=1e-2, final_learning_rate=1e-9, annealing_updates=8, passes=2, minibatch=512, episodes=32
    )
    learner = new_learner(actor_critic(role, jax.random.key(0), 8), config)
    experience = play(game, {"guest": learner.policy}, jax.random.key(1), 32)[0]["guest"]
    steps = jnp.float32(config.annealing_updates * config.passes)
    late = dataclasses.replace(learner, optimiser=dataclasses.replace(learner.optimiser, steps=steps))
    moved, _ = improve(late, role, experience, config, jax.random.key(2))
    for before, after in zip(jax.tree.leaves(learner.policy), jax.tree.leaves(moved.policy), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clip", 0.0),
        ("learning_rate", -1.0),
        ("final_learning_rate", 0.0),
        ("passes", 0),
        ("minibatch", 0),
        ("gae_lambda", 1.5),
        ("discount", -0.1),
    ],
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(InvalidInput, match=f"^{field}"):
        PPOConfig(**{field: value})
