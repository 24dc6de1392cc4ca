"""The over-the-counter market as a Markov game (Vadori et al., Section 2.2.2).

Liquidity providers and takers trade with one another and with electronic exchanges (ECNs). One step runs in the order

    1. providers quote price curves and choose hedge fractions          (role "provider" acts)
    2. takers see the quotes of the venues they are connected to        (role "taker" acts: hold, buy or sell)
       and trade at the best of them, ties broken fairly at random
    3. market orders reach the exchanges: takers' first, then hedges of −ε_hedge·q_t
    4. every exchange's own agent moves its book
    5. everything is marked at the new reference price P_{t+1}, the liquidity-weighted mid of the exchanges.

Quotes are equation (5) with the exchange's quantity-normalised spread x_t(q); rewards are equations (4) and (6) (see
`agents`). Trades at an exchange pay the book they really meet, so an order's price includes its own impact and that of
the orders before it. Cash and inventory of agents and exchanges add up to zero after every step: the exchanges' account
is taken from the volumes that left their books, not from the agents' fills.

Where the paper leaves a choice: a taker's decision is routed by the prices quoted at the start of the step; the market
share of a step without taker volume is not counted (the average holds); with several exchanges x_t(q) is the smallest
of theirs (so that x_t(q) ≥ x_t/2, and no ε_spread ≥ −1 makes a provider bid more than it asks), a hedge goes to the
connected exchange that serves it best, and each exchange's mid is pulled half-way back to the reference price
(arbitrage), which changes nothing when there is one exchange.

Units: prices in ticks from the initial mid, quantities in lots, time in steps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.markov import AbstractMarkovGame, Actions, Continuous, Discrete, Role
from diffgames.markets import observations
from diffgames.markets.agents import (
    ProviderSupertypes,
    QuadraticPenalty,
    TakerSupertypes,
    TypeDistribution,
    price_curves,
)
from diffgames.markets.clocks import CLOCKS, no_past, private_past
from diffgames.markets.depth_book import (
    average_prices,
    best_ask,
    best_bid,
    liquidation_value,
    market_spread,
    mid_price,
    occupied_levels,
    tick_prices,
)
from diffgames.markets.engines import AbstractEngine, DepthEngine
from diffgames.markets.exchange import AbstractExchange, reference_price
from diffgames.markets.market_state import Account, ExchangeTrades, MarketState, Quotes, Routes, StepRecord
from diffgames.markets.network import Connectivity, draw_network
from diffgames.markets.routing import route, venue_prices
from diffgames.markets.settlement import Settlement, imbalance, settle

MARKS = ("mid", "book")
PAST = 1_000_003  # folded into an episode's key for the takers' pasts, apart from its other streams


class OTCMarket(AbstractMarkovGame):
    """The market: supertypes, connectivity, exchanges and scales.

    Attributes:
        providers, takers: types as distributions per supertype.
        connectivity: connection probabilities per pair of supertypes.
        exchanges: one fitted exchange agent per exchange, stacked on a leading axis.
        price_scale, inventory_scale, volume_scale, spread_scale: what observations are divided by (ticks, lots, lots,
            ticks).
        penalty: the inventory penalty ℓ of equation (3).
        engine: how market orders and variations act on a book.
        price_path: the mid (ticks) at times 0…T that every exchange's agent steers its book to, in place of the fitted
            mid changes; within half a tick, as a mid of the spread's parity can. None: the fitted law.
        provider_supertype, taker_supertype: the supertype index of each agent.
        steps: horizon T. grid: ticks of the price grid.
        quote_granularity: quote grid ξ_LP in ticks (0.1 bp against a tick of 0.5 bp is 0.2).
        spread_bounds, skew_bound: range of ε_spread and |ε_skew| that a policy's outputs cover.
        mark: what inventory is worth, the reference price ("mid") or what the books pay for it ("book"; `settlement`).
        clock: takers' start and what they see of the time (`clocks`): the market's own ("shared"), that of a past of
            their own ("private"), or nothing ("none").
        share: what market shares are fractions of, the volume of "all" takers or what they trade with "providers".
        sizes_vary: whether trade sizes differ between takers of one supertype (then every taker has its price row).
    """

    providers: ProviderSupertypes
    takers: TakerSupertypes
    connectivity: Connectivity
    exchanges: AbstractExchange
    price_scale: Float[Array, ""]
    inventory_scale: Float[Array, ""]
    volume_scale: Float[Array, ""]
    spread_scale: Float[Array, ""]
    penalty: QuadraticPenalty
    engine: AbstractEngine = DepthEngine()
    price_path: Float[Array, " times"] | None = None
    provider_supertype: tuple[int, ...] = eqx.field(static=True, default=(0,))
    taker_supertype: tuple[int, ...] = eqx.field(static=True, default=(0,))
    steps: int = eqx.field(static=True, default=100)
    grid: int = eqx.field(static=True, default=128)
    quote_granularity: float = eqx.field(static=True, default=0.2)
    spread_bounds: tuple[float, float] = eqx.field(static=True, default=(-1.0, 1.0))
    skew_bound: float = eqx.field(static=True, default=1.0)
    sizes_vary: bool = eqx.field(static=True, default=False)
    share: str = eqx.field(static=True, default="all")
    mark: str = eqx.field(static=True, default="mid")
    clock: str = eqx.field(static=True, default="shared")

    def __check_init__(self):
        for name, allowed in (("mark", MARKS), ("clock", CLOCKS)):
            if getattr(self, name) not in allowed:
                raise InvalidInput(name, getattr(self, name), f"one of {', '.join(allowed)}")

    @property
    def horizon(self) -> int:
        return self.steps

    @property
    def n_exchanges(self) -> int:
        """Number of exchanges, n_ECN."""
        return self.connectivity.taker_exchange.mean.shape[1]

    @property
    def roles(self) -> tuple[Role, ...]:
        provider_supertypes, taker_supertypes = self.connectivity.provider_taker.mean.shape
        tweaks = Continuous(
            names=("spread", "skew", "hedge"),
            low=(self.spread_bounds[0], -self.skew_bound, 0.0),
            high=(self.spread_bounds[1], self.skew_bound, 1.0),
        )
        seen_by_provider = observations.provider_features(self.exchanges.levels, taker_supertypes)
        seen_by_taker = observations.taker_features(provider_supertypes, self.clock)
        return (
            Role("provider", len(self.provider_supertype), seen_by_provider, tweaks),
            Role("taker", len(self.taker_supertype), seen_by_taker, Discrete(("hold", "buy", "sell"))),
        )

    def reset(self, key: PRNGKeyArray) -> MarketState:
        book_key, provider_key, taker_key, network_key = jax.random.split(key, 4)
        provider_index = jnp.asarray(self.provider_supertype, jnp.int32)
        taker_index = jnp.asarray(self.taker_supertype, jnp.int32)
        n_providers, n_takers = len(self.provider_supertype), len(self.taker_supertype)
        keys = jax.random.split(book_key, self.n_exchanges)
        depth, carry = jax.vmap(lambda model, k: model.open(k, self.grid))(self.exchanges, keys)
        books = jax.vmap(self.engine.open)(depth)
        past, sold, bought = no_past(n_takers)
        state = MarketState(
            time=jnp.int32(0),
            books=books,
            exchange_carry=carry,
            price=self._reference(books),
            price_change=jnp.zeros((), jnp.float32),
            volume=jnp.zeros((), jnp.float32),
            providers=Account.empty(n_providers),
            takers=Account.empty(n_takers),
            exchanges=Account.empty(self.n_exchanges),
            market_share=jnp.zeros((n_providers,), jnp.float32),
            trading_steps=jnp.zeros((), jnp.float32),
            provider_penalty=jnp.zeros((n_providers,), jnp.float32),
            taker_penalty=jnp.zeros((n_takers,), jnp.float32),
            past=past,
            sold_fraction=sold,
            bought_fraction=bought,
            provider_type=self.providers.draw(provider_index, provider_key),
            taker_type=self.takers.draw(taker_index, taker_key),
            network=draw_network(self.connectivity, provider_index, taker_index, network_key),
        )
        return self.with_past(state, key)

    def with_past(self, state: MarketState, key: PRNGKeyArray) -> MarketState:
        """The initial state with the pasts that takers of these types have, where clocks are private."""
        if self.clock != "private":
            return state
        past, sold, bought = private_past(state.taker_type, self.steps, jax.random.fold_in(key, PAST))
        return dataclasses.replace(state, past=past, sold_fraction=sold, bought_fraction=bought)

    def observe(self, state: MarketState, actions: Actions, role: str) -> Float[Array, "agents features"]:
        if role == "provider":
            return observations.observe_providers(
                state,
                jax.vmap(self.engine.depth)(state.books),
                self.exchanges.levels,
                self._scales(self.providers.normalizer),
            )
        quotes = self.quotes(state, actions["provider"])
        buying, selling = venue_prices(quotes, self._size_row(), self._connected(state))
        return observations.observe_takers(
            state,
            jnp.min(buying, axis=0),
            jnp.min(selling, axis=0),
            self._scales(self.takers.normalizer),
        )

    def observe_by_name(self, state: MarketState, actions: Actions, role: str) -> dict[str, Float[Array, " agents"]]:
        law = self.providers.normalizer if role == "provider" else self.takers.normalizer
        names, seen = self.role(role).observation_names, self.observe(state, actions, role)
        depth = jax.vmap(self.engine.depth)(state.books)
        return observations.by_name(names, seen, state, depth, self._scales(law))

    def action_of(self, state: MarketState, role: str, index: int, answer: Float[Array, "3"]) -> Float[Array, "3"]:
        """A provider's answer: the spread ask − bid of the first lot and its skew in ticks, and lots to hedge.

        They are not cut to what policies can quote; spreads below 0 are 0, hedges at most the inventory.
        """
        market = jnp.min(jax.vmap(market_spread)(jax.vmap(self.engine.depth)(state.books)))
        held = jnp.maximum(jnp.abs(state.providers.inventory[index]), 1e-6)
        spread, skew, hedge = answer
        return jnp.stack([jnp.maximum(spread, 0.0) / market - 1.0, skew / market, jnp.clip(hedge, 0.0, held) / held])

    def step(
        self, state: MarketState, actions: Actions, key: PRNGKeyArray
    ) -> tuple[MarketState, dict[str, Float[Array, " agents"]], StepRecord]:
        tie_key, exchange_key = jax.random.split(key)
        quotes = self.quotes(state, actions["provider"])
        routes = route(
            quotes, self._size_row(), state.taker_type.quantity, self._connected(state), actions["taker"], tie_key
        )
        books, fills = self._trade_at_exchanges(state, routes, -actions["provider"][:, 2] * state.providers.inventory)
        books, carry = self._move_exchanges(books, state, exchange_key)
        next_price = self._reference(books)
        now = dataclasses.replace(state, exchange_carry=carry)
        settled = settle(now, self._penalty(books, next_price), routes, fills, books, next_price, self.share)
        return settled.state, settled.rewards, self._record(state, actions["provider"], quotes, routes, fills, settled)

    def summary(self, records: StepRecord) -> dict[str, Array]:
        """Final running market share per provider, and mean |inventory| per provider (lots), over episodes."""
        return {
            "market_share": jnp.mean(records.running_share[-1], axis=0),
            "mean_abs_inventory": jnp.mean(jnp.abs(records.inventory), axis=(0, 1)),
        }

    def quotes(self, state: MarketState, tweaks: Float[Array, "providers 3"]) -> Quotes:
        """Every venue's prices: one row per taker supertype, or per taker where sizes vary."""
        size = state.taker_type.quantity if self.sizes_vary else self.takers.quantity.mean
        depth = jax.vmap(self.engine.depth)(state.books)
        ask, bid = jax.vmap(lambda book: average_prices(book, size))(depth)
        half_spread = jnp.min(ask - bid, axis=0) / 2  # of one exchange: best prices of two may lie the wrong way round
        narrowest = jnp.min(jax.vmap(market_spread)(depth))
        provider_ask, provider_bid = price_curves(
            state.price, half_spread, narrowest, tweaks[:, 0], tweaks[:, 1], self.quote_granularity
        )
        return Quotes(
            ask=jnp.concatenate([provider_ask, ask], axis=0), bid=jnp.concatenate([provider_bid, bid], axis=0)
        )

    def _scales(self, normalizer: TypeDistribution) -> observations.Scales:
        return observations.Scales(
            price=self.price_scale,
            inventory=self.inventory_scale,
            volume=self.volume_scale,
            spread=self.spread_scale,
            normalizer=jnp.max(normalizer.high),
            quantity=jnp.max(self.takers.quantity.high),
            steps=self.steps,
            clock=self.clock,
        )

    def _size_row(self) -> tuple[int, ...]:
        return tuple(range(len(self.taker_supertype))) if self.sizes_vary else self.taker_supertype

    def _connected(self, state: MarketState) -> Bool[Array, "venues takers"]:
        return jnp.concatenate([state.network.provider_taker, state.network.taker_exchange.T], axis=0)

    def _reference(self, books) -> Float[Array, ""]:
        return reference_price(jax.vmap(self.engine.depth)(books), self.exchanges.levels)

    def _penalty(self, books, price: Float[Array, ""]) -> Callable[[Float[Array, " agents"]], Float[Array, " agents"]]:
        """ℓ at these books, a function of the inventory."""
        if self.mark == "mid":
            return self.penalty
        book = jax.tree.map(lambda side: jnp.sum(side, axis=0), jax.vmap(self.engine.depth)(books))
        return lambda inventory: self.penalty(inventory) + liquidation_value(book, inventory) - inventory * price

    def _trade_at_exchanges(
        self, state: MarketState, routes: Routes, hedge: Float[Array, " providers"]
    ) -> tuple[Any, ExchangeTrades]:
        """Market orders of takers, then hedges (signed lots to buy), at every exchange."""
        n_providers, n_takers = len(self.provider_supertype), len(self.taker_supertype)
        taker_orders = routes.venue[n_providers:] * (routes.quantity * routes.direction)[None, :]
        hedge_venue = self._hedge_venue(state, hedge)
        hedges = hedge_venue * hedge[None, :]
        orders = jnp.concatenate([taker_orders, hedges], axis=1)
        books, bought, sold = jax.vmap(self.engine.market_orders)(
            state.books, jnp.maximum(orders, 0.0), jnp.maximum(-orders, 0.0)
        )
        quantity = jnp.sum(bought.quantity - sold.quantity, axis=0)
        cash = jnp.sum(sold.cash - bought.cash, axis=0)
        before, after = jax.vmap(self.engine.depth)(state.books), jax.vmap(self.engine.depth)(books)
        asked, bid = before.ask - after.ask, before.bid - after.bid
        exchanges = Account(
            inventory=jnp.sum(bid - asked, axis=-1), cash=(asked - bid) @ tick_prices(self.grid, asked.dtype)
        )
        return books, ExchangeTrades(
            takers=Account(inventory=quantity[:n_takers], cash=cash[:n_takers]),
            providers=Account(inventory=quantity[n_takers:], cash=cash[n_takers:]),
            hedge_venue=hedge_venue,
            exchanges=exchanges,
            unfilled=jnp.sum(jnp.abs(orders)) - jnp.sum(bought.quantity + sold.quantity),
        )

    def _hedge_venue(
        self, state: MarketState, hedge: Float[Array, " providers"]
    ) -> Float[Array, "exchanges providers"]:
        """One-hot column of the exchange that serves each provider's hedge best; zero where none is connected."""
        connected = state.network.provider_exchange.T
        if self.n_exchanges == 1:
            return connected.astype(jnp.float32)
        depth = jax.vmap(self.engine.depth)(state.books)
        ask, bid = jax.vmap(lambda book: average_prices(book, jnp.maximum(jnp.abs(hedge), 1e-3)))(depth)
        price = jnp.where(connected, jnp.where((hedge > 0)[None, :], ask, -bid), jnp.inf)
        chosen = jax.nn.one_hot(jnp.argmin(price, axis=0), self.n_exchanges, axis=0, dtype=jnp.float32)
        return chosen * jnp.any(connected, axis=0, keepdims=True).astype(jnp.float32)

    def _move_exchanges(self, books, state: MarketState, key: PRNGKeyArray) -> tuple[Any, Any]:
        """Every exchange agent samples a variation of its book and sends it: the books and the carries."""
        depth = jax.vmap(self.engine.depth)(books)
        mids = jax.vmap(mid_price)(depth)
        if self.price_path is None:
            pull, mid_weight = self._reference(books) - mids, 1.0  # ticks; as half-ticks it is half of the way back
        else:
            pull, mid_weight = 2.0 * (self.price_path[state.time + 1] - mids), 0.0
        keys = jax.random.split(key, (self.n_exchanges, 2))

        def move(model, carry, book, volumes, pull, keys):
            variation, carry = model.sample(carry, keys[0], volumes, pull, mid_weight)
            return self.engine.vary(book, variation, model.order_sizes, keys[1]), carry

        return jax.vmap(move)(self.exchanges, state.exchange_carry, books, depth, pull, keys)

    def _record(
        self,
        state: MarketState,
        tweaks: Float[Array, "providers 3"],
        quotes: Quotes,
        routes: Routes,
        fills: ExchangeTrades,
        settled: Settlement,
    ) -> StepRecord:
        n_providers = len(self.provider_supertype)
        depth = jax.vmap(self.engine.depth)(state.books)
        supertypes = self.connectivity.provider_taker.mean.shape[1]
        member = jax.nn.one_hot(jnp.asarray(self.taker_supertype, jnp.int32), supertypes, dtype=jnp.float32)
        signed, with_provider = routes.quantity * routes.direction, routes.venue[:n_providers]
        flow = [
            jnp.matmul(jnp.maximum(side * signed, 0.0)[None, :] * with_provider, member, precision="highest")
            for side in (1.0, -1.0)
        ]
        with_one = jnp.sum(with_provider, axis=0)
        level_price, level_volume = jax.vmap(lambda book: occupied_levels(book, self.exchanges.levels))(depth)
        return StepRecord(
            price=state.price,
            next_price=settled.state.price,
            best_bid=jax.vmap(best_bid)(depth).astype(jnp.float32) - (self.grid // 2),
            best_ask=jax.vmap(best_ask)(depth).astype(jnp.float32) - (self.grid // 2),
            level_price=level_price,
            level_volume=level_volume,
            ask=quotes.ask,
            bid=quotes.bid,
            provider_ask=quotes.ask[:n_providers, 0],
            provider_bid=quotes.bid[:n_providers, 0],
            spread_tweak=tweaks[:, 0],
            skew_tweak=tweaks[:, 1],
            hedge_fraction=tweaks[:, 2],
            inventory=state.providers.inventory,
            hedged=fills.providers.inventory,
            hedge_cash=fills.providers.cash,
            hedge_venue=_chosen(fills.hedge_venue, n_providers),
            flow=jnp.stack(flow, axis=1),
            pnl_spread=settled.providers.spread,
            pnl_inventory=settled.providers.inventory,
            pnl_penalty=settled.providers.penalty,
            market_share=settled.share,
            running_share=settled.state.market_share,
            taker_volume=settled.volume,
            taker_direction=routes.direction,
            taker_price=routes.price,
            taker_venue=_chosen(routes.venue, 0),
            taker_traded=signed * with_one + fills.takers.inventory,
            taker_cash=fills.takers.cash - signed * with_one * routes.price,
            taker_inventory=settled.state.takers.inventory,
            taker_pnl=settled.takers.total,
            taker_pnl_penalty=settled.takers.penalty,
            unfilled=fills.unfilled,
            lost=jnp.sum(jax.vmap(self.engine.lost)(settled.state.books)),
            imbalance=imbalance(settled.state),
            provider_type=state.provider_type,
            taker_type=state.taker_type,
            network=state.network,
        )


def _chosen(one_hot: Float[Array, "venues agents"], first: int) -> Int[Array, " agents"]:
    """Number of the row with the one, counted from `first`; −1 for a column of zeros."""
    chosen = jnp.argmax(one_hot, axis=0).astype(jnp.int32) + first
    return jnp.where(jnp.any(one_hot > 0, axis=0), chosen, -1)
