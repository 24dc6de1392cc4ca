"""Zero-sum matrix games, many at once, certified.

Rows minimise, columns maximise the payoff M. For mixed actions α of the rows and β of the columns,

    min_i (Mβ)_i ≤ value ≤ max_j (αᵀM)_j,

so that the duality gap max_j (αᵀM)_j − min_i (Mβ)_i certifies a pair whoever computed it. Small games are solved
exactly by kernels (Shapley & Snow 1950): every game has an optimal pair supported on some square submatrix B, the
solution of

    Bᵀα = v 1,  1ᵀα = 1,    Bβ = v 1,  1ᵀβ = 1,

and the one with the least gap of all Σ_k C(m, k) C(n, k) = C(m + n, m) submatrices is returned. Larger games run a
fixed number of steps of regret matching⁺ with linear averaging, whose gap falls like 1/steps or faster and is
reported.
"""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput

LARGEST_EXACT = 8
"""Rows and columns together up to which `solve_matrix_game` enumerates kernels by itself (at most 70 of them)."""


class MatrixSolution(eqx.Module):
    """Value, mixed actions of rows (minimising) and columns (maximising), and the duality gap that certifies them."""

    value: Float[Array, "..."]
    row: Float[Array, "..."]
    column: Float[Array, "..."]
    gap: Float[Array, "..."]

    def __repr__(self) -> str:
        return f"MatrixSolution({self.value.size} game(s), largest duality gap {float(jnp.max(self.gap)):.3g})"


def solve_matrix_game(payoff: Float[Array, "... rows columns"], iterations: int | None = None) -> MatrixSolution:
    """Solve games of shape [..., rows, columns]: exactly if small, else by `iterations` steps (2,000 by default).

    >>> import jax.numpy as jnp
    >>> found = solve_matrix_game(jnp.array([[0.0, 2.0], [3.0, 1.0]]))
    >>> bool(abs(found.value - 1.5) < 1e-6), bool(found.gap < 1e-6)
    (True, True)
    """
    if payoff.ndim < 2 or not payoff.size:
        raise InvalidInput("payoff", f"shape {payoff.shape}", "[..., rows, columns], at least one of each")
    rows, columns = payoff.shape[-2:]
    flat = payoff.reshape(-1, rows, columns)
    if iterations is None and rows + columns <= LARGEST_EXACT:
        row, column = _by_kernels(flat)
    else:
        row, column = jax.vmap(lambda game: _by_regret(game, iterations or 2000))(flat)
    upper = jnp.max(_products(row, flat), axis=-1)
    lower = jnp.min(_products(column, jnp.swapaxes(flat, -1, -2)), axis=-1)
    batch = payoff.shape[:-2]
    return MatrixSolution(
        value=(0.5 * (upper + lower)).reshape(batch),
        row=row.reshape(*batch, rows),
        column=column.reshape(*batch, columns),
        gap=(upper - lower).reshape(batch),
    )


def solve_pure(payoff: Float[Array, "... rows columns"]) -> MatrixSolution:
    """Pure actions, the rows' announced first: value min_i max_j M_ij; the gap is min max − max min, 0 at a saddle."""
    rows, columns = payoff.shape[-2:]
    upper, lower = jnp.min(jnp.max(payoff, axis=-1), axis=-1), jnp.max(jnp.min(payoff, axis=-2), axis=-1)
    first = jnp.argmin(jnp.max(payoff, axis=-1), axis=-1)
    row = jax.nn.one_hot(first, rows, dtype=payoff.dtype)
    answer = jnp.argmax(jnp.sum(row[..., None] * payoff, axis=-2), axis=-1)
    return MatrixSolution(
        value=upper, row=row, column=jax.nn.one_hot(answer, columns, dtype=payoff.dtype), gap=upper - lower
    )


def _products(mixed: Array, games: Array) -> Array:
    """αᵀM for every game, summed component by component (tiny sizes)."""
    return jnp.sum(mixed[..., None] * games, axis=-2)


