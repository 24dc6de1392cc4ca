"""Hamiltonian weights of games whose values are known by simulation alone, with intervals.

Two routes give, from a group of episodes, the game gradient G and the products S v and Aᵀ v of
`verification.decomposition` along any direction v: automatic differentiation of the simulated values
(`sampled_weight`), and score functions for what has no derivative (`scored_weight`). With s_i(t) = ∇ ln π_i(a_i | o_i)
at step t, sums S_i(t) = Σ_{t' ≤ t} s_i(t') and rewards R_i(t),

    G_i = E Σ_t R_i(t) S_i(t),        J_ij = E Σ_t R_i(t) S_i(t) S_j(t)ᵀ    (i ≠ j).

Below Definition 3.17 the paper prints Σ_{t' ≤ t} s_i(t') s_j(t')ᵀ in place of the product of the two sums; that leaves
out every pair of decisions at different times. Summed by parts, with A_i(m) the rewards from step m on less a baseline
(their mean over the other episodes, which no action at m has touched),

    J_ij = E Σ_m A_i(m) [ s_i(m) S_j(m)ᵀ + S_i(m−1) s_j(m)ᵀ ],

so that J v takes one derivative of the log-probabilities along v and one pull-back, and no matrix.

Norms of noisy vectors are too long, and both weights would be drawn to ½. From B groups, with G_d of group d and u_cd
the product of group c along G_d, the mean of ⟨u_cd, u_c'd'⟩ over different c, d, c', d' has ‖AᵀG‖² (or ‖SG‖²) as its
expectation. The groups' jackknife gives standard errors, at least the true ones in expectation (Efron and Stein 1981).
The interval of ω_A is what both norms allow, each in its own interval of half the error probability.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.stats import t as student

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning import distribution
from diffgames.learning.policy import Profile, RecurrentActorCritic
from diffgames.learning.rollout import Experience, play
from diffgames.numerics.precision import keeping_double
from diffgames.verification.decomposition import DifferentiableGame, flattened

LEAST_GROUPS = 5  # four different ones in every term, one of which the jackknife leaves out


class WeightEstimate(NamedTuple):
    """ω_A with its interval, and the two squared norms (‖AᵀG‖², ‖SG‖²) with standard errors.

    `weight` is NaN where neither squared norm comes out positive.
    """

    weight: float
    lower: float
    upper: float
    squares: tuple[float, float]
    errors: tuple[float, float]

    def __repr__(self) -> str:
        return f"ω_A = {self.weight:.3f}, within {self.lower:.3f} to {self.upper:.3f}"


class Groups(NamedTuple):
    """Of B groups: gradients, and products of group c (first axis) along the gradient of group d (second)."""

    gradient: Float[Array, "groups parameters"]
    symmetric: Float[Array, "groups groups parameters"]
    antisymmetric: Float[Array, "groups groups parameters"]


def estimate(groups: Groups, level: float = 0.95) -> WeightEstimate:
    """The weight from the groups' products; the interval holds it with probability `level` at least, asymptotically."""
    count = groups.gradient.shape[0]
    squares, errors = zip(
        *(_square(np.asarray(u, float)) for u in (groups.antisymmetric, groups.symmetric)), strict=True
    )
    reach = float(student.ppf(1.0 - (1.0 - level) / 4.0, count - 1))
    low, high = (
        [math.sqrt(max(n + side * reach * e, 0.0)) for n, e in zip(squares, errors, strict=True)]
        for side in (-1.0, 1.0)
    )
    middle = [math.sqrt(max(n, 0.0)) for n in squares]
    return WeightEstimate(
        weight=_ratio(middle[0], middle[1], math.nan),
        lower=_ratio(low[0], high[1], 0.0),
        upper=_ratio(high[0], low[1], 1.0),
        squares=squares,
        errors=errors,
    )


def _ratio(first: float, second: float, otherwise: float) -> float:
    return first / (first + second) if first + second > 0 else otherwise


