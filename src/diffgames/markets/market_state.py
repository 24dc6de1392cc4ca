"""What an episode of the market carries, quotes and records: the data of `environment`, without any rule.

Units: prices in ticks from the initial mid, quantities in lots, cash and PnL in ticks × lots. Venues are numbered
providers first, then exchanges. Sides of a provider: 0 = its ask (takers buy), 1 = its bid (takers sell).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.markets.agents import ProviderType, TakerType
from diffgames.markets.network import Network

HOLD, BUY, SELL = 0, 1, 2


class Account(eqx.Module):
    """Running account of a group: inventory (lots), cash (ticks × lots)."""

    inventory: Float[Array, " members"]
    cash: Float[Array, " members"]

    @staticmethod
    def empty(members: int) -> "Account":
        """Nothing held, nothing owed."""
        return Account(inventory=jnp.zeros((members,), jnp.float32), cash=jnp.zeros((members,), jnp.float32))

    def add(self, quantity: Float[Array, " members"], cash: Float[Array, " members"]) -> "Account":
        """The account after receiving `quantity` lots and `cash`."""
        return Account(inventory=self.inventory + quantity, cash=self.cash + cash)


class MarketState(eqx.Module):
    """The state s_t of an episode."""

    time: Int[Array, ""]
    books: Any  # the engine's books, one per exchange on the leading axis
    exchange_carry: Any  # what each exchange agent remembers, likewise
    price: Float[Array, ""]  # reference price P_t
    price_change: Float[Array, ""]  # P_t − P_{t−1}, 0 at the start
    volume: Float[Array, ""]  # lots that takers have traded so far, exchanges included
    providers: Account
    takers: Account
    exchanges: Account
    market_share: Float[Array, " providers"]  # running average m̂_t
    trading_steps: Float[Array, ""]  # steps with any taker volume so far
    provider_penalty: Float[Array, " providers"]  # ℓ_t(q_t)
    taker_penalty: Float[Array, " takers"]
    past: Float[Array, " takers"]  # n₀, steps that the running fractions already count at the start
    sold_fraction: Float[Array, " takers"]  # q̂ᵃ_t
    bought_fraction: Float[Array, " takers"]  # q̂ᵇ_t
    provider_type: ProviderType
    taker_type: TakerType
    network: Network


class Quotes(eqx.Module):
    """Prices at which each trade size can be bought (`ask`) and sold (`bid`) at each venue."""

    ask: Float[Array, "venues sizes"]
    bid: Float[Array, "venues sizes"]


class Routes(eqx.Module):
    """Where each taker trades: direction (+1 buys, −1 sells, 0), lots, one-hot column of the venue, quoted price."""

    direction: Float[Array, " takers"]
    quantity: Float[Array, " takers"]
    venue: Float[Array, "venues takers"]
    price: Float[Array, " takers"]


class ExchangeTrades(eqx.Module):
    """What the exchanges did for the agents: lots received (negative: delivered) and cash received, per account.

    `hedge_venue` is one-hot: the exchange at which each provider hedges; zero where it is connected to none.
    """

    takers: Account
    providers: Account
    hedge_venue: Float[Array, "exchanges providers"]
    exchanges: Account
    unfilled: Float[Array, ""]


class StepRecord(eqx.Module):
    """What a step leaves behind for figures and measurements."""

    price: Float[Array, ""]  # P_t, at which the step's trades are judged
    next_price: Float[Array, ""]  # P_{t+1}
    best_bid: Float[Array, " exchanges"]
    best_ask: Float[Array, " exchanges"]
    level_price: Float[Array, "exchanges levels_of_both_sides"]  # occupied ticks before the trades, bids then asks
    level_volume: Float[Array, "exchanges levels_of_both_sides"]  # lots there; 0 where no such level is left
    ask: Float[Array, "venues sizes"]  # all quotes, as in `Quotes`
    bid: Float[Array, "venues sizes"]
    provider_ask: Float[Array, " providers"]  # quotes for the trade size of supertype 0
    provider_bid: Float[Array, " providers"]
    spread_tweak: Float[Array, " providers"]  # ε_spread
    skew_tweak: Float[Array, " providers"]  # ε_skew
    hedge_fraction: Float[Array, " providers"]  # ε_hedge
    inventory: Float[Array, " providers"]  # q_t
    hedged: Float[Array, " providers"]  # lots received from the exchanges
    hedge_cash: Float[Array, " providers"]  # cash received for them
    hedge_venue: Int[Array, " providers"]  # venue of the hedge; −1 where the provider reaches no exchange
    flow: Float[Array, "providers sides taker_supertypes"]  # lots traded with takers
    pnl_spread: Float[Array, " providers"]
    pnl_inventory: Float[Array, " providers"]
    pnl_penalty: Float[Array, " providers"]  # change of ℓ
    market_share: Float[Array, " providers"]  # share of this step's taker volume
    running_share: Float[Array, " providers"]  # m̂_{t+1}
    taker_volume: Float[Array, ""]
    taker_direction: Float[Array, " takers"]
    taker_price: Float[Array, " takers"]  # quoted
    taker_venue: Int[Array, " takers"]  # −1 where it did not trade
    taker_traded: Float[Array, " takers"]  # lots received
    taker_cash: Float[Array, " takers"]  # cash received for them
    taker_inventory: Float[Array, " takers"]
    taker_pnl: Float[Array, " takers"]
    taker_pnl_penalty: Float[Array, " takers"]
    unfilled: Float[Array, ""]  # lots of market orders that met no volume
    lost: Float[Array, ""]  # lots of the exchange agents' orders that found no room in their books so far
    imbalance: Float[Array, "2"]  # sums of inventory and of cash over all accounts: zero up to rounding
    provider_type: ProviderType
    taker_type: TakerType
    network: Network
