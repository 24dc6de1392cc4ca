"""The exchange agent: an order book that moves as recorded books do (Vadori et al., Section 2.3.1).

The book's top m levels on each side sit one tick apart; only the spread between best bid and best ask varies. Volumes
V_i (i = 1…2m: bid levels from the best down, then ask levels from the best up) follow the hybrid dynamics (8)

    V_{i,n+1} = (1 − δ⁻_i) V_{i,n} + δ⁺_i,        δ⁺ = max(δ, 0) ≥ 0,   δ⁻ = max(−δ, 0) ∈ [0, 1],

where S_{n+1} = (δ_1, …, δ_2m, spread, mid change), equation (7), is drawn anew each step from a fitted Gaussian
mixture, and S_0 = (ln V_1, …, ln V_2m, spread) from another. Deeper levels extend the last by V_m e^{−αk}.

From a real-valued draw (δ, s̃, d̃), with d̃ in half-ticks, to a book: the spread is s' = max(1, round s̃) and the best ask
moves by round((d̃ + s' − s)/2) ticks, which makes the mid change the integer of half-ticks nearest to d̃ among those of
the parity of s' − s. Volumes are rounded to whole lots, at least one at each of the m levels. Rounding restores what a
density cannot have: levels, spreads and mids that do not change at all.

In the mixture's coordinates a rise is counted in units v_i of about the level's mean volume, δ_i = v_i x_i for x_i > 0,
a fall as the fraction it is, δ_i = x_i: both sides of zero then have one scale, which a Gaussian needs. A `mirror`
probability of ½ exchanges bid and ask in every second draw, so that an hour's trend in the data is not taken for a law.

Agents act on the same book: the levels that (8) varies are those that their orders left. What they take out of it moves
the mid for good, by half of the ticks they empty on average; the spread closes within a step, and the volumes return at
the rate μ⁻ (`ecn_theory`).
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.markets.depth_book import DepthBook, best_ask, best_bid, top_levels
from diffgames.markets.exchange import AbstractExchange, Variation
from diffgames.markets.mixture import GaussianMixture, padded, uniforms


class ExchangeModel(AbstractExchange):
    """The fitted mixture; several, stacked on a leading axis, are several exchanges.

    Attributes:
        snapshot: law of (ln V_1, …, ln V_2m, spread in ticks).
        variation: law of (x_1, …, x_2m, spread in ticks, mid change in half-ticks).
        unit: v_i, lots per unit of a rise x_i > 0.
        mirror: probability of exchanging bid and ask in a draw: ½ makes the law symmetric, 0 leaves it as fitted.
        decay: α of the extrapolation e^{−αk} below the m-th level, per tick.
        widest: largest spread recorded, ticks; a draw beyond is cut to it.
        usual: median spread recorded, ticks.
        order_sizes: quantiles of the sizes of single orders, lots.
        mean_volume: mean recorded volume per level, lots.
        volatility: standard deviation of the mid change of one step, ticks.
        tick: tick size, in the price unit of the data.
    """

    snapshot: GaussianMixture
    variation: GaussianMixture
    unit: Float[Array, "*batch levels_of_both_sides"]
    mirror: Float[Array, "*batch"]
    decay: Float[Array, "*batch"]
    widest: Float[Array, "*batch"]
    usual: Float[Array, "*batch"]
    order_sizes: Float[Array, "*batch sizes"]
    mean_volume: Float[Array, "*batch levels_of_both_sides"]
    volatility: Float[Array, "*batch"]
    tick: Float[Array, "*batch"]

    def open(self, key: PRNGKeyArray, grid: int) -> tuple[DepthBook, None]:
        """A snapshot; there is nothing to remember."""
        return self.sample_snapshot(key, grid), None

    def sample(
        self,
        carry: None,
        key: PRNGKeyArray,
        book: DepthBook,
        mid_pull: float | Float[Array, ""] = 0.0,
        mid_weight: float = 1.0,
    ) -> tuple[Variation, None]:
        """`sample_variation`, whatever came before."""
        return self.sample_variation(key, book, mid_pull, mid_weight), None

    @classmethod
    def alike(cls, models: Sequence["ExchangeModel"]) -> list["ExchangeModel"]:
        """Mixtures with fewer components are padded with components of weight zero."""
        most = {n: max(getattr(model, n).weights.shape[0] for model in models) for n in ("snapshot", "variation")}
        return [
            eqx.tree_at(
                lambda m: (m.snapshot, m.variation),
                model,
                (padded(model.snapshot, most["snapshot"]), padded(model.variation, most["variation"])),
            )
            for model in models
        ]

    def sample_snapshot(self, key: PRNGKeyArray, grid: int) -> DepthBook:
        """An initial book; its mid is the grid's centre, half a tick above it where the spread is odd."""
        draw = self._draw(self.snapshot, key)
        spread = self._whole_spread(draw[-1], self._widest_on(grid))
        ask = float(grid // 2) + jnp.ceil(spread / 2)
        volumes = jnp.exp(jnp.minimum(draw[:-1], 15.0))  # e^15 lots is beyond any book, and finite after rounding
        return self.place(_whole_lots(volumes), ask - spread, ask, grid)

    def sample_variation(
        self, key: PRNGKeyArray, book: DepthBook, mid_pull: float | Float[Array, ""] = 0.0, mid_weight: float = 1.0
    ) -> Variation:
        """Signed volume variations (bid, ask), in lots, whose application to `book` gives the next book.

        `mid_pull` (half-ticks) is added to `mid_weight` times the sampled mid change before it is rounded: a weight of
        zero leads the mid where the pull says, within half a tick. The mid stays so far inside the grid
        that all modelled levels fit.
        """
        grid, dtype = book.ask.shape[-1], book.ask.dtype
        ask, bid = best_ask(book), best_bid(book)
        volumes, spread, move = self.sample_levels(
            key, top_levels(book, self.levels), (ask - bid).astype(dtype), mid_pull, self._widest_on(grid), mid_weight
        )
        next_ask = jnp.clip(ask.astype(dtype) + move, spread + (self.levels - 1.0), float(grid - self.levels))
        target = self.place(volumes, next_ask - spread, next_ask, grid)
        return target.bid - book.bid, target.ask - book.ask

    def sample_levels(
        self,
        key: PRNGKeyArray,
        volumes: Float[Array, " levels_of_both_sides"],
        spread: Float[Array, ""],
        mid_pull: float | Float[Array, ""] = 0.0,
        widest: float | None = None,
        mid_weight: float = 1.0,
    ) -> tuple[Float[Array, " levels_of_both_sides"], Float[Array, ""], Float[Array, ""]]:
        """One step of the levels alone: next volumes, next spread (≤ `widest`) and the best ask's move, in ticks.

        The mid moves by 2·move − (next spread − spread) half-ticks.
        """
        return self.apply_draw(self._draw(self.variation, key), volumes, spread, mid_pull, widest, mid_weight)

    def apply_draw(
        self,
        draw: Float[Array, " dimension"],
        volumes: Float[Array, " levels_of_both_sides"],
        spread: Float[Array, ""],
        mid_pull: float | Float[Array, ""] = 0.0,
        widest: float | None = None,
        mid_weight: float = 1.0,
    ) -> tuple[Float[Array, " levels_of_both_sides"], Float[Array, ""], Float[Array, ""]]:
        """What a given draw of the variation (x_1, …, x_2m, spread, mid change) does to the levels."""
        change = draw[:-2]
        volumes = (1.0 - jnp.clip(-change, 0.0, 1.0)) * volumes + jnp.maximum(change, 0.0) * self.unit
        next_spread = self._whole_spread(draw[-2], widest)
        half_ticks = mid_weight * draw[-1] + mid_pull
        move = jnp.round((half_ticks + next_spread - spread) / 2.0)
        return _whole_lots(volumes), next_spread, move

    def sample_change(self, key: PRNGKeyArray) -> Float[Array, " levels_of_both_sides"]:
        """A draw of δ_1, …, δ_2m of the dynamics (8), before volumes are rounded to lots."""
        change = self._draw(self.variation, key)[:-2]
        return jnp.maximum(change, -1.0) * jnp.where(change > 0.0, self.unit, 1.0)

    def _draw(self, mixture: GaussianMixture, key: PRNGKeyArray) -> Float[Array, " dimension"]:
        """A draw of volumes, spread and possibly mid change, mirrored with the model's probability."""
        uniform = uniforms(key, mixture.dimension + 2)
        draw, both = mixture.from_uniforms(uniform[1:]), 2 * self.levels
        exchanged = jnp.concatenate([draw[self.levels : both], draw[: self.levels], draw[both:][:1], -draw[both:][1:]])
        return jnp.where((uniform[0] + 1.0) / 2.0 < self.mirror, exchanged, draw)

    def _widest_on(self, grid: int) -> float:
        """The widest spread that leaves room on the grid for all levels of both sides."""
        return float(grid - 2 * self.levels + 1)

    def _whole_spread(self, spread: Float[Array, ""], widest: float | None) -> Float[Array, ""]:
        most = self.widest if widest is None else jnp.minimum(self.widest, widest)
        return jnp.clip(jnp.round(spread), 1.0, most)

    def place(
        self, volumes: Float[Array, " levels_of_both_sides"], bid: Float[Array, ""], ask: Float[Array, ""], grid: int
    ) -> DepthBook:
        """The book with the given volumes at its levels, extended downwards by e^{−αk}."""
        tick = jnp.arange(grid, dtype=volumes.dtype)
        return DepthBook(
            bid=self._side(volumes[: self.levels], bid - tick), ask=self._side(volumes[self.levels :], tick - ask)
        )

    def _side(self, volumes: Float[Array, " levels"], depth: Float[Array, " grid"]) -> Float[Array, " grid"]:
        """Volume at every tick, `depth` being its distance from the best (negative: inside the spread)."""
        below = depth - (self.levels - 1.0)
        side = jnp.round(volumes[-1] * jnp.exp(-self.decay * jnp.maximum(below, 0.0)))
        for level in range(self.levels - 1):
            side = jnp.where(depth == float(level), volumes[level], side)
        return jnp.where(depth < 0.0, 0.0, side)


def _whole_lots(volumes: Float[Array, " n"]) -> Float[Array, " n"]:
    return jnp.maximum(jnp.round(volumes), 1.0)
