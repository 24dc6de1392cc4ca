"""A leader and N followers simulated one by one: the game of N + 1 players itself, without its reduction.

    x0⁺ = x0 + h (A0 x0 + B0 u0 + F0 m) + √h σ0 ξ0,
    x_j⁺ = x_j + h (A x_j + B u_j + F m + G x0 + D u0) + √h σ ξ_j,      m = (1/N) Σ x_j

(in discrete time x⁺ = A x + … + σ ξ), with the costs of `games.stackelberg`. Every follower plays the feedback of the
profile at (x0, x_j, y_j, 1), y_j the mean of the others. Two profiles on the same noise are compared by their paired
difference, whose error is far below that of either cost. In continuous time every path is run with steps h, h/2 and
h/4 on the same Brownian motion, and its costs extrapolated, (J(h) − 6 J(h/2) + 8 J(h/4))/3, of third order: the paired
difference is so exact that a second-order error would show beside it.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.stackelberg import stackelberg_matrices
from diffgames.numerics.precision import in_double

LEVELS = (1, 2, 4)
"""Parts that a step is divided into, run on the same noise."""


class Start(NamedTuple):
    """Where leader and followers start: fixed, and independent normals around a mean."""

    leader: Float[np.ndarray, " n0"]
    follower: Float[np.ndarray, " n"]
    spread: float


@in_double
def follower_costs(
    matrices: dict[str, Any],
    profiles: tuple[Any, ...],
    start: Start,
    key: PRNGKeyArray,
    *,
    followers: int,
    paths: int,
    steps: int,
    horizon: float | int,
    discount: float,
    discrete: bool = False,
) -> Float[Array, "profiles paths 2"]:
    """Cost of the leader, and the mean cost of the followers, of every path under each profile, on the same noise.

    Profiles offer gain(t) [1, K, size] on (x0, x, y, 1), as the solution of `finite_stackelberg_game` and
    `limit_strategies` do. In discrete time `steps` = `horizon`.
    """
    m = stackelberg_matrices(matrices)
    data = (m, profiles, jnp.asarray(start.leader), jnp.asarray(start.follower), jnp.asarray(start.spread))
    return _simulate(data, key, (followers, paths, steps), jnp.asarray(horizon), jnp.asarray(discount), discrete)


@eqx.filter_jit
def _simulate(data: Any, key: Array, sizes: tuple[int, int, int], horizon: Array, discount: Array, discrete: bool):
    m, profiles, leader, follower, spread = data
    count, paths, steps = sizes
    n = follower.shape[0]
    h = jnp.ones(()) if discrete else horizon / steps
    first, noise = jax.random.split(key)
    x0 = jnp.broadcast_to(leader[None], (paths, leader.shape[0]))
    x = follower[None, None] + spread * jax.random.normal(first, (paths, count, n))

    def move(now: tuple, play: Any, t: Array, h: Array, w0: Array, w: Array) -> tuple[Array, Array, Array]:
        x0, x = now
        mean = x.mean(axis=1)
        u0, u = _controls(play.gain(t)[0], x0, x, mean, m["B0"].shape[1])
        rate0 = x0 @ m["A0"].T + u0 @ m["B0"].T + mean @ m["F0"].T
        shared = mean @ m["F"].T + x0 @ m["G"].T + u0 @ m["D"].T
        rate = x @ m["A"].T + u @ m["B"].T + shared[:, None]
        miss0 = x0 - mean @ m["Gamma0"].T
        miss = x - (x0 @ m["Gamma1"].T + mean @ m["Gamma2"].T)[:, None]
        lead = _form(miss0, m["Q0"]) + _form(u0, m["R0"])
        crossed = 2 * jnp.einsum("pa,ab,pjb->pj", u0, m["R2"], u)
        follow = _form(miss, m["Q"]) + _form(u, m["R"]) + _form(u0, m["R1"])[:, None] + crossed
        cost = (h * jnp.exp(-discount * t)) * jnp.stack([lead, follow.mean(axis=1)], axis=-1)
        if discrete:
            return rate0 + w0, rate + w, cost
        return x0 + h * rate0 + jnp.sqrt(h) * w0, x + h * rate + jnp.sqrt(h) * w, cost

    def draw(index: Array) -> tuple[Array, Array]:
        one, two = jax.random.split(jax.random.fold_in(noise, index))
        w0 = jax.random.normal(one, (paths, m["sigma0"].shape[1])) @ m["sigma0"].T
        return w0, jax.random.normal(two, (paths, count, m["sigma"].shape[1])) @ m["sigma"].T

    def advance(now: tuple, play: Any, t: Array, h: Array, w0: Array, w: Array) -> tuple[Array, Array, Array]:
        x0, x, cost = move(now[:2], play, t, h, w0, w)
        return x0, x, now[2] + cost

    def once(carry: list, index: Array) -> tuple[list, None]:
        w0, w = draw(index)
        t = h * index.astype(h.dtype)
        return [advance(one, play, t, h, w0, w) for play, one in zip(profiles, carry, strict=True)], None

    def refined(carry: list, index: Array) -> tuple[list, None]:
        draws, found, t = [draw(4 * index + part) for part in range(4)], [], h * index.astype(h.dtype)
        for play, levels in zip(profiles, carry, strict=True):
            moved = []
            for count, now in zip(LEVELS, levels, strict=True):
                for part in range(count):
                    w0, w = _summed(draws[part * (4 // count) : (part + 1) * (4 // count)])
                    now = advance(now, play, t + part * (h / count), h / count, w0, w)
                moved.append(now)
            found.append(tuple(moved))
        return found, None

    begin = (x0, x, jnp.zeros((paths, 2)))
    counter = jnp.arange(steps, dtype=jnp.int32)
    if discrete:
        last, _ = jax.lax.scan(once, [begin for _ in profiles], counter)
        return jnp.stack([cost for _, _, cost in last])
    last, _ = jax.lax.scan(refined, [(begin,) * len(LEVELS) for _ in profiles], counter)
    return jnp.stack([(one[2] - 6 * two[2] + 8 * four[2]) / 3 for one, two, four in last])


def _summed(draws: list[tuple[Array, Array]]) -> list[Array]:
    """Standard normals of the leader and of the followers over steps taken together."""
    return [jnp.sum(jnp.stack(parts), axis=0) / math.sqrt(len(draws)) for parts in zip(*draws, strict=True)]


def _controls(gain: Array, x0: Array, x: Array, mean: Array, k0: int) -> tuple[Array, Array]:
    """u0 [paths, k0] and u [paths, N, k] from gains on (x0, x, y, 1)."""
    count, n0, n = x.shape[1], x0.shape[1], x.shape[2]
    others = (float(count) * mean[:, None] - x) / (count - 1.0)
    on0, on_own, on_others, constant = (
        gain[:, :n0],
        gain[:, n0 : n0 + n],
        gain[:, n0 + n : n0 + 2 * n],
        gain[:, -1],
    )
    u = (x0 @ on0.T + constant[None])[:, None] + x @ on_own.T + others @ on_others.T
    return u[:, :, :k0].mean(axis=1), u[:, :, k0:]


def _form(x: Array, weight: Array) -> Array:
    """xᵀWx along the last axis."""
    return jnp.einsum("...a,ab,...b->...", x, weight, x)
