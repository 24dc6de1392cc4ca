"""Two timescales, the slow one held back while the crowd's law moves, and the dynamic regret of what they track.

With W the 1-Wasserstein distance between the crowds of two successive rounds, the actor's step and the critic's are
(mean-field-type games tutorial, section 4.2)

    α_t = α₀ min(1, τ₀/t)^p / (1 + β W),      η_t = η₀ t^{−q},      α_t/η_t → 0   for q < p = 1.

β = p = 0 is a learner of constant step. In a drifting environment, round t has the loss ½(θ − θ*_t)², and the learner
sees y_t = θ*_t + s ξ_t, ξ_t ~ N(0, 1), and a crowd of N agents whose law is N(θ*_t, 1):

    v ← v + η_t (y_t − v),    θ ← θ − α_t (θ − v),    R_T = Σ_{t ≤ T} ½(θ_t − θ*_t)²;   η = 1: the stochastic gradient.

The tutorial's lemma claims R_T = Õ(√T). Its own step freezes like 1/t, so that R_T grows like T² where θ*_t drifts by
√t in all, like T³ where it drifts by t, and like T where it jumps at fixed shares of T. W of two samples of one law
does not vanish: E W ≈ 2/√(πN) ∫ √(F(1 − F)) dx, the *floor*, which may be subtracted.

Given the steps, (θ − θ*, v − θ*) is linear in the ξ_t: its mean and covariance give the expected regret exactly.
"""

from collections.abc import Sequence
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.stats import norm

from diffgames.errors import InvalidInput
from diffgames.numerics.precision import in_double


