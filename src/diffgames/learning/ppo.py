"""Proximal policy optimisation with clipping and an adaptive KL penalty (Schulman et al. 2017), the only PPO here.

For a role's experience under the old policy (heads h, log-probabilities log π_old, advantages A, targets G), passes of
minibatch Adam minimise

    L = −E min(r A, clip(r, 1−ε, 1+ε) A) + β E KL(π_old ‖ π) + c_v E min((v − G)², v_clip) − c_e E H(π),
    r = π(a|o) / π_old(a|o).

After the passes β is multiplied by 1.5 where the KL of the last pass exceeds twice the target, by 0.5 where it is below
half of it (within [1e-8, 1e8], so that it can come back). Advantages are standardised over the whole batch. Clip ε =
0.3, KL target 0.01, learning rate 1e-4, 30 passes and 60 episodes between updates are the paper's (Vadori et al.,
Section 5); where it is silent the values are RLlib's defaults: β₀ = 0.2, v_clip = 10, c_v = 1, c_e = 0, GAE λ = 1, no
gradient clip, a constant learning rate. A rate that is large, because updates are few, leaves the policy wandering
about its optimum by as much: it can be made to fall linearly from update to update.

All samples of a pass are rows of one matrix, shuffled by one row gather; a recurrent policy shuffles whole sequences.
With several devices each minibatch is spread over them.
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.markov import Continuous, Role
from diffgames.learning import adam, devices, distribution
from diffgames.learning.advantage import advantages
from diffgames.learning.policy import AbstractPolicy, RecurrentActorCritic
from diffgames.learning.rollout import Experience


@dataclass(frozen=True)
class PPOConfig:
    """Hyperparameters; the defaults are the paper's, then RLlib's."""

    clip: float = 0.3
    kl_target: float = 0.01
    kl_coefficient: float = 0.2
    learning_rate: float = 1e-4
    final_learning_rate: float | None = None  # none: constant
    annealing_updates: int = 1  # updates over which the rate falls to the final one
    passes: int = 30
    minibatch: int = 4096  # samples; rounded so that minibatches are equal and cover the batch
    episodes: int = 60
    discount: float = 1.0
    gae_lambda: float = 1.0
    value_clip: float = 10.0
    value_coefficient: float = 1.0
    entropy_coefficient: float = 0.0
    max_gradient_norm: float | None = None

    def __post_init__(self):
        positive = ("clip", "kl_target", "learning_rate", "annealing_updates", "passes", "minibatch", "episodes")
        positive += ("value_clip",) if self.final_learning_rate is None else ("value_clip", "final_learning_rate")
        for name in positive:
            if not getattr(self, name) > 0:
                raise InvalidInput(name, getattr(self, name), "a number > 0")
        for name in ("discount", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInput(name, getattr(self, name), "a number in [0, 1]")
        if self.max_gradient_norm is not None and not self.max_gradient_norm > 0:
            raise InvalidInput("max_gradient_norm", self.max_gradient_norm, "a number > 0, or none")


class Learner(eqx.Module):
    """What PPO carries for one role: the policy, the optimiser's state, the KL coefficient β."""

    policy: AbstractPolicy
    optimiser: adam.Adam
    kl_coefficient: Float[Array, ""]


class Metrics(NamedTuple):
    """Worth reporting after an update: means over the last pass, β after it."""

    kl: Float[Array, ""]
    entropy: Float[Array, ""]
    value_loss: Float[Array, ""]
    kl_coefficient: Float[Array, ""]


class Samples(NamedTuple):
    """A minibatch, unpacked from the rows of the shuffled matrix."""

    observation: Float[Array, "*batch features"]
    action: Array
    head: Float[Array, "*batch head"]
    log_probability: Float[Array, "*batch"]
    advantage: Float[Array, "*batch"]
    target: Float[Array, "*batch"]


def new_learner(policy: AbstractPolicy, config: PPOConfig) -> Learner:
    """A learner that starts from `policy`."""
    return Learner(
        policy=policy,
        optimiser=adam.start(policy),
        kl_coefficient=jnp.asarray(config.kl_coefficient, jnp.float32),
    )


def improve(
    learner: Learner, role: Role, experience: Experience, config: PPOConfig, key: PRNGKeyArray
) -> tuple[Learner, Metrics]:
    """One policy update of a role from its experience."""
    rows = pack(role, experience, config, whole_sequences=isinstance(learner.policy, RecurrentActorCritic))
    samples = rows.shape[0] * (rows.shape[1] if rows.ndim == 3 else 1)
    batches = min(rows.shape[0], max(1, round(samples / config.minibatch)))
    size = rows.shape[0] // batches
    # Several devices: each keeps all rows and takes its share of every minibatch, so their number divides the size.
    size = max(1, size - size % jax.device_count())
    rows = devices.whole(rows)
    rate = learning_rate(config, learner.optimiser.steps / (config.passes * batches))

    def descend(carry, batch):
        policy, optimiser = carry
        gradient, parts = jax.grad(_loss, has_aux=True)(
            policy, role, unpack(role, devices.spread(batch)), learner.kl_coefficient, config
        )
        return adam.descend(policy, optimiser, gradient, rate, config.max_gradient_norm), parts

    def one_pass(carry, key):
        order = _shuffled(key, rows.shape[0])[: batches * size]
        carry, parts = jax.lax.scan(descend, carry, rows[order].reshape(batches, size, *rows.shape[1:]))
        return carry, jax.tree.map(jnp.mean, parts)

    keys = jax.random.split(key, config.passes)
    (policy, optimiser), parts = jax.lax.scan(one_pass, (learner.policy, learner.optimiser), keys)
    kl, entropy, value_loss = jax.tree.map(lambda leaf: leaf[-1], parts)
    coefficient = adapted(learner.kl_coefficient, kl, config.kl_target)
    return Learner(policy, optimiser, coefficient), Metrics(kl, entropy, value_loss, coefficient)


