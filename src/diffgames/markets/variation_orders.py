"""The exchange agent's variation as a sequence of orders of typical size (Vadori et al., Section 2.3.1).

On each side, with V_k the volume at the k-th tick from the best on and ΔV_k its signed variation, meta-orders are

    one market order   of Σ |ΔV_k| over the ticks k that it empties, from the best on, and the first it leaves some of;
    a withdrawal       of |ΔV_k| at every other tick with ΔV_k < 0;
    a limit order      of ΔV_k at every tick with ΔV_k > 0,

and each is broken into orders whose sizes are drawn from the recorded sizes of single orders, the last taking what is
left. Market orders of both sides go first, then withdrawals, then limit orders: sent in this order to a book that
nobody else touches, they reproduce the variation exactly.

The paper lets the market order run on until the first tick whose volume does not fall. Where it leaves volume at a tick
and the next falls too, that would take too much from the first; so here the rest is withdrawn. A fall behind an
untouched best quote is withdrawn for the same reason.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.markets.depth_book import DepthBook
from diffgames.markets.order_book import BUY, SELL, Kind, Message


def break_into_orders(
    key: PRNGKeyArray,
    variation: tuple[Float[Array, " grid"], Float[Array, " grid"]],
    book: DepthBook,
    order_sizes: Float[Array, " sizes"],
    max_orders: int,
    first_id: Int[Array, ""] | int = 0,
    originator: int = -1,
) -> tuple[Message, Float[Array, ""]]:
    """Orders that apply `variation` (bid, ask) to `book`, and the lots for which `max_orders` left no room.

    There are at most 2·grid + 2 meta-orders. When slots run short, meta-orders are sent whole; lots stay unsent only
    when there are fewer slots than meta-orders. Limit orders have the identities `first_id` + slot; messages that are
    not needed are `Kind.NOTHING`. Prices are in ticks from the grid's centre.
    """
    if max_orders < 1:
        raise InvalidInput("max_orders", max_orders, "an integer ≥ 1")
    kind, side, price, size = _meta_orders(variation, book)
    pending = size > 0
    rank = jnp.cumsum(pending, dtype=jnp.int32)
    count = rank[-1]
    slots = jnp.arange(max_orders, dtype=jnp.int32)
    listed = jnp.minimum(jnp.searchsorted(rank, slots + 1).astype(jnp.int32), jnp.int32(size.shape[0] - 1))
    sizes = jnp.where(slots < count, size[listed], 0.0)  # the n-th meta-order, without the gaps between them
    index = jax.random.randint(key, (max_orders,), 0, order_sizes.shape[0], jnp.int32)
    meta, pieces = _broken(sizes, count, order_sizes[index].astype(size.dtype))
    source = listed[meta]
    used = pieces > 0
    message = Message(
        kind=jnp.where(used, kind[source], jnp.int32(Kind.NOTHING)),
        side=side[source],
        order_id=jnp.asarray(first_id, jnp.int32) + slots,
        originator=jnp.full((max_orders,), originator, jnp.int32),
        size=pieces,
        price=price[source],
    )
    return message, jnp.sum(size) - jnp.sum(pieces)


def _meta_orders(
    variation: tuple[Float[Array, " grid"], Float[Array, " grid"]], book: DepthBook
) -> tuple[Int[Array, " metas"], Int[Array, " metas"], Int[Array, " metas"], Float[Array, " metas"]]:
    """Kind, side, price and size (0: none) of all meta-orders, in the order in which they are sent."""
    grid = book.ask.shape[-1]
    tick = jnp.arange(grid, dtype=jnp.int32) - grid // 2
    sold, ask_fall, ask_rise = _side(book.ask, variation[1])
    bought, bid_fall, bid_rise = _side(book.bid[::-1], variation[0][::-1])
    parts = [  # a market order takes from the other side; a withdrawal and a limit order act on their own
        (Kind.MARKET, BUY, tick[:1], sold[None]),
        (Kind.MARKET, SELL, tick[:1], bought[None]),
        (Kind.WITHDRAW, SELL, tick, ask_fall),
        (Kind.WITHDRAW, BUY, tick[::-1], bid_fall),
        (Kind.LIMIT, SELL, tick, ask_rise),
        (Kind.LIMIT, BUY, tick[::-1], bid_rise),
    ]
    return (
        jnp.concatenate([jnp.full(size.shape, int(kind), jnp.int32) for kind, _, _, size in parts]),
        jnp.concatenate([jnp.full(size.shape, side, jnp.int32) for _, side, _, size in parts]),
        jnp.concatenate([price for _, _, price, _ in parts]),
        jnp.concatenate([size for _, _, _, size in parts]),
    )


def _side(
    volume: Float[Array, " grid"], change: Float[Array, " grid"]
) -> tuple[Float[Array, ""], Float[Array, " grid"], Float[Array, " grid"]]:
    """Market order, withdrawals and limit orders of one side, its ticks running from the best quote away."""
    left = (volume + change > 0).astype(jnp.int32)
    reached = jnp.cumsum(left, dtype=jnp.int32) - left == 0  # nothing is left at any tick before
    fall = jnp.maximum(-change, 0.0)
    return jnp.sum(jnp.where(reached, fall, 0.0)), jnp.where(reached, 0.0, fall), jnp.maximum(change, 0.0)


def _broken(
    sizes: Float[Array, " slots"], count: Int[Array, ""], drawn: Float[Array, " slots"]
) -> tuple[Int[Array, " slots"], Num[Array, " slots"]]:
    """For each slot, the meta-order it is a piece of and the piece's size: the drawn one, while slots suffice."""
    slots = sizes.shape[0]

    def fill(state, slot_and_draw):
        meta, left = state
        slot, draw = slot_and_draw
        scarce = slots - slot <= count - meta  # as many meta-orders wait as slots are left: no more breaking
        piece = jnp.where(scarce, left, jnp.minimum(draw, left))
        rest = left - piece
        done = (rest <= 0) & (meta < count)
        following = jnp.minimum(meta + 1, slots - 1)
        state = (
            jnp.where(done, meta + 1, meta),
            jnp.where(done, jnp.where(meta + 1 < slots, sizes[following], 0.0), rest),
        )
        return state, (jnp.minimum(meta, slots - 1), piece)

    slot = jnp.arange(slots, dtype=jnp.int32)
    return jax.lax.scan(fill, (jnp.int32(0), sizes[0]), (slot, drawn))[1]
