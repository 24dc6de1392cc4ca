"""Policies: what an agent does with what it observes.

A policy is a pytree called as `policy(carry, observation) -> (carry, head, value)` on a batch of observations
[batch, features]; it is memoryless or recurrent with the same call. `head` holds the parameters of the action
distribution, `value` estimates the return to come. Heads:

* diagonal Gaussian for `Continuous` actions: head = (mean, log σ) per component, both functions of the observation;
  the raw action a ~ N(mean, σ²) is what PPO sees, the game receives `Continuous.from_unit(a)`: a clipped to [−1, 1]
  and mapped affinely onto the space's bounds (RLlib's unsquashing);
* categorical for `Discrete` actions: head = logits.

`ActorCritic` has two towers of the same shape, actor and critic (k = 1, 2), and a linear layer on each:

    h = tanh(o W₁ₖ + b₁ₖ),   h' = tanh(h W₂ₖ + b₂ₖ),   head = h'₁ W_π + b_π,   value = h'₂ w_v + b_v.

`RecurrentActorCritic` puts a long short-term memory (LSTM) before the towers (Section 2.2.1 of Vadori et al.: the
hidden state encodes the history of observations). With gates (i, f, g, u) = o W + m M + b,

    c ← sigmoid(f) c + sigmoid(i) tanh(g),   m ← sigmoid(u) tanh(c),   and the towers read (o, m).
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.markov import Continuous, Discrete, Role

Carry = Any
LOG_SIGMA_BOUNDS = (-5.0, 2.0)
INITIAL_LOG_SIGMA = -0.5
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
        # Two products per layer, not one batched over the towers: on CPUs the batched gradient is half as fast.
        actor, critic = (self._tower(observation, index) for index in range(2))
        return carry, actor @ self.head + self.head_bias, (critic @ self.value + self.value_bias)[:, 0]

    def _tower(self, observation: Float[Array, "batch features"], index: int) -> Float[Array, "batch width"]:
        hidden = jnp.tanh(observation @ self.first[index] + self.first_bias[index])
        return jnp.tanh(hidden @ self.second[index] + self.second_bias[index])


class RecurrentActorCritic(AbstractPolicy):
    """An LSTM that reads the agent's history, then actor and critic towers."""

    inputs: Float[Array, "features gates"]
    memory: Float[Array, "width gates"]
    bias: Float[Array, "1 gates"]
    towers: ActorCritic

    def initial_carry(self, batch: int) -> Carry:
        zero = jnp.zeros((batch, self.memory.shape[0]), jnp.float32)
        return (zero, zero)

    def __call__(
        self, carry: Carry, observation: Float[Array, "batch features"]
    ) -> tuple[Carry, Float[Array, "batch head"], Float[Array, " batch"]]:
        carry = self._remember(carry, observation @ self.inputs)
        _, head, value = self.towers((), jnp.concatenate([observation, carry[0]], axis=1))
        return carry, head, value

    def read(
        self, observation: Float[Array, "batch time features"]
    ) -> tuple[Float[Array, "batch time head"], Float[Array, "batch time"]]:
        """Heads and values along whole episodes from their start: what repeated calls give, but only the memory is
        taken step by step; the products before and after it take all steps at once."""
        batch, time, _ = observation.shape
        driven = jnp.swapaxes(observation @ self.inputs, 0, 1)

        def step(carry, seen):
            carry = self._remember(carry, seen)
            return carry, carry[0]

        _, memory = jax.lax.scan(step, self.initial_carry(batch), driven)
        both = jnp.concatenate([observation, jnp.swapaxes(memory, 0, 1)], axis=2)
        _, head, value = self.towers((), both.reshape(batch * time, -1))
        return head.reshape(batch, time, -1), value.reshape(batch, time)

    def _remember(self, carry: Carry, driven: Float[Array, "batch gates"]) -> Carry:
        memory, cell = carry
        enter, keep, new, leave = jnp.split(driven + memory @ self.memory + self.bias, 4, axis=1)
        cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
        return jax.nn.sigmoid(leave) * jnp.tanh(cell), cell


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


def actor_critic(
    role: Role, key: PRNGKeyArray, width: int = DEFAULT_WIDTH, recurrent: bool = False
) -> ActorCritic | RecurrentActorCritic:
    """A new policy for `role`.

    Hidden layers are drawn with variance 1/fan-in; the head's weights are a hundred times smaller, so that a new policy
    is nearly the same for every observation: mean 0, σ = exp(−½) or equal probabilities. A new memory keeps (its bias
    is 1).
    """
    size = role.observation_size
    if not recurrent:
        return _towers(role, size, width, key)
    cell_key, tower_key = jax.random.split(key)
    gates = 4 * width
    inputs, memory = _normals(cell_key, [((size, gates), size**-0.5), ((width, gates), width**-0.5)])
    bias = np.zeros((1, gates), np.float32)
    bias[:, width : 2 * width] = 1.0
    return RecurrentActorCritic(
        inputs=inputs, memory=memory, bias=jnp.asarray(bias), towers=_towers(role, size + width, width, tower_key)
    )


def fresh_like(
    policy: AbstractPolicy, role: Role, key: PRNGKeyArray, width: int | None = None
) -> ActorCritic | RecurrentActorCritic:
    """A new policy of the same form (and width, unless given another); one that can learn where `policy` cannot."""
    recurrent = isinstance(policy, RecurrentActorCritic)
    towers = policy.towers if recurrent else policy
    own = towers.second.shape[-1] if isinstance(towers, ActorCritic) else DEFAULT_WIDTH
    return actor_critic(role, key, width or own, recurrent)


def head_size(action: Continuous | Discrete) -> int:
    """Length of the head: mean and log σ per component, or one logit per action."""
    return 2 * action.size if isinstance(action, Continuous) else action.size


def _towers(role: Role, inputs: int, width: int, key: PRNGKeyArray) -> ActorCritic:
    outputs = head_size(role.action)
    bias = np.zeros((1, outputs), np.float32)
    if isinstance(role.action, Continuous):
        bias[0, role.action.size :] = INITIAL_LOG_SIGMA
    first, second, head, value = _normals(
        key,
        [
            ((2, inputs, width), inputs**-0.5),
            ((2, width, width), width**-0.5),
            ((width, outputs), 0.01 * width**-0.5),
            ((width, 1), 0.1 * width**-0.5),
        ],
    )
    return ActorCritic(
        first=first,
        first_bias=jnp.zeros((2, 1, width), jnp.float32),
        second=second,
        second_bias=jnp.zeros((2, 1, width), jnp.float32),
        head=head,
        head_bias=jnp.asarray(bias),
        value=value,
        value_bias=jnp.zeros((1, 1), jnp.float32),
    )


def _normals(key: PRNGKeyArray, layers: list[tuple[tuple[int, ...], float]]) -> list[Array]:
    """Normal weights of the given shapes and scales, from one draw (one small program to compile, not one a layer)."""
    sizes = [int(np.prod(shape)) for shape, _ in layers]
    drawn = jnp.split(jax.random.normal(key, (sum(sizes),), jnp.float32), np.cumsum(sizes)[:-1].tolist())
    return [scale * part.reshape(shape) for part, (shape, scale) in zip(drawn, layers, strict=True)]
