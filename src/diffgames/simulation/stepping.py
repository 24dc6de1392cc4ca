"""One Euler–Maruyama step of a differential game with jumps and regimes, and the randomness it consumes.

With controls u = profile(t, x, i) held over a step of length h,

    x⁺ = x + [b − Σ_l λ_l E γ_l] h + σ ΔW + Σ_l Σ_{k ≤ ΔN_l} γ_l(t, x, u, z_lk; i),   ΔN_l ~ Poisson(λ_l h),

compensators present for compensated laws only. Counts are drawn by inverting the Poisson distribution function at a
uniform, however many there are (`simulation.jumps`). The regime then moves by exp(μ h) where the generator is a
constant matrix (exact in law at the grid times) and by

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
from diffgames.simulation.jumps import JumpDraws, first_fault, jump, jump_draws, paired


class Draws(eqx.Module):
    """Randomness of one step of one path; batches of paths have a last axis more."""

    brownian: Float[Array, "*noises"]
    jumps: tuple[JumpDraws, ...]
    switch: Float[Array, "*refine"]


class Move(NamedTuple):
    """Where a step leads: state, regime, log-probability of discrete outcomes, and rates that are none.

    `fault` has one entry per law and one for the generator: 0, or the first rate that is negative or no number.
    """

    state: Float[Array, " n"]
    regime: Int[Array, ""]
    log_likelihood: Float[Array, ""]
    fault: Float[Array, " sources"]


def draw(
    game: DifferentialGame, key: PRNGKeyArray, step: Int[Array, ""], batch: int, antithetic: bool, refine: int
) -> Draws:
    """Draws of step number `step` for `batch` paths (last axis), in `refine` parts.

    With `antithetic`, path b + batch/2 uses −ΔW and 1 − (uniform) where path b uses ΔW and the uniform.
    """
    half = batch // 2 if antithetic else batch
    dtype = jax.eval_shape(game.initial, key)[0].dtype
    parts = step * refine + jnp.arange(refine, dtype=jnp.int32)
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, parts)
    noises, laws = game.noise_size, len(game.jumps)
    # One call for everything: v uniform on (−1, 1) makes normals, uniforms, and by −v their antithetic twins.
    open_end = np.nextafter(np.array(-1.0, dtype), np.array(0.0, dtype))
    rows = (noises + laws + 1, half)
    v = jax.vmap(lambda key: jax.random.uniform(key, rows, dtype, open_end, 1.0))(keys)
    fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
    uniforms = (v[:, noises:] + 1) / 2
    jumps = []
    for index, law in enumerate(game.jumps):
        drawn = jump_draws(law, fold(keys, index), fold(keys, laws + index), uniforms[:, index])
        jumps.append(paired(drawn) if antithetic else drawn)
    v = jnp.concatenate([v, -v], axis=-1) if antithetic else v
    increments = math.sqrt(2.0) * jax.lax.erf_inv(v[:, :noises])
    return Draws(
        brownian=jnp.asarray(refine, dtype) ** -0.5 * jnp.sum(increments, axis=0),
        jumps=tuple(jumps),
        switch=(v[:, noises + laws] + 1) / 2,
    )


def euler_step(
    game: DifferentialGame,
    t: Float[Array, ""],
    h: Float[Array, ""],
    x: Float[Array, " n"],
    i: Int[Array, ""],
    u: Controls,
    draws: Draws,
    transition: Float[Array, "m m"] | None = None,
) -> Move:
    """One step of one path; `transition` = exp(μ h / refine) where the generator is constant."""
    refine = draws.switch.shape[0]
    moved = x + h * game.drift(t, x, u, i) + jnp.sqrt(h) * (game.diffusion(t, x, u, i) @ draws.brownian)
    likelihood, faults = jnp.zeros((), x.dtype), []
    for law, drawn in zip(game.jumps, draws.jumps, strict=True):
        jumped = jump(law, t, h, x, u, i, drawn)
        moved, likelihood = moved + jumped.change, likelihood + jumped.log_likelihood
        faults.append(jumped.fault)
    if game.generator is None:
        return Move(moved, i, likelihood, jnp.stack([*faults, jnp.zeros((), x.dtype)]))

    def change(
        carry: tuple[Array, Array, Array, Array], uniform: Array
    ) -> tuple[tuple[Array, Array, Array, Array], None]:
        x, i, likelihood, fault = carry
        odds, wrong = (transition[i], fault) if transition is not None else _odds(game, t, x, u, i, h / refine)
        after = _choose(odds, uniform)
        likelihood = likelihood + jnp.log(jnp.maximum(odds[after], jnp.finfo(odds.dtype).tiny))
        if game.switch is not None:
            x = jnp.where(after == i, x, game.switch(t, x, i, after))
        fault = jnp.where(fault != 0, fault, wrong)
        return (jnp.where(fault != 0, jnp.nan, x), after, likelihood, fault), None

    start = (moved, i, likelihood, jnp.zeros((), x.dtype))
    (moved, i, likelihood, fault), _ = jax.lax.scan(change, start, draws.switch)
    return Move(moved, i, likelihood, jnp.stack([*faults, fault]))


def _odds(game: DifferentialGame, t: Array, x: Array, u: Controls, i: Array, h: Array) -> tuple[Array, Array]:
    """Probabilities of the regime after a short time h, from rates frozen at (t, x, u); a rate that is none, or 0."""
    assert callable(game.generator)
    rates = jnp.asarray(game.generator(t, x, u, i), x.dtype)
    own = jnp.arange(rates.shape[0], dtype=jnp.int32) == i
    away = jnp.where(own, 0.0, rates)
    total = jnp.sum(away)
    safe = jnp.where(total > 0, total, 1.0)
    valid = (away >= 0) & (away < jnp.inf)
    return jnp.where(own, jnp.exp(-total * h), -jnp.expm1(-total * h) * away / safe), first_fault(
        jnp.where(valid, 0.0, away)
    )


def _choose(odds: Array, uniform: Array) -> Array:
    """Index drawn by inverting the distribution function of `odds`."""
    below = uniform >= jnp.cumsum(odds)[:-1]
    return jnp.sum(below, dtype=jnp.int32)
