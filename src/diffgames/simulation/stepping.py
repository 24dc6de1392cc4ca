"""One Euler–Maruyama step of a differential game with jumps and regimes, and the randomness it consumes.

With controls u = profile(t, x, i) held over a step of length h,

    x⁺ = x + [b − Σ_l λ_l E γ_l] h + σ ΔW + Σ_l Σ_{k ≤ ΔN_l} γ_l(t, x, u, z_lk; i),   ΔN_l ~ Poisson(λ_l h),

compensators present for compensated laws only. Counts are drawn by inverting the Poisson distribution function at a
uniform, up to `max_jumps` jumps of a law in a step; the probability that this bound cuts is returned. The regime then
moves by exp(μ h) where the generator is a constant matrix (exact in law at the grid times) and by

    P(i → i) = e^{μ_ii h},   P(i → j) = (1 − e^{μ_ii h}) μ_ij / (−μ_ii)

where it depends on time, state or controls (first order). `refine` = R splits the randomness of a step into R parts of
length h/R, the same that R steps of length h/R would use: coarse and fine paths on the same Brownian motion.

Intensities and generators that depend on the controls act on the objectives through the law of discrete outcomes, where
no pathwise derivative exists; `log_likelihood`, the log-probability of a step's outcomes, is for the score-function
term.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.games.differential import Controls, DifferentialGame
from diffgames.games.jumps import FixedMark, JumpLaw, draw_marks


class Draws(eqx.Module):
    """Randomness of one step of one path; batches of paths have a last axis more."""

    brownian: Float[Array, "*noises"]
    jump: Float[Array, "*refine_laws"]
    marks: tuple[Float[Array, "*refine_jumps_marks"] | None, ...]
    switch: Float[Array, "*refine"]


class Move(NamedTuple):
    """Where a step leads: state, regime, probability that `max_jumps` cut, log-probability of discrete outcomes."""

    state: Float[Array, " n"]
    regime: Int[Array, ""]
    truncation: Float[Array, ""]
    log_likelihood: Float[Array, ""]


def draw(
    game: DifferentialGame,
    key: PRNGKeyArray,
    step: Int[Array, ""],
    batch: int,
    antithetic: bool,
    shape: tuple[int, int],
) -> Draws:
    """Draws of step number `step` for `batch` paths (last axis); `shape` = (refine, max_jumps).

    With `antithetic`, path b + batch/2 uses −ΔW and 1 − (uniform) where path b uses ΔW and the uniform.
    """
    refine, max_jumps = shape
    dtype = jax.eval_shape(game.initial, key)[0].dtype
    half = batch // 2 if antithetic else batch
    parts = step * refine + jnp.arange(refine, dtype=jnp.int32)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, parts)
    noises, laws = game.noise_size, len(game.jumps)
    # One call for everything: v uniform on (−1, 1) makes normals, uniforms, and by −v their antithetic twins.
    open_end = np.nextafter(np.array(-1.0, dtype), np.array(0.0, dtype))
    rows = (noises + laws + 1, half)
    v = jax.vmap(lambda key: jax.random.uniform(key, rows, dtype, open_end, 1.0))(keys)
    v = jnp.concatenate([v, -v], axis=-1) if antithetic else v
    increments = math.sqrt(2.0) * jax.lax.erf_inv(v[:, :noises])
    uniforms = (v[:, noises:] + 1) / 2
    marks = []
    for index, law in enumerate(game.jumps):
        if isinstance(law.marks, FixedMark):
            marks.append(None)
            continue
        sub = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)
        drawn = jax.vmap(lambda key, law=law: draw_marks(law.marks, key, (max_jumps, half)))(sub)
        drawn = jnp.moveaxis(drawn, 2, -1)
        marks.append(jnp.concatenate([drawn, drawn], axis=-1) if antithetic else drawn)
    return Draws(
        brownian=jnp.asarray(refine, dtype) ** -0.5 * jnp.sum(increments, axis=0),
        jump=uniforms[:, :laws],
        marks=tuple(marks),
        switch=uniforms[:, laws],
    )


def euler_step(
    game: DifferentialGame,
    t: Float[Array, ""],
    h: Float[Array, ""],
    x: Float[Array, " n"],
    i: Int[Array, ""],
    u: Controls,
    draws: Draws,
    max_jumps: int,
    transition: Float[Array, "m m"] | None = None,
) -> Move:
    """One step of one path; `transition` = exp(μ h / refine) where the generator is constant."""
    refine = draws.switch.shape[0]
    moved = x + h * game.drift(t, x, u, i) + jnp.sqrt(h) * (game.diffusion(t, x, u, i) @ draws.brownian)
    truncation, likelihood = jnp.zeros((), x.dtype), jnp.zeros((), x.dtype)
    for index, law in enumerate(game.jumps):
        rate = jnp.asarray(law.rate(t, x, u, i), x.dtype)
        if law.compensated:
            moved = moved - h * rate * law.mean_size(t, x, u, i)
        counting = jax.vmap(lambda uniform, rate=rate: poisson_count(rate * h / refine, uniform, max_jumps))
        counts, cut, log_probability = counting(draws.jump[:, index])
        moved = moved + _jumps(law, t, x, u, i, counts, draws.marks[index])
        truncation, likelihood = truncation + jnp.sum(cut), likelihood + jnp.sum(log_probability)
    if game.generator is None:
        return Move(state=moved, regime=i, truncation=truncation, log_likelihood=likelihood)

    def change(carry: tuple[Array, Array, Array], uniform: Array) -> tuple[tuple[Array, Array, Array], None]:
        x, i, likelihood = carry
        odds = transition[i] if transition is not None else _odds(game, t, x, u, i, h / refine)
        after = _choose(odds, uniform)
        likelihood = likelihood + jnp.log(jnp.maximum(odds[after], jnp.finfo(odds.dtype).tiny))
        if game.switch is not None:
            x = jnp.where(after == i, x, game.switch(t, x, i, after))
        return (x, after, likelihood), None

    (moved, i, likelihood), _ = jax.lax.scan(change, (moved, i, likelihood), draws.switch)
    return Move(state=moved, regime=i, truncation=truncation, log_likelihood=likelihood)


def poisson_count(
    mean: Float[Array, ""], uniform: Float[Array, ""], bound: int
) -> tuple[Int[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Poisson count at `uniform`, cut at `bound`; the probability of more; the log-probability of the count."""
    probability = jnp.exp(-mean)
    cumulative, count = probability, jnp.zeros((), jnp.int32)
    log_factorial = jnp.zeros((), mean.dtype)
    for k in range(1, bound + 1):
        beyond = uniform >= cumulative
        count = count + beyond.astype(jnp.int32)
        log_factorial = log_factorial + jnp.where(beyond, jnp.log(jnp.asarray(float(k), mean.dtype)), 0.0)
        probability = probability * mean / k
        cumulative = cumulative + probability
    positive = jnp.maximum(mean, jnp.finfo(mean.dtype).tiny)
    log_probability = count.astype(mean.dtype) * jnp.log(positive) - mean - log_factorial
    return count, jnp.maximum(1 - cumulative, 0.0), log_probability


