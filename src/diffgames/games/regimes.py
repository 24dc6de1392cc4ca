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

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.matrices import Binder
from diffgames.games.plain import adversarial_game


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
    horizon: Any,
    noise: Any = None,
    jump_rate: Any = None,
    jump_scale: Any = None,
    jump_shift: Any = None,
) -> LinearQuadraticGame:
    """The inner game; the first index of every matrix is the regime, a number stands for a 1×1 matrix.

    `noise` is the loading Σ_i, `jump_rate`, `jump_scale`, `jump_shift` are indexed [regime][law]. One matrix for all
    regimes and functions of time (but for Q_T) are taken as in `plain.nash_game`. `InvalidInput` names the letter.
    """
    return adversarial_game(
        A=A,
        B=B,
        D=D,
        Q=Q,
        R=R,
        S=S,
        Q_T=Q_T,
        generator=generator,
        horizon=horizon,
        noise=noise,
        jump_rate=jump_rate,
        jump_scale=jump_scale,
        jump_shift=jump_shift,
    )


def regime_diffusion(
    *,
    A: Sequence[float],
    D: Sequence[float],
    Q: Sequence[float],
    S: float,
    sigma: Sequence[float],
    jump_scale: Sequence[float],
    jump_shift: Sequence[float],
    regimes: int,
    horizon: float,
    start: float,
    bounds: tuple[float, float],
) -> DifferentialGame:
    """The inner game for one state by its functions, as solvers on grids want it: B = R = Q_T = 1, jumps of rate one.

    |u| and |w| are held below `bounds`; the regimes are switched from outside. `InvalidInput` names the letter that has
    not one number for each of the `regimes`.
    """
    given = {"A": A, "D": D, "Q": Q, "sigma": sigma, "jump_scale": jump_scale, "jump_shift": jump_shift}
    for name, values in given.items():
        if len(values) != regimes:
            raise InvalidInput(name, values, f"one number for each of the {regimes} regimes")
    a, d, q, noise, scale, shift = (jnp.asarray(values, jnp.float64) for values in given.values())

    def cost(t, x, u, i):
        return jnp.broadcast_to(q[i] * x[0] ** 2 + u[0][0] ** 2 - S * u[1][0] ** 2, (2,))

    def once(t, x, u, i):
        return jnp.ones((), x.dtype)

    mark = FixedMark(jnp.ones(1, jnp.float64))
    return DifferentialGame(
        players=("controller", "disturbance"),
        control_sizes=(1, 1),
        drift=lambda t, x, u, i: a[i] * x + u[0] + d[i] * u[1],
        diffusion=lambda t, x, u, i: noise[i][None, None],
        running_cost=cost,
        terminal_cost=lambda x, i: jnp.broadcast_to(x[0] ** 2, (2,)),
        initial=PointLaw(jnp.full(1, start, jnp.float64)),
        horizon=horizon,
        jumps=(
            JumpLaw(once, lambda t, x, u, z, i: scale[i] * x, mark),
            JumpLaw(once, lambda t, x, u, z, i: shift[i] * z, mark),
        ),
        signs=(1, -1),
        bounds=tuple((-bound, bound) for bound in bounds),
    )


def check_rates(name: str, value: Any, regimes: int) -> Float[Array, "m m"]:
    """Attack or stabilize rates: non-negative, zero on the diagonal."""
    bind = Binder()
    bind.sizes["m"] = regimes
    rates = bind.matrix(name, value, "m", "m")
    known = np.asarray(rates)
    if known.min() < 0 or np.abs(np.diag(known)).max() > 0:
        raise InvalidInput(name, known.tolist(), "rates ≥ 0 with a zero diagonal")
    return rates
