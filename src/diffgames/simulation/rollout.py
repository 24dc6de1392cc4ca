"""A batch of paths under a profile, compiled over time and differentiable in the profile and in the game.

The costs of a path are Σ_k e^{−ρ t_k} c_p(t_k, x_k, u_k; i_k) h + e^{−ρT} g_p(x_S; i_S). With `score`, each term is
multiplied by exp(L − stop(L)), L the log-probability of the discrete outcomes (jump counts, switches) before it, which
is one in value and adds the score-function term to the derivative (less the batch mean, as a baseline): the gradient
is then right also where controls move intensities and generators.
Layout: paths are the last, contiguous axis; bodies are rematerialised in reverse mode.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import expm
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.games.differential import DifferentialGame, Profile
from diffgames.simulation.jumps import first_fault
from diffgames.simulation.stepping import draw, euler_step


class Scheme(eqx.Module):
    """Finer points of the simulation.

    - `refine`: parts into which the randomness of a step is split (see `simulation.stepping`)
    - `chunk`: most paths at once
    """

    refine: int = eqx.field(static=True, default=1)
    chunk: int = eqx.field(static=True, default=8192)


class Batch(eqx.Module):
    """A batch of paths (last axis): costs, moments over the batch at every time, and every `keep`-th step.

    `fault` has one entry per jump law and one for the generator: 0, or a rate that was met and is none
    (`simulation.jumps.report_fault`).
    """

    costs: Float[Array, "players paths"]
    fault: Float[Array, " sources"]
    mean: Float[Array, "times n"]
    scatter: Float[Array, "times n"]
    occupation: Float[Array, "times regimes"]
    state: Float[Array, "kept n paths"] | None
    regime: Int[Array, "kept paths"] | None
    control: tuple[Float[Array, "kept_controls controls paths"], ...] | None


class _Carry(eqx.Module):
    state: Float[Array, "n paths"]
    regime: Int[Array, " paths"]
    costs: Float[Array, "players paths"]
    fault: Float[Array, " sources"]
    log_likelihood: Float[Array, " paths"]


def run_batch(
    game: DifferentialGame,
    profile: Profile,
    key: PRNGKeyArray,
    paths: int,
    steps: int,
    scheme: Scheme,
    antithetic: bool = False,
    keep: int = 0,
    score: bool = False,
) -> Batch:
    """Simulate `paths` paths in `steps` steps; `keep` divides `steps` or is 0 (nothing kept but moments)."""
    start_key, noise_key = jax.random.split(key)
    half = paths // 2 if antithetic else paths
    x, i = jax.vmap(game.initial, out_axes=-1)(jax.random.split(start_key, half))
    if antithetic:
        x, i = jnp.concatenate([x, x], axis=-1), jnp.concatenate([i, i], axis=-1)
    dtype, regimes = x.dtype, game.regime_count
    h = jnp.asarray(game.horizon, dtype) / steps
    discount = jnp.asarray(game.discount, dtype)
    transition = None
    if game.generator is not None and not callable(game.generator):
        transition = expm(jnp.asarray(game.generator, dtype) * (h / scheme.refine))

    def act(k, carry):
        t = k.astype(dtype) * h
        controls = jax.vmap(profile, in_axes=(None, -1, -1), out_axes=-1)(t, carry.state, carry.regime)
        return t, tuple(jnp.asarray(control, dtype) for control in controls)

    @jax.checkpoint
    def advance(carry, k):
        t, u = act(k, carry)
        draws = draw(game, noise_key, k, paths, antithetic, scheme.refine)

        def one(x, i, u, draws):
            return euler_step(game, t, h, x, i, u, draws, transition), game.running_cost(t, x, u, i)

        move, rate = jax.vmap(one, in_axes=-1, out_axes=-1)(carry.state, carry.regime, u, draws)
        term = _scored(h * jnp.exp(-discount * t) * rate, carry.log_likelihood if score else None)
        likelihood = carry.log_likelihood + move.log_likelihood if score else carry.log_likelihood
        after = _Carry(
            state=move.state,
            regime=move.regime,
            costs=carry.costs + term,
            fault=jnp.where(carry.fault != 0, carry.fault, first_fault(jax.lax.stop_gradient(move.fault))),
            log_likelihood=likelihood,
        )
        return after, _moments(move.state, move.regime, regimes)

    def block(carry, ks):
        kept = (carry.state, carry.regime, act(ks[0], carry)[1]) if keep else None
        carry, moments = jax.lax.scan(advance, carry, ks)
        return carry, (moments, kept)

    zeros = jnp.zeros((len(game.players), paths), dtype)
    first = _Carry(state=x, regime=i, costs=zeros, fault=jnp.zeros(len(game.jumps) + 1, dtype), log_likelihood=zeros[0])
    ks = jnp.arange(steps, dtype=jnp.int32).reshape(-1, keep or steps)
    last, (moments, kept) = jax.lax.scan(block, first, ks)
    terminal = jax.vmap(game.terminal_cost, in_axes=-1, out_axes=-1)(last.state, last.regime)
    terminal = jnp.exp(-discount * jnp.asarray(game.horizon, dtype)) * terminal
    start = _moments(x, i, regimes)
    mean, scatter, occupation = (
        jnp.concatenate([a[None], b.reshape(steps, *a.shape)]) for a, b in zip(start, moments, strict=True)
    )
    state = regime = control = None
    if kept is not None:
        state = jnp.concatenate([kept[0], last.state[None]])
        regime = jnp.concatenate([kept[1], last.regime[None]])
        control = kept[2]
    return Batch(
        costs=last.costs + _scored(terminal, last.log_likelihood if score else None),
        fault=last.fault,
        mean=mean,
        scatter=scatter,
        occupation=occupation,
        state=state,
        regime=regime,
        control=control,
    )


def _scored(term: Array, log_likelihood: Array | None) -> Array:
    """The term, carrying the score-function derivative of the outcomes before it."""
    if log_likelihood is None:
        return term
    fixed = jax.lax.stop_gradient(term)
    weight = jnp.exp(log_likelihood - jax.lax.stop_gradient(log_likelihood)) - 1.0
    return term + (fixed - jnp.mean(fixed, axis=-1, keepdims=True)) * weight[None]


def _moments(x: Array, i: Array, regimes: int) -> tuple[Array, Array, Array]:
    """Mean, sum of squared distances to it, and share of the regimes, over the batch."""
    mean = jnp.mean(x, axis=-1)
    scatter = jnp.sum((x - mean[:, None]) ** 2, axis=-1)
    labels = jnp.arange(regimes, dtype=i.dtype)
    return mean, scatter, jnp.mean((i[None] == labels[:, None]).astype(x.dtype), axis=-1)
