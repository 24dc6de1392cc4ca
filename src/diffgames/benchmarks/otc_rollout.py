"""How fast the over-the-counter market plays: 500 takers, 5 providers, 60 episodes of 100 steps, one exchange.

Three profiles of growing cost: everyone acts at random; providers play the paper's network (two hidden layers of 256
units) against takers at random; everyone plays the network. An environment step is one step of one episode, an agent
step the decision of one agent in it. The twin is `plain_market`, the same market in plain Python, at random actions.
"""

import random
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from diffgames.benchmarks.plain_market import PlainMarket, PlainProvider, PlainTaker
from diffgames.benchmarks.timing import best_of
from diffgames.learning.policy import FixedProbabilities, Profile
from diffgames.learning.rollout import play
from diffgames.learning.train import initial_profile
from diffgames.markets.environment import OTCMarket
from diffgames.markets.exchange import AbstractExchange
from diffgames.studies.exchange_parameters import fit_from
from diffgames.studies.flow_response import RandomQuotes
from diffgames.studies.market_parameters import MarketParameters, build_market

PROVIDERS, TAKERS, EPISODES, STEPS = (2, 3), (400, 100), 60, 100
PLAIN_STEPS = 60


def run() -> dict[str, float | str]:
    """Environment and agent steps per second, and the ratio to the plain twin."""
    parameters = MarketParameters(provider_counts=PROVIDERS, taker_counts=TAKERS, steps=STEPS)
    exchange, _ = fit_from(parameters, 0)
    market = build_market(parameters, exchange)
    network = initial_profile(market, jax.random.key(0))
    at_random: Profile = {
        "provider": RandomQuotes(jnp.asarray(0.5, jnp.float32)),
        "taker": FixedProbabilities.of([0.2, 0.4, 0.4]),
    }
    profiles = {
        "random": at_random,
        "provider_network": {**at_random, "provider": network["provider"]},
        "networks": network,
    }
    agents = sum(PROVIDERS) + sum(TAKERS)
    plain = plain_steps_per_second(market, exchange)
    figures: dict[str, float | str] = {"device": jax.devices()[0].device_kind, "agents": agents}
    for name, profile in profiles.items():
        key = jax.random.key(1)
        seconds = best_of(4, lambda profile=profile, key=key: _episodes(market, profile, key)).wall
        rate = EPISODES * STEPS / seconds
        figures |= {
            f"{name}_environment_steps_per_second": rate,
            f"{name}_agent_steps_per_second": rate * agents,
        }
    figures["plain_environment_steps_per_second"] = plain
    figures["ratio_to_plain"] = float(figures["random_environment_steps_per_second"]) / plain
    return figures


@eqx.filter_jit
def _episodes(market: OTCMarket, profile: Profile, key) -> dict:
    """Mean episode return per role: what a rollout is for, with nothing else kept."""
    experience, _ = play(market, profile, key, EPISODES)
    return {name: jnp.mean(jnp.sum(lived.reward, axis=0)) for name, lived in experience.items()}


def plain_steps_per_second(market: OTCMarket, exchange: AbstractExchange) -> float:
    """The twin's speed at the same sizes; the exchange's variations are prepared before the clock starts."""
    draw = random.Random(0)
    centre = market.grid // 2
    books = [exchange.open(jax.random.key(k), market.grid)[0] for k in range(PLAIN_STEPS + 1)]
    sides = [
        [{int(k) - centre: float(v) for k, v in enumerate(np.asarray(side)) if v > 0} for side in (b.bid, b.ask)]
        for b in books
    ]
    count = sum(PROVIDERS)
    plain = PlainMarket(
        providers=[PlainProvider() for _ in range(count)],
        takers=[PlainTaker(1.0, list(range(count + 1))) for _ in range(sum(TAKERS))],
        bid=dict(sides[0][0]),
        ask=dict(sides[0][1]),
    )
    start = time.perf_counter()
    for bid, ask in sides[1:]:
        tweaks = [(draw.uniform(-1, 1), draw.uniform(-1, 1), draw.random()) for _ in range(count)]
        decisions = draw.choices(["buy", "sell", None], weights=[4, 4, 2], k=len(plain.takers))
        preference = [[draw.random() for _ in range(count + 1)] for _ in plain.takers]
        plain.step(tweaks, decisions, preference)
        for book, target in ((plain.bid, bid), (plain.ask, ask)):
            change = {tick: target.get(tick, 0.0) - book.get(tick, 0.0) for tick in {*book, *target}}
            plain.vary(*((change, {}) if book is plain.bid else ({}, change)))
    return PLAIN_STEPS / (time.perf_counter() - start)
