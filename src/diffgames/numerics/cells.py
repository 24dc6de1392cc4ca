"""Cells: Cartesian axes cut into equal intervals, chains that move between neighbours, and their exact transposes.

An axis from low to high has the centres x_i = low + (i + ½) h, i = 0, …, size − 1, h = (high − low)/size. A chain that
leaves cell i upwards at rate up_i and downwards at rate down_i has on values φ the generator

    (Aφ)_i = up_i (φ_{i+1} − φ_i) + down_i (φ_{i−1} − φ_i),

summed over axes, and on masses μ the transpose Aᵀ, written as flux through the faces: what leaves one cell enters the
next, so that mass is conserved to rounding. Nothing crosses a `reflecting` wall, a `line` is the whole line cut where
there should be next to no mass, and on a `periodic` axis the last cell is next to the first.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sparse
from jaxtyping import Array, Float
from scipy.linalg import get_lapack_funcs
from scipy.sparse.linalg import splu

from diffgames.errors import InvalidInput
from diffgames.numerics.grid import check_axis, check_names

WALLS = ("reflecting", "line", "periodic")
dgttrf, dgttrs = get_lapack_funcs(("gttrf", "gttrs"), dtype=np.float64)


class CellAxis(eqx.Module):
    """One named axis: `size` cells from `low` to `high`, and what happens at its ends."""

    name: str = eqx.field(static=True)
    low: float = eqx.field(static=True, converter=float)
    high: float = eqx.field(static=True, converter=float)
    size: int = eqx.field(static=True)
    wall: str = eqx.field(static=True, default="reflecting")

    def __check_init__(self):
        check_axis(self.name, self.low, self.high, self.size, least=4)
        if self.wall not in WALLS:
            raise InvalidInput(f"axis {self.name}: wall", self.wall, f"one of {', '.join(WALLS)}")

    @property
    def spacing(self) -> float:
        """Width h of a cell."""
        return (self.high - self.low) / self.size

    def centres(self) -> np.ndarray:
        """The centres of the cells."""
        return self.low + self.spacing * (np.arange(self.size) + 0.5)


class Cells(eqx.Module):
    """A product of axes; functions on it are arrays [..., N], the last axis running fastest."""

    axes: tuple[CellAxis, ...] = eqx.field(static=True)

    def __check_init__(self):
        check_names([axis.name for axis in self.axes])

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def size(self) -> int:
        """Number N of cells."""
        return math.prod(self.shape)

    @property
    def volume(self) -> float:
        """Volume of a cell."""
        return math.prod(axis.spacing for axis in self.axes)

    def points(self) -> np.ndarray:
        """Centres [d, N]."""
        mesh = np.meshgrid(*(axis.centres() for axis in self.axes), indexing="ij")
        return np.stack([part.reshape(-1) for part in mesh])

    def refined(self, factor: int = 2) -> "Cells":
        """The cells divided into `factor` along each axis."""
        return Cells(tuple(CellAxis(a.name, a.low, a.high, factor * a.size, a.wall) for a in self.axes))

    def open_faces(self) -> tuple[np.ndarray, np.ndarray]:
        """Which cells have a neighbour above and below along each axis, [d, N] each, as 0. and 1."""
        above, below = np.ones((len(self.axes), *self.shape)), np.ones((len(self.axes), *self.shape))
        for d, axis in enumerate(self.axes):
            if axis.wall != "periodic":
                above[(d, *(slice(None),) * d, -1)] = 0.0
                below[(d, *(slice(None),) * d, 0)] = 0.0
        return above.reshape(len(self.axes), -1), below.reshape(len(self.axes), -1)

    def _rolled(self, values: Array, d: int, by: int) -> Array:
        split = values.reshape(*values.shape[:-1], *self.shape)
        return jnp.roll(split, by, axis=values.ndim - 1 + d).reshape(values.shape)

    def slopes(self, values: Float[Array, "... N"]) -> tuple[Float[Array, "... d N"], Float[Array, "... d N"]]:
        """Forward and backward differences along each axis; zero through a wall."""
        above, below = self.open_faces()
        ahead = [(self._rolled(values, d, -1) - values) / axis.spacing for d, axis in enumerate(self.axes)]
        behind = [(values - self._rolled(values, d, 1)) / axis.spacing for d, axis in enumerate(self.axes)]
        shape = (*values.shape[:-1], len(self.axes), self.size)
        opened, closed = jnp.broadcast_to(above, shape), jnp.broadcast_to(below, shape)
        return jnp.stack(ahead, axis=-2) * opened, jnp.stack(behind, axis=-2) * closed

    def transported(
        self, up: Float[Array, "... d N"], down: Float[Array, "... d N"], mass: Float[Array, "... N"]
    ) -> Float[Array, "... N"]:
        """Aᵀμ: what flows into each cell less what leaves it."""
        total = jnp.zeros_like(mass)
        for d in range(len(self.axes)):
            rises, falls = up[..., d, :] * mass, down[..., d, :] * mass
            total = total + self._rolled(rises, d, 1) - rises + self._rolled(falls, d, -1) - falls
        return total

    def matrix(self, up: Float[np.ndarray, "d N"], down: Float[np.ndarray, "d N"]) -> sparse.csc_matrix:
        """The generator A as a sparse matrix."""
        here = np.arange(self.size)
        rows, columns, rates = [], [], []
        for d in range(len(self.axes)):
            for step, rate in ((-1, up[d]), (1, down[d])):
                there = np.roll(here.reshape(self.shape), step, axis=d).reshape(-1)
                rows += [here, here]
                columns += [there, here]
                rates += [rate, -rate]
        entries = (np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csc_matrix(entries, shape=(self.size, self.size))


class Resolvent:
    """(c − A)⁻¹ and its transpose for chains of several types, factored once: tridiagonal where it can be."""

    def __init__(self, cells: Cells, up: Float[np.ndarray, "K d N"], down: Float[np.ndarray, "K d N"], c: float):
        self.shape = (up.shape[0], cells.size)
        if len(cells.axes) == 1 and cells.axes[0].wall != "periodic":
            rises, falls = np.ascontiguousarray(up[:, 0]).reshape(-1), np.ascontiguousarray(down[:, 0]).reshape(-1)
            *self.factors, code = dgttrf(-falls[1:], c + rises + falls, -rises[:-1])
            self.lu = None
            if code:
                raise ZeroDivisionError("singular tridiagonal matrix")
        else:
            blocks = [c * sparse.identity(cells.size) - cells.matrix(up[k], down[k]) for k in range(len(up))]
            self.lu = splu(sparse.csc_matrix(sparse.block_diag(blocks)))

    def __call__(self, right: Float[np.ndarray, "K N"], transpose: bool = False) -> Float[np.ndarray, "K N"]:
        """The solution of (c − A) y = right, or of (c − Aᵀ) y = right."""
        flat = right.reshape(-1)
        if self.lu is None:
            found = dgttrs(*self.factors, flat, trans="T" if transpose else "N")[0]
        else:
            found = self.lu.solve(flat, trans="T" if transpose else "N")
        return found.reshape(self.shape)
