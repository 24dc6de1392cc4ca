"""Judge a matrix in units of its own: whether it is singular or definite must not hang on those of rows and columns."""

from types import ModuleType
from typing import Any

import jax.numpy as jnp


def equilibrated(matrix: Any, numpy: ModuleType = jnp) -> Any:
    """Rows, then columns, of [..., k, j] divided by their largest entries, by `numpy`'s functions."""
    for axis in (-1, -2):
        largest = numpy.max(numpy.abs(matrix), axis=axis, keepdims=True)
        matrix = matrix / numpy.where(largest > 0, largest, numpy.ones_like(largest))
    return matrix


def least_eigenvalue(matrix: Any, numpy: ModuleType = jnp) -> Any:
    """The least eigenvalue of the symmetric part of [..., n, n], its diagonal ±1 or 0."""
    matrix = (matrix + numpy.swapaxes(matrix, -1, -2)) / 2
    diagonal = numpy.abs(numpy.diagonal(matrix, axis1=-2, axis2=-1))
    root = numpy.sqrt(numpy.where(diagonal > 0, diagonal, numpy.ones_like(diagonal)))
    return numpy.linalg.eigvalsh(matrix / root[..., :, None] / root[..., None, :])[..., 0]
