"""Amortized calibration: the law of Λ given targets, for any targets, from one fit (neural posterior estimation).

Of simulated pairs (ξ, s), Λ = Λ(ξ) with ξ ~ N(0, I) (`supertype_profile`) and s the statistics of an episode under it,
a density is fitted by maximum likelihood over the pairs,

    q(ξ | c) = Π_i q_i(ξ_i | ξ_1, …, ξ_{i−1}, c),   q_i a mixture of `MIXED` Gaussians given by a network of its own,

where c says which statistics are asked for and how. Each is drawn anew for every pair: not asked; asked *equal* to its
value; or a share asked *at least* a, with a drawn independently and the pair left out where its share is below. So q is
fitted to p(ξ | s_k = s*_k) and to p(ξ | m ≥ a), which are other laws than p(ξ | m = a) (Cranmer, Brehmer and Louppe,
PNAS 2020, for the method). Targets are then answered by draws, without training.

Many Λ meet the same targets. The eigenvalues λ of the covariance of ξ given the targets say which directions of ξ they
identify: λ = 1 is a direction left as it was, λ = 0 one that is known; Σ(1 − λ) counts those identified.

What shows that the law is right: ranks of the true ξ_i among draws given its own statistics are uniform (Talts et al.,
simulation-based calibration), on pairs that it was not fitted to.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from scipy.stats import t

from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Statistics, Target
from diffgames.errors import InvalidInput

MIXED, HELD_OUT, CHECKS = 4, 0.1, 20
ABSENT = 0.25  # how often a statistic is not asked for
SHARES = ("equal", "at least")


class Fit(eqx.Module):
    """How q is fitted."""

    width: int = eqx.field(static=True, default=64)
    steps: int = eqx.field(static=True, default=2000)
    batch: int = eqx.field(static=True, default=256)
    learning_rate: float = eqx.field(static=True, default=2e-3)


DEFAULT = Fit()


class Amortized(eqx.Module):
    """q(ξ | c) of the questions; `gain` is its mean log density on pairs held out, less that of N(0, I), in nats."""

    bank: eqx.nn.MLP  # leaves have a leading axis of components
    space: SupertypeProfile = eqx.field(static=True)
    questions: tuple[Target, ...]
    center: Float[Array, " values"]
    unit: Float[Array, " values"]
    gain: Float[Array, ""]


class Asked(NamedTuple):
    """Values, and 1 where the question they belong to is asked equal, or at least; one entry a value."""

    value: Float[Array, "*any values"]
    equal: Float[Array, "*any values"]
    least: Float[Array, "*any values"]


def values_of(questions: Sequence[Target], seen: Statistics) -> Float[Array, "pairs values"]:
    """The statistics that the questions ask about, side by side."""
    return jnp.concatenate([jnp.asarray(one.seen(seen), jnp.float32) for one in questions], axis=-1)


def fit(
    space: SupertypeProfile,
    questions: Sequence[Target],
    normal: Float[Array, "pairs components"],
    seen: Statistics,
    key: PRNGKeyArray,
    config: Fit = DEFAULT,
) -> Amortized:
    """Fit q to pairs of ξ and what an episode with Λ(ξ) showed; the values of the questions are of no account."""
    if not questions:
        raise InvalidInput("questions", list(questions), "one or more targets")
    s = values_of(questions, seen)
    center, unit = jnp.mean(s, axis=0), jnp.maximum(jnp.std(s, axis=0), 1e-6)
    net_key, fit_key = jax.random.split(key)
    components, inputs = normal.shape[1], 4 * s.shape[1] + normal.shape[1]
    bank = eqx.filter_vmap(
        lambda k: eqx.nn.MLP(inputs, 3 * MIXED, config.width, 2, jnp.tanh, dtype=jnp.float32, key=k)
    )(jax.random.split(net_key, components))
    begun = Amortized(bank, space, tuple(questions), center, unit, jnp.float32(0.0))
    best, gain = _train(begun, jnp.asarray(normal, jnp.float32), s, fit_key, config)
    return eqx.tree_at(lambda one: (one.bank, one.gain), begun, (best, gain))


def posterior(
    amortized: Amortized, targets: Sequence[Target], key: PRNGKeyArray, draws: int
) -> tuple[Float[Array, "draws components"], Float[Array, "draws components"]]:
    """Draws of Λ given the targets, and their ξ; every target must be one of the questions, with values of its own."""
    return _draws(amortized, _asked(amortized, targets), key, draws)


def identified(normal: Float[np.ndarray, "draws components"]) -> tuple[np.ndarray, np.ndarray]:
    """1 − λ, and the directions of ξ they belong to, as columns, those that are best known first.

    Directions are eigenvectors of the covariance of every second draw; λ is the variance of the others along each.
    Eigenvalues of the draws that gave the directions would be spread by noise: zero would look like a direction known.
    """
    normal = np.asarray(normal, float)
    vectors = np.linalg.eigh(np.cov(normal[::2], rowvar=False).reshape(normal.shape[1], -1))[1]
    return 1.0 - np.var(normal[1::2] @ vectors, axis=0, ddof=1), vectors


def identified_directions(normal: Float[np.ndarray, "draws components"]) -> tuple[float, float]:
    """Σ(1 − λ) = components − tr Cov(ξ), without bias, and the half-width of its 95% interval over draws.

    Directions wider than before count against it, so that it may be negative; a sum of positive parts would be biased.
    """
    normal = np.asarray(normal, float)
    draws, components = normal.shape
    spread = np.sum((normal - normal.mean(axis=0)) ** 2, axis=1) * draws / (draws - 1)
    half = t.ppf(0.975, draws - 1) * spread.std(ddof=1) / draws**0.5
    return components - float(spread.mean()), float(half)


@eqx.filter_jit
def ranks(
    amortized: Amortized,
    normal: Float[Array, "pairs components"],
    seen: Statistics,
    key: PRNGKeyArray,
    draws: int,
) -> Int[Array, "pairs components"]:
    """How many of `draws` draws given its statistics lie below the true ξ_i: uniform on 0 … draws where q is right."""
    value = values_of(amortized.questions, seen)
    ones = jnp.ones_like(value)

    def one(true: Array, value: Array, one_key: PRNGKeyArray) -> Array:
        asked = Asked(value, ones[0], jnp.zeros_like(ones[0]))
        return jnp.sum(_draws(amortized, asked, one_key, draws)[1] < true[None, :], axis=0)

    return jax.vmap(one)(jnp.asarray(normal, jnp.float32), value, jax.random.split(key, normal.shape[0]))


def _asked(amortized: Amortized, targets: Sequence[Target]) -> Asked:
    """The targets among the questions."""
    told = {_question(one): one for one in targets}
    known = [_question(one) for one in amortized.questions]
    if unknown := set(told) - set(known):
        raise InvalidInput("targets", sorted(map(str, unknown)), f"targets among {', '.join(map(str, known))}")
    value, equal, least = [], [], []
    for name, question in zip(known, amortized.questions, strict=True):
        one, size = told.get(name), len(question.value)
        value += [0.0] * size if one is None else list(one.value)
        equal += [float(one is not None and one.kind != "at least")] * size
        least += [float(one is not None and one.kind == "at least")] * size
    return Asked(*(jnp.asarray(part, jnp.float32) for part in (value, equal, least)))


def _question(target: Target) -> tuple[str, int | None, tuple[float, ...], str]:
    kind = "share" if target.kind in SHARES else target.kind
    return kind, target.supertype, target.at, target.measure.name if target.measure else ""


def _condition(amortized: Amortized, asked: Asked) -> Float[Array, "*any conditions"]:
    value = (asked.value - amortized.center) / amortized.unit
    return jnp.concatenate([asked.equal * value, asked.least * value, asked.equal, asked.least], axis=-1)


def _mixture(net: eqx.nn.MLP, inputs: Array) -> tuple[Array, Array, Array]:
    """Log weights, means and log deviations."""
    logits, mean, log_deviation = net(inputs).reshape(3, MIXED)
    return jax.nn.log_softmax(logits), mean, jnp.clip(log_deviation, -5.0, 2.0)


def _log_density(bank: eqx.nn.MLP, condition: Array, normal: Array) -> Float[Array, ""]:
    """log q(ξ | c)."""
    components = normal.shape[0]
    earlier = jnp.tril(jnp.ones((components, components), normal.dtype), -1)

    def one(net: eqx.nn.MLP, before: Array, value: Array) -> Array:
        log_weight, mean, log_deviation = _mixture(net, jnp.concatenate([condition, before * normal]))
        return jax.nn.logsumexp(log_weight + jax.scipy.stats.norm.logpdf(value, mean, jnp.exp(log_deviation)))

    return jnp.sum(eqx.filter_vmap(one)(bank, earlier, normal))


@eqx.filter_jit
def _draws(amortized: Amortized, asked: Asked, key: PRNGKeyArray, draws: int) -> tuple[Array, Array]:
    condition, components = _condition(amortized, asked), len(amortized.space.names)
    arrays, static = eqx.partition(amortized.bank, eqx.is_array)

    def one(one_key: PRNGKeyArray) -> Array:
        def step(normal: Array, now: tuple[Any, Array, Array]) -> tuple[Array, None]:
            net, place, step_key = now
            which, noise = jax.random.split(step_key)
            mixture = _mixture(eqx.combine(net, static), jnp.concatenate([condition, normal]))
            chosen = jax.random.categorical(which, mixture[0])
            drawn = mixture[1][chosen] + jnp.exp(mixture[2][chosen]) * jax.random.normal(noise, (), jnp.float32)
            return normal.at[place].set(drawn), None

        start = jnp.zeros(components, jnp.float32)
        return jax.lax.scan(step, start, (arrays, jnp.arange(components), jax.random.split(one_key, components)))[0]

    normal = jax.vmap(one)(jax.random.split(key, draws))
    return amortized.space.from_normal(normal), normal


def _loss(bank: eqx.nn.MLP, amortized: Amortized, normal: Array, values: Array, key: PRNGKeyArray) -> Array:
    """−log q of the pairs, each asked in a way of its own."""
    of = np.repeat(np.arange(len(amortized.questions)), [len(one.value) for one in amortized.questions])
    is_share = jnp.asarray([one.kind in SHARES for one in amortized.questions])

    def one(normal: Array, value: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
        mode_key, least_key = jax.random.split(key)
        mode = jax.random.uniform(mode_key, is_share.shape, jnp.float32)
        least = is_share & (mode > 1 - ABSENT)
        equal, least = ((mode > ABSENT) & ~least)[of], least[of]
        threshold = jax.random.uniform(least_key, value.shape, jnp.float32)
        kept = jnp.all(~least | (value >= threshold)).astype(jnp.float32)
        asked = Asked(jnp.where(least, threshold, value), equal.astype(jnp.float32), least.astype(jnp.float32))
        return kept * _log_density(bank, _condition(amortized, asked), normal), kept

    logs, kept = jax.vmap(one)(normal, values, jax.random.split(key, values.shape[0]))
    return -jnp.sum(logs) / jnp.maximum(jnp.sum(kept), 1.0)


@eqx.filter_jit
def _train(begun: Amortized, normal: Array, values: Array, key: PRNGKeyArray, config: Fit) -> tuple[eqx.nn.MLP, Array]:
    """The networks that were best on the pairs held out, of `CHECKS` looks at them; and their gain over N(0, I)."""
    held = max(int(HELD_OUT * normal.shape[0]), 1)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))
    )
    params, static = eqx.partition(begun.bank, eqx.is_inexact_array)
    prior = jnp.mean(jnp.sum(jax.scipy.stats.norm.logpdf(normal[:held]), axis=1))
    check_key, key = jax.random.split(key)

    def loss(params, normal, values, key):
        return _loss(eqx.combine(params, static), begun, normal, values, key)

    def step(state, key):
        params, memory = state
        pick, ask = jax.random.split(key)
        rows = jax.random.randint(pick, (config.batch,), held, normal.shape[0])
        gradient = jax.grad(loss)(params, normal[rows], values[rows], ask)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps as an integer
            change, memory = optimizer.update(gradient, memory, params)
        return (optax.apply_updates(params, change), memory), None

    def look(state, keys):
        learned, best, least = state
        learned, _ = jax.lax.scan(step, learned, keys)
        now = loss(learned[0], normal[:held], values[:held], check_key)
        better = now < least
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), learned[0], best)
        return (learned, best, jnp.minimum(now, least)), None

    keys = jax.random.split(key, (CHECKS, max(config.steps // CHECKS, 1)))
    begin = ((params, optimizer.init(params)), params, loss(params, normal[:held], values[:held], check_key))
    (_, best, least), _ = jax.lax.scan(look, begin, keys)
    return eqx.combine(best, static), -least - prior
