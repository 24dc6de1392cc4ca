"""One step of Adam on a tree of arrays, in the precision of the tree, with a rate that may be traced."""

from typing import Any

import jax
import optax
from jaxtyping import Array, Float, PyTree

_MOMENTS = optax.scale_by_adam()


def start(parameters: PyTree) -> Any:
    """The optimiser's state before the first step."""
    return _MOMENTS.init(parameters)


def descend(parameters: PyTree, state: Any, gradient: PyTree, rate: float | Float[Array, ""]) -> tuple[PyTree, Any]:
    """Parameters and state after θ ← θ − rate · (Adam's direction)."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its counter with floats
        direction, state = _MOMENTS.update(gradient, state)
        moved = jax.tree.map(lambda p, c: (p - rate * c).astype(p.dtype), parameters, direction)
    return moved, state
