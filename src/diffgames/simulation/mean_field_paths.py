"""Paths of single agents against the law of a crowd: on a line by Euler–Maruyama steps, on states one by one.

On a line, x ← fold(x + (a(x, φ) + u) dt + σ √dt ξ), mirrored at reflecting walls, from the cells of the first law; of
weak order one in dt (Bossy, Gobet & Talay 2004). On states, actions and moves are drawn from the policy and the kernels
at the law that the policy was said to make, so that only chance is left.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame, PlayedPolicy
from diffgames.games.mean_field_frozen import FrozenCrowd


def crowd_path(
    crowd: FrozenCrowd,
    k: int,
    start: Float[Array, " paths"],
    noise: Float[Array, "steps paths"],
    correction: Callable[[Array, Array], Any] = lambda t, x: 0.0,
) -> tuple[Float[Array, " paths"], Float[Array, "times paths"], Float[Array, "steps paths"]]:
    """Costs, states and controls of agents of type k that play the profile and a `correction` (t, x)."""
    dt = crowd.horizon / len(noise)

    def step(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple]:
        x, paid = carry
        index, shock = given
        t = index * dt
        u = crowd.allowed(k, x, crowd.played(k, t, x) + correction(t, x), dt)
        cost, speed = crowd.running(k, t, x, u)
        sigma = jax.vmap(crowd.game.types[k].noise)(x[:, None])[:, 0]
        return (crowd.folded(x + speed * dt + sigma * jnp.sqrt(dt) * shock), paid + cost * dt), (x, u)

    given = jnp.arange(float(len(noise))), noise
    (x, paid), (states, controls) = jax.lax.scan(step, (start, jnp.zeros_like(start)), given)
    return paid + crowd.final(k, x), jnp.concatenate([states, x[None]]), controls


@eqx.filter_jit
def crowd_draws(
    crowd: FrozenCrowd, k: int, key: PRNGKeyArray, paths: int, steps: int
) -> tuple[Float[Array, " paths"], Float[Array, "steps paths"]]:
    """Starts of agents of type k, uniform within a cell of the first law, and their shocks."""
    place, inside, shocks = jax.random.split(key, 3)
    mass = crowd.mass[0, k]
    cell = jax.random.choice(place, mass.shape[0], (paths,), p=mass)
    within = crowd.axis.spacing * (jax.random.uniform(inside, (paths,)) - 0.5)
    return jnp.asarray(crowd.axis.centres())[cell] + within, jax.random.normal(shocks, (steps, paths))


@eqx.filter_jit
def crowd_agents(
    crowd: FrozenCrowd, key: PRNGKeyArray, paths: int, steps: int
) -> tuple[Float[Array, "paths times K"], Float[Array, "paths steps K"], Float[Array, "paths K"]]:
    """States, controls and costs of one agent of each type per path."""
    found = []
    for k in range(len(crowd.game.types)):
        start, noise = crowd_draws(crowd, k, jax.random.fold_in(key, k), paths, steps)
        found.append(crowd_path(crowd, k, start, noise))
    costs, states, controls = (jnp.stack(part, axis=-1) for part in zip(*found, strict=True))
    return jnp.moveaxis(states, 0, 1), jnp.moveaxis(controls, 0, 1), costs


@eqx.filter_jit
def chain_agents(
    game: DiscreteMeanFieldGame, played: PlayedPolicy, key: PRNGKeyArray, paths: int, steps: int
) -> tuple[Int[Array, "paths times"], Int[Array, "paths steps"], Float[Array, " paths"]]:
    """States, actions and discounted rewards of representative players, from the first or the invariant law."""
    kernel, reward = game.at(played.law)
    start, walk = jax.random.split(key)

    def drawn(rows: Float[Array, "paths n"], level: Float[Array, " paths"]) -> Array:
        below = jnp.sum(jnp.cumsum(rows, axis=-1) < level[:, None], axis=-1)
        return jnp.minimum(below, rows.shape[-1] - 1)

    def step(state: Array, index: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        t = jnp.minimum(index, game.times - 1)
        levels = jax.random.uniform(jax.random.fold_in(walk, index), (2, paths))
        action = drawn(played.policy[t][state], levels[0])
        earned = jnp.asarray(game.discount, reward.dtype) ** index.astype(reward.dtype) * reward[t, state, action]
        return drawn(kernel[t, state, action], levels[1]), (state, action, earned)

    law = jnp.broadcast_to(played.law[0], (paths, len(game.initial)))
    first = drawn(law, jax.random.uniform(start, (paths,)))
    last, (states, actions, earned) = jax.lax.scan(step, first, jnp.arange(steps))
    return jnp.concatenate([states, last[None]]).T, actions.T, jnp.sum(earned, axis=0)
