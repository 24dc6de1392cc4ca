"""The standing of a profile on the way: training that has not settled may have passed what it should have kept.

Among groups of agents (supertypes, say) it is what the worst-off group earns, up to what is enough (withdrawing, say),

    s_u = min(enough, min_g  mean of the rewards of group g over the updates u−K+1 … u),       K = `WINDOW`.

The best profile is the latest one of the highest standing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.games.fixed_agents import FixedAgents
from diffgames.games.markov import AbstractMarkovGame
from diffgames.learning.policy import Profile

WINDOW = 10  # updates over which rewards are averaged before profiles are compared


class Compared(NamedTuple):
    """The groups whose lowest reward is a profile's standing, (role, indices of agents) each, and what is enough."""

    groups: tuple[tuple[str, tuple[int, ...]], ...]
    enough: float = float("inf")


class Best(eqx.Module):
    """Policies, their standing, and the updates that they had been through."""

    policies: Profile
    standing: Float[Array, ""]
    updates: Int[Array, ""]


def every_role(game: AbstractMarkovGame, roles: Sequence[str]) -> Compared:
    """Each role is a group, without the agents that functions play; nothing is enough."""
    places = game.places if isinstance(game, FixedAgents) else ()
    return Compared(
        tuple((name, tuple(i for i in range(game.role(name).count) if (name, i) not in places)) for name in roles)
    )


def standing(
    rewards: Mapping[str, Float[Array, "updates agents"]], compared: Compared, index: Int[Array, ""]
) -> Float[Array, ""]:
    """s_u of the update at `index`, from the rewards of all updates by role; −∞ before there are `WINDOW` of them."""
    row = jnp.arange(next(iter(rewards.values())).shape[0], dtype=jnp.int32)
    inside = (row <= index) & (row > index - WINDOW)
    means = [
        jnp.sum(jnp.where(inside, jnp.mean(rewards[role][:, jnp.asarray(members)], axis=1), 0.0)) / WINDOW
        for role, members in compared.groups
    ]
    reached = jnp.minimum(jnp.min(jnp.stack(means)), compared.enough)
    return jnp.where(index + 1 >= WINDOW, reached, -jnp.inf).astype(jnp.float32)


def better(before: Best, now: Best) -> Best:
    """`now`, unless its standing is lower than one before, or is none yet."""
    taken = jnp.isfinite(now.standing) & (now.standing >= before.standing)
    return jax.tree.map(lambda new, old: jnp.where(taken, new, old), now, before)