def _square(products: Float[np.ndarray, "groups groups parameters"]) -> tuple[float, float]:
    """Squared norm of the expectation, unbiased, and its jackknife standard error."""
    count = products.shape[0]
    flat = products.reshape(count * count, -1)
    first, second = np.divmod(np.arange(count * count), count)
    pairs = [(a[:, None], b[None, :]) for a in (first, second) for b in (first, second)]
    fine = (first != second)[:, None] & (first != second)[None, :] & np.logical_and.reduce([a != b for a, b in pairs])
    inner = np.where(fine, flat @ flat.T, 0.0)

    def mean(kept: np.ndarray) -> float:
        size = len(kept)
        inside = np.isin(first, kept) & np.isin(second, kept)
        return float(inner[np.ix_(inside, inside)].sum()) / (size * (size - 1) * (size - 2) * (size - 3))

    everyone = np.arange(count)
    without = np.array([mean(np.delete(everyone, one)) for one in everyone])
    spread = (count - 1) / count * float(((without - without.mean()) ** 2).sum())
    return mean(everyone), math.sqrt(spread)


@keeping_double
def sampled_weight(
    values: Callable[[tuple[Any, ...], PRNGKeyArray], Float[Array, " players"]],
    strategies: Sequence[Any],
    key: PRNGKeyArray,
    *,
    groups: int = 16,
    players: Sequence[int] | None = None,
) -> WeightEstimate:
    """ω_A of `players` by automatic differentiation of `values(strategies, key)`, one independent key a group."""
    _check_groups(groups)
    point = flattened(lambda own: values(own, key), strategies, players)[1]

    def of_key(one: PRNGKeyArray) -> DifferentiableGame:
        return flattened(lambda own: values(own, one), strategies, players)[0]

    @jax.jit
    def all_groups(point: Array, keys: PRNGKeyArray) -> Groups:
        gradient = jax.lax.map(lambda one: of_key(one).gradient(point), keys)

        def products(one: PRNGKeyArray) -> tuple[Array, Array]:
            return jax.vmap(lambda v: of_key(one).interactions(point, v))(gradient)

        return Groups(gradient, *jax.lax.map(products, keys))

    return estimate(all_groups(point, jax.random.split(key, groups)))


def played_values(
    game: AbstractMarkovGame, episodes: int
) -> Callable[[tuple[Any, ...], PRNGKeyArray], Float[Array, " players"]]:
    """Mean returns of a Markov game with one agent a role and real actions, smooth in (policies in the order of play,
    key): the draws of the actions are shifted and scaled by the policies. The game's steps must be smooth themselves.
    """
    if any(role.count > 1 or not hasattr(role.action, "low") for role in game.roles):
        raise InvalidInput("game", [role.name for role in game.roles], "roles of one agent with real actions")

    def values(policies: tuple[Any, ...], key: PRNGKeyArray) -> Float[Array, " players"]:
        profile = {role.name: policy for role, policy in zip(game.roles, policies, strict=True)}
        lived = play(game, profile, key, episodes)[0]
        return jnp.stack([jnp.mean(jnp.sum(lived[role.name].reward[..., 0], axis=0)) for role in game.roles])

    return values


def scored_weight(
    game: AbstractMarkovGame,
    profile: Profile,
    players: Sequence[tuple[str, int]],
    key: PRNGKeyArray,
    *,
    episodes: int,
    groups: int = 16,
) -> WeightEstimate:
    """ω_A between `players`, (role, agent) each, by score functions of `episodes` episodes in all.

    Agents of one role share a policy, but each is a player with parameters of its own, which have the same values.
    Raises `InvalidInput` for policies that remember, for agents that do not exist, and for too few episodes.
    """
    return estimate(scored_groups(game, profile, players, key, episodes=episodes, groups=groups))


def scored_groups(
    game: AbstractMarkovGame,
    profile: Profile,
    players: Sequence[tuple[str, int]],
    key: PRNGKeyArray,
    *,
    episodes: int,
    groups: int = 16,
) -> Groups:
    """What `scored_weight` is made of."""
    _check_groups(groups)
    counts = {role.name: role.count for role in game.roles}
    for name, agent in players:
        if name not in counts or not 0 <= agent < counts[name]:
            raise InvalidInput("players", (name, agent), f"(role, agent) of {counts}")
        if isinstance(profile[name], RecurrentActorCritic):
            raise InvalidInput("profile", name, "policies without memory")
    if episodes < 2 * groups or episodes % groups:
        raise InvalidInput("episodes", episodes, f"a multiple of groups = {groups}, at least two a group")
    return _scored_groups(game, profile, tuple(players), key, episodes, groups)


def _check_groups(groups: int) -> None:
    if groups < LEAST_GROUPS:
        raise InvalidInput("groups", groups, f"an integer, at least {LEAST_GROUPS}")


