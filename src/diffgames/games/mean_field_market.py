"""A market among the agents of a mean-field game: what they buy is their control, and one price clears it.

An agent of type τ that plays u buys at the rate s_τ u + n_τ(t): s_τ units of the good per unit of control (negative:
sold), and n_τ that is no choice. Outside supply meets the mean purchase Q at the price P(Q, t), which rises with Q:

    q_τ = s_τ E[u_τ] + n_τ(t),      Q = Σ λ_τ q_τ,      an agent pays P(Q, t) (s_τ u + n_τ(t)) per unit of time.

Everybody's choice u depends on the price, so the price is where the crowd's bids meet supply. A decision maker sees the
*marginal* price π_τ, the derivative of what it pays in what it buys, by the reading (games.mean_field_grid):

    game: P(Q),      control: P(Q) + P'(Q) Q,      typed: P(Q) + λ_τ P'(Q) q_τ,

so that π = marginal(bids(π)) is the condition of clearing; bids fall in the own π. Price takers minimize what the good
costs outside, ∫₀^Q P, together with their own costs: the first theorem of welfare economics, and the exact check.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput

MOST = 100
"""Newton steps, halved ones among them, to the clearing price."""


class Market(eqx.Module):
    """P(Q, t), loads n(t) [K], units s [K] of the good per unit of control along `axis`; see the module's docstring."""

    price: Callable[[Array, Array], Array]
    load: Callable[[Array], Float[Array, " K"]]
    size: Float[Array, " K"] = eqx.field(converter=lambda given: jnp.asarray(given, float))
    axis: int = eqx.field(static=True, default=0)

    def purchases(
        self, mass: Float[Array, "K N"], control: Float[Array, "K d N"], time: Float[Array, ""]
    ) -> Float[Array, " K"]:
        """q: the mean rate at which each type buys."""
        return self.size * jnp.sum(mass * control[:, self.axis], axis=-1) + self.load(time)

    def marginal(self, reading: str, share: Array, q: Float[Array, " K"], time: Array) -> Float[Array, " K"]:
        """π: what one unit more costs the decision maker of each type, by the reading."""
        price, slope = jax.value_and_grad(self.price)(share @ q, time)
        burden = {"game": 0.0 * q, "control": jnp.full_like(q, share @ q), "typed": share * q}[reading]
        return price + slope * burden

    def cleared(
        self, reading: str, share: Array, bids: Callable[[Float[Array, " K"], Any], Array], given: Any, time: Array
    ) -> Float[Array, " K"]:
        """π = marginal(bids(π, given)), where q_τ = bids(π, given)_τ depends on π_τ alone.

        Newton's method, the step halved where the residual does not fall. Derivatives pass through one step more, which
        is the implicit function theorem.
        """
        held = jax.lax.stop_gradient(given)

        def off(price: Array) -> tuple[Array, Array]:
            q, fall = jax.jvp(lambda price: bids(price, held), (price,), (jnp.ones_like(price),))
            rise = jax.jacfwd(lambda q: self.marginal(reading, share, q, time))(q)
            return price - self.marginal(reading, share, q, time), jnp.eye(len(price)) - rise * fall[None]

        def improved(state: tuple) -> tuple:
            price, residual, slope, step, count = state
            tried = price - step * jnp.linalg.solve(slope, residual)
            found, steeper = off(tried)
            better = jnp.max(jnp.abs(found)) < jnp.max(jnp.abs(residual))
            kept = (tried, found, steeper), (price, residual, slope)
            state = jax.tree.map(lambda new, old: jnp.where(better, new, old), *kept)
            return *state, jnp.where(better, jnp.minimum(2.0 * step, 1.0), 0.5 * step), count + 1

        def unfinished(state: tuple) -> Array:
            price, residual, _, step, count = state
            level = 1e-13 * (1.0 + jnp.max(jnp.abs(price)))
            return (jnp.max(jnp.abs(residual)) > level) & (step > 1e-9) & (count < MOST)

        guess = self.marginal(reading, share, self.load(time), time)
        start = (guess, *off(guess), jnp.ones_like(guess[0]), jnp.zeros((), jnp.int32))
        price, _, slope, *_ = jax.lax.while_loop(unfinished, improved, start)
        return price - jnp.linalg.solve(slope, price - self.marginal(reading, share, bids(price, given), time))


def check_market(market: Market, share: Float[Array, " K"], low: Array, high: Array, horizon: float) -> None:
    """`InvalidInput` where loads or sizes are not one per type, or the price does not rise; bounds of controls [K]."""
    count = len(share)
    times = jnp.linspace(0.0, horizon if np.isfinite(horizon) else 1.0, 7)
    load = np.asarray(jax.vmap(market.load)(times))
    if load.shape != (7, count) or not np.all(np.isfinite(load)):
        raise InvalidInput("market.load", list(load.shape[1:]), f"{count} finite numbers, one per type")
    if market.size.shape != (count,) or not float(market.size.min()) > 0:
        raise InvalidInput("market.size", np.asarray(market.size).tolist(), f"{count} positive numbers, one per type")
    size = np.asarray(market.size)
    least, most = size * np.maximum(np.asarray(low), -3.0), size * np.minimum(np.asarray(high), 3.0)
    for time, row in zip(times, load, strict=True):
        traded = jnp.linspace(float(share @ (row + least)), float(share @ (row + most)), 33)
        steepness = float(jax.vmap(jax.grad(market.price), (0, None))(traded, time).min())
        if not steepness > 0:
            raise InvalidInput("market.price", steepness, "a price that rises with what is bought")
