"""Does a market pay for pushing its own price? What schedules of one lone taker earn, without anybody else.

A taker of size q buys (+1), sells (−1) or holds by a fixed schedule d_t in an otherwise empty market. Mirroring the
schedule leaves what it earns on average as it is where the exchange treats bid and ask alike, and turns round what the
mid's own moves earn: the mean of both under common random numbers has the same expectation and hardly any noise,

    ½ (PnL(d) + PnL(−d)),        PnL = cash + q_T P_T  marked to the mid,   cash + L_T(q_T)  marked to the book.

With an impact that stays, a taker that only buys earns on paper what its own orders did to the mid. Marked to the book
it must sell out, into the same book, and no schedule should earn at any size (`markets.settlement`).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.markets.agents import ProviderSupertypes, QuadraticPenalty, TakerSupertypes, constant
from diffgames.markets.environment import OTCMarket
from diffgames.markets.exchange import AbstractExchange, stack_exchanges
from diffgames.markets.market_state import BUY, HOLD, SELL
from diffgames.markets.network import Connectivity


class Earned(NamedTuple):
    """PnL of an episode (ticks × lots) by schedule, antithetic pairs: means, and their standard errors."""

    book: Float[np.ndarray, " schedules"]
    book_error: Float[np.ndarray, " schedules"]
    mid: Float[np.ndarray, " schedules"]
    mid_error: Float[np.ndarray, " schedules"]


def schedules(steps: int) -> dict[str, Int[np.ndarray, " steps"]]:
    """Schedules of one direction, and round trips: fast and slow, bought first."""
    time = np.arange(steps)
    early, late, now_and_then = time < steps // 5, time >= steps - steps // 5, time % 4 == 0
    signed = {
        "buy every step": np.ones(steps),
        "buy every fourth step": now_and_then,
        "buy early and hold": early,
        "buy late": late,
        "buy, then sell": np.where(time < steps // 2, 1, -1),
        "buy fast, sell slowly": early.astype(int) - (now_and_then & ~early),
        "buy slowly, sell fast": (now_and_then & ~late).astype(int) - late,
        "buy and sell in turn": np.where(time % 2 == 0, 1, -1),
    }
    return {name: np.asarray(one, np.int32) for name, one in signed.items()}


def lone_taker(exchange: AbstractExchange, steps: int = 100, grid: int | None = None) -> OTCMarket:
    """A market of one taker and a provider that nobody is connected to, marked to the book; one lot a trade."""
    one = constant([1.0])
    nobody, everyone = (constant([[probability]]) for probability in (0.0, 1.0))
    unit = jnp.ones((), jnp.float32)
    return OTCMarket(
        providers=ProviderSupertypes(risk_aversion=one, pnl_weight=one, normalizer=one, share_target=one),
        takers=TakerSupertypes(
            risk_aversion=one, pnl_weight=one, normalizer=one, sell_target=one, buy_target=one, quantity=one
        ),
        connectivity=Connectivity(provider_taker=nobody, provider_exchange=nobody, taker_exchange=everyone),
        exchanges=stack_exchanges([exchange]),
        price_scale=unit,
        inventory_scale=unit,
        volume_scale=unit,
        spread_scale=unit,
        penalty=QuadraticPenalty(0.0 * unit),
        steps=steps,
        grid=grid or stack_exchanges([exchange]).price_grid(steps),
        mark="book",
    )


def earned(market: OTCMarket, plans: Any, size: float, key: PRNGKeyArray, episodes: int = 32) -> Earned:
    """What the plans [schedules, steps] earn in a market of `lone_taker` with trades of `size` lots."""
    market = eqx.tree_at(lambda m: m.takers.quantity, market, constant([size]))
    signed = jnp.asarray(np.asarray(plans), jnp.int32)
    keys = jax.random.split(key, episodes)
    total, penalty = (np.asarray(x, np.float64) for x in _play(market, jnp.stack([signed, -signed]), keys))
    columns = []
    for pnl in (total, total - penalty):
        pair = pnl.mean(axis=0)  # [schedules, episodes]
        columns += [pair.mean(axis=-1), pair.std(axis=-1, ddof=1) / episodes**0.5]
    return Earned(*columns)


@eqx.filter_jit
def _play(
    market: OTCMarket, signed: Int[Array, "2 schedules steps"], keys: Array
) -> tuple[Float[Array, "2 schedules episodes"], Float[Array, "2 schedules episodes"]]:
    """PnL and its part ℓ of every schedule and its mirror image, on common random numbers."""
    quotes = jnp.zeros((1, 3), jnp.float32)

    def episode(plan, key):
        reset, moves = jax.random.split(key)

        def body(state, now):
            side, key = now
            action = jnp.where(side > 0, BUY, jnp.where(side < 0, SELL, HOLD)).astype(jnp.int32)
            state, _, record = market.step(state, {"provider": quotes, "taker": action[None]}, key)
            return state, (record.taker_pnl[0], record.taker_pnl_penalty[0])

        now = (plan, jax.random.split(moves, market.steps))
        pnl, penalty = jax.lax.scan(body, market.reset(reset), now)[1]
        return jnp.sum(pnl), jnp.sum(penalty)

    over_episodes = jax.vmap(episode, in_axes=(None, 0))
    return jax.vmap(jax.vmap(over_episodes, in_axes=(0, None)), in_axes=(0, None))(signed, keys)
