"""Linear-quadratic games that need no introduction: the regulator, N players, a controller against a disturbance.

    dx = (A x + Σ_p B_p u_p) dt + noise dW,    cost of p: E[∫ xᵀQ_p x + Σ_q u_qᵀR_pq u_q dt + x_TᵀQ_Tp x_T]   (no ½);

in discrete time x⁺ = A x + Σ_p B_p u_p + noise ξ.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, padded, tracking
from diffgames.numerics.precision import in_double


def regulator(
    *,
    A: Any,
    B: Any,
    Q: Any,
    R: Any,
    Q_T: Any = None,
    N: Any = None,
    noise: Any = None,
    target: Any = None,
    shift: Any = None,
    horizon: float | int | Array = math.inf,
    discount: float | Array = 0.0,
    discrete: bool = False,
) -> LinearQuadraticGame:
    """One player that steers x to `target` at least cost (LQR; with additive `noise` LQG under full observation).

    `shift` is a constant drift, `N` the cross cost 2 xᵀN u.
    """
    return nash_game(
        A=A,
        B=[B],
        Q=[Q],
        R=[R],
        Q_T=None if Q_T is None else [Q_T],
        N=None if N is None else [N],
        noise=noise,
        targets=None if target is None else [target],
        shift=shift,
        horizon=horizon,
        discount=discount,
        discrete=discrete,
        names=("controller",),
    )


@in_double
def nash_game(
    *,
    A: Any,
    B: Sequence[Any],
    Q: Sequence[Any],
    R: Sequence[Any],
    Q_T: Sequence[Any] | None = None,
    N: Sequence[Any] | None = None,
    noise: Any = None,
    targets: Sequence[Any] | None = None,
    shift: Any = None,
    horizon: float | int | Array = math.inf,
    discount: float | Array = 0.0,
    discrete: bool = False,
    tiers: Sequence[Sequence[int]] = (),
    signs: Sequence[int] = (),
    names: Sequence[str] = (),
) -> LinearQuadraticGame:
    """N players on one state; entry p of `B`, `Q`, `R`, `Q_T`, `N` is player p's.

    R[p] is either the cost [k_p, k_p] of p's own control or the full cost [K, K] of all controls together; N[p] a cross
    cost [n, K] of the state and all controls.
    """
    drift = affine(_matrix(A), None if shift is None else jnp.asarray(shift, jnp.result_type(float)))
    n = drift.shape[-1]
    if discrete:
        drift = drift.at[-1, -1].set(1.0)
    inputs = [_matrix(one) for one in B]
    sizes = [one.shape[-1] for one in inputs]
    players = []
    for p, own in enumerate(inputs):
        target = None if targets is None else jnp.asarray(targets[p], jnp.result_type(float))
        terminal = jnp.zeros((n, n)) if Q_T is None else tracking(_matrix(Q_T[p]), target)
        players.append(
            Player(
                name=names[p] if names else f"player {p}",
                own_input=padded(own)[None],
                state_cost=tracking(_matrix(Q[p]), target)[None],
                control_cost=joint_cost(_matrix(R[p]), p, sizes, f"R[{p}]")[None],
                terminal_cost=terminal[None],
                cross_cost=None if N is None else padded(_matrix(N[p]))[None],
                sign=signs[p] if signs else 1,
            )
        )
    return LinearQuadraticGame(
        drift=drift[None],
        players=tuple(players),
        horizon=horizon,
        diffusion=None if noise is None else additive(_matrix(noise))[None],
        discount=discount,
        tiers=tuple(map(tuple, tiers)),
        discrete=discrete,
    )


@in_double
def h_infinity_game(
    *, A: Any, B: Any, D: Any, Q: Any, R: Any, gamma: Any, Q_T: Any = None, horizon: float | int | Array = math.inf
) -> LinearQuadraticGame:
    """A controller u (minimises) against a disturbance w (maximises): ∫ xᵀQx + uᵀRu − γ² wᵀw dt, dx = Ax + Bu + Dw.

    The value exists exactly where the disturbance can be attenuated to γ; below that level it escapes (finite horizon)
    or there is no stationary solution.
    """
    own, against = _matrix(R), -(jnp.asarray(gamma, jnp.result_type(float)) ** 2) * jnp.eye(_matrix(D).shape[-1])
    both = joint_cost(own, 0, [own.shape[-1], against.shape[-1]], "R") + joint_cost(
        against, 1, [own.shape[-1], against.shape[-1]], "gamma"
    )
    return nash_game(
        A=A,
        B=[B, D],
        Q=[Q, Q],
        R=[both, both],
        Q_T=None if Q_T is None else [Q_T, Q_T],
        horizon=horizon,
        signs=(1, -1),
        names=("controller", "disturbance"),
    )


def additive(noise: Array) -> Array:
    """The columns of [n, k] as matrices [k, n + 1, n + 1] on z = (x, 1)."""
    n, k = noise.shape
    return jnp.zeros((k, n + 1, n + 1), noise.dtype).at[:, :n, -1].set(noise.T)


def joint_cost(own: Array, player: int, sizes: Sequence[int], name: str) -> Array:
    """A cost of p's own control as one of all controls; one that has their size already is returned as it is."""
    total, start = sum(sizes), sum(sizes[:player])
    if own.shape == (total, total):
        return own
    if own.shape != (sizes[player],) * 2:
        allowed = f"a matrix [{sizes[player]}, {sizes[player]}] or [{total}, {total}]"
        raise InvalidInput(name, f"shape {own.shape}", allowed)
    stop = start + sizes[player]
    return jnp.zeros((total, total), own.dtype).at[start:stop, start:stop].set(own)


def _matrix(value: Any) -> Array:
    array = jnp.asarray(value, jnp.result_type(float))
    return array.reshape(1, 1) if array.ndim == 0 else array
