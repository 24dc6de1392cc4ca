"""A small market on a fitted synthetic exchange, and its random play, shared by the market tests."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from diffgames.markets.agents import ProviderSupertypes, QuadraticPenalty, TakerSupertypes, constant, uniform
from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.ecn_fit import fit_exchange
from diffgames.markets.environment import OTCMarket
from diffgames.markets.exchange import stack_exchanges
from diffgames.markets.network import Connectivity
from diffgames.markets.synthetic import synthetic_level2

TINY_RUN = [
    "updates=2", "episodes=4", "steps=20", "width=16", "passes=2", "evaluation_episodes=9", "taker_counts=[5,2]",
    "deviator_updates=2", "deviator_passes=1", "validation_episodes=4", "certificate_episodes=8",
]  # fmt: skip
"""Settings of the smallest run of `otc-market`; tests that share them share its compiled programs."""


def fitted_exchange() -> ExchangeModel:
    """An exchange agent fitted to ten minutes of synthetic level-2 data."""
    return fit_exchange(synthetic_level2(seconds=1500, seed=3), components=2, seed=0)[0]


def market_builder(exchange: ExchangeModel):
    """Factory of markets: counts per supertype, number of exchanges, connection probability, fields of `OTCMarket`."""

    def build(providers=(1, 2), takers=(4, 3), exchanges=1, probability=0.7, quantity=None, penalty=0.0, **fields):
        n, m = len(providers), len(takers)
        number = lambda value: jnp.asarray(value, jnp.float32)  # noqa: E731 - shorthand in a test
        return OTCMarket(
            providers=ProviderSupertypes(
                risk_aversion=uniform([0.0] * n, [2.0] * n),
                pnl_weight=uniform([0.0] * n, [1.0] * n),
                normalizer=constant([0.01] * n),
                share_target=constant([1.0] * n),
            ),
            takers=TakerSupertypes(
                risk_aversion=constant([0.1] * m),
                pnl_weight=uniform([0.0] * m, [1.0] * m),
                normalizer=constant([0.02] * m),
                sell_target=constant([0.25] * m),
                buy_target=constant([0.75] * m),
                quantity=constant([1.0 + i for i in range(m)]) if quantity is None else quantity,
            ),
            connectivity=Connectivity(
                provider_taker=uniform([[probability] * m] * n, [[probability] * m] * n),
                provider_exchange=constant(np.full((n, exchanges), probability)),
                taker_exchange=constant(np.full((m, exchanges), probability)),
            ),
            exchanges=stack_exchanges([exchange] * exchanges),
            price_scale=number(5.0),
            inventory_scale=number(10.0),
            volume_scale=number(20.0),
            penalty=QuadraticPenalty(number(penalty)),
            provider_supertype=tuple(i for i, count in enumerate(providers) for _ in range(count)),
            taker_supertype=tuple(i for i, count in enumerate(takers) for _ in range(count)),
            **{"steps": 30, "grid": 96, "spread_scale": number(1.0), **fields},
        )

    return build


@eqx.filter_jit
def random_play(market: OTCMarket, key, episodes: int = 16):
    """Play with random actions: final states, rewards, records and both roles' observations, [episodes, time, …].

    Compiled once per shape of market.
    """

    def episode(key):
        reset, play = jax.random.split(key)

        def body(state, key):
            quoting, deciding, moving = jax.random.split(key, 3)
            raw = jax.random.normal(quoting, (len(market.provider_supertype), 3), jnp.float32)
            tweaks = market.roles[0].action.from_unit(raw)
            seen = {"provider": market.observe(state, {}, "provider")}
            seen["taker"] = market.observe(state, {"provider": tweaks}, "taker")
            decision = jax.random.randint(deciding, (len(market.taker_supertype),), 0, 3, jnp.int32)
            state, rewards, record = market.step(state, {"provider": tweaks, "taker": decision}, moving)
            return state, (rewards, record, seen)

        return jax.lax.scan(body, market.reset(reset), jax.random.split(play, market.horizon))

    return jax.vmap(episode)(jax.random.split(key, episodes))
