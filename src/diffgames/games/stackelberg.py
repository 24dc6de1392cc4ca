"""Mean-field Stackelberg games: a leader and a crowd of followers (Huang & Yang 2020), matrix-valued.

State z = (x0, x1, m, 1): the leader's, a representative follower's and the mean of the crowd. In continuous time

    dx0 = (A0 x0 + B0 u0 + F0 m) dt + σ0 dW0,
    dx1 = (A x1 + B u1 + F m + G x0 + D u0) dt + σ dW1,      dm = ((A + F) m + B ū + G x0 + D u0) dt,

costs over [0, T], discounted by ρ, without terminal cost:

    leader    |x0 − Γ0 m|²_{Q0} + |u0|²_{R0},
    follower  |x1 − Γ1 x0 − Γ2 m|²_Q + |u1|²_R + |u0|²_{R1} + 2 u0ᵀR2 u1,

the leader's control known to the followers at every instant. In discrete time x⁺ = A x + …, discount factor α a step.
The nine blocks of the slides are blocks of the two value matrices: S1 = [[P0, P01, P02], [·, P1, P12], [·, ·, P2]] on
(x0, x1, m) for the follower, [[P00, P010], [·, P10]] on (x0, m) for the leader; the gains those of u0 = K00 x0 + K10 m
and u1 = K0 x0 + K1 x1 + K2 m. The printed equations of P02 and P10 hold a typographical error each (a factor 2, and
K00 for K10); this one comes from the stage game instead, so neither appears.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, padded, tracking
from diffgames.games.matrices import Binder, check_definite
from diffgames.numerics.precision import in_double

SHAPES = {
    **dict.fromkeys(("A0", "Q0"), ("n0", "n0")),
    **dict.fromkeys(("A", "F", "Q", "Gamma2"), ("n", "n")),
    **dict.fromkeys(("F0", "Gamma0"), ("n0", "n")),
    **dict.fromkeys(("G", "Gamma1"), ("n", "n0")),
    "B0": ("n0", "k0"),
    "B": ("n", "k"),
    "D": ("n", "k0"),
    "R0": ("k0", "k0"),
    "R1": ("k0", "k0"),
    "R2": ("k0", "k"),
    "R": ("k", "k"),
    "sigma0": ("n0", "w0"),
    "sigma": ("n", "w"),
}
"""Rows and columns of every matrix; a scalar stands for a 1×1 matrix."""


@in_double
def stackelberg_game(
    *, horizon: Any, discount: Any = 0.0, discrete: bool = False, **matrices: Any
) -> LinearQuadraticGame:
    """Leader and follower of the mean-field game; `matrices` are those of `SHAPES`, scalars or matrices.

    `discount` is the rate ρ; in discrete time ρ = −ln α per step, and `horizon` a number of steps.
    """
    m = stackelberg_matrices(matrices)
    n0, n = m["A0"].shape[0], m["A"].shape[0]
    k0, k = m["B0"].shape[1], m["B"].shape[1]
    w0, w = m["sigma0"].shape[1], m["sigma"].shape[1]
    dtype = m["A0"].dtype

    def zero(rows: int, columns: int) -> Array:
        return jnp.zeros((rows, columns), dtype)

    drift = affine(
        jnp.block([[m["A0"], zero(n0, n), m["F0"]], [m["G"], m["A"], m["F"]], [m["G"], zero(n, n), m["A"] + m["F"]]])
    )
    if discrete:
        drift = drift.at[-1, -1].set(1.0)
    leads = padded(jnp.concatenate([m["B0"], m["D"], m["D"]]))
    follows = padded(jnp.concatenate([zero(n0, k), m["B"], zero(n, k)]))
    crowd = padded(jnp.concatenate([zero(n0, k), zero(n, k), m["B"]]))
    noise = jnp.zeros((w0 + w, 2 * n + n0 + 1, 2 * n + n0 + 1), dtype)
    noise = noise.at[:w0, :n0, -1].set(m["sigma0"].T).at[w0:, n0 : n0 + n, -1].set(m["sigma"].T)
    eye0, eye = jnp.eye(n0, dtype=dtype), jnp.eye(n, dtype=dtype)
    miss0 = jnp.concatenate([eye0, zero(n0, n), -m["Gamma0"]], axis=1)
    miss = jnp.concatenate([-m["Gamma1"], eye, -m["Gamma2"]], axis=1)
    crowd_map = jnp.block(
        [
            [eye0, zero(n0, 2 * n + 1)],
            [zero(n, n0 + n), eye, zero(n, 1)],
            [zero(n, n0 + n), eye, zero(n, 1)],
            [zero(1, n0 + 2 * n), jnp.ones((1, 1), dtype)],
        ]
    )
    leader = Player(
        name="leader",
        own_input=leads[None],
        state_cost=tracking(miss0.T @ m["Q0"] @ miss0)[None],
        control_cost=jnp.block([[m["R0"], zero(k0, k)], [zero(k, k0), zero(k, k)]])[None],
        terminal_cost=jnp.zeros_like(drift)[None],
    )
    follower = Player(
        name="follower",
        own_input=follows[None],
        crowd_input=crowd[None],
        state_cost=tracking(miss.T @ m["Q"] @ miss)[None],
        control_cost=jnp.block([[m["R1"], m["R2"]], [m["R2"].T, m["R"]]])[None],
        terminal_cost=jnp.zeros_like(drift)[None],
    )
    return LinearQuadraticGame(
        drift=drift[None],
        players=(leader, follower),
        horizon=horizon,
        diffusion=noise[None],
        crowd_map=crowd_map,
        discount=discount,
        tiers=((0,), (1,)),
        blocks=(("x0", n0), ("x1", n), ("m", n), ("one", 1)),
        discrete=discrete,
    )


def stackelberg_matrices(matrices: dict[str, Any]) -> dict[str, Array]:
    """Every matrix of `SHAPES` as an array of two axes; `InvalidInput` names one that is missing or does not fit."""
    for name in matrices:
        if name not in SHAPES:
            raise InvalidInput(name, matrices[name], "a matrix named " + ", ".join(SHAPES))
    bind, found = Binder(), {}
    for name, shape in SHAPES.items():
        if name not in matrices:
            raise InvalidInput(name, None, bind.words(shape))
        found[name] = bind.matrix(name, matrices[name], *shape)
    for name in ("R0", "R"):
        check_definite(name, found[name])
    return found


BLOCKS = {
    "P0": ("follower", "x0", "x0"),
    "P1": ("follower", "x1", "x1"),
    "P2": ("follower", "m", "m"),
    "P01": ("follower", "x0", "x1"),
    "P02": ("follower", "x0", "m"),
    "P12": ("follower", "x1", "m"),
    "P00": ("leader", "x0", "x0"),
    "P10": ("leader", "m", "m"),
    "P010": ("leader", "x0", "m"),
}
"""The nine blocks: whose value, rows, columns."""

GAINS = {
    "K00": ("leader", "x0"),
    "K10": ("leader", "m"),
    "K0": ("follower", "x0"),
    "K1": ("follower", "x1"),
    "K2": ("follower", "m"),
}
"""The five gains: whose, on which block."""