def learning_rate(config: PPOConfig, updates: Float[Array, ""]) -> Float[Array, ""]:
    """The rate after so many updates: linear from the first to the final one, constant from there."""
    final = config.learning_rate if config.final_learning_rate is None else config.final_learning_rate
    progress = jnp.minimum(updates / config.annealing_updates, 1.0)
    return config.learning_rate + (final - config.learning_rate) * progress


def _shuffled(key: PRNGKeyArray, count: int) -> Int[Array, " count"]:
    """A random order: the order of `count` random words, one sort (`jax.random.permutation` takes several)."""
    words = jax.random.bits(key, (count,), jnp.uint32)
    return jax.lax.sort_key_val(words, jnp.arange(count, dtype=jnp.int32))[1]


def adapted(coefficient: Float[Array, ""], kl: Float[Array, ""], target: float) -> Float[Array, ""]:
    """RLlib's rule: ×1.5 above twice the target, ×0.5 below half of it."""
    factor = jnp.where(kl > 2.0 * target, 1.5, jnp.where(kl < 0.5 * target, 0.5, 1.0))
    return jnp.clip(coefficient * factor.astype(coefficient.dtype), 1e-8, 1e8)


def pack(
    role: Role, experience: Experience, config: PPOConfig, whole_sequences: bool
) -> Float[Array, "rows columns"] | Float[Array, "rows time columns"]:
    """Everything the passes need, one sample (or one agent's sequence) per row: what depends on the old policy alone
    is computed once, here."""
    time, episodes, agents = experience.reward.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(time, episodes * agents, *leaf.shape[3:]), experience)
    advantage, target = advantages(flat.reward, flat.value, config.discount, config.gae_lambda)
    advantage = (advantage - jnp.mean(advantage)) / jnp.maximum(jnp.std(advantage), 1e-4)
    action = flat.action if flat.action.ndim == 3 else flat.action[..., None].astype(jnp.float32)
    score = jax.vmap(lambda head, raw: distribution.log_probability(role.action, head, raw))(flat.head, flat.action)
    columns = [flat.observation, action, flat.head, score[..., None], advantage[..., None], target[..., None]]
    table = jnp.concatenate(columns, axis=-1)
    return jnp.swapaxes(table, 0, 1) if whole_sequences else table.reshape(-1, table.shape[-1])


def unpack(role: Role, rows: Float[Array, "*batch columns"]) -> Samples:
    """The columns of `pack`."""
    components = role.action.size if isinstance(role.action, Continuous) else 1
    heads = rows.shape[-1] - role.observation_size - components - 3
    ends = [role.observation_size, components, heads, 1, 1]
    cuts = [sum(ends[: i + 1]) for i in range(len(ends))]
    observation, action, head, score, advantage, target = jnp.split(rows, cuts, axis=-1)
    if not isinstance(role.action, Continuous):
        action = action[..., 0].astype(jnp.int32)
    return Samples(observation, action, head, score[..., 0], advantage[..., 0], target[..., 0])


def surrogate(ratio: Float[Array, "*batch"], advantage: Float[Array, "*batch"], clip: float) -> Float[Array, "*batch"]:
    """min(r A, clip(r, 1−ε, 1+ε) A)."""
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)


def _loss(policy: AbstractPolicy, role: Role, samples: Samples, kl_coefficient: Float[Array, ""], config: PPOConfig):
    head, value = _heads(policy, samples.observation)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[samples.advantage.ndim :]), samples)
    ratio = jnp.exp(distribution.log_probability(role.action, head, flat.action) - flat.log_probability)
    kl = jnp.mean(distribution.divergence(role.action, flat.head, head))
    entropy = jnp.mean(distribution.entropy(role.action, head))
    error = jnp.mean(jnp.minimum((value - flat.target) ** 2, config.value_clip))
    gain = jnp.mean(surrogate(ratio, flat.advantage, config.clip))
    loss = -gain + kl_coefficient * kl + config.value_coefficient * error - config.entropy_coefficient * entropy
    return loss, (kl, entropy, error)


def _heads(policy: AbstractPolicy, observation: Array) -> tuple[Float[Array, "batch head"], Float[Array, " batch"]]:
    """Heads and values of all samples; a recurrent policy reads each row's sequence from its start."""
    if isinstance(policy, RecurrentActorCritic):
        head, value = policy.read(observation)
        return head.reshape(-1, head.shape[-1]), value.reshape(-1)
    _, head, value = policy((), observation)
    return head, value
