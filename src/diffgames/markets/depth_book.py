"""The order book as volumes on a fixed tick grid, with closed-form fills.

A book holds the volume resting at every tick k = 0, …, K−1: `bid[k]` and `ask[k]`. When the only aggressive orders of
a timestep are market orders in a fixed order, no loop over orders is needed. With the cumulative ask volume
C_k = Σ_{l≤k} ask_l, buying a total of Q consumes

    fill_k(Q) = clip(Q − C_{k−1}, 0, ask_k)          and costs          F(Q) = Σ_k p_k fill_k(Q),

so the n-th of a sequence of market orders of sizes Q_1, Q_2, … pays F(S_n) − F(S_{n−1}) with S_n = Σ_{i≤n} Q_i: every
fill of the step is a difference of one function at cumulative sums. Sales run down the bid side in the same way. The
quantity-normalised spreads of Vadori et al. (Section 2.2.2, above equation (5)) are

    xᵃ(q) = F_ask(q)/q − P,      xᵇ(q) = P − F_bid(q)/q,      P = mid price.

Prices are in ticks from the centre of the grid (tick k has price p_k = k − K//2), exact in single precision. A part of
an order that finds no volume is not filled; the unfilled quantity is returned, never dropped silently.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

TICK_BLOCK = 16  # ticks summed per scan step
ORDER_BLOCK = 64  # orders summed per triangular product


class DepthBook(eqx.Module):
    """Volumes (lots) resting at each tick, on both sides, in increasing price."""

    bid: Float[Array, "*batch grid"]
    ask: Float[Array, "*batch grid"]


class Fills(eqx.Module):
    """What a sequence of market orders obtained: quantity filled (lots) and cash paid or received (ticks × lots)."""

    quantity: Float[Array, " orders"]
    cash: Float[Array, " orders"]


def tick_prices(grid: int, dtype=jnp.float32) -> Float[Array, " grid"]:
    """Price of each tick, in ticks from the centre of the grid."""
    return jnp.arange(grid, dtype=dtype) - (grid // 2)


def best_ask(book: DepthBook) -> Int[Array, ""]:
    """Index of the lowest tick with ask volume; the grid's length when the side is empty."""
    occupied = book.ask > 0
    grid = book.ask.shape[-1]
    return jnp.where(jnp.any(occupied), jnp.argmax(occupied).astype(jnp.int32), jnp.int32(grid))


def best_bid(book: DepthBook) -> Int[Array, ""]:
    """Index of the highest tick with bid volume; −1 when the side is empty."""
    occupied = book.bid > 0
    grid = book.bid.shape[-1]
    return jnp.where(
        jnp.any(occupied), jnp.int32(grid - 1) - jnp.argmax(occupied[::-1]).astype(jnp.int32), jnp.int32(-1)
    )


