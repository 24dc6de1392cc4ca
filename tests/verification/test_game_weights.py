"""Weights from samples: unbiased norms, intervals that hold the truth, score functions against enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame, Discrete, Role
from diffgames.learning.policy import AbstractPolicy
from diffgames.verification.game_weights import (
    Groups,
    coefficients,
    cross_block,
    estimate,
    played_values,
    scored_groups,
    scored_weight,
)
from toy_games import Door


class TwoSteps(AbstractMarkovGame):
    """The two-step game of the exact sheet; `second` times its reward goes to the second player."""

    second: jax.Array

    @property
    def roles(self):
        act = Discrete(("zero", "one"))
        return (Role("first", 1, ("state",), act), Role("second", 1, ("state",), act))

    @property
    def horizon(self):
        return 2

    def reset(self, key):
        return jnp.zeros(3, jnp.float32)  # step, a₀, b₀

    def observe(self, state, actions, role):
        return jnp.abs(state[1] - state[2])[None, None]

    def step(self, state, actions, key):
        a, b = (actions[name][0].astype(jnp.float32) for name in ("first", "second"))
        reward = jnp.where(state[0] > 0, state[1] * b + 2.0 * a * state[2], 0.0)[None]
        return jnp.stack([state[0] + 1.0, a, b]), {"first": reward, "second": self.second * reward}, {}


def two_steps(second=1.0):
    return TwoSteps(jnp.asarray(second, jnp.float32))


class Sigmoid(AbstractPolicy):
    """Action 1 with probability sigmoid(θ + ½ s)."""

    theta: jax.Array

    def initial_carry(self, batch):
        return ()

    def __call__(self, carry, observation):
        logit = self.theta + 0.5 * observation[:, 0]
        return carry, jnp.stack([jnp.zeros_like(logit), logit], axis=1), jnp.zeros_like(logit)


def profile():
    return {name: Sigmoid(jnp.asarray(at, jnp.float32)) for name, at in (("first", 0.3), ("second", -0.4))}


BOTH = (("first", 0), ("second", 0))


def test_score_functions_find_the_enumerated_cross_block_within_their_interval():
    found = scored_groups(two_steps(), profile(), BOTH, jax.random.key(0), episodes=16 * 16384)
    gradient = np.asarray(found.gradient, float)
    # with alike values S v = J₁₂ (v₂, v₁) and Aᵀ v = 0
    ratio = np.asarray(found.symmetric, float) / gradient[None, :, ::-1]
    block = ratio.mean(axis=(1, 2))
    error = block.std(ddof=1) / np.sqrt(len(block))
    assert abs(block.mean() - 0.1504537) < 3 * error < 0.02
    assert abs(block.mean() + 0.0208347) > 20 * error  # the printed formula's value is excluded
    assert np.abs(found.antisymmetric).max() < 1e-6  # rounding


@pytest.mark.parametrize(("second", "wanted"), [(1.0, 0.0), (-1.0, 1.0), (0.5, 0.25)])
def test_multiples_of_one_value_have_the_closed_form(second, wanted):
    found = scored_weight(two_steps(second), profile(), BOTH, jax.random.key(1), episodes=16 * 16384)
    assert found.lower <= wanted + 1e-9 and wanted - 1e-9 <= found.upper and found.upper - found.lower < 0.1


def test_summation_by_parts_gives_the_product_of_sums():
    rng = np.random.default_rng(0)
    scores, reward = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 4, 5))
    later = np.flip(np.cumsum(np.flip(reward, axis=1), axis=1), axis=1)
    forward, backward = coefficients(jnp.asarray(scores), jnp.asarray(later))
    for i, j in ((0, 1), (1, 0)):
        chance = jnp.full(5, 0.2)
        block = cross_block(*(jnp.asarray(scores[k])[..., None] for k in (i, j)), jnp.asarray(reward[i]), chance)
        assert float(jnp.sum(forward[i] * scores[i]) / 5) == pytest.approx(float(block[0, 0]))
        assert float(jnp.sum(backward[j] * scores[j]) / 5) == pytest.approx(float(block[0, 0]))


def groups_of(rng, gradient, jacobian, noise, count=12):
    size = len(gradient)
    vectors = gradient + noise * rng.normal(size=(count, size))
    matrices = jacobian + noise * rng.normal(size=(count, size, size))
    symmetric = np.einsum("cij,dj->cdi", 0.5 * (matrices + matrices.transpose(0, 2, 1)), vectors)
    turned = np.einsum("cij,dj->cdi", 0.5 * (matrices.transpose(0, 2, 1) - matrices), vectors)
    return Groups(*map(jnp.asarray, (vectors, symmetric, turned)))


def test_squared_norms_are_unbiased_and_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    gradient, jacobian = (
        rng.normal(size=4),
        np.asarray([[0, 0, 1, -1], [0, 0, 2, 0.5], [0.3, 1, 0, 0], [0.5, 0.2, 0, 0]]),
    )
    truth = [
        np.sum((0.5 * (jacobian.T - jacobian) @ gradient) ** 2),
        np.sum((0.5 * (jacobian.T + jacobian) @ gradient) ** 2),
    ]
    weight = np.sqrt(truth[0]) / np.sum(np.sqrt(truth))
    found = [estimate(groups_of(rng, gradient, jacobian, 0.8)) for _ in range(200)]
    squares, errors = (np.asarray([getattr(one, name) for one in found]) for name in ("squares", "errors"))
    deviation = squares.std(axis=0, ddof=1)
    assert np.all(np.abs(squares.mean(axis=0) - truth) < 3 * deviation / np.sqrt(200))
    assert np.all(np.sqrt((errors**2).mean(axis=0)) > 0.9 * deviation)  # Efron and Stein: not below the true one
    assert np.mean([one.lower <= weight <= one.upper for one in found]) >= 0.95


def test_what_cannot_be_told_is_said():
    rng = np.random.default_rng(1)
    noise = estimate(groups_of(rng, np.zeros(4), np.zeros((4, 4)), 1.0))
    assert noise.lower == 0.0 and noise.upper == 1.0


def test_what_does_not_fit_is_named():
    key = jax.random.key(0)
    with pytest.raises(InvalidInput, match="players"):
        scored_weight(two_steps(), profile(), (("first", 1),), key, episodes=64)
    with pytest.raises(InvalidInput, match="episodes"):
        scored_weight(two_steps(), profile(), BOTH, key, episodes=17)
    with pytest.raises(InvalidInput, match="groups"):
        scored_weight(two_steps(), profile(), BOTH, key, episodes=64, groups=4)
    with pytest.raises(InvalidInput, match="one agent"):
        played_values(Door(), 4)
