"""Monotone finite differences on a Cartesian grid.

For a controlled diffusion with drift b and covariance a = σσᵀ the generator Lφ = b·∇φ + ½ a:∇²φ is replaced by that of
a Markov chain on the grid (Kushner & Dupuis 2001, section 5.3):

    L_h φ = Σ_d [b_d ½(D_d⁺ + D_d⁻)φ + ½ (|b_d| − κ_d)⁺ (D_d⁺ − D_d⁻)φ] + ½ Σ_d a_dd D_d²φ
            + Σ_{d<e} (a_de⁺ C_de⁺φ + a_de⁻ C_de⁻φ),        κ_d = a_dd/h_d − Σ_{e≠d} |a_de|/h_e,

with one-sided differences D±, b⁺ = max(b, 0), b⁻ = max(−b, 0), D² = (D⁺ − D⁻)/h and, τ± the shift of the grid by ±h,

    C_de⁺φ = (2φ + τ_d⁺τ_e⁺φ + τ_d⁻τ_e⁻φ − τ_d⁺φ − τ_d⁻φ − τ_e⁺φ − τ_e⁻φ) / (2 h_d h_e)
    C_de⁻φ = (2φ + τ_d⁺τ_e⁻φ + τ_d⁻τ_e⁺φ − τ_d⁺φ − τ_d⁻φ − τ_e⁺φ − τ_e⁻φ) / (2 h_d h_e).

Central differences of the drift are second order, and monotone as long as the diffusion carries them (|b_d| ≤ κ_d); of
what exceeds it, upwinding adds just as much diffusion as is missing; without noise κ = 0 and the drift is upwinded. All
weights of neighbours are ≥ 0, −L_h is an M-matrix and the scheme monotone, provided that

    κ_d ≥ 0    for every d.                                                                                      (1)

The chain leaves a point at rate at most Σ_d |b_d|/h_d + Σ_d a_dd/h_d² − Σ_{d<e} |a_de|/(h_d h_e), the reciprocal of
which bounds an explicit time step.

Where the Hamiltonian H(x, p) is known in closed form, Lax–Friedrichs' is monotone as well (Crandall & Lions 1984):

    H(x, ½(D⁺ + D⁻)φ) + ½ Σ_d α_d(x) (D_d⁺ − D_d⁻)φ,    α_d ≥ sup_p |∂H/∂p_d|.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.numerics.grid import Grid


class Differences(eqx.Module):
    """Differences of values, one entry per axis; cross differences one per pair d < e, none where they are not wanted.

    Components are separate arrays, so that everything made of them fuses into one loop over the points.
    """

    forward: tuple[Float[Array, "..."], ...]
    backward: tuple[Float[Array, "..."], ...]
    second: tuple[Float[Array, "..."], ...]
    cross_plus: tuple[Float[Array, "..."], ...]
    cross_minus: tuple[Float[Array, "..."], ...]

    @property
    def mean(self) -> list[Array]:
        """Central first differences."""
        return [0.5 * (ahead + behind) for ahead, behind in zip(self.forward, self.backward, strict=True)]

    @property
    def roughness(self) -> list[Array]:
        """½ (D⁺ − D⁻) per axis."""
        return [0.5 * (ahead - behind) for ahead, behind in zip(self.forward, self.backward, strict=True)]


def pairs(n: int) -> list[tuple[int, int]]:
    """Pairs of axes d < e."""
    return [(d, e) for d in range(n) for e in range(d + 1, n)]


def differences(grid: Grid, values: Float[Array, "batch points"], cross: bool) -> Differences:
    """All differences of values [batch, points] on `grid`, each [batch, points]."""
    batch, n = values.shape[0], len(grid.axes)
    padded = grid.padded(values.reshape(batch, *grid.shape))

    def shifted(*moves: tuple[int, int]) -> Array:
        offset = dict(moves)
        window = tuple(slice(1 + offset.get(d, 0), 1 + offset.get(d, 0) + size) for d, size in enumerate(grid.shape))
        return padded[(slice(None), *window)].reshape(batch, -1)

    forward, backward, second = [], [], []
    for d, h in enumerate(grid.spacing):
        forward.append((shifted((d, 1)) - values) / h)
        backward.append((values - shifted((d, -1))) / h)
        second.append((forward[-1] - backward[-1]) / h)
    plus, minus = [], []
    for d, e in pairs(n) if cross else []:
        area = 2.0 * grid.spacing[d] * grid.spacing[e]
        middle = 2.0 * values - shifted((d, 1)) - shifted((d, -1)) - shifted((e, 1)) - shifted((e, -1))
        plus.append((middle + shifted((d, 1), (e, 1)) + shifted((d, -1), (e, -1))) / area)
        minus.append((middle + shifted((d, 1), (e, -1)) + shifted((d, -1), (e, 1))) / area)
    return Differences(tuple(forward), tuple(backward), tuple(second), tuple(plus), tuple(minus))


def drift_term(b: Float[Array, " n"], spare: Float[Array, " n"] | None, at: Differences) -> Float[Array, ""]:
    """b·∇ at one point: central, upwinded by as much as |b| exceeds what the diffusion has to spare (κ; None: 0)."""
    total = jnp.zeros((), b.dtype)
    for d, (mean, rough) in enumerate(zip(at.mean, at.roughness, strict=True)):
        excess = jnp.abs(b[d]) if spare is None else jnp.maximum(jnp.abs(b[d]) - spare[d], 0.0)
        total = total + b[d] * mean + excess * rough
    return total


def spare_diffusion(a: Float[Array, "n n"], spacing: tuple[float, ...]) -> Float[Array, " n"]:
    """κ_d = a_dd/h_d − Σ_{e≠d} |a_de|/h_e, not below 0: how much drift central differences may carry."""
    return jnp.maximum(_diagonal_excess(a, spacing), 0.0)


def _diagonal_excess(a: Array, spacing: tuple[float, ...]) -> Array:
    weighted = jnp.abs(a) / jnp.asarray(spacing, a.dtype)[None, :]
    return 2.0 * jnp.diagonal(weighted) - jnp.sum(weighted, axis=1)


def second_order(a: Float[Array, "n n"], at: Differences) -> Float[Array, ""]:
    """½ a:∇² at one point, from the differences there; without cross differences the diagonal alone."""
    total = jnp.zeros((), a.dtype)
    for d, second in enumerate(at.second):
        total = total + 0.5 * a[d, d] * second
    if at.cross_plus:
        for (d, e), plus, minus in zip(pairs(a.shape[0]), at.cross_plus, at.cross_minus, strict=True):
            total = total + jnp.maximum(a[d, e], 0.0) * plus + jnp.maximum(-a[d, e], 0.0) * minus
    return total


def leaving_rate(b: Float[Array, " n"], a: Float[Array, "n n"], spacing: tuple[float, ...]) -> Float[Array, ""]:
    """Rate at which the chain leaves a point, without jumps and switches."""
    h = jnp.asarray(spacing, b.dtype)
    scaled = a / (h[:, None] * h[None, :])
    total = jnp.sum(jnp.abs(b) / h) + jnp.trace(scaled)
    return total - 0.5 * (jnp.sum(jnp.abs(scaled)) - jnp.sum(jnp.abs(jnp.diagonal(scaled))))


def dominance(a: Float[Array, "n n"], spacing: tuple[float, ...]) -> Float[Array, ""]:
    """Least κ_d, which condition (1) wants ≥ 0, relative to the largest a_dd/h_d."""
    weighted = jnp.diagonal(a) / jnp.asarray(spacing, a.dtype)
    return jnp.min(_diagonal_excess(a, spacing)) / jnp.maximum(jnp.max(weighted), jnp.finfo(a.dtype).tiny)