class TwoTimescales(eqx.Module):
    """The steps α_t and η_t; `rounds` is τ₀, `decay` p, `modulation` β, `critic_decay` q. `floor` is taken off W."""

    actor: float = 0.5
    rounds: float = 20.0
    decay: float = 1.0
    modulation: float = 5.0
    critic: float = 1.0
    critic_decay: float = 0.0
    floor: float = 0.0

    def actor_step(self, t: Float[Array, ""], distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """α_t of round t = 1, 2, … where the law moved by `distance`."""
        slowed = 1.0 + self.modulation * jnp.maximum(distance - self.floor, 0.0)
        return self.actor * jnp.minimum(1.0, self.rounds / t) ** self.decay / slowed

    def critic_step(self, t: Float[Array, ""]) -> Float[Array, ""]:
        """η_t."""
        return self.critic * t**-self.critic_decay


def constant_step(step: float) -> TwoTimescales:
    """The learner of constant step, without modulation."""
    return TwoTimescales(actor=step, decay=0.0, modulation=0.0)


@cache
def wasserstein_floor(agents: int) -> float:
    """Mean W₁ of two independent samples of `agents` draws of N(0, 1), to leading order in 1/N: 3% high at N = 100.

    >>> [round(wasserstein_floor(n), 3) for n in (100, 1000, 10_000)]
    [0.182, 0.058, 0.018]
    """
    x = np.linspace(-9.0, 9.0, 3601)
    return float(2.0 / np.sqrt(np.pi * agents) * np.trapezoid(np.sqrt(norm.cdf(x) * norm.sf(x)), x))


def sorted_distance(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
    """W₁ between two equally large samples on the line, exact: `numerics.wasserstein` within compiled code."""
    return jnp.mean(jnp.abs(jnp.sort(x) - jnp.sort(y)))


DRIFTS = ("bounded", "sqrt", "linear", "jumps")


def targets(drift: str, rounds: int) -> Float[np.ndarray, " rounds"]:
    """θ*_1 … θ*_T, from 1 on, of a class of drift: Σ|θ*_t − θ*_{t−1}| bounded, √T, ¼T, or jumps by 1 at ¼T, ½T, ¾T.

    A price level that wanders or rises is `sqrt` or `linear`, a break in renewable supply `jumps`.
    """
    t = np.arange(1.0, rounds + 1.0)
    if drift == "bounded":
        moved = 0.5 / t**2
    elif drift == "sqrt":
        moved = 0.5 / np.sqrt(t)
    elif drift == "linear":
        moved = np.full(rounds, 0.25)
    elif drift == "jumps":
        moved = np.zeros(rounds)
        moved[[rounds * k // 4 for k in (1, 2, 3)]] = (1.0, -1.0, 1.0)
    else:
        raise InvalidInput("drift", drift, f"one of {', '.join(DRIFTS)}")
    moved[0] = 0.0
    return 1.0 + np.cumsum(moved)


class Tracking(eqx.Module):
    """Dynamic regret R_T, its mean over the ξ_t given the steps, and the mean distance W, by learner and drift."""

    regret: Float[np.ndarray, "learners drifts replications"]
    expected: Float[np.ndarray, "learners drifts replications"]
    distance: Float[np.ndarray, "learners drifts replications"]


@in_double
def track(
    target: Float[np.ndarray, "drifts rounds"],
    learners: Sequence[TwoTimescales],
    key: PRNGKeyArray,
    *,
    noise: float = 0.3,
    agents: int = 100,
    replications: int = 16,
) -> Tracking:
    """Every learner in every environment, from θ = v = 0; all meet the same crowds and ξ_t, new in every round."""
    for name, count in (("agents", agents), ("replications", replications), ("learners", len(learners))):
        if count < 1:
            raise InvalidInput(name, count, "an integer, at least 1")
    steps = jax.tree.map(lambda *one: jnp.asarray(one, float), *learners)
    found = _track(jnp.asarray(target, float), steps, key, jnp.asarray(noise, float), (agents, replications))
    return Tracking(*map(np.asarray, found))


@eqx.filter_jit
def _track(target: Array, steps: TwoTimescales, key: PRNGKeyArray, noise: Array, sizes: tuple) -> tuple[Array, ...]:
    over_drifts = jax.vmap(lambda one, learner: _played(one, learner, key, noise, sizes), in_axes=(0, None))
    return jax.vmap(over_drifts, in_axes=(None, 0))(target, steps)


def _played(
    target: Array, steps: TwoTimescales, key: PRNGKeyArray, noise: Array, sizes: tuple[int, int]
) -> tuple[Array, ...]:
    agents, replications = sizes

    def crowd(t: Array) -> Array:
        return jnp.sort(jax.random.normal(jax.random.fold_in(key, 2 * t), (replications, agents)), axis=1)

    def play(carry: tuple[Array, ...], given: tuple[Array, Array, Array]) -> tuple[tuple[Array, ...], None]:
        error, mean, spread, before, total = carry  # errors (θ, v) − θ* [R, 2], their mean, and their covariance
        t, moved, ahead = given
        now = crowd(t)
        distance = jnp.mean(jnp.abs(now - before + moved), axis=1)
        loss = jnp.stack([0.5 * error[:, 0] ** 2, 0.5 * (mean[:, 0] ** 2 + spread[:, 0, 0]), distance])
        alpha, eta = steps.actor_step(t.astype(float), distance), steps.critic_step(t.astype(float))
        kept = jnp.broadcast_to(1.0 - eta, alpha.shape)
        rows = jnp.stack([1.0 - alpha, alpha * kept]), jnp.stack([jnp.zeros_like(alpha), kept])
        matrix, inward = jnp.moveaxis(jnp.stack(rows), 2, 0), noise * eta * jnp.stack([alpha, jnp.ones_like(alpha)], 1)
        shock = jax.random.normal(jax.random.fold_in(key, 2 * t + 1), (replications, 1))
        error = jnp.einsum("rij,rj->ri", matrix, error) + inward * shock - ahead
        mean = jnp.einsum("rij,rj->ri", matrix, mean) - ahead
        spread = jnp.einsum("rij,rjk,rlk->ril", matrix, spread, matrix) + inward[:, :, None] * inward[:, None, :]
        return (error, mean, spread, now, total + loss), None

    start = jnp.full((replications, 2), -target[0])
    moved = jnp.diff(target)
    given = (jnp.arange(1, len(target) + 1), jnp.pad(moved, (1, 0)), jnp.pad(moved, (0, 1)))
    carry = (start, start, jnp.zeros((replications, 2, 2)), crowd(jnp.asarray(0)), jnp.zeros((3, replications)))
    regret, expected, distance = jax.lax.scan(play, carry, given)[0][-1]
    return regret, expected, distance / len(target)
