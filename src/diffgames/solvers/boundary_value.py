"""The two-point boundary value problem of a typed mean-field game, solved directly: a second route to its equilibrium.

d(m, p)/dt = H (m, p), m(0) given, p(T) = q_T m(T). With Φ = e^{Hτ} over the time to go τ and Q = q_T,

    p(t) = −Ψ22⁻¹ Ψ21 m(t),     Ψ22 = Φ22 − Q Φ12,   Ψ21 = Φ21 − Q Φ11,

which exists exactly where det Ψ22(τ) ≠ 0; the equilibrium exists on the whole horizon where that holds for all shorter
ones too. (In the variables (m, ξ), ξ = p − P m, this is the Ψ22 of the fundamental matrix.) The determinant's first
zero is the escape time. No Picard iteration, which converges for short horizons only.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import root_scalar

from diffgames.games.mean_field import Reading, TypedGame, hamiltonian
from diffgames.numerics.precision import in_double


@in_double
def boundary_matrices(
    game: TypedGame, reading: Reading, to_go: float | Float[Array, ""]
) -> tuple[Float[Array, "Kn Kn"], Float[Array, "Kn Kn"]]:
    """Ψ22 and Ψ21 at a time to go."""
    size = game.types * game.states
    flow = jax.scipy.linalg.expm(hamiltonian(game, reading) * to_go, max_squarings=48)
    final = jax.scipy.linalg.block_diag(*game.q_T)
    return (
        flow[size:, size:] - final @ flow[:size, size:],
        flow[size:, :size] - final @ flow[:size, :size],
    )


@in_double
def boundary_costates(
    game: TypedGame, reading: Reading, mean: Float[Array | np.ndarray, "K n"], to_go: float | Float[Array, ""]
) -> Float[Array, "K n"]:
    """p(t) of every type from the means at t."""
    psi22, psi21 = boundary_matrices(game, reading, to_go)
    return -jnp.linalg.solve(psi22, psi21 @ jnp.asarray(mean, psi21.dtype).reshape(-1)).reshape(mean.shape)


@in_double
def boundary_escape(game: TypedGame, reading: Reading, limit: float, steps: int = 4096) -> float | None:
    """First time to go at which det Ψ22 vanishes, up to `limit`; None where it keeps its sign.

    The determinant is followed by its value scaled by the growth of e^{Hτ}; a pair of zeros closer than limit/steps to
    each other (a double zero) is not seen.
    """
    matrix = np.asarray(hamiltonian(game, reading))
    growth = max(float(np.linalg.eigvals(matrix).real.max()), 0.0)

    def determinant(to_go: Any) -> Array:
        psi = boundary_matrices(game, reading, to_go)[0]
        return jnp.linalg.det(psi * jnp.exp(-growth * to_go))

    grid = jnp.linspace(0.0, limit, steps + 1)
    values = np.asarray(jax.jit(jax.vmap(determinant))(grid))
    signs = np.sign(values)
    changed = np.flatnonzero(signs[1:] * signs[:-1] < 0)
    if changed.size == 0:
        return None
    first = int(changed[0])
    single = jax.jit(determinant)
    bracket = (float(grid[first]), float(grid[first + 1]))
    return root_scalar(lambda t: float(single(t)), bracket=bracket, xtol=1e-13, rtol=1e-13).root
