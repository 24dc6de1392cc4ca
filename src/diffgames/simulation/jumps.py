"""The jumps of one law in one step: counts without a cut, and the sum of as many sizes as were counted.

    N ~ Poisson(λh),    Σ_{k ≤ N} γ(t, x, u, Z_k; i) − [compensated]  λh E γ(t, x, u, Z; i),

rate and size frozen at the step's start. Marks of the first `FIRST` jumps are drawn for all paths in one call; where a
path counts more, a loop draws the others one by one from keys of their own, so that the sum has its law however many
there are. The loop is differentiated by running it again: the derivative of a sum is the sum of the derivatives.

A rate must be a number ≥ 0 and bring no more than `MOST` jumps in a step. Where it does not, the step leads to NaN and
`fault` holds the rate, for whoever runs the simulation to report (`report_fault`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Int, Key

from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls
from diffgames.games.jumps import FixedMark, JumpLaw, draw_marks
from diffgames.numerics.poisson import poisson_counts

FIRST = 4
"""So many marks are drawn at once."""
MOST = 1e6
"""More jumps than this in a step are refused: a limit by a diffusion, or shorter steps, are meant."""


class JumpDraws(eqx.Module):
    """Randomness of one law in the parts of one step of one path; batches of paths have a last axis more."""

    uniform: Float[Array, "*parts"]
    marks: Float[Array, "*parts_first_marks"] | None
    key: Key[Array, "*parts"]
    path: Int[Array, "*batch"]


class Jumped(NamedTuple):
    """Change of the state, log-probability of the counts, and the rate where it is none (else 0)."""

    change: Float[Array, " n"]
    log_likelihood: Float[Array, ""]
    fault: Float[Array, ""]


def jump_draws(
    law: JumpLaw, mark_keys: Key[Array, " parts"], more_keys: Key[Array, " parts"], uniform: Float[Array, "parts paths"]
) -> JumpDraws:
    """Draws for a batch of paths (last axis) at given uniforms; marks from `mark_keys`, those beyond from `more_keys`.

    Where there are fewer marks than paths asked for, as with antithetic pairs, repeat them by `paired`.
    """
    parts, paths = uniform.shape
    marks = None
    if not isinstance(law.marks, FixedMark):
        drawn = jax.vmap(lambda key: draw_marks(law.marks, key, (FIRST, paths)))(mark_keys)
        marks = jnp.moveaxis(drawn, 2, -1)
    return JumpDraws(
        uniform=uniform,
        marks=marks,
        key=jnp.broadcast_to(more_keys[:, None], (parts, paths)),
        path=jnp.arange(paths, dtype=jnp.int32),
    )


def paired(draws: JumpDraws) -> JumpDraws:
    """Twice the paths: an antithetic twin has opposite uniforms and the same marks."""
    twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf], axis=-1), draws)
    opposite = jnp.concatenate([draws.uniform, 1 - draws.uniform], axis=-1)
    return eqx.tree_at(lambda d: d.uniform, twice, opposite)


def jump(
    law: JumpLaw,
    t: Float[Array, ""],
    h: Float[Array, ""],
    x: Float[Array, " n"],
    u: Controls,
    i: Int[Array, ""],
    draws: JumpDraws,
) -> Jumped:
    """Jumps of one path in a step of length h, split into as many parts as the draws have."""
    parts = draws.uniform.shape[0]
    told = jnp.asarray(law.rate(t, x, u, i), x.dtype)
    valid = (told >= 0) & (told * h <= MOST)
    rate = jnp.where(valid, told, jnp.nan)
    mean = rate * h / parts
    counts = poisson_counts(draws.uniform, jnp.broadcast_to(mean, (parts,)))
    whole = counts.astype(jnp.int32)
    change = jnp.where(valid, jnp.zeros_like(x), jnp.nan)
    if law.compensated:
        change = change - h * rate * law.mean_size(t, x, u, i)
    if draws.marks is None:
        change = change + jnp.sum(counts) * law.size(t, x, u, law.marks.quadrature()[0][0], i)
    else:
        sizes = jax.vmap(jax.vmap(lambda mark: law.size(t, x, u, mark, i)))(draws.marks)
        present = jnp.arange(FIRST, dtype=jnp.int32)[None] < whole[:, None]
        change = change + jnp.sum(jnp.where(present[..., None], sizes, 0.0), axis=(0, 1))
        change = change + _beyond(law, t, x, u, i, whole, draws)
    logs = counts * jnp.log(jnp.maximum(mean, jnp.finfo(x.dtype).tiny)) - mean - gammaln(counts + 1)
    return Jumped(change=change, log_likelihood=jnp.sum(logs), fault=jnp.where(valid, 0.0, told))


def _beyond(law: JumpLaw, t: Array, x: Array, u: Controls, i: Array, counts: Array, draws: JumpDraws) -> Array:
    """Sum of the sizes of the jumps after the first ones."""

    def size(t: Array, x: Array, u: Controls, key: Array) -> Array:
        return jnp.asarray(law.size(t, x, u, law.marks.sample(key), i), x.dtype)

    pure = eqx.filter_closure_convert(size, t, x, u, draws.key[0])
    return _summed((pure, t, x, u), counts, draws.key, draws.path)


@eqx.filter_custom_vjp
def _summed(inputs: Any, counts: Array, keys: Array, path: Array) -> Array:
    return _accumulate(lambda key: inputs[0](*inputs[1:], key), jnp.zeros_like(inputs[2]), counts, keys, path)


@_summed.def_fwd
def _summed_forward(perturbed: Any, inputs: Any, counts: Array, keys: Array, path: Array) -> tuple[Array, None]:
    return _summed(inputs, counts, keys, path), None


@_summed.def_bwd
def _summed_backward(
    residuals: None, gradient: Array, perturbed: Any, inputs: Any, counts: Array, keys: Array, path: Array
) -> Any:
    learned, fixed = eqx.partition(inputs, eqx.is_inexact_array)

    def term(key: Array) -> Any:
        def size(learned: Any) -> Array:
            function, *arguments = eqx.combine(learned, fixed)
            return function(*arguments, key)

        return jax.vjp(size, learned)[1](gradient)[0]

    return _accumulate(term, jax.tree.map(jnp.zeros_like, learned), counts, keys, path)


def _accumulate(term: Callable[[Array], Any], zero: Any, counts: Array, keys: Array, path: Array) -> Any:
    """Σ over the parts r and `FIRST` ≤ k < counts_r of term(key of k), a pytree like `zero`."""

    def unfinished(carry: tuple[Array, Any]) -> Array:
        return jnp.any(carry[0] < counts)

    def add(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        k, total = carry
        found = jax.vmap(lambda key: term(jax.random.fold_in(jax.random.fold_in(key, path), k)))(keys)

        def masked(total: Array, part: Array) -> Array:
            present = (k < counts).reshape(-1, *(1,) * (part.ndim - 1))
            return total + jnp.sum(jnp.where(present, part, jnp.zeros_like(part)), axis=0)

        return k + 1, jax.tree.map(masked, total, found)

    return jax.lax.while_loop(unfinished, add, (jnp.asarray(FIRST, jnp.int32), zero))[1]


def first_fault(faults: Float[Array, "*sources paths"]) -> Float[Array, "*sources"]:
    """The first entry along the last axis that is not 0 (NaN is none), or 0."""
    faults = jax.lax.optimization_barrier(faults)  # else XLA folds the zeros of a source that cannot fail for seconds
    index = jnp.argmax(faults != 0, axis=-1, keepdims=True)
    return jnp.take_along_axis(faults, index, axis=-1)[..., 0]


def report_fault(fault: Float[Array, " sources"]) -> None:
    """`InvalidInput` for a rate that is none, met in a simulation: one entry per law, then one for the generator."""
    if isinstance(fault, Tracer):
        return
    found = np.asarray(fault)
    for index in np.flatnonzero(found != 0):
        key = f"jumps[{index}].rate" if index < found.size - 1 else "generator"
        words = "a rate ≥ 0 at every time, state and control that a step may lead to (jnp.maximum, or more steps)"
        if found[index] > 0 and np.isfinite(found[index]):
            words = f"at most {MOST:g} jumps in a step: more steps, or a diffusion in place of so many jumps"
        raise InvalidInput(key, float(found[index]), words)
