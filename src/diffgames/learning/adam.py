"""Adam (Kingma and Ba 2015), in the dtype of the parameters.

With gradient g of step t = 1, 2, … and element-wise operations,

    m ← β₁ m + (1 − β₁) g,    s ← β₂ s + (1 − β₂) g²,    θ ← θ − η (m / (1 − β₁ᵗ)) / (√(s / (1 − β₂ᵗ)) + ε),

β₁ = 0.9, β₂ = 0.999, ε = 1e-8. A gradient longer than `max_gradient_norm` (Euclidean, over all parameters) is first
scaled down to that length.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Adam(eqx.Module):
    """The optimiser's state: running moments of the gradient, steps done (a float: exact up to 2²⁴)."""

    mean: PyTree
    square: PyTree
    steps: Float[Array, ""]


def start(parameters: PyTree) -> Adam:
    """State before the first step; `parameters` are arrays of floats."""
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return Adam(mean=zeros, square=zeros, steps=jnp.zeros((), jnp.float32))


def descend(
    parameters: PyTree,
    state: Adam,
    gradient: PyTree,
    learning_rate: float | Float[Array, ""],
    max_gradient_norm: float | None = None,
) -> tuple[PyTree, Adam]:
    """Parameters and state after one step."""
    if max_gradient_norm is not None:
        length = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
        shrink = jnp.minimum(1.0, max_gradient_norm / jnp.maximum(length, 1e-12))
        gradient = jax.tree.map(lambda g: g * shrink, gradient)
    steps = state.steps + 1.0
    mean = jax.tree.map(lambda m, g: BETA_1 * m + (1.0 - BETA_1) * g, state.mean, gradient)
    square = jax.tree.map(lambda s, g: BETA_2 * s + (1.0 - BETA_2) * g**2, state.square, gradient)
    rate = learning_rate / (1.0 - BETA_1**steps)
    correction = 1.0 - BETA_2**steps
    moved = jax.tree.map(lambda p, m, s: p - rate * m / (jnp.sqrt(s / correction) + EPSILON), parameters, mean, square)
    return moved, Adam(mean=mean, square=square, steps=steps)
