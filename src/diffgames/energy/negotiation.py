"""Negotiation by dual ascent: an operator quotes prices, every agent answers with the power it would draw.

In a round the operator sends λ (one number an hour) to every agent, and every agent answers with q_i(λ): two messages
per agent. What is inside an agent (battery, appliance, what its energy is worth to it) is told to nobody. The price
rises where more is drawn than supplied,

    x_i⁺ = proj(x_i − τ W (cost_i + A_iᵀ(y_i, λ))),   y_i⁺ = y_i + ½ (A_i W A_iᵀ)⁻¹ A_i(2x_i⁺ − x_i) / τ,
    λ⁺ = λ + ½ D⁻¹ Σ_i (2q_i⁺ − q_i) / τ,            D ≥ the balance rows of A W Aᵀ,

a splitting of the step of `energy.clearing` in which every half is one party's own: the halves ½ make it contract.
A message that is lost leaves its receiver with what it knew before. An agent whose quote and answer would together
take longer than the operator's deadline sits the round out, and sends nothing.

Latencies are an *assumption*, not a result: one lognormal draw per message with median 47 ms and P95 111 ms, so that
σ = ln(111/47)/z₀.₉₅ = .5225, P90 = 91.8 ms and P99 = 158.5 ms.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from scipy.special import ndtri

from diffgames.energy.linear_program import Rows, nearest, normal, nothing, pull, push, quantities, rows, scale, slopes
from diffgames.energy.market import Market
from diffgames.energy.plan import Plan, drawn
from diffgames.numerics.precision import in_double

MEDIAN, P95 = 47.0, 111.0  # ms
SIGMA = math.log(P95 / MEDIAN) / float(ndtri(0.95))


class Talk(NamedTuple):
    """Between two rounds: plans in shares, own multipliers and prices; what the operator last heard, MW."""

    x: Plan
    y: Rows
    heard: Float[Array, "hours agents"]


class Round(NamedTuple):
    """What a round cost and where it led: MW out of balance (root mean square over hours), messages, milliseconds."""

    residual: Float[Array, "rounds"]
    messages: Float[Array, "rounds"]
    milliseconds: Float[Array, "rounds"]


def begin(market: Market) -> Talk:
    """Nobody does anything yet, and the price is the exchange's."""
    x = nothing(market)
    return Talk(
        x,
        jax.tree.map(jnp.zeros_like, rows(market, x))._replace(price=jnp.asarray(market.price)),
        jnp.asarray(market.load),
    )


@in_double
def negotiate(
    market: Market,
    key: PRNGKeyArray,
    rounds: int,
    talk: Talk | None = None,
    *,
    loss: float = 0.0,
    deadline: float = math.inf,
) -> tuple[Talk, Round]:
    """Hold so many rounds, from the beginning or on from `talk`.

    Every message is lost with probability `loss`. With a `deadline` in milliseconds the operator goes on without the
    agents that would answer later, which sit the round out (asynchronous); else it waits for the last.
    """
    market = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), market)
    start = begin(market) if talk is None else talk
    return _rounds(market, key, start, rounds, jnp.asarray(float(loss)), jnp.asarray(float(deadline)))


@partial(jax.jit, static_argnames="rounds")
def _rounds(
    market: Market, key: PRNGKeyArray, talk: Talk, rounds: int, loss: Array, deadline: Array
) -> tuple[Talk, Round]:
    metric = scale(market)
    solver = normal(market, metric, 1e-12)
    shared = jnp.linalg.inv(_balance_rows(market))
    step = 2.0 / jnp.maximum(jnp.abs(market.price).max(), 1e-6)

    def round_(talk: Talk, key: PRNGKeyArray) -> tuple[Talk, Round]:
        x, y, heard = talk
        delays, kept = _deliver(key, market.agents, loss)
        quoted, answered = (kept[0] & (delays.sum(axis=0) <= deadline))[None], kept[1][None]
        ahead = jax.tree.map(lambda share, slope: share - step * slope, x, metric(slopes(market, y)))
        new = nearest(market, ahead)
        own = Plan._make([*(jnp.where(quoted, n, o) for n, o in zip(new[:6], x[:6], strict=True)), *new[6:]])
        off = rows(market, jax.tree.map(lambda n, o: 2.0 * n - o, own, x))
        stored = y.stored + jnp.where(quoted, 0.5 * solver.own(off.stored) / step, 0.0)
        start = y.start + jnp.where(quoted[0], 0.5 * off.start / solver.start / step, 0.0)
        told = drawn(market, quantities(market, own))
        now = jnp.where(quoted & answered, told, heard)
        supply, before = (quantities(market, plan) for plan in (own, x))
        net, last = (
            now.sum(axis=1) - supply.imports + supply.exports,
            heard.sum(axis=1) - before.imports + before.exports,
        )
        price = y.price + 0.5 * shared @ (2.0 * net - last) / step
        residual = jnp.sqrt(((told.sum(axis=1) - supply.imports + supply.exports) ** 2).mean())
        waited = jnp.minimum(jnp.where(kept.all(axis=0), delays.sum(axis=0), 0.0).max(), deadline)
        waited = jnp.where(kept.all(), waited, jnp.where(jnp.isfinite(deadline), deadline, waited))
        sent = jnp.asarray(market.agents + quoted.sum(), float)
        return Talk(own, Rows(stored, start, price), now), Round(residual, sent, waited)

    return jax.lax.scan(round_, talk, jax.random.split(key, rounds))


def _deliver(key: PRNGKeyArray, agents: int, loss: Array) -> tuple[Float[Array, "2 agents"], Bool[Array, "2 agents"]]:
    """Milliseconds of the quote and of the answer of every agent, and whether they arrive."""
    first, second = jax.random.split(key)
    delays = MEDIAN * jnp.exp(SIGMA * jax.random.normal(first, (2, agents)))
    return delays, jax.random.uniform(second, (2, agents)) >= loss


def _balance_rows(market: Market) -> Float[Array, "hours hours"]:
    """The balance rows of A W Aᵀ."""
    none = jax.tree.map(jnp.zeros_like, rows(market, nothing(market)))
    one = jax.vmap(lambda unit: push(market, scale(market)(pull(market, none._replace(price=unit)))).price)
    return one(jnp.eye(market.hours))


def latency_quantiles(levels: Float[np.ndarray, " levels"]) -> Float[np.ndarray, " levels"]:
    """Milliseconds of the assumed law of one message."""
    return MEDIAN * np.exp(SIGMA * ndtri(levels))
