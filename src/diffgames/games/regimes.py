"""Robust control under regime switching with jumps: the linear-quadratic layer of games in games (Pan & Zhu 2025).

In regime i a controller u (minimises) meets a disturbance w (maximises),

    dx = (A_i x + B_i u + D_i w) dt + Σ_i dW + Σ_l (E_il x + e_il) dÑ_il      (Ñ compensated, of rate λ_il),
    cost  E[ ∫₀ᵀ xᵀQ_i x + uᵀR_i u − wᵀS_i w dt + x_Tᵀ Q_{T,i} x_T ],          V_i = xᵀP_i x + 2 p_iᵀx + r_i,

regimes switch with the generator μ. Above it an *outer* game is played over the regimes: U_i = xᵀK_i x + 2 κ_iᵀx + k_i
with running cost V_i under the inner equilibrium; an attacker f ∈ [0, 1] (maximises) adds f·λ^att, a stabilizer
g ∈ [0, 1] (minimises) takes away g·λ^stab: μ = μ⁰ + f λ^att − g λ^stab. In `z = (x, 1)` with S_i, K_i the full matrices

    −Ṡ_i = inner equations of `solvers.riccati` at μ*,
    −K̇_i = S_i + 𝒜_iᵀK_i + K_i 𝒜_i + Σ Cᵀ K_i C + Σ λ Eᵀ K_i E + Σ_j μ*_ij (K_j − K_i),     K_i(T) = Q_{T,i},
    f*_i = 1 where Σ_j λ^att_ij (K_j − K_i) is positive, g*_i likewise with λ^stab.

That is the feedback reading: V_i(t, x) is fixed when the stage game at t is played, so both equations run in one sweep.
In the committed reading V is solved again for every (f, g) held for all time (`solvers.regimes.committed_game`).
The actions must not depend on x: Σ_j λ_ij(K_j − K_i) has to be semidefinite, which is checked.

Departures from the draft: u* = −R⁻¹Bᵀ(Px + p) (not of ∇V), the outer equation keeps ĀᵀK + KĀ and all noise terms, and
stabilisable-plus-detectable does not prevent a finite escape (B R⁻¹Bᵀ ⪰ D S⁻¹Dᵀ in every regime does).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame, Player, affine, padded
from diffgames.numerics.precision import in_double


@in_double
def regime_game(
    *,
    A: Any,
    B: Any,
    D: Any,
    Q: Any,
    R: Any,
    S: Any,
    Q_T: Any,
    generator: Any,
    horizon: float,
    noise: Any = None,
    jump_rate: Any = None,
    jump_scale: Any = None,
    jump_shift: Any = None,
) -> LinearQuadraticGame:
    """The inner game; the first index of every matrix is the regime, a number stands for a 1×1 matrix.

    `noise` is the loading Σ_i, `jump_rate`, `jump_scale`, `jump_shift` are indexed [regime][law].
    """
    data = {"A": A, "B": B, "D": D, "Q": Q, "R": R, "S": S, "Q_T": Q_T}
    found = {name: per_regime(name, value, 1) for name, value in data.items()}
    m, n = found["A"].shape[:2]
    k, d = found["B"].shape[-1], found["D"].shape[-1]
    shapes = {"A": (n, n), "B": (n, k), "D": (n, d), "Q": (n, n), "R": (k, k), "S": (d, d), "Q_T": (n, n)}
    for name, shape in shapes.items():
        if found[name].shape != (m, *shape):
            raise InvalidInput(name, f"shape {found[name].shape}", f"one matrix {shape} for each of the {m} regimes")
    for name in ("R", "S"):
        if np.linalg.eigvalsh(np.asarray(found[name] + jnp.swapaxes(found[name], 1, 2))).min() <= 0:
            raise InvalidInput(name, found[name].tolist(), "positive definite matrices")
    control = jnp.zeros((m, k + d, k + d)).at[:, :k, :k].set(found["R"]).at[:, k:, k:].set(-found["S"])
    state, final = (jnp.pad(found[name], ((0, 0), (0, 1), (0, 1))) for name in ("Q", "Q_T"))
    players = tuple(
        Player(
            name=name,
            own_input=padded(found[letter]),
            state_cost=state,
            control_cost=control,
            terminal_cost=final,
            sign=sign,
        )
        for name, letter, sign in (("controller", "B", 1), ("disturbance", "D", -1))
    )
    scale, rate = _jumps(jump_rate, jump_scale, jump_shift, m, n)
    return LinearQuadraticGame(
        drift=affine(found["A"]),
        players=players,
        horizon=horizon,
        diffusion=None if noise is None else _loading(noise, m, n),
        jump_scale=scale,
        jump_rate=rate,
        generator=jnp.asarray(generator, jnp.result_type(float)),
    )


def per_regime(name: str, value: Any, axes: int) -> Float[Array, "m *matrix n k"]:
    """An array with `axes` leading axes in front of a matrix; numbers become 1×1 matrices."""
    try:
        array = jnp.asarray(value, jnp.result_type(float))
    except (ValueError, TypeError) as error:
        raise InvalidInput(name, value, "numbers, or matrices of one shape, one per regime") from error
    if array.ndim not in (axes, axes + 2):
        raise InvalidInput(name, value, "numbers, or matrices, one per regime" + (" and law" if axes == 2 else ""))
    return array[..., None, None] if array.ndim == axes else array


def check_rates(name: str, value: Any, regimes: int) -> Float[Array, "m m"]:
    """Attack or stabilize rates: non-negative, zero on the diagonal."""
    rates = np.asarray(value, float)
    if rates.shape != (regimes, regimes):
        raise InvalidInput(name, value, f"a matrix {regimes} × {regimes}")
    if rates.min() < 0 or np.abs(np.diag(rates)).max() > 0:
        raise InvalidInput(name, value, "rates ≥ 0 with a zero diagonal")
    return jnp.asarray(rates)


def _loading(noise: Any, m: int, n: int) -> Float[Array, "m w n n"]:
    loading = per_regime("noise", noise, 1)
    if loading.shape[:2] != (m, n):
        raise InvalidInput("noise", f"shape {loading.shape}", f"one matrix ({n}, any) for each of the {m} regimes")
    w = loading.shape[-1]
    return jnp.zeros((m, w, n + 1, n + 1)).at[:, :, :n, -1].set(jnp.swapaxes(loading, 1, 2))


def _jumps(rate: Any, scale: Any, shift: Any, m: int, n: int) -> tuple[Array | None, Array | None]:
    if rate is None or np.asarray(rate).size == 0:
        return None, None
    rates = jnp.asarray(rate, jnp.result_type(float))
    if rates.ndim != 2 or rates.shape[0] != m:
        raise InvalidInput("jump_rate", rate, f"rates [regime][law] for {m} regimes")
    laws = rates.shape[1]
    full = jnp.zeros((m, laws, n + 1, n + 1))
    if scale is not None:
        scales = per_regime("jump_scale", scale, 2)
        if scales.shape != (m, laws, n, n):
            raise InvalidInput("jump_scale", f"shape {scales.shape}", f"({m}, {laws}) numbers or {n} × {n} matrices")
        full = full.at[:, :, :n, :n].set(scales)
    if shift is not None:
        shifts = jnp.asarray(shift, jnp.result_type(float))
        shifts = shifts[..., None] if shifts.ndim == 2 else shifts
        if shifts.shape != (m, laws, n):
            raise InvalidInput("jump_shift", f"shape {shifts.shape}", f"({m}, {laws}) numbers or vectors of {n}")
        full = full.at[:, :, :n, -1].set(shifts)
    return full, rates