@eqx.filter_jit
def _scored_groups(
    game: AbstractMarkovGame,
    profile: Profile,
    players: tuple[tuple[str, int], ...],
    key: PRNGKeyArray,
    episodes: int,
    groups: int,
) -> Groups:
    experience = play(game, profile, key, episodes)[0]
    strategies = [eqx.partition(profile[name], eqx.is_inexact_array) for name, _ in players]
    point, unravel = ravel_pytree([moved for moved, _ in strategies])
    lived = [jax.tree.map(lambda leaf, a=agent: leaf[:, :, a], experience[name]) for name, agent in players]
    lived = jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf.reshape(leaf.shape[0], groups, -1, *leaf.shape[2:]), 1, 0), lived
    )

    def log_probabilities(at: Array, own: list[Experience]) -> Float[Array, "players time episodes"]:
        found = []
        for (name, _), moved, (_, rest), seen in zip(players, unravel(at), strategies, own, strict=True):
            flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), seen)
            head = eqx.combine(moved, rest)((), flat.observation)[1]
            score = distribution.log_probability(game.role(name).action, head, flat.action)
            found.append(score.reshape(seen.reward.shape))
        return jnp.stack(found)

    def gradient(own: list[Experience]) -> Array:
        advantage = _advantages(own)
        return jax.grad(lambda at: jnp.mean(jnp.sum(advantage * log_probabilities(at, own), axis=(0, 1))))(point)

    directions = jax.lax.map(gradient, lived)

    def products(own: list[Experience]) -> tuple[Array, Array]:
        advantage = _advantages(own)
        log_probability, pull = jax.vjp(lambda at: log_probabilities(at, own), point)

        def along(direction: Array) -> tuple[Array, Array]:
            slopes = jax.jvp(lambda at: log_probabilities(at, own), (point,), (direction,))[1]
            forward, backward = coefficients(slopes, advantage)
            share = 0.5 / log_probability.shape[-1]
            return pull(share * (forward + backward))[0], pull(share * (backward - forward))[0]

        return jax.vmap(along)(directions)

    return Groups(directions, *jax.lax.map(products, lived))


def coefficients(
    slopes: Float[Array, "players time episodes"], advantage: Float[Array, "players time episodes"]
) -> tuple[Float[Array, "players time episodes"], Float[Array, "players time episodes"]]:
    """What multiplies s_i(m) in (S + A) v and in (S − A) v, from the slopes c_j(m) = ⟨s_j(m), v_j⟩.

    Of J_ij v_j it is A_i(m) Σ_{m' ≤ m} c_j(m') + Σ_{m' > m} A_i(m') c_j(m'); of J_jiᵀ v_j the same with A_j.
    """
    past = jnp.cumsum(slopes, axis=1)

    def later(terms: Array) -> Array:
        return jnp.flip(jnp.cumsum(jnp.flip(terms, axis=-2), axis=-2), axis=-2) - terms

    theirs = advantage * past + later(advantage * slopes)
    others_past, others_now, backward = (jnp.sum(own, axis=0, keepdims=True) - own for own in (past, slopes, theirs))
    return advantage * others_past + later(advantage * others_now), backward


def _advantages(lived: list[Experience]) -> Float[Array, "players time episodes"]:
    """Rewards from every step on, less their mean over the other episodes."""
    reward = jnp.stack([own.reward for own in lived])
    later = jnp.flip(jnp.cumsum(jnp.flip(reward, axis=1), axis=1), axis=1)
    episodes = reward.shape[-1]
    return (later - jnp.mean(later, axis=-1, keepdims=True)) * (episodes / (episodes - 1))


def cross_block(
    own: Float[Array, "time episodes p"],
    other: Float[Array, "time episodes q"],
    reward: Float[Array, "time episodes"],
    probability: Float[Array, " episodes"],
    formula: Literal["product of sums", "printed"] = "product of sums",
) -> Float[Array, "p q"]:
    """J_ij from the scores of two players and i's rewards in episodes of stated probabilities, by either formula."""
    if formula == "printed":
        pairs = jnp.cumsum(own[..., :, None] * other[..., None, :], axis=0)
    else:
        pairs = jnp.cumsum(own, axis=0)[..., :, None] * jnp.cumsum(other, axis=0)[..., None, :]
    return jnp.einsum("te,tepq,e->pq", reward, pairs, probability)