def _jumps(law: JumpLaw, t: Array, x: Array, u: Controls, i: Array, counts: Array, marks: Array | None) -> Array:
    """Sum of the jumps of one law: as many equal ones as counted, or the first of those with the drawn marks."""
    if marks is None:
        return jnp.sum(counts).astype(x.dtype) * law.size(t, x, u, law.marks.quadrature()[0][0], i)
    sizes = jax.vmap(jax.vmap(lambda mark: law.size(t, x, u, mark, i)))(marks)
    present = jnp.arange(marks.shape[1], dtype=jnp.int32)[None] < counts[:, None]
    return jnp.sum(jnp.where(present[..., None], sizes, 0.0), axis=(0, 1))


def _odds(game: DifferentialGame, t: Array, x: Array, u: Controls, i: Array, h: Array) -> Array:
    """Probabilities of the regime after a short time h, from rates frozen at (t, x, u)."""
    assert callable(game.generator)
    rates = jnp.asarray(game.generator(t, x, u, i), x.dtype)
    own = jnp.arange(rates.shape[0], dtype=jnp.int32) == i
    away = jnp.where(own, 0.0, rates)
    total = jnp.sum(away)
    safe = jnp.where(total > 0, total, 1.0)
    return jnp.where(own, jnp.exp(-total * h), -jnp.expm1(-total * h) * away / safe)


def _choose(odds: Array, uniform: Array) -> Array:
    """Index drawn by inverting the distribution function of `odds`."""
    below = uniform >= jnp.cumsum(odds)[:-1]
    return jnp.sum(below, dtype=jnp.int32)
