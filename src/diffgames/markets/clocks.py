"""Clocks of takers: a private past, so that takers of one supertype do not move as one.

A flow taker's rewards sum to D_0 − D_T, whatever the order of its trades (equation (6) of Vadori et al.). Takers that
share a policy, a start and a clock may therefore all learn one order, and trade as one. With a private past each has
played n₀ steps of a plan of its own before the episode: with h = 1 − qᵇ − qᵃ and u, v, w in [0, 1] it bought, sold and
held

    u qᵇ T,    v qᵃ T,    w h T    steps,    n₀ = T (u qᵇ + v qᵃ + w h) ≤ T,

so that its running fractions open at q̂ᵇ_0 = u qᵇ T/n₀ and q̂ᵃ_0 = v qᵃ T/n₀ and count n₀ + t steps at t. Its targets
stay within reach from any such past: it still has to buy in qᵇ(n₀ + T) − u qᵇ T = qᵇ(n₀ + (1 − u)T) steps, to sell and
to hold accordingly; none is negative and they sum to T. It sees the clock (t + n₀)/2T in [0, 1], which says neither the
time of the others nor when the episode ends.

One uniform draw s says how far the plan has come; u, v and w lie about it,

    u = (1 − d) s + d ξ_u    (v, w likewise; s and ξ uniform on [0, 1]),    d = min(1, √(12/T)).

Independent u, v and w (d = 1) would leave each taker a net order to work off, of deviation 0.2 T trades at qᵇ = qᵃ = ½:
takers would differ, but by drifts that nobody asked for. With this d the past's net position T(u qᵇ − v qᵃ) has the
variance T/2 that coin tosses over the mean past, T/2 steps, have. d = 0 would leave all at their targets, in one state.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.markets.agents import TakerType

CLOCKS = ("shared", "private", "none")

Past = tuple[Float[Array, " takers"], Float[Array, " takers"], Float[Array, " takers"]]


def no_past(takers: int) -> Past:
    """Everyone starts now: n₀ and both running fractions are zero."""
    zero = jnp.zeros((takers,), jnp.float32)
    return zero, zero, zero


def private_past(types: TakerType, steps: int, key: PRNGKeyArray) -> Past:
    """n₀ (steps), q̂ᵃ_0 and q̂ᵇ_0 of every taker for an episode of `steps` steps."""
    apart = min(1.0, (12.0 / steps) ** 0.5)
    draws = jax.random.uniform(key, (4, types.quantity.shape[0]), jnp.float32)
    u, v, w = (1.0 - apart) * draws[:1] + apart * draws[1:]
    bought, sold = u * types.buy_target, v * types.sell_target
    played = bought + sold + w * (1.0 - types.buy_target - types.sell_target)
    weight = jnp.maximum(played, 1e-6)
    return steps * played, sold / weight, bought / weight
