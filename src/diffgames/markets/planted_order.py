"""What one order does to an exchange agent's mid: the same episode with and without it, under common random numbers."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.markets.depth_book import DepthBook, mid_price
from diffgames.markets.engines import DepthEngine
from diffgames.markets.exchange import AbstractExchange

ENGINE = DepthEngine()


@eqx.filter_jit
def response_to_orders(
    model: AbstractExchange, orders: Float[Array, " steps"], key: PRNGKeyArray, episodes: int, grid: int
) -> tuple[Float[Array, "episodes steps"], Float[Array, "episodes steps"]]:
    """Market orders (signed lots, one before each step) in a book that nobody else trades at.

    Returns the mid after each step less the mid of the same episode without orders, and the cash that each order
    brought (negative: paid), in ticks × lots counted from the mid of the episode without orders before its step.
    """

    def episode(key):
        opening, running = jax.random.split(key)
        start = model.open(opening, grid)

        def body(states, given):
            key, lots = given
            (book, carry), (plain, plain_carry) = states
            undisturbed = mid_price(plain)
            book, bought, sold = ENGINE.market_orders(book, jnp.maximum(lots, 0.0)[None], jnp.maximum(-lots, 0.0)[None])
            cash = jnp.sum(sold.cash - bought.cash) - undisturbed * jnp.sum(sold.quantity - bought.quantity)
            after, plain_after = _moved(model, carry, key, book), _moved(model, plain_carry, key, plain)
            return (after, plain_after), (mid_price(after[0]) - mid_price(plain_after[0]), cash)

        return jax.lax.scan(body, (start, start), (jax.random.split(running, orders.shape[0]), orders))[1]

    return jax.vmap(episode)(jax.random.split(key, episodes))


def _moved(model: AbstractExchange, carry, key: PRNGKeyArray, book: DepthBook):
    """The book after the agent's step, and what it remembers."""
    variation, carry = model.sample(carry, key, book)
    return ENGINE.vary(book, variation, model.order_sizes, key), carry
