"""What the market asks of an exchange agent, whatever its law: `open` a book, `sample` its next variation, `scales`.

An exchange agent plays the rest of the world on one electronic exchange. It opens a book, and once a step, after the
agents' market orders, it is shown the book that they left and answers with signed volume variations. What it remembers
between steps is its *carry*, any tree of arrays, which the market's state holds for it. Two are shipped:

* `ecn.ExchangeModel`: the paper's, variations drawn anew from a Gaussian mixture, without memory;
* `ecn_memory.MemoryExchange`: recorded transitions drawn from like states, and impact that decays as recorded.

Another is a subclass: it is fitted by whom it likes, stacked by `stack_exchanges`, and played by `OTCMarket` unchanged.
"""

import abc
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.markets.depth_book import DepthBook, mid_price, top_levels

Variation = tuple[Float[Array, " grid"], Float[Array, " grid"]]

REACH = 6.0  # standard deviations of the mid at the horizon that a price grid holds
GRID_UNIT, LEAST_GRID = 64, 128  # ticks


class Scales(NamedTuple):
    """Orders of magnitude that observations are divided by."""

    price: float  # standard deviation of the mid over an episode, ticks
    volume: float  # mean volume of a level, lots
    spread: float  # median spread, ticks


class AbstractExchange(eqx.Module):
    """An exchange agent; several, stacked on a leading axis, are several exchanges.

    Attributes:
        widest: largest spread recorded, ticks.
        usual: median spread recorded, ticks.
        order_sizes: quantiles of the sizes of single orders, lots.
        mean_volume: mean recorded volume per level, bid levels then ask levels, lots.
        volatility: standard deviation of the mid change of one step, ticks.
        tick: tick size, in the price unit of the data.
    """

    widest: eqx.AbstractVar[Float[Array, "*batch"]]
    usual: eqx.AbstractVar[Float[Array, "*batch"]]
    order_sizes: eqx.AbstractVar[Float[Array, "*batch sizes"]]
    mean_volume: eqx.AbstractVar[Float[Array, "*batch levels_of_both_sides"]]
    volatility: eqx.AbstractVar[Float[Array, "*batch"]]
    tick: eqx.AbstractVar[Float[Array, "*batch"]]

    @property
    def levels(self) -> int:
        """Modelled levels per side, m."""
        return self.mean_volume.shape[-1] // 2

    def scales(self, steps: int) -> Scales:
        """Orders of magnitude over an episode of `steps` steps."""
        return Scales(
            price=float(jnp.mean(self.volatility)) * steps**0.5,
            volume=float(jnp.mean(self.mean_volume)),
            spread=float(jnp.mean(self.usual)),
        )

    def price_grid(self, steps: int) -> int:
        """Ticks of a grid that holds the mid for `steps` steps (`REACH` deviations), the widest spread and all levels.

        Rounded up to a multiple of `GRID_UNIT`, at least `LEAST_GRID`.
        """
        half = REACH * float(jnp.max(self.volatility)) * steps**0.5 + float(jnp.max(self.widest)) / 2 + self.depth()
        return max(LEAST_GRID, GRID_UNIT * math.ceil(2 * half / GRID_UNIT))

    def depth(self) -> float:
        """Ticks that the modelled levels of one side take, at the most on average."""
        return float(self.levels)

    @abc.abstractmethod
    def open(self, key: PRNGKeyArray, grid: int) -> tuple[DepthBook, Any]:
        """An initial book, its mid within half a tick of the grid's centre, and the carry."""

    @abc.abstractmethod
    def sample(
        self,
        carry: Any,
        key: PRNGKeyArray,
        book: DepthBook,
        mid_pull: float | Float[Array, ""] = 0.0,
        mid_weight: float = 1.0,
    ) -> tuple[Variation, Any]:
        """Signed volume variations (bid, ask), in lots, whose application to `book` gives the next book; the carry.

        `book` is the last one with the agents' market orders executed. `mid_pull` (half-ticks) is added to `mid_weight`
        times the agent's own mid change: a weight of zero leads the mid where the pull says, within half a tick.
        """

    @classmethod
    @abc.abstractmethod
    def alike(cls, models: Sequence[Any]) -> Sequence[Any]:
        """The same models, their arrays padded to common shapes."""


def stack_exchanges(models: Sequence[AbstractExchange]) -> AbstractExchange:
    """Several exchanges as one pytree with a leading exchange axis, to map over with `jax.vmap`.

    Raises `InvalidInput` where there is no model, or where models differ in kind or in their number of levels.
    """
    if not models:
        raise InvalidInput("exchanges", 0, "at least one exchange model")
    if len({model.levels for model in models}) > 1:
        raise InvalidInput("levels", [model.levels for model in models], "the same number of levels on all exchanges")
    if len(kinds := {type(model) for model in models}) > 1:
        raise InvalidInput("exchanges", sorted(kind.__name__ for kind in kinds), "exchange models of one kind")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *kinds.pop().alike(models))


def reference_price(books: DepthBook, levels: int) -> Float[Array, ""]:
    """Reference price of several exchanges: mid prices weighted by the volume of the top `levels` levels.

    `books` has a leading exchange axis; prices are in ticks from the grid's centre.
    """
    mids = jax.vmap(mid_price)(books)
    if mids.shape[0] == 1:
        return mids[0]
    liquidity = jax.vmap(lambda book: jnp.sum(top_levels(book, levels)))(books)
    total = jnp.sum(liquidity)
    weight = jnp.where(total > 0.0, liquidity / jnp.maximum(total, 1.0), 1.0 / mids.shape[0])
    return jnp.sum(weight * mids)
