"""Settlement of a step: accounts, profit and loss, running averages and rewards.

With Δq the lots an agent received in the step, Δcash the cash it received, and P_t, P_{t+1} the reference prices before
and after, the accounting identity behind equation (3) of Vadori et al. is

    Δ(cash + q P) = (Δcash + Δq P_t) + q_{t+1}(P_{t+1} − P_t) = ΔPnL_spread + ΔPnL_inventory,

so the two parts are computed here from the accounts alone and add up to the change of wealth to rounding. The third is
the change of ℓ_t(q_t), what liquidating the inventory loses against its value at the mid. With `mark="mid"` it is
the paper's ℓ(q) = −c q²; `mark="book"` adds L_t(q) − q P_t, where L_t(q) is the cash for q in the book of time t
(`depth_book.liquidation_value`; the books of several exchanges are walked as one). PnL then sums to
cash_T + L_T(q_T) − c q_T²: what an agent is left with once it has sold out.
"""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.markets.agents import ProviderType, TakerType, reward
from diffgames.markets.market_state import Account, ExchangeTrades, MarketState, Routes


class ProfitAndLoss(eqx.Module):
    """One step's PnL per agent: spread part, inventory part, change of the penalty ℓ (ticks × lots)."""

    spread: Float[Array, " agents"]
    inventory: Float[Array, " agents"]
    penalty: Float[Array, " agents"]

    @property
    def total(self) -> Float[Array, " agents"]:
        """ΔPnL_{t+1}."""
        return self.spread + self.inventory + self.penalty


class Settlement(eqx.Module):
    """The state after the step, and what each agent made of it."""

    state: MarketState
    rewards: dict[str, Float[Array, " agents"]]
    providers: ProfitAndLoss
    takers: ProfitAndLoss
    share: Float[Array, " providers"]  # m_{t+1}
    volume: Float[Array, ""]  # all takers' volume, exchanges included


def settle(
    state: MarketState,
    penalty: Callable[[Float[Array, " agents"]], Float[Array, " agents"]],
    routes: Routes,
    fills: ExchangeTrades,
    books,
    next_price: Float[Array, ""],
    share_of: str = "all",
) -> Settlement:
    """Book the step's trades, mark them at the next reference price, and reward everyone.

    `penalty` is ℓ at the book after the step. Market shares are of all takers' volume, or with `share_of="providers"`
    of what they traded with providers.
    """
    providers_venue = routes.venue[: state.providers.inventory.shape[0]]
    with_provider = jnp.sum(providers_venue, axis=0)  # 1 where the taker traded with a provider
    signed = routes.quantity * routes.direction * with_provider
    paid = signed * routes.price
    bought_by = Account(inventory=signed + fills.takers.inventory, cash=fills.takers.cash - paid)
    sold_by = Account(
        inventory=fills.providers.inventory - _per_provider(providers_venue, signed),
        cash=fills.providers.cash + _per_provider(providers_venue, paid),
    )
    takers = state.takers.add(bought_by.inventory, bought_by.cash)
    providers = state.providers.add(sold_by.inventory, sold_by.cash)
    exchanges = state.exchanges.add(fills.exchanges.inventory, fills.exchanges.cash)

    volume = jnp.sum(jnp.abs(bought_by.inventory))
    shared = jnp.sum(jnp.abs(signed)) if share_of == "providers" else volume
    share = _per_provider(providers_venue, jnp.abs(signed)) / jnp.maximum(shared, 1e-6)
    traded = (shared > 0).astype(jnp.float32)
    trading_steps = state.trading_steps + traded
    played = state.past + (state.time + 1).astype(jnp.float32)
    after = penalty(jnp.concatenate([providers.inventory, takers.inventory]))
    provider_penalty, taker_penalty = after[: providers.inventory.shape[0]], after[providers.inventory.shape[0] :]
    next_state = MarketState(
        time=state.time + 1,
        books=books,
        exchange_carry=state.exchange_carry,
        price=next_price,
        price_change=next_price - state.price,
        volume=state.volume + volume,
        providers=providers,
        takers=takers,
        exchanges=exchanges,
        market_share=state.market_share + traded * (share - state.market_share) / jnp.maximum(trading_steps, 1.0),
        trading_steps=trading_steps,
        provider_penalty=provider_penalty,
        taker_penalty=taker_penalty,
        past=state.past,
        sold_fraction=state.sold_fraction + _update(routes.direction < 0, state.sold_fraction, played),
        bought_fraction=state.bought_fraction + _update(routes.direction > 0, state.bought_fraction, played),
        provider_type=state.provider_type,
        taker_type=state.taker_type,
        network=state.network,
    )
    provider_pnl, taker_pnl = (
        ProfitAndLoss(
            spread=received.cash + received.inventory * state.price,
            inventory=held.inventory * (next_price - state.price),
            penalty=change,
        )
        for received, held, change in (
            (sold_by, providers, provider_penalty - state.provider_penalty),
            (bought_by, takers, taker_penalty - state.taker_penalty),
        )
    )
    rewards = {
        "provider": _reward(state.provider_type, provider_pnl, share_distance(state), share_distance(next_state)),
        "taker": _reward(state.taker_type, taker_pnl, target_distance(state), target_distance(next_state)),
    }
    return Settlement(next_state, rewards, provider_pnl, taker_pnl, share, volume)


def share_distance(state: MarketState) -> Float[Array, " providers"]:
    """M_t = |m̂_t − m_target|, equation (4)."""
    return jnp.abs(state.market_share - state.provider_type.share_target)


def target_distance(state: MarketState) -> Float[Array, " takers"]:
    """Q_t = ½(|q̂ᵃ_t − qᵃ| + |q̂ᵇ_t − qᵇ|), equation (6)."""
    sold = jnp.abs(state.sold_fraction - state.taker_type.sell_target)
    bought = jnp.abs(state.bought_fraction - state.taker_type.buy_target)
    return (sold + bought) / 2


def imbalance(state: MarketState) -> Float[Array, "2"]:
    """Total inventory and total cash over all agents and exchanges: zero up to rounding."""
    accounts = (state.providers, state.takers, state.exchanges)
    inventory = [jnp.sum(account.inventory) for account in accounts]
    cash = [jnp.sum(account.cash) for account in accounts]
    return jnp.stack([inventory[0] + inventory[1] + inventory[2], cash[0] + cash[1] + cash[2]])


def _update(acted: Array, average: Float[Array, " agents"], played: Float[Array, " agents"]) -> Float[Array, " agents"]:
    return (acted.astype(jnp.float32) - average) / played


def _reward(
    types: ProviderType | TakerType,
    pnl: ProfitAndLoss,
    distance: Float[Array, " agents"],
    next_distance: Float[Array, " agents"],
) -> Float[Array, " agents"]:
    return reward(
        types.pnl_weight,
        types.normalizer,
        types.risk_aversion,
        pnl.total,
        pnl.inventory,
        distance,
        next_distance,
    )


def _per_provider(
    venue: Float[Array, "providers takers"], values: Float[Array, " takers"]
) -> Float[Array, " providers"]:
    """Sum over the takers of each provider; full precision, since accelerators may round matrix products."""
    return jnp.matmul(venue, values, precision="highest")
