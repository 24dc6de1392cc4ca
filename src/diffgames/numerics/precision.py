"""Double precision where the numbers ask for it, whether or not JAX's global flag is set.

Riccati equations, grids and verification work in float64, learning and simulation in the precision of their inputs, and
a user has to know about no flag. So what builds or solves in float64 switches it on for itself (`in_double`), what is
handed float64 arrays keeps them (`keeping_double`), and what learns takes them over into float32 (`canonical`); JAX
alone would round them with a warning at every step.

>>> import jax.numpy as jnp
>>> double = in_double(lambda: jnp.asarray(0.1))()
>>> double.dtype, keeping_double(lambda x: 2 * x)(double).dtype
(dtype('float64'), dtype('float64'))
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

from diffgames.errors import InvalidInput

P = ParamSpec("P")
R = TypeVar("R")


def in_double(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run in double precision."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped


def keeping_double(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, run in double precision where any array among its arguments has it."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if jax.config.read("jax_enable_x64") or not _any_double((args, kwargs)):
            return function(*args, **kwargs)
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped


def solving_in_double(function: Callable[P, R]) -> Callable[P, R]:
    """`in_double` for what solves: `InvalidInput` where JAX, its flag off, compiles or reverses it in single precision.

    A program is compiled, and a gradient pulled back, after `function` has returned: its context is no help there.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if not jax.config.read("jax_enable_x64"):
            leaves = [leaf for leaf in jax.tree.leaves((args, kwargs)) if isinstance(leaf, Tracer)]
            if any(map(_staged, [jnp.zeros(()), *leaves])):
                allowed = "True under jit and grad: jax.config.update('jax_enable_x64', True) before any array is made"
                raise InvalidInput("jax_enable_x64", False, allowed)
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped


def _staged(value: Any) -> bool:
    """Whether a number belongs to a program that is still being written, beneath batches and tangents."""
    if not isinstance(value, Tracer):
        return False
    inside = ("val",) if hasattr(value, "batch_dim") else ("primal", "tangent")
    parts = [getattr(value, name) for name in inside if hasattr(value, name)]
    return "Linearize" in type(value).__name__ or not parts or any(map(_staged, parts))


def canonical(tree: Any) -> Any:
    """The tree in the precision that JAX's flag stands for: where it is not set, float64 arrays become float32."""
    if jax.config.read("jax_enable_x64"):
        return tree
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if _any_double(leaf) else leaf, tree)


def _any_double(tree: Any) -> bool:
    return any(isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(tree))
