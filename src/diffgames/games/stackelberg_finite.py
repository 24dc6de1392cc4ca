"""The game of a leader and N followers behind the mean-field Stackelberg game, and the limit's strategies in it.

Followers x_1 … x_N meet the leader through m = (1/N) Σ x_j. If all others play the limit's strategies

    u0 = K00 x0 + K10 m,     u_j = K0 x0 + K1 x_j + K2 m

at the empirical mean m, follower i faces x0, its own x_i and the mean y of the other N − 1: since these play alike, the
N + 1 states reduce exactly to z = (x0, x_i, y, 1) with m = x_i/N + (1 − 1/N) y and the noise of y scaled by
1/√(N − 1). A follower moves the mean by 1/N, which the limit's strategies overlook: an error of order 1/N in its gain,
a gap of order 1/N². The leader's problem in (x0, m) is the limit's with more noise, so that it has no gap at all.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, padded, tracking
from diffgames.games.stackelberg import stackelberg_matrices


def finite_stackelberg_game(
    followers: float | Array,
    *,
    horizon: float | int,
    discount: float | Array = 0.0,
    discrete: bool = False,
    **matrices: Any,
) -> LinearQuadraticGame:
    """Players leader, follower (number i) and others (the other N − 1, who play alike) on z = (x0, x, y, 1).

    `followers` is N ≥ 2; the matrices are those of `stackelberg_game`. The others share the follower's objective
    formally; only the gaps of the leader and the follower mean anything.
    """
    m = stackelberg_matrices(matrices)
    n0, n, k0, k = m["A0"].shape[0], m["A"].shape[0], m["B0"].shape[1], m["B"].shape[1]
    dtype = m["A0"].dtype
    part = 1.0 / jnp.asarray(followers, dtype)
    rest = 1.0 - part

    def zero(rows: int, columns: int) -> Array:
        return jnp.zeros((rows, columns), dtype)

    drift = affine(
        jnp.block(
            [
                [m["A0"], part * m["F0"], rest * m["F0"]],
                [m["G"], m["A"] + part * m["F"], rest * m["F"]],
                [m["G"], part * m["F"], m["A"] + rest * m["F"]],
            ]
        )
    )
    if discrete:
        drift = drift.at[-1, -1].set(1.0)
    inputs = (
        padded(jnp.concatenate([m["B0"], m["D"], m["D"]])),
        padded(jnp.concatenate([zero(n0, k), m["B"], zero(n, k)])),
        padded(jnp.concatenate([zero(n0, k), zero(n, k), m["B"]])),
    )
    w0, w = m["sigma0"].shape[1], m["sigma"].shape[1]
    noise = jnp.zeros((w0 + 2 * w, n0 + 2 * n + 1, n0 + 2 * n + 1), dtype)
    noise = noise.at[:w0, :n0, -1].set(m["sigma0"].T).at[w0 : w0 + w, n0 : n0 + n, -1].set(m["sigma"].T)
    others = m["sigma"].T / jnp.sqrt(jnp.asarray(followers, dtype) - 1.0)
    noise = noise.at[w0 + w :, n0 + n : n0 + 2 * n, -1].set(others)
    eye0, eye = jnp.eye(n0, dtype=dtype), jnp.eye(n, dtype=dtype)
    miss0 = jnp.concatenate([eye0, -part * m["Gamma0"], -rest * m["Gamma0"]], axis=1)
    miss = jnp.concatenate([-m["Gamma1"], eye - part * m["Gamma2"], -rest * m["Gamma2"]], axis=1)
    total = k0 + 2 * k
    leads = zero(total, total).at[:k0, :k0].set(m["R0"])
    follows = zero(total, total).at[: k0 + k, : k0 + k].set(jnp.block([[m["R1"], m["R2"]], [m["R2"].T, m["R"]]]))
    swap = jnp.concatenate([jnp.arange(k0), jnp.arange(k0 + k, total), jnp.arange(k0, k0 + k)])
    costs = (leads, follows, follows[swap][:, swap])
    aims = (miss0.T @ m["Q0"] @ miss0, miss.T @ m["Q"] @ miss, miss.T @ m["Q"] @ miss)
    return LinearQuadraticGame(
        drift=drift[None],
        players=tuple(
            Player(
                name=name,
                own_input=inputs[p][None],
                state_cost=tracking(aims[p])[None],
                control_cost=costs[p][None],
                terminal_cost=jnp.zeros_like(drift)[None],
            )
            for p, name in enumerate(("leader", "follower", "others"))
        ),
        horizon=horizon,
        diffusion=noise[None],
        discount=discount,
        tiers=((0,), (1, 2)),
        blocks=(("x0", n0), ("x", n), ("y", n), ("one", 1)),
        discrete=discrete,
    )


class LimitStrategies(eqx.Module):
    """The mean-field game's strategies in the finite game on z = (x0, x, y, 1): u = gain(t) z, with its reactions."""

    limit: Any
    followers: Float[Array, ""] | float
    sizes: tuple[int, int] = eqx.field(static=True)
    states: tuple[int, int] = eqx.field(static=True)

    def gain(self, t: Any) -> Float[Array, "1 K n"]:
        """Leader, follower, others."""
        (k0, _), (n0, n) = self.sizes, self.states
        limit = self.limit.gain(t)[0]
        part = 1.0 / jnp.asarray(self.followers, limit.dtype)
        on_leader, own, mean = limit[:, :n0], limit[:, n0 : n0 + n], limit[:, n0 + n : n0 + 2 * n]
        one = jnp.zeros((limit.shape[0], 1), limit.dtype)
        follower = jnp.concatenate([on_leader, own + part * mean, (1.0 - part) * mean, one], axis=1)
        others = jnp.concatenate([on_leader, part * mean, own + (1.0 - part) * mean, one], axis=1)
        return jnp.concatenate([follower, others[k0:]])[None]

    def crowd_gain(self, t: Any) -> Float[Array, "1 K n"]:
        """There is no crowd."""
        return jnp.zeros_like(self.gain(t))

    def reaction(self, t: Any) -> Float[Array, "1 K K"]:
        """All followers answer the leader as in the limit."""
        k0, k = self.sizes
        limit = self.limit.reaction(t)[0]
        full = jnp.eye(k0 + 2 * k, dtype=limit.dtype)
        return full.at[k0 : k0 + k, :k0].set(limit[k0:, :k0]).at[k0 + k :, :k0].set(limit[k0:, :k0])[None]

    def crowd_reaction(self, t: Any) -> Float[Array, "1 K K"]:
        """There is no crowd."""
        return jnp.zeros_like(self.reaction(t))
