"""Policies: what an agent does with what it observes.

A policy is a pytree called as `policy(carry, observation) -> (carry, head, value)` on a batch of observations
[batch, features]; it is memoryless or recurrent with the same call. `head` holds the parameters of the action
distribution, `value` estimates the return to come. Heads:

* diagonal Gaussian for `Continuous` actions: head = (mean, log σ) per component, both functions of the observation;
  the raw action a ~ N(mean, σ²) is what PPO sees, the game receives `Continuous.from_unit(a)`: a clipped to [−1, 1]
  and mapped affinely onto the space's bounds (RLlib's unsquashing);
* categorical for `Discrete` actions: head = logits.

`ActorCritic` has two towers of the same shape, actor and critic, with weights stacked on a leading axis so that each
layer is one batched matrix product: h_1 = tanh(W_1 o + b_1), h_2 = tanh(W_2 h_1 + b_2), head = W_π h_2, value = w_v h_2.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.markov import Continuous, Discrete, Role

Carry = Any
LOG_SIGMA_BOUNDS = (-5.0, 2.0)
DEFAULT_WIDTH = 256


class AbstractPolicy(eqx.Module):
    """What the rollout asks of a policy. Subclasses are final."""

    @abc.abstractmethod
    def initial_carry(self, batch: int) -> Carry:
        """Memory at the start of an episode, for `batch` agents; an empty tuple for a memoryless policy."""

    @abc.abstractmethod
    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        """Next memory, action head and value estimate."""


Profile = dict[str, AbstractPolicy]


class ActorCritic(AbstractPolicy):
    """Two tanh towers, actor and critic, of two hidden layers; the paper's network is width 256."""

    first: Float[Array, "2 features width"]
    first_bias: Float[Array, "2 1 width"]
    second: Float[Array, "2 width width"]
    second_bias: Float[Array, "2 1 width"]
    head: Float[Array, "width head"]
    head_bias: Float[Array, "1 head"]
    value: Float[Array, "width 1"]
    value_bias: Float[Array, "1 1"]

    def initial_carry(self, batch: int) -> Carry:
        return ()

    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        both = jnp.broadcast_to(observation[None], (2, *observation.shape))
        hidden = jnp.tanh(both @ self.first + self.first_bias)
        hidden = jnp.tanh(hidden @ self.second + self.second_bias)
        head = hidden[0] @ self.head + self.head_bias
        return carry, head, (hidden[1] @ self.value + self.value_bias)[:, 0]


class RecurrentActorCritic(AbstractPolicy):
    """An LSTM reads the agent's history of observations (Section 2.2.1); actor and critic towers read its output."""

    cell: eqx.nn.LSTMCell
    towers: ActorCritic
    width: int = eqx.field(static=True)

    def initial_carry(self, batch: int) -> Carry:
        zero = jnp.zeros((batch, self.width), jnp.float32)
        return (zero, zero)

    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        carry = jax.vmap(self.cell)(observation, carry)
        _, head, value = self.towers((), jnp.concatenate([observation, carry[0]], axis=1))
        return carry, head, value


class FixedProbabilities(AbstractPolicy):
    """A stationary policy that does not look: action k with the stated probability (Section 5.1's takers)."""

    logits: Float[Array, " actions"]

    @staticmethod
    def of(probabilities: list[float]) -> "FixedProbabilities":
        """From probabilities, which are normalised; zero means never."""
        weights = jnp.asarray(probabilities, jnp.float32)
        return FixedProbabilities(logits=jnp.log(weights / jnp.sum(weights)))

    def initial_carry(self, batch: int) -> Carry:
        return ()

    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        batch = observation.shape[0]
        head = jnp.broadcast_to(self.logits[None, :], (batch, self.logits.shape[0]))
        return carry, head, jnp.zeros((batch,), jnp.float32)


def actor_critic(role: Role, key: PRNGKeyArray, width: int = DEFAULT_WIDTH, recurrent: bool = False) -> AbstractPolicy:
    """A new policy for `role`.

    Hidden layers are drawn with variance 1/fan-in; the head's weights are a hundred times smaller, so that a new policy
    is nearly the same for every observation: mean 0, σ = `exp(−½)` or equal probabilities.
    """
    size = role.observation_size
    cell_key, tower_key = jax.random.split(key)
    if not recurrent:
        return _towers(role, size, width, tower_key)
    cell = eqx.nn.LSTMCell(size, width, dtype=jnp.float32, key=cell_key)
    return RecurrentActorCritic(cell=cell, towers=_towers(role, size + width, width, tower_key), width=width)


def fresh_like(policy: AbstractPolicy, role: Role, key: PRNGKeyArray, width: int | None = None) -> AbstractPolicy:
    """A new policy of the same form (and width, unless given another); one that can learn where `policy` cannot."""
    recurrent = isinstance(policy, RecurrentActorCritic)
    towers = policy.towers if recurrent else policy
    own = towers.second.shape[-1] if isinstance(towers, ActorCritic) else DEFAULT_WIDTH
    return actor_critic(role, key, width or own, recurrent)


def head_size(action: Continuous | Discrete) -> int:
    """Length of the head: mean and log σ per component, or one logit per action."""
    return 2 * action.size if isinstance(action, Continuous) else action.size


def _towers(role: Role, inputs: int, width: int, key: PRNGKeyArray) -> ActorCritic:
    first, second, last, value = jax.random.split(key, 4)
    outputs = head_size(role.action)
    bias = jnp.zeros((1, outputs), jnp.float32)
    if isinstance(role.action, Continuous):
        bias = bias.at[0, role.action.size :].set(-0.5)
    return ActorCritic(
        first=_normal(first, (2, inputs, width), inputs**-0.5),
        first_bias=jnp.zeros((2, 1, width), jnp.float32),
        second=_normal(second, (2, width, width), width**-0.5),
        second_bias=jnp.zeros((2, 1, width), jnp.float32),
        head=_normal(last, (width, outputs), 0.01 * width**-0.5),
        head_bias=bias,
        value=_normal(value, (width, 1), 0.1 * width**-0.5),
        value_bias=jnp.zeros((1, 1), jnp.float32),
    )


def _normal(key: PRNGKeyArray, shape: tuple[int, ...], scale: float) -> Array:
    return scale * jax.random.normal(key, shape, jnp.float32)
