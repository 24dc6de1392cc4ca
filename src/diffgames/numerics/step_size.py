"""Adaptive steps whose errors are judged without units: an entry of a matrix by itself and by what stands beside it.

Of the matrix M, the last two axes of a leaf, the entry ab may err in a step by

    rtol |M_ab| + atol s_ab,    s_ab = the largest |M_cd| of the matrix, or of all matrices, or √(|M_aa| |M_bb|).

The last one is for second moments, whose rows and columns have units of their own: |M_ab| ≤ √(M_aa M_bb).
"""

from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TINY = 1e-290
SHORTEST = 1e-13
Beside = Literal["matrix", "all", "diagonal"]


class Sized(diffrax.AbstractAdaptiveStepSizeController):
    """Steps by errors relative to an entry (`rtol`) and to s (`atol`), see the module; none is longer than `longest`.

    Time is meant to run over a span of order one.
    """

    rtol: float
    atol: float
    inner: diffrax.PIDController
    within: Beside = eqx.field(static=True)

    def __init__(self, rtol: float, atol: float, longest: float | None = None, within: Beside = "matrix"):
        self.rtol, self.atol, self.within = rtol, atol, within
        # A value that is zero until a coefficient jumps allows no error at all: the shortest step is taken as it is.
        self.inner = diffrax.PIDController(rtol=1.0, atol=TINY, dtmin=SHORTEST, dtmax=longest, force_dtmin=True)

    @property
    def norm(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        """The norm of scaled errors."""
        return self.inner.norm

    def wrap(self, direction):
        """The same controller; direction matters to none of its parts."""
        return self

    def init(self, *args):
        """The first step."""
        return self.inner.init(*args)

    def adapt_step_size(self, t0, t1, y0, y1_candidate, *rest):
        """The next step: what is handed on in place of the values is the error they allow."""
        return self.inner.adapt_step_size(t0, t1, self._allowed(y0), self._allowed(y1_candidate), *rest)

    def _allowed(self, y: Any) -> Any:
        absolute = jax.tree.map(lambda leaf: jnp.abs(jax.lax.stop_gradient(leaf)), y)
        most = jnp.max(sizes(absolute))

        def beside(size: Array) -> Array:
            if self.within == "all":
                return most
            if self.within == "matrix":
                return jnp.max(size, axis=(-2, -1) if size.ndim > 2 else None, keepdims=True)
            root = jnp.sqrt(jnp.diagonal(size, axis1=-2, axis2=-1))
            return root[..., :, None] * root[..., None, :]

        return jax.tree.map(lambda size: self.rtol * size + self.atol * beside(size), absolute)


def sizes(tree: Any) -> Float[Array, " matrices"]:
    """The largest entry of every matrix of a pytree."""
    return jnp.concatenate([jnp.max(jnp.abs(rows(leaf)), axis=1) for leaf in jax.tree.leaves(tree)])


def rows(leaf: Array) -> Float[Array, "matrices entries"]:
    """The entries of every matrix of a leaf: of its last two axes, of all where it has fewer than three."""
    return leaf.reshape(-1, leaf.shape[-1] * leaf.shape[-2]) if leaf.ndim > 2 else leaf.reshape(1, -1)
