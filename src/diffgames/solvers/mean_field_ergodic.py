"""Ergodic mean-field games on cells: the least mean cost per unit of time, and the law that its policies settle at.

    λ = h(V, φ(μ)),      A(V)ᵀ μ = 0,      Σ V = 0,      Σ μ = 1    for every type (`solvers.mean_field_scheme`).

The law is eliminated: μ(V) is the stationary law of the chain of V, positive to rounding whatever V is, so that costs
like log μ make sense on the way. Newton's method solves λ − h(V, φ(μ(V))) = 0. Its Jacobian is applied by automatic
differentiation, and GMRES preconditioned by the bordered matrix [[−A, 1], [1ᵀ/N, 0]] of the present policies, factored
once; its transpose gives the law and the law's derivative. One to three dimensions, as far as sparse factors fit. Games
of little noise are reached along games of more (Achdou & Capuzzo-Dolcetta 2010).
"""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float
from scipy.sparse.linalg import splu

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_checks import check_effort, check_game, edge_words
from diffgames.games.mean_field_grid import TypedMeanFieldGame, with_numbers
from diffgames.numerics.cells import Cells
from diffgames.numerics.precision import in_double
from diffgames.solvers.krylov import krylov
from diffgames.solvers.mean_field_scheme import MeanFieldScheme

LEAST = 1e-250
"""Rates below this are this, so that no law is cut in two."""


@dataclass(frozen=True)
class ErgodicSolution:
    """Values [K, N], masses [K, N], controls [K, d, N], λ [K], and how it went, `solved` or `slow`."""

    scheme: MeanFieldScheme
    values: Float[np.ndarray, "K N"]
    mass: Float[np.ndarray, "K N"]
    control: Float[np.ndarray, "K d N"]
    constant: Float[np.ndarray, " K"]
    residuals: tuple[float, ...]
    status: str
    cautions: tuple[str, ...] = ()

    @property
    def iterations(self) -> int:
        """Newton steps done, those of games of more noise included."""
        return len(self.residuals) - 1

    @property
    def mass_error(self) -> float:
        """Largest deviation of a total mass from one."""
        return float(np.abs(self.mass.sum(axis=-1) - 1.0).max())


class _Bordered:
    """[[−A, 1], [1ᵀ/N, 0]] of every type, factored."""

    def __init__(self, cells: Cells, up: np.ndarray, down: np.ndarray):
        if _on_a_line(cells):  # a preconditioner alone: every cell can be left
            above, below = cells.open_faces()
            up, down = up + 1e-9 * up.max() * above, down + 1e-9 * down.max() * below
        ones = np.ones((cells.size, 1))
        self.factors = [
            splu(sparse.csc_matrix(sparse.bmat([[-cells.matrix(up[k], down[k]), ones], [ones.T / cells.size, None]])))
            for k in range(len(up))
        ]

    def __call__(self, right: np.ndarray, last: float = 0.0, transpose: bool = False) -> tuple[np.ndarray, np.ndarray]:
        flag = "T" if transpose else "N"
        found = [lu.solve(np.append(row, last), trans=flag) for lu, row in zip(self.factors, right, strict=True)]
        return np.stack([one[:-1] for one in found]), np.asarray([one[-1] for one in found])


@eqx.filter_jit
def _local(scheme, values, mass):
    return scheme.local(values, mass)


def _on_a_line(cells: Cells) -> bool:
    return len(cells.axes) == 1 and cells.axes[0].wall != "periodic"


def _balanced(up: jax.Array, down: jax.Array) -> jax.Array:
    """The stationary law of chains on a line, to the last digit: what rises through a face falls through it."""
    logs = jnp.log(jnp.maximum(up[:, 0, :-1], LEAST)) - jnp.log(jnp.maximum(down[:, 0, 1:], LEAST))
    return jax.nn.softmax(jnp.concatenate([jnp.zeros_like(logs[:, :1]), jnp.cumsum(logs, axis=1)], axis=1), axis=1)


@eqx.filter_jit
def _linearized(scheme, values, mass):
    """δ(V, μ) ↦ δh, and how μ(V) moves: the law itself on a line, what flows into every cell elsewhere."""

    def both(v, m):
        at = scheme.local(v, m)
        line = _on_a_line(scheme.cells)
        moved = _balanced(at.up, at.down) if line else scheme.cells.transported(at.up, at.down, m)
        return at.hamiltonian, moved

    return jax.linearize(both, values, mass)[1]


@eqx.filter_jit
def _law_on_a_line(up, down):
    return _balanced(up, down)


@eqx.filter_jit
def _applied(linear, *changes):
    return linear(*changes)


