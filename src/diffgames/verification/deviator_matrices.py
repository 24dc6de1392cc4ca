"""The matrices of a linear-quadratic one-player problem, made of values of the game's own functions.

    dz = (A_i z + B_i v) dt + Σ_k (C_ik z + D_ik v) dW_k + Σ_q E_iq z dÑ_iq,    z → J_ij z at a switch i → j,
    cost (z, v)ᵀ M_i (z, v) per unit of time, zᵀ G_i z at the end,    own control v = K_i z,    z = (x, 1).

Drift, diffusion, jump sizes, costs and the player's own control are asked at the origin, the unit vectors and their
sums: exact for affine and quadratic functions. Nothing of a solver, nor of its matrices, enters. Whether a function is
affine or quadratic is seen at random states.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, Profile

LIKENESS = 1e-6


class Stage(NamedTuple):
    """The matrices of a linear-quadratic one-player problem at one time, regime first."""

    drift: Float[Array, "m n n"]
    input: Float[Array, "m n k"]
    diffusion: Float[Array, "m noises n n"]
    noise_input: Float[Array, "m noises n k"]
    jump_scale: Float[Array, "m jumps n n"]
    jump_rate: Float[Array, "m jumps"]
    generator: Float[Array, "m m"]
    cost: Float[Array, "m nk nk"]
    gain: Float[Array, "m k n"]


def check_linear_quadratic(problem: DifferentialGame, own: Profile, draws: int = 8) -> None:
    """`InvalidInput`, naming the function, unless the one-player problem is linear-quadratic and `own` affine."""
    if problem.bounds[0] is not None:
        raise InvalidInput("bounds", problem.bounds[0], "a player with unbounded controls, for an exact response")
    if callable(problem.generator) and problem.regime_count > 1:
        raise InvalidInput("generator", "a function", "a constant matrix, for an exact response")
    n, k = problem.state_size, problem.control_sizes[0]
    rng = np.random.default_rng(0)
    wrong: dict[str, float] = {}
    for _ in range(draws):
        t = jnp.asarray(rng.uniform(0, 1)) * problem.horizon
        x, v = jnp.asarray(rng.normal(size=n)), jnp.asarray(rng.normal(size=k))
        i = jnp.asarray(rng.integers(problem.regime_count), jnp.int32)
        for name, error in _unlikeness(problem, own, t, x, v, i).items():
            wrong[name] = max(wrong.get(name, 0.0), float(error))
    for name, error in wrong.items():
        if not error < LIKENESS:
            words = "quadratic" if "cost" in name else "affine" if name != "jump rate" else "constant"
            raise InvalidInput(name, f"off by {error:.2g} relative", f"a function {words} in state and control")


def read_stage(problem: DifferentialGame, own: Profile, t: Float[Array, ""]) -> Stage:
    """The problem's matrices at time t, from values of its functions."""
    n, k, m = problem.state_size, problem.control_sizes[0], problem.regime_count
    zero, still = jnp.zeros(n), jnp.zeros(k)

    def one(i):
        drift = _affine(lambda x, v: problem.drift(t, x, (v,), i), zero, still)
        noise = _affine(lambda x, v: problem.diffusion(t, x, (v,), i).T, zero, still)
        gain = _affine(lambda x, v: own(t, x, i)[0], zero, still)[0]
        cost = quadratic_matrix(lambda y: problem.running_cost(t, y[:n], (y[n:],), i)[0], n + k)
        order = jnp.concatenate([jnp.arange(n), jnp.asarray([n + k]), jnp.arange(n, n + k)])  # (x, v, 1) to (x, 1, v)
        scales, rates = [jnp.zeros((0, n + 1, n + 1))], [jnp.zeros(0)]
        shift = jnp.zeros((n + 1, n + 1))
        for law in problem.jumps:
            nodes, weights = law.marks.quadrature()
            rate = jnp.asarray(law.rate(t, zero, (still,), i), jnp.float64)
            scale = jax.vmap(lambda z, law=law: _pad(_affine(lambda x, v: law.size(t, x, (v,), z, i), zero, still)[0]))(
                nodes
            )
            if not law.compensated:
                shift = shift + rate * jnp.einsum("q,qab->ab", weights.astype(jnp.float64), scale)
            scales.append(scale)
            rates.append(rate * weights.astype(jnp.float64))
        return (
            _pad(drift[0]) + shift,
            _pad(drift[1]),
            jax.vmap(_pad)(noise[0]),
            jax.vmap(_pad)(noise[1]),
            jnp.concatenate(scales),
            jnp.concatenate(rates),
            cost[order][:, order],
            gain,
        )

    a, b, c, d, e, rate, cost, gain = jax.vmap(one)(regime_labels(m))
    generator = jnp.zeros((m, m)) if callable(problem.generator) or problem.generator is None else problem.generator
    return Stage(a, b, c, d, e, rate, jnp.asarray(generator, jnp.float64), cost, gain)


def _affine(function: Callable, zero: Array, still: Array) -> tuple[Array, Array]:
    """[f_x, f(0)] (last axis n + 1) and f_v of an affine function of state and control, from its values."""
    n = zero.shape[0]
    y = jnp.concatenate([jnp.zeros((1, n + still.shape[0])), jnp.eye(n + still.shape[0])])
    values = jax.vmap(lambda y: function(y[:n], y[n:]), out_axes=-1)(y)
    constant = values[..., :1]
    return jnp.concatenate([values[..., 1 : n + 1] - constant, constant], axis=-1), values[..., n + 1 :] - constant