def _kernels(rows: int, columns: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All square supports."""
    found = []
    for size in range(1, min(rows, columns) + 1):
        for own in itertools.combinations(range(rows), size):
            found += [(own, other) for other in itertools.combinations(range(columns), size)]
    return found


def _by_kernels(games: Array) -> tuple[Array, Array]:
    """The pair of least duality gap among all kernels, for games [batch, rows, columns]."""
    batch, rows, columns = games.shape
    best_gap = jnp.full(batch, jnp.inf, games.dtype)
    best_row, best_column = jnp.zeros((batch, rows), games.dtype), jnp.zeros((batch, columns), games.dtype)
    for own, other in _kernels(rows, columns):
        kernel = games[:, np.array(own)][:, :, np.array(other)]
        row = _embedded(_equalising(kernel), own, rows)
        column = _embedded(_equalising(jnp.swapaxes(kernel, 1, 2)), other, columns)
        upper = jnp.max(_products(row, games), axis=-1)
        lower = jnp.min(_products(column, jnp.swapaxes(games, 1, 2)), axis=-1)
        gap = jnp.where(jnp.isfinite(upper - lower), upper - lower, jnp.inf)
        better = gap < best_gap
        best_row = jnp.where(better[:, None], row, best_row)
        best_column = jnp.where(better[:, None], column, best_column)
        best_gap = jnp.minimum(gap, best_gap)
    return best_row, best_column


def _equalising(kernel: Array) -> Array:
    """α with Bᵀα = v 1 and 1ᵀα = 1, brought back onto the simplex where it is not on it: [batch, size]."""
    batch, size, _ = kernel.shape
    ones = jnp.ones((batch, size), kernel.dtype)
    if size == 1:
        return ones
    if size == 2:
        numerator = jnp.stack([kernel[:, 1, 1] - kernel[:, 1, 0], kernel[:, 0, 0] - kernel[:, 0, 1]], axis=1)
        mixed = numerator / _nonzero(jnp.sum(numerator, axis=1))[:, None]
    else:
        scale = _nonzero(jnp.max(jnp.abs(kernel), axis=(1, 2)))[:, None, None]
        top = jnp.concatenate([jnp.swapaxes(kernel, 1, 2) / scale, -ones[:, :, None]], axis=2)
        bottom = jnp.concatenate([ones, jnp.zeros((batch, 1), kernel.dtype)], axis=1)[:, None, :]
        right = jnp.concatenate([jnp.zeros_like(ones), jnp.ones((batch, 1), kernel.dtype)], axis=1)[..., None]
        mixed = jnp.linalg.solve(jnp.concatenate([top, bottom], axis=1), right)[:, :size, 0]
    mixed = jnp.maximum(jnp.where(jnp.isfinite(mixed), mixed, 1.0), 0.0)
    total = jnp.sum(mixed, axis=1)[:, None]
    usable = (total > 0) & (total < 1e12)  # a kernel that is singular has no solution
    return jnp.where(usable, mixed / _nonzero(total), 1.0 / size)


def _nonzero(value: Array) -> Array:
    return jnp.where(value == 0, jnp.finfo(value.dtype).tiny, value)


def _embedded(mixed: Array, support: tuple[int, ...], size: int) -> Array:
    return jnp.zeros((mixed.shape[0], size), mixed.dtype).at[:, np.array(support)].set(mixed)


def _by_regret(game: Array, iterations: int) -> tuple[Array, Array]:
    """Regret matching⁺, alternating, averaged with weights 1, 2, 3, …."""
    rows, columns = game.shape

    def mixed(regret: Array) -> Array:
        total = jnp.sum(regret)
        uniform = jnp.full_like(regret, 1.0 / regret.shape[0])
        return jnp.where(total > 0, regret / jnp.where(total > 0, total, 1.0), uniform)

    def body(k: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        row_regret, column_regret, row_sum, column_sum = carry
        weight = (k + 1).astype(game.dtype)
        row, column = mixed(row_regret), mixed(column_regret)
        losses = game @ column
        row_regret = jnp.maximum(row_regret + row @ losses - losses, 0.0)
        row = mixed(row_regret)
        gains = row @ game
        column_regret = jnp.maximum(column_regret + gains - gains @ column, 0.0)
        column = mixed(column_regret)
        return row_regret, column_regret, row_sum + weight * row, column_sum + weight * column

    zeros = jnp.zeros(rows, game.dtype), jnp.zeros(columns, game.dtype)
    final = jax.lax.fori_loop(0, iterations, body, (*zeros, *zeros))
    return final[2] / jnp.sum(final[2]), final[3] / jnp.sum(final[3])
