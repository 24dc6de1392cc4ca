"""Best-price routing: every taker trades at the best venue it is connected to.

A taker that buys pays the lowest ask for its size among its connected venues, one that sells receives the highest bid;
venues within a hair of the best price are tied and one of them is drawn with equal probability, for each taker anew.

Arrays are venue-major, [venues, takers]: the few venues are looped over, the many takers lie on the contiguous axis.
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from diffgames.markets.market_state import BUY, SELL, Quotes, Routes

UNREACHABLE = 1e9
TIE = 1e-3  # ticks; quotes lie on a grid of at least a tenth of a tick


def per_taker(values: Float[Array, "venues sizes"], size_row: tuple[int, ...]) -> Float[Array, "venues takers"]:
    """Spread a table over the takers: column `size_row[l]` for taker l, copied run by run (no gather)."""
    if size_row == tuple(range(values.shape[1])):
        return values
    starts = [0, *(i for i in range(1, len(size_row)) if size_row[i] != size_row[i - 1]), len(size_row)]
    runs = [
        jnp.broadcast_to(values[:, size_row[first]][:, None], (values.shape[0], last - first))
        for first, last in itertools.pairwise(starts)
    ]
    return jnp.concatenate(runs, axis=1)


def venue_prices(
    quotes: Quotes, size_row: tuple[int, ...], connected: Bool[Array, "venues takers"]
) -> tuple[Float[Array, "venues takers"], Float[Array, "venues takers"]]:
    """Cost of buying and (negated) proceeds of selling per venue and taker; `UNREACHABLE` where not connected."""
    return (
        jnp.where(connected, per_taker(quotes.ask, size_row), UNREACHABLE),
        jnp.where(connected, -per_taker(quotes.bid, size_row), UNREACHABLE),
    )


def route(
    quotes: Quotes,
    size_row: tuple[int, ...],
    quantity: Float[Array, " takers"],
    connected: Bool[Array, "venues takers"],
    decision: Int[Array, " takers"],
    key: PRNGKeyArray,
) -> Routes:
    """Each taker's venue, price and quantity for its decision (hold, buy or sell)."""
    buying, selling = venue_prices(quotes, size_row, connected)
    buys, sells = decision == BUY, decision == SELL
    price = jnp.where(buys[None, :], buying, selling)
    best = jnp.min(price, axis=0)
    score = jnp.where(price <= (best + TIE)[None, :], tie_breakers(key, *price.shape), jnp.uint32(0))
    winner = jnp.max(score, axis=0)
    side = buys.astype(jnp.float32) - sells.astype(jnp.float32)
    direction = jnp.where(best < UNREACHABLE, side, 0.0)
    venue = (score == winner[None, :]) & (direction != 0.0)[None, :]
    paid = jnp.where(direction == 0.0, 0.0, direction * best)
    return Routes(
        direction=direction, quantity=quantity * jnp.abs(direction), venue=venue.astype(jnp.float32), price=paid
    )


def tie_breakers(key: PRNGKeyArray, venues: int, takers: int) -> Array:
    """Distinct positive scores per venue, in an order drawn uniformly enough for each taker.

    One random word per taker is hashed with the venue's number (multiply, xor-shift: a murmur finaliser), so that one
    call of the generator serves all venues; the venue's number in the low bits keeps scores distinct.
    """
    word = jax.random.bits(key, (takers,), jnp.uint32)
    number = jnp.arange(1, venues + 1, dtype=jnp.uint32)
    mixed = word[None, :] ^ (number * jnp.uint32(0x9E3779B9))[:, None]
    for multiplier in (0x85EBCA6B, 0xC2B2AE35):
        mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(multiplier)
    mixed = mixed ^ (mixed >> 13)
    return (mixed & jnp.uint32(0xFFFFFF00)) | number[:, None]