def mid_price(book: DepthBook) -> Float[Array, ""]:
    """Mid price in ticks from the grid's centre: half the sum of best ask and best bid."""
    grid = book.ask.shape[-1]
    return (best_ask(book) + best_bid(book)).astype(book.ask.dtype) / 2 - (grid // 2)


def market_spread(book: DepthBook) -> Float[Array, ""]:
    """Best ask minus best bid, in ticks."""
    return (best_ask(book) - best_bid(book)).astype(book.ask.dtype)


def top_levels(book: DepthBook, levels: int) -> Float[Array, " levels2"]:
    """Volumes of the best `levels` ticks that hold any: bid side best first, then ask side best first; 0 where none."""

    def side(volume: Float[Array, " grid"]) -> Float[Array, " levels"]:
        rank = jnp.cumsum((volume > 0).astype(jnp.int32))
        at = jnp.sum(rank[None, :] < jnp.arange(1, levels + 1, dtype=jnp.int32)[:, None], axis=1, dtype=jnp.int32)
        return jnp.pad(volume, (0, 1))[at]

    return jnp.concatenate([side(book.bid[::-1]), side(book.ask)])


def occupied_levels(book: DepthBook, levels: int) -> tuple[Float[Array, " levels2"], Float[Array, " levels2"]]:
    """Prices (ticks from the centre) and volumes of the best `levels` ticks that hold any, bid side then ask side.

    Both are zero where a side has fewer.
    """
    grid = book.ask.shape[-1]
    price = tick_prices(grid, book.ask.dtype)

    def side(volume, price):
        rank = jnp.cumsum(volume > 0)
        chosen = (rank[None, :] == jnp.arange(1, levels + 1)[:, None]) & (volume > 0)[None, :]
        return jnp.sum(jnp.where(chosen, price, 0.0), axis=1), jnp.sum(jnp.where(chosen, volume, 0.0), axis=1)

    bid_price, bid = side(book.bid[::-1], price[::-1])
    ask_price, ask = side(book.ask, price)
    return jnp.concatenate([bid_price, ask_price]), jnp.concatenate([bid, ask])


def taking_cost(
    volume: Float[Array, " grid"], best: Float[Array, ""], step: Float[Array, ""], quantity: Float[Array, " orders"]
) -> tuple[Float[Array, " orders"], Float[Array, " orders"]]:
    """Cash F(Q) and filled quantity when Q lots in total are taken from `volume` in the order of its entries.

    `volume[k]` rests at a price one `step` (+1 or −1 tick) further than `volume[k−1]`; `best` is the price of the first
    non-empty entry. Summing by parts turns Σ_k p_k fill_k(Q) into best·Q + step·Σ_k max(Q − C_k, 0) over the ticks from
    the best on: one subtraction, one maximum and one addition per tick and order. The sum runs over blocks of ticks
    with the orders on the contiguous axis, which a compiler vectorises where a plain reduction stays scalar.
    """
    cumulative = jnp.cumsum(volume)
    filled = jnp.minimum(quantity, cumulative[-1])
    passed = jnp.where(cumulative > 0, cumulative, jnp.inf)  # ticks before the best are never passed
    padding = -passed.shape[0] % TICK_BLOCK
    blocks = jnp.pad(passed, (0, padding), constant_values=jnp.inf).reshape(-1, TICK_BLOCK)

    def add_block(beyond, block):
        for tick in range(TICK_BLOCK):
            beyond = beyond + jnp.maximum(filled - block[tick], 0.0)
        return beyond, None

    beyond, _ = jax.lax.scan(add_block, jnp.zeros_like(filled), blocks)
    return best * filled + step * beyond, filled


def both_costs(
    book: DepthBook, buy: Float[Array, " orders"], sell: Float[Array, " orders"]
) -> tuple[Float[Array, "2 orders"], Float[Array, "2 orders"]]:
    """Cash and filled quantity of taking `buy` lots from the asks (row 0) and giving `sell` lots to the bids (row 1).

    Every entry stands for itself: it meets the whole book.
    """
    best = jnp.stack([best_ask(book), best_bid(book)]) - book.ask.shape[-1] // 2
    step = jnp.asarray([1.0, -1.0], book.ask.dtype)
    sides = jnp.stack([book.ask, book.bid[::-1]])
    return jax.vmap(taking_cost)(sides, best.astype(book.ask.dtype), step, jnp.stack([buy, sell]))


def average_prices(
    book: DepthBook, quantity: Float[Array, " sizes"]
) -> tuple[Float[Array, " sizes"], Float[Array, " sizes"]]:
    """Average price (ticks) of buying and of selling `quantity` > 0 lots at the current book.

    Where the book holds less than `quantity`, the missing part is priced at the grid's far end: the quote of a size
    that the exchange cannot serve is bad, not undefined.
    """
    last = float(book.ask.shape[-1] - 1 - book.ask.shape[-1] // 2)
    first = -float(book.ask.shape[-1] // 2)
    cash, filled = both_costs(book, quantity, quantity)
    ask, bid = cash[0] + (quantity - filled[0]) * last, cash[1] + (quantity - filled[1]) * first
    return ask / quantity, bid / quantity


def liquidation_value(book: DepthBook, inventory: Float[Array, " accounts"]) -> Float[Array, " accounts"]:
    """Cash (ticks × lots) for selling each inventory into the bids, or minus what buying it back from the asks costs.

    Every account meets the whole book. What the book cannot take is priced at the last tick that holds any volume of
    the side, or at the grid's end where that is empty. With g the lots that are taken (negative: bought back), one sum
    by parts serves both sides: best·g − Σ_k |g − clip(g, −C_k of the asks, C_k of the bids)| over the ticks from the
    best on.
    """
    bids, asks = jnp.cumsum(book.bid[::-1]), jnp.cumsum(book.ask)
    bid_total, ask_total = bids[-1], asks[-1]
    taken = jnp.clip(inventory, -ask_total, bid_total)
    low, high = -jnp.where(asks > 0, asks, jnp.inf), jnp.where(bids > 0, bids, jnp.inf)
    walked = jnp.sum(jnp.abs(taken[:, None] - jnp.clip(taken[:, None], low[None, :], high[None, :])), axis=1)
    grid, dtype = book.ask.shape[-1], walked.dtype
    bid = (jnp.maximum(best_bid(book), 0) - grid // 2).astype(dtype)
    ask = (jnp.minimum(best_ask(book), grid - 1) - grid // 2).astype(dtype)
    last_bid = bid - jnp.sum((bids > 0) & (bids < bid_total)).astype(dtype)
    last_ask = ask + jnp.sum((asks > 0) & (asks < ask_total)).astype(dtype)
    best, last = (jnp.where(inventory > 0, *sides) for sides in ((bid, ask), (last_bid, last_ask)))
    return best * taken - walked + last * (inventory - taken)


def market_orders(
    book: DepthBook, buy: Float[Array, " orders"], sell: Float[Array, " orders"]
) -> tuple[DepthBook, Fills, Fills]:
    """Execute market orders in the order given: order n buys `buy[n]` and sells `sell[n]` lots (0 = none).

    Returns the book after all of them, and the fills of the purchases and of the sales. `Fills.cash` is what the buyer
    pays, or what the seller receives, in ticks × lots with prices counted from the grid's centre.
    """
    bought, sold = running_total(buy), running_total(sell)
    cash, filled = both_costs(book, bought, sold)
    ask = book.ask - _consumed(book.ask, bought[-1])
    bid = (book.bid[::-1] - _consumed(book.bid[::-1], sold[-1]))[::-1]
    return (
        DepthBook(bid=bid, ask=ask),
        Fills(quantity=_increments(filled[0]), cash=_increments(cash[0])),
        Fills(quantity=_increments(filled[1]), cash=_increments(cash[1])),
    )


def apply_variation(book: DepthBook, bid: Float[Array, " grid"], ask: Float[Array, " grid"]) -> DepthBook:
    """The book after signed volume variations (lots); no volume falls below zero."""
    return DepthBook(bid=jnp.maximum(book.bid + bid, 0.0), ask=jnp.maximum(book.ask + ask, 0.0))


def running_total(values: Float[Array, " orders"]) -> Float[Array, " orders"]:
    """Cumulative sum; for long vectors block by block with a triangular matrix, several times faster than a scan."""
    if values.shape[0] <= ORDER_BLOCK:
        return jnp.cumsum(values)
    padded = jnp.pad(values, (0, -values.shape[0] % ORDER_BLOCK)).reshape(-1, ORDER_BLOCK)
    triangle = jnp.triu(jnp.ones((ORDER_BLOCK, ORDER_BLOCK), values.dtype))
    within = jnp.matmul(padded, triangle, precision="highest")
    before = jnp.cumsum(within[:, -1]) - within[:, -1]
    return (within + before[:, None]).reshape(-1)[: values.shape[0]]


def _consumed(volume: Float[Array, " grid"], total: Float[Array, ""]) -> Float[Array, " grid"]:
    before = jnp.cumsum(volume) - volume
    return jnp.clip(total - before, 0.0, volume)


def _increments(cumulative: Float[Array, " orders"]) -> Float[Array, " orders"]:
    return jnp.diff(cumulative, prepend=jnp.zeros((1,), cumulative.dtype))