def _at(scheme: MeanFieldScheme, values: np.ndarray, held: np.ndarray):
    """The law of the chain of `values`, the bordered matrix, h less λ, and λ.

    The chain itself may feel the law (a drift that does): a few rounds from `held`.
    """
    mass = held
    for _ in range(20):
        local = jax.tree.map(np.asarray, _local(scheme, values, mass))
        bordered = _Bordered(scheme.cells, local.up, local.down)
        if _on_a_line(scheme.cells):
            new = np.asarray(_law_on_a_line(local.up, local.down))
        else:
            new, _ = bordered(np.zeros_like(values), 1.0, transpose=True)
        done = np.abs(new - mass).max() <= 1e-15
        mass = new
        again = jax.tree.map(np.asarray, _local(scheme, values, mass))
        if done or (np.array_equal(again.up, local.up) and np.array_equal(again.down, local.down)):
            break
    constant = np.einsum("kn,kn->k", mass, again.hamiltonian)
    return mass, bordered, constant[:, None] - again.hamiltonian, constant


def _change(scheme: MeanFieldScheme, bordered: _Bordered, derivative, left: np.ndarray, accuracy: float) -> np.ndarray:
    """What Newton's method takes from the values."""

    def product(right: np.ndarray) -> np.ndarray:
        change, shift = bordered(right)
        moved = np.asarray(_applied(derivative, change, np.zeros_like(right))[1])
        moved = moved if _on_a_line(scheme.cells) else bordered(moved, transpose=True)[0]
        return shift[:, None] - np.asarray(_applied(derivative, change, moved)[0])

    return bordered(krylov(product, left, accuracy))[0]


def _solve(scheme: MeanFieldScheme, values: np.ndarray, mass: np.ndarray, tolerance: float, longest: int):
    """Newton's method with steps halved until the residual falls, weighted by the law and the uniform one."""

    def size(law: np.ndarray, left: np.ndarray) -> float:
        return float(np.sqrt(np.sum(left**2 * (law + 1e-3 / law.shape[1]))))

    mass, bordered, left, constant = _at(scheme, values, mass)
    residuals = [size(mass, left)]
    while residuals[-1] > tolerance and len(residuals) <= longest:
        derivative = _linearized(scheme, values, mass)
        change = _change(scheme, bordered, derivative, left, min(1e-2, max(1e-8, 0.01 * residuals[-1])))
        step = 1.0
        while step > 1e-4:
            tried = _at(scheme, values - step * change, mass)
            if np.all(np.isfinite(tried[2])) and size(tried[0], tried[2]) < (1.0 - 1e-3 * step) * residuals[-1]:
                break
            step *= 0.5
        else:
            break
        values, (mass, bordered, left, constant) = values - step * change, tried
        residuals.append(size(mass, left))
    return values, mass, constant, residuals, residuals[-1] <= tolerance


@in_double
def solve_ergodic(
    game: TypedMeanFieldGame,
    cells: Cells,
    *,
    reading: str = "game",
    differences: str = "central",
    tolerance: float = 1e-9,
    longest: int = 100,
) -> ErgodicSolution:
    """Solve a game without end on cells. `InvalidInput` where its horizon is finite or a type has no noise."""
    if np.isfinite(game.horizon):
        raise InvalidInput("horizon", game.horizon, "infinite; solve_mean_field takes games that end")
    check_effort(tolerance, longest)
    cautions = check_game(game, cells)
    points = jnp.asarray(cells.points())
    least = min(float(jax.vmap(one.noise, in_axes=1)(points).min()) for one in game.types)
    if not least > 0:
        raise InvalidInput("diffusion", least, "positive: without noise the law need not be unique")
    game = with_numbers(game)
    scheme = MeanFieldScheme(game, cells, reading, differences)
    shape = (len(game.types), cells.size)
    values, mass = np.zeros(shape), np.full(shape, 1.0 / cells.size)
    for _ in range(4):  # a few policy iterations under the uniform law
        local = jax.tree.map(np.asarray, _local(scheme, values, mass))
        values = values + _Bordered(cells, local.up, local.down)(local.hamiltonian)[0]
    found = _solve(scheme, values, mass, tolerance, min(longest, 25))
    residuals = list(found[3])
    width = max(axis.high - axis.low for axis in cells.axes)
    extra, ratio, reached = 0.05 * width**2, 0.3, found[-1]
    while not reached and len(residuals) <= longest:
        final = extra < 1e-3 * least**2
        softer = dataclasses.replace(scheme, extra=0.0 if final else extra)
        found = _solve(softer, values, mass, tolerance if final else 1e-4, 20)
        residuals += found[3][1:]
        if not found[-1]:
            break
        values, mass, reached, extra = found[0], found[1], final, extra * ratio
    values, mass, constant = found[:3]
    control = np.asarray(_local(scheme, values, mass).control)
    status = "solved" if reached else "slow"
    cautions += edge_words(cells, mass)
    return ErgodicSolution(scheme, values, mass, control, constant, tuple(residuals), status, tuple(cautions))
