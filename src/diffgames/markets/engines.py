"""Two order-book engines behind one interface: volumes in closed form, or every order in its queue.

The market asks four things of a book: to open from a depth snapshot, to show its depth, to execute market orders in a
given order, and to undergo the exchange agent's variation. `DepthEngine` answers by cumulative sums over the tick grid
(fast, for training); `FifoEngine` sends every order, those of the exchange agent broken to empirical size, through the
exact price–time book (for replay and for questions about queues). A property test holds the two equal.
"""

import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.markets import depth_book
from diffgames.markets.depth_book import DepthBook, Fills

Variation = tuple[Float[Array, " grid"], Float[Array, " grid"]]


class AbstractEngine(eqx.Module):
    """What the market asks of one exchange's book."""

    @abc.abstractmethod
    def open(self, depth: DepthBook) -> Any:
        """The engine's book holding the volumes of `depth`."""

    @abc.abstractmethod
    def depth(self, book: Any) -> DepthBook:
        """Volumes at every tick."""

    @abc.abstractmethod
    def market_orders(
        self, book: Any, buy: Float[Array, " orders"], sell: Float[Array, " orders"]
    ) -> tuple[Any, Fills, Fills]:
        """Execute market orders in order: entry n buys `buy[n]`, then sells `sell[n]` (0 = none)."""

    @abc.abstractmethod
    def vary(self, book: Any, variation: Variation, order_sizes: Float[Array, " sizes"], key: PRNGKeyArray) -> Any:
        """The book after the exchange agent's signed volume variation (bid, ask), sent as orders of `order_sizes`."""


class DepthEngine(AbstractEngine):
    """Volumes on the tick grid; every timestep closed form (`depth_book`)."""

    def open(self, depth: DepthBook) -> DepthBook:
        return depth

    def depth(self, book: DepthBook) -> DepthBook:
        return book

    def market_orders(
        self, book: DepthBook, buy: Float[Array, " orders"], sell: Float[Array, " orders"]
    ) -> tuple[DepthBook, Fills, Fills]:
        return depth_book.market_orders(book, buy, sell)

    def vary(
        self, book: DepthBook, variation: Variation, order_sizes: Float[Array, " sizes"], key: PRNGKeyArray
    ) -> DepthBook:
        return depth_book.apply_variation(book, *variation)
