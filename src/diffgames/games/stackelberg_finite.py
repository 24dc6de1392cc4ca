"""The game of a leader and N followers behind the mean-field Stackelberg game, and the limit's strategies in it.

Followers x_1 … x_N meet the leader through m = (1/N) Σ x_j; every one of them moves m by 1/N and knows it. Whatever
the leader does, the N + 1 players' states reduce without loss to z = (x0, x, y, 1), x one follower's state and y the
mean of the other N − 1, with m = x/N + (1 − 1/N) y and the noise of y scaled by 1/√(N − 1): if all others play the
same feedback u_j = U z_j, the mean of their controls is

    ū = U J z,     J: (x0, x, y, 1) ↦ (x0, y, (x + (N − 2) y)/(N − 1), 1),

since the others of follower j are x and N − 2 of those in y. J is the crowd map of the game, which the engine solves
for its symmetric feedback equilibrium: exactly that of N + 1 players, whatever N.

The limit's strategies u0 = K00 x0 + K10 m, u_j = K0 x0 + K1 x_j + K2 m at the empirical mean overlook that a follower
moves the mean: an error of order 1/N in its gains, a gap of order 1/N². The leader's problem in (x0, m) is the limit's
with more noise, so that it has no gap at all. Costs differ from those of the equilibrium of N + 1 players by order 1/N.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, padded, tracking
from diffgames.games.stackelberg import stackelberg_matrices
from diffgames.numerics.precision import in_double


@in_double
def finite_stackelberg_game(
    followers: Any,
    *,
    horizon: Any,
    discount: Any = 0.0,
    discrete: bool = False,
    **matrices: Any,
) -> LinearQuadraticGame:
    """Leader and one of N ≥ 2 followers, the crowd of the other N − 1, on z = (x0, x, y, 1).

    The matrices are those of `stackelberg_game`, which is the limit N → ∞.
    """
    check_followers(followers)
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
    w0, w = m["sigma0"].shape[1], m["sigma"].shape[1]
    noise = jnp.zeros((w0 + 2 * w, n0 + 2 * n + 1, n0 + 2 * n + 1), dtype)
    noise = noise.at[:w0, :n0, -1].set(m["sigma0"].T).at[w0 : w0 + w, n0 : n0 + n, -1].set(m["sigma"].T)
    others = m["sigma"].T / jnp.sqrt(jnp.asarray(followers, dtype) - 1.0)
    noise = noise.at[w0 + w :, n0 + n : n0 + 2 * n, -1].set(others)
    eye0, eye = jnp.eye(n0, dtype=dtype), jnp.eye(n, dtype=dtype)
    miss0 = jnp.concatenate([eye0, -part * m["Gamma0"], -rest * m["Gamma0"]], axis=1)
    miss = jnp.concatenate([-m["Gamma1"], eye - part * m["Gamma2"], -rest * m["Gamma2"]], axis=1)
    leader = Player(
        name="leader",
        own_input=padded(jnp.concatenate([m["B0"], m["D"], m["D"]]))[None],
        state_cost=tracking(miss0.T @ m["Q0"] @ miss0)[None],
        control_cost=jnp.block([[m["R0"], zero(k0, k)], [zero(k, k0), zero(k, k)]])[None],
        terminal_cost=jnp.zeros_like(drift)[None],
    )
    follower = Player(
        name="follower",
        own_input=padded(jnp.concatenate([zero(n0, k), m["B"], zero(n, k)]))[None],
        crowd_input=padded(jnp.concatenate([zero(n0, k), zero(n, k), m["B"]]))[None],
        state_cost=tracking(miss.T @ m["Q"] @ miss)[None],
        control_cost=jnp.block([[m["R1"], m["R2"]], [m["R2"].T, m["R"]]])[None],
        terminal_cost=jnp.zeros_like(drift)[None],
    )
    return LinearQuadraticGame(
        drift=drift[None],
        players=(leader, follower),
        horizon=horizon,
        diffusion=noise[None],
        crowd_map=others_map(followers, n0, n),
        discount=discount,
        tiers=((0,), (1,)),
        blocks=(("x0", n0), ("x", n), ("y", n), ("one", 1)),
        discrete=discrete,
    )


def check_followers(followers: Any) -> None:
    """`InvalidInput` unless it is a whole number of at least two (what is not known yet passes)."""
    if isinstance(followers, Tracer):
        return
    number = np.asarray(followers)
    if number.dtype.kind not in "iuf" or number.ndim or not (2 <= number < np.inf and number == np.floor(number)):
        raise InvalidInput("followers", followers, "a whole number, at least 2")


def others_map(followers: Any, n0: int, n: int) -> Float[Array, "size size"]:
    """J: what another follower sees on average where one sees (x0, x, y, 1)."""
    count = jnp.asarray(followers, jnp.result_type(float))
    size = n0 + 2 * n + 1
    eye = jnp.eye(n, dtype=count.dtype)
    x, y = slice(n0, n0 + n), slice(n0 + n, n0 + 2 * n)
    swapped = jnp.eye(size, dtype=count.dtype).at[x, x].set(0.0).at[x, y].set(eye)
    return swapped.at[y, x].set(eye / (count - 1.0)).at[y, y].set((count - 2.0) / (count - 1.0) * eye)


@in_double
def limit_strategies(limit: Any, followers: Any, n0: int, n: int) -> Any:
    """The mean-field game's profile (`solve(stackelberg_game(…)).profile`) as one of the game with N followers.

    Every player reads the empirical mean x/N + (1 − 1/N) y in place of m; followers answer the leader as in the limit.
    """
    check_followers(followers)
    size = n0 + 2 * n + 1
    part = 1.0 / jnp.asarray(followers, jnp.result_type(float))
    eye = jnp.eye(n, dtype=part.dtype)
    x, y = slice(n0, n0 + n), slice(n0 + n, n0 + 2 * n)
    read = jnp.eye(size, dtype=part.dtype).at[y, x].set(part * eye).at[y, y].set((1.0 - part) * eye)
    seen = read @ others_map(followers, n0, n)
    gain = limit.gain
    return eqx.tree_at(
        lambda play: (play.gain.value, play.gain.slope, play.crowd_gain.value, play.crowd_gain.slope),
        limit,
        (gain.value @ read, gain.slope @ read, gain.value @ seen, gain.slope @ seen),
    )
