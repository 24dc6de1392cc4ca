"""Simulating linear-quadratic games in discrete time, step by step as `games.linear_quadratic` states them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from diffgames.games.linear_quadratic import LinearQuadraticGame, at


@eqx.filter_jit
def run_steps(
    game: LinearQuadraticGame, profile: Any, initial: Any, key: PRNGKeyArray, paths: int, steps: int
) -> tuple[Array, Array, tuple[Array, ...], Array]:
    """States [paths, steps + 1, n], regimes, controls from each step, and costs [paths, players]."""
    count, m = len(game.players), game.regime_count

    def path(key: Array) -> tuple[Array, Array, tuple[Array, ...], Array]:
        start, many = jax.random.split(key)
        x, i = initial(start)
        (x, i), (xs, regimes, u, costs) = jax.lax.scan(step, (x, i), (jnp.arange(steps), jax.random.split(many, steps)))
        z = jnp.append(x, jnp.ones((), x.dtype))
        last = jnp.exp(-game.discount * jnp.asarray(steps, x.dtype)) * jnp.einsum(
            "a,pab,b->p", z, game.terminal[:, i], z
        )
        states, regimes = jnp.concatenate([xs, x[None]]), jnp.append(regimes, i)
        return states, regimes, u, jnp.sum(costs, axis=0) + last

    def step(carry: tuple[Array, Array], now: tuple[Array, Array]):
        x, i = carry
        t, keys = now[0].astype(x.dtype), jax.random.split(now[1], 3)
        z, c = jnp.append(x, jnp.ones((), x.dtype)), game.coefficients(t)
        u = profile(t, x, i)
        own = jnp.concatenate(list(u[:count]))
        cost = jnp.einsum("a,pab,b->p", z, c.state_cost[:, i], z) + jnp.einsum(
            "a,pab,b->p", own, c.control_cost[:, i], own
        )
        cost = cost + 2 * jnp.einsum("a,pab,b->p", z, c.cross_cost[:, i], own)
        after = c.drift[i] @ z + c.input[i] @ own
        if game.has_crowd:
            after = after + c.crowd_input[i] @ u[count]
        if game.diffusion is not None:
            noise = at(game.diffusion, t)[i]
            after = after + jax.random.normal(keys[0], noise.shape[:1], x.dtype) @ (noise @ z)
        if game.jump_rate is not None:
            rate, scale = at(game.jump_rate, t)[i], at(game.jump_scale, t)[i]
            counts = jax.random.poisson(keys[1], rate).astype(x.dtype)
            after = after + (counts - rate) @ (scale @ z)
        j = i
        if m > 1:
            j = jax.random.choice(keys[2], m, p=jnp.eye(m, dtype=x.dtype)[i] + game.rates(t, None)[i]).astype(i.dtype)
            after = after if game.switch is None else game.switch[i, j] @ after
        return (after[:-1], j), (x, i, u, jnp.exp(-game.discount * t) * cost)

    return jax.vmap(path)(jax.random.split(key, paths))
