"""Jump laws: finite-activity jumps with marks, compensated or not.

A law l adds to the state of a differential game the integral of a Poisson random measure N_l against its sizes,

    ∫ γ_l(t, X₋, u, z; i) Ñ_l(dt, dz),   Ñ_l = N_l − λ_l(t, X, u; i) F_l(dz) dt,

where λ_l is the intensity, F_l the law of the marks z and γ_l the jump of the state. Intensity and size may depend on
the controls: a quote decides how often it is hit and what a fill brings. An uncompensated law integrates against N_l
itself. The compensator needs E γ_l(t, x, u, Z; i); marks therefore come with quadrature nodes z_q and weights w_q,
exact for discrete marks and Gauss–Hermite for normal ones (exact for sizes that are polynomials of degree below twice
the number of nodes).
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput


class AbstractMarks(eqx.Module):
    """The law F of the marks of one kind of jump."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray) -> Float[Array, " marks"]:
        """One mark."""

    @abc.abstractmethod
    def quadrature(self) -> tuple[Float[Array, "nodes marks"], Float[Array, " nodes"]]:
        """Nodes z_q and weights w_q (summing to one) with E φ(Z) ≈ Σ_q w_q φ(z_q)."""


class FixedMark(AbstractMarks):
    """Every jump carries the same mark: the size is a function of time, state and regime alone."""

    value: Float[Array, " marks"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, " marks"]:
        """The mark."""
        return self.value

    def quadrature(self) -> tuple[Float[Array, "nodes marks"], Float[Array, " nodes"]]:
        """One node of weight one."""
        return self.value[None], jnp.ones(1, self.value.dtype)


class DiscreteMarks(AbstractMarks):
    """Finitely many marks with stated probabilities; an empirical sample is the case of equal ones."""

    values: Float[Array, "nodes marks"]
    probabilities: Float[Array, " nodes"]

    def __check_init__(self):
        if isinstance(self.probabilities, Tracer) or not isinstance(self.probabilities, jax.Array | np.ndarray):
            return
        odds = np.asarray(self.probabilities)
        if not (np.all(odds >= 0) and np.abs(odds.sum() - 1) <= 1e-6):  # NaN is neither
            raise InvalidInput("probabilities", odds.tolist(), "numbers ≥ 0 that sum to one")

    def sample(self, key: PRNGKeyArray) -> Float[Array, " marks"]:
        """One of the values."""
        uniform = jax.random.uniform(key, (), self.values.dtype)
        index = jnp.searchsorted(jnp.cumsum(self.probabilities), uniform, side="right")
        return self.values[jnp.minimum(index, self.values.shape[0] - 1)]

    def quadrature(self) -> tuple[Float[Array, "nodes marks"], Float[Array, " nodes"]]:
        """The values and their probabilities."""
        return self.values, self.probabilities


class NormalMarks(AbstractMarks):
    """One-dimensional normal marks N(mean, deviation²); Gauss–Hermite quadrature with `nodes` nodes."""

    mean: Float[Array, ""]
    deviation: Float[Array, ""]
    nodes: int = eqx.field(static=True, default=16)

    def __check_init__(self):
        for name in ("mean", "deviation"):
            value = getattr(self, name)
            if isinstance(value, Tracer) or not isinstance(value, jax.Array | np.ndarray):
                continue
            if not np.all(np.isfinite(value)) or (name == "deviation" and np.any(np.asarray(value) < 0)):
                words = "a finite number" + (" ≥ 0" if name == "deviation" else "")
                raise InvalidInput(name, np.asarray(value).tolist(), words)

    def sample(self, key: PRNGKeyArray) -> Float[Array, " marks"]:
        """A draw of N(mean, deviation²)."""
        return self.mean[None] + self.deviation[None] * jax.random.normal(key, (1,), self.mean.dtype)

    def quadrature(self) -> tuple[Float[Array, "nodes marks"], Float[Array, " nodes"]]:
        """Gauss–Hermite nodes of the normal law."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(self.nodes)
        points = self.mean + self.deviation * jnp.asarray(nodes, self.mean.dtype)
        return points[:, None], jnp.asarray(weights / weights.sum(), self.mean.dtype)


def draw_marks(marks: AbstractMarks, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape marks"]:
    """Independent marks; normal ones in one call of the generator, which is several times cheaper than one by one."""
    if isinstance(marks, NormalMarks):
        return marks.mean + marks.deviation * jax.random.normal(key, (*shape, 1), marks.mean.dtype)
    sample = marks.sample
    for _ in shape:
        sample = jax.vmap(sample)
    return sample(jax.random.split(key, shape))


class JumpLaw(eqx.Module):
    """One kind of jump: `rate(t, x, u, i)` per unit time, `size(t, x, u, mark, i)` of the state, law of the marks.

    `u` is the tuple of controls, one array per player; `i` the index of the regime (0 where there is one).
    """

    rate: Callable[..., Float[Array, ""]]
    size: Callable[..., Float[Array, " n"]]
    marks: AbstractMarks
    compensated: bool = eqx.field(static=True, default=True)

    def mean_size(
        self, t: Float[Array, ""], x: Float[Array, " n"], u: tuple[Array, ...], i: Int[Array, ""]
    ) -> Float[Array, " n"]:
        """E γ(t, x, u, Z; i) by the marks' quadrature."""
        nodes, weights = self.marks.quadrature()
        return weights.astype(x.dtype) @ jax.vmap(lambda mark: self.size(t, x, u, mark, i))(nodes)