def _pad(matrix: Array) -> Array:
    """A last row of zeros: the constant 1 does not move."""
    return jnp.concatenate([matrix, jnp.zeros((1, matrix.shape[1]))])


def quadratic_matrix(function: Callable, size: int) -> Float[Array, "n n"]:
    """Symmetric M with f(y) = (y, 1)ᵀ M (y, 1) of a quadratic function, from its values."""
    zero, eye = jnp.zeros((1, size)), jnp.eye(size)
    pairs = (eye[:, None] + eye[None]).reshape(-1, size)
    values = jax.vmap(function)(jnp.concatenate([zero, eye, pairs]))
    constant, single, double = values[0], values[1 : size + 1], values[size + 1 :].reshape(size, size)
    curvature = (double - single[:, None] - single[None, :] + constant) / 2
    linear = (single - constant - jnp.diagonal(curvature)) / 2
    top = jnp.concatenate([curvature, linear[:, None]], axis=1)
    return jnp.concatenate([top, jnp.concatenate([linear, constant[None]])[None]])


def switch_matrices(problem: DifferentialGame) -> Float[Array, "m m n n"]:
    """z → J_ij z at a switch."""
    n, m = problem.state_size, problem.regime_count
    if problem.switch is None:
        return jnp.broadcast_to(jnp.eye(n + 1), (m, m, n + 1, n + 1))
    switch, corner = problem.switch, jnp.zeros((n + 1, n + 1)).at[n, n].set(1.0)

    def one(i, j):
        zero = jnp.zeros(n)
        return _pad(_affine(lambda x, v: switch(zero[0], x, i, j), zero, zero)[0]) + corner

    return jax.vmap(lambda i: jax.vmap(lambda j: one(i, j))(regime_labels(m)))(regime_labels(m))


@eqx.filter_jit
def _unlikeness(problem: DifferentialGame, own: Profile, t: Array, x: Array, v: Array, i: Array) -> dict[str, Array]:
    """How far, relative to its size, every function is at (x, v) from the one that its matrices describe."""
    stage, n = read_stage(problem, own, t), x.shape[0]
    z = jnp.append(x, 1.0)
    y = jnp.concatenate([z, v])
    control = (v,)
    triples: dict[str, tuple[Any, Any, Any]] = {}  # the function, what its matrices say, and the size of their terms
    shift = jnp.zeros(n)
    for number, law in enumerate(problem.jumps):
        rate = jnp.asarray(law.rate(t, x, control, i), jnp.float64)
        still = jnp.asarray(law.rate(t, 0 * x, (0 * v,), i), jnp.float64)
        triples[f"jumps[{number}].rate"] = (rate, still, still)
        if not law.compensated:
            shift = shift + rate * law.mean_size(t, x, control, i)
        mark = law.marks.quadrature()[0][0]
        scale = _affine(lambda x, v, law=law, mark=mark: law.size(t, x, (v,), mark, i), 0 * x, 0 * v)[0]
        triples[f"jumps[{number}].size"] = (law.size(t, x, control, mark, i), scale @ z, jnp.abs(scale) @ jnp.abs(z))
    moves = jnp.concatenate([stage.drift[i], stage.input[i]], axis=1)[:n]
    triples["drift"] = (problem.drift(t, x, control, i) + shift, moves @ y, jnp.abs(moves) @ jnp.abs(y))
    spread = jnp.concatenate([stage.diffusion[i], stage.noise_input[i]], axis=2)[:, :n]
    noise, most = spread @ y, jnp.abs(spread) @ jnp.abs(y)
    triples["diffusion"] = (problem.diffusion(t, x, control, i), noise.T, most)
    running = stage.cost[i]
    paid = problem.running_cost(t, x, control, i)[0]
    triples["running_cost"] = (paid, y @ running @ y, jnp.abs(y) @ jnp.abs(running) @ jnp.abs(y))
    last = quadratic_matrix(lambda x: problem.terminal_cost(x, i)[0], n)
    triples["terminal_cost"] = (problem.terminal_cost(x, i)[0], z @ last @ z, jnp.abs(z) @ jnp.abs(last) @ jnp.abs(z))
    triples["profile"] = (own(t, x, i)[0], stage.gain[i] @ z, jnp.abs(stage.gain[i]) @ jnp.abs(z))
    return {name: _relative(*triple) for name, triple in triples.items()}


def _relative(found: Array, wanted: Array, size: Array) -> Array:
    """max |found − wanted| in units of what either is made of: rounding is far below one, another function is not."""
    reference = jnp.maximum(_largest(found), _largest(size))
    return _largest(found - wanted) / jnp.where(reference > 0, reference, 1.0)


def _largest(array: Array) -> Array:
    """max |a|, zero of nothing (a game without noise has no diffusion)."""
    return jnp.max(jnp.abs(array), initial=0.0)


def regime_labels(m: int) -> Array:
    """0, …, m − 1 as the games' functions take them."""
    return jnp.arange(m, dtype=jnp.int32)
