"""Named Cartesian grids: axes, their boundaries, ghost points and interpolation.

An axis holds the points x_k = low + k h, k = 0, …, size − 1, with h = (high − low)/(size − 1); a periodic one leaves
the last of them out, because it is the first, and has h = (high − low)/size. What a scheme sees beyond the last point
is a ghost value, by the kind of `boundary`:

- `reflecting`: the value at the boundary itself, so that nothing leaves; an artificial end of an unbounded space
- `linear`: extrapolated linearly (exact for affine values, but not monotone); an artificial end as well
- `constrained`: as reflecting, and controls that would push the state out are not admissible (a state constraint)
- `absorbing`: the game ends there at its terminal cost
- `periodic`: the value at the other end

Interpolation is multilinear: weights are ≥ 0 and sum to one, so constants stay what they are and the scheme monotone.
Points beyond an end are moved onto it (beyond a `linear` one, extrapolated: weights then still sum to one).
"""

import itertools
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from diffgames.errors import InvalidInput

BOUNDARIES = ("reflecting", "linear", "constrained", "absorbing", "periodic")
ARTIFICIAL = ("reflecting", "linear")
"""Boundaries that cut an unbounded space off, where what leaks out is an error."""


def check_axis(name: str, low: float, high: float, size: int, least: int) -> None:
    """`InvalidInput` for ends that are no interval, and for fewer than `least` points or cells."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidInput(f"axis {name}", (low, high), "low < high, both finite")
    if size < least:
        raise InvalidInput(f"axis {name}: size", size, f"an integer, at least {least}")


def check_names(names: list[str]) -> None:
    """`InvalidInput` for no axes, and for two of one name."""
    if not names or len(set(names)) != len(names):
        raise InvalidInput("axes", names, "at least one axis, each with its own name")


class Axis(eqx.Module):
    """One named axis: `size` points from `low` to `high`, and what happens at its ends."""

    name: str = eqx.field(static=True)
    low: float = eqx.field(static=True, converter=float)
    high: float = eqx.field(static=True, converter=float)
    size: int = eqx.field(static=True)
    boundary: str = eqx.field(static=True, default="reflecting")

    def __check_init__(self):
        check_axis(self.name, self.low, self.high, self.size, least=3)
        if self.boundary not in BOUNDARIES:
            raise InvalidInput(f"axis {self.name}: boundary", self.boundary, f"one of {', '.join(BOUNDARIES)}")

    @property
    def periodic(self) -> bool:
        """Whether the ends meet."""
        return self.boundary == "periodic"

    @property
    def spacing(self) -> float:
        """Distance h of neighbouring points."""
        return (self.high - self.low) / (self.size if self.periodic else self.size - 1)

    def coordinates(self) -> np.ndarray:
        """The points, float64."""
        return self.low + self.spacing * np.arange(self.size)

    def refined(self) -> "Axis":
        """The axis with half the spacing; its every second point is one of this axis."""
        size = 2 * self.size if self.periodic else 2 * self.size - 1
        return Axis(self.name, self.low, self.high, size, self.boundary)


class Grid(eqx.Module):
    """A Cartesian product of named axes; values on it are arrays [..., *shape]."""

    axes: tuple[Axis, ...] = eqx.field(static=True)

    def __check_init__(self):
        check_names([axis.name for axis in self.axes])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes, in the order of the state's components."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def size(self) -> int:
        """Points of the grid."""
        return math.prod(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Spacing of each axis."""
        return tuple(axis.spacing for axis in self.axes)

    def points(self, dtype=jnp.float64) -> Float[Array, "n points"]:
        """Every point of the grid, the last axis running fastest."""
        mesh = np.meshgrid(*(axis.coordinates() for axis in self.axes), indexing="ij")
        return jnp.asarray(np.stack([part.reshape(-1) for part in mesh]), dtype)

    def edge(self, kinds: tuple[str, ...] = BOUNDARIES[:-1]) -> np.ndarray:
        """Mask [points] of the points on the ends of axes with one of these boundaries."""
        mask = np.zeros(self.shape, bool)
        for d, axis in enumerate(self.axes):
            if axis.boundary in kinds:
                for end in (0, -1):
                    mask[(slice(None),) * d + (end,)] = True
        return mask.reshape(-1)

    def refined(self) -> "Grid":
        """The grid with half the spacing on every axis."""
        return Grid(tuple(axis.refined() for axis in self.axes))

    def coarse_part(self, values: Float[Array, "..."] | Float[np.ndarray, "..."]) -> Array | np.ndarray:
        """Of values on the refined grid, those at the points of this grid."""
        return values[(..., *(slice(None, None, 2) for _ in self.axes))]

    def padded(self, values: Float[Array, "..."]) -> Float[Array, "..."]:
        """Values [..., *shape] with one ghost point at either end of every axis."""
        first = values.ndim - len(self.axes)
        for d, axis in enumerate(self.axes):
            values = _with_ghosts(values, first + d, axis.boundary)
        return values

    def locate(
        self, x: Float[Array, "n points"]
    ) -> tuple[Int[Array, "corners points"], Float[Array, "corners points"]]:
        """Flat indices of the corners of the cells around points x, and the multilinear weights of these corners."""
        lower, upper, fraction = [], [], []
        for d, axis in enumerate(self.axes):
            position = (x[d] - axis.low) / axis.spacing
            if axis.periodic:
                position = position - axis.size * jnp.floor(position / axis.size)
            elif axis.boundary != "linear":
                position = jnp.clip(position, 0.0, axis.size - 1.0)
            last = axis.size - 1 if axis.periodic else axis.size - 2
            cell = jnp.clip(jnp.floor(position), 0.0, float(last)).astype(jnp.int32)
            lower.append(cell)
            upper.append((cell + 1) % axis.size if axis.periodic else cell + 1)
            share = position - cell.astype(position.dtype)
            fraction.append(share if axis.boundary == "linear" else jnp.clip(share, 0.0, 1.0))
        indices, weights = [], []
        for corner in itertools.product((0, 1), repeat=len(self.axes)):
            index, weight = jnp.zeros_like(lower[0]), jnp.ones_like(x[0])
            for d, bit in enumerate(corner):
                index = index * self.axes[d].size + (upper[d] if bit else lower[d])
                weight = weight * (fraction[d] if bit else 1.0 - fraction[d])
            indices.append(index)
            weights.append(weight)
        return jnp.stack(indices), jnp.stack(weights)

    def interpolate(self, values: Float[Array, "..."], x: Float[Array, "n points"]) -> Float[Array, "..."]:
        """Values [..., *shape] at the points x: [..., points]."""
        indices, weights = self.locate(x)
        flat = values.reshape(*values.shape[: values.ndim - len(self.axes)], -1)
        return jnp.sum(flat[..., indices] * jnp.broadcast_to(weights, (*flat.shape[:-1], *weights.shape)), axis=-2)

    def __repr__(self) -> str:
        parts = (f"{a.name} {a.low:g}…{a.high:g} in {a.size} ({a.boundary})" for a in self.axes)
        return f"Grid({', '.join(parts)})"


def check_inside(grid: Grid, x: Float[Array, "n points"], key: str, kinds: tuple[str, ...] = BOUNDARIES[:-1]) -> None:
    """`InvalidInput` for points beyond an end of an axis whose boundary is of one of these kinds (traced ones pass)."""
    if isinstance(x, Tracer):
        return
    for axis, values in zip(grid.axes, np.asarray(x), strict=True):
        slack = 1e-6 * axis.spacing
        outside = ~((values >= axis.low - slack) & (values <= axis.high + slack))  # NaN is
        if axis.boundary in kinds and outside.any():
            words = f"a state on the grid, {axis.name} from {axis.low:g} to {axis.high:g} ({axis.boundary})"
            raise InvalidInput(key, float(values[outside][0]), words)


def _with_ghosts(values: Array, axis: int, boundary: str) -> Array:
    def part(start: int, stop: int | None) -> Array:
        return values[(slice(None),) * axis + (slice(start, stop),)]

    first, last = part(0, 1), part(-1, None)
    if boundary == "periodic":
        before, after = last, first
    elif boundary == "linear":
        before, after = 2.0 * first - part(1, 2), 2.0 * last - part(-2, -1)
    else:
        before, after = first, last
    return jnp.concatenate([before, values, after], axis=axis)
