"""What passes over a batch buy: the market of `otc-train` learned with 30 passes an update, as in the paper, and 4.

Both learn from the same first policies with the paper's network and 60 episodes an update; with 30 passes the rate is
the paper's, with 4 it is four times as large. Every ten updates the profile plays the same held-out episodes; its score
is the mean return of all agents. The 30 passes set the goal: the score after their last update. With 4 passes the game
is learned until a score reaches it, or until the number of updates is five times as large. Seconds are those of the
updates, compilation and evaluation left out.
"""

import time

import jax
import numpy as np

from diffgames.benchmarks.otc_train import PROVIDERS, ROLES, TAKERS, WIDTH
from diffgames.learning.policy import Profile
from diffgames.learning.ppo import PPOConfig
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile, start, update
from diffgames.markets.environment import OTCMarket
from diffgames.studies.exchange_parameters import fit_from
from diffgames.studies.market_parameters import MarketParameters, build_market

UPDATES, EVERY, EPISODES = 40, 10, 400
FEWER_PASSES_UPDATES = 5 * UPDATES


def run() -> dict[str, float | str]:
    """Updates and seconds until both reach the score that 30 passes end at."""
    parameters = MarketParameters(provider_counts=PROVIDERS, taker_counts=TAKERS)
    market = build_market(parameters, fit_from(parameters, 0)[0])
    many = curve(market, PPOConfig(passes=30), UPDATES, goal=None)
    goal = many[-1][2]
    few = curve(market, PPOConfig(passes=4, learning_rate=4e-4), FEWER_PASSES_UPDATES, goal)
    return {
        "device": jax.devices()[0].device_kind,
        "score_before": many[0][2],
        "score_goal": goal,
        **{f"passes_30_{name}": value for name, value in _ending(many).items()},
        **{f"passes_4_{name}": value for name, value in _ending(few).items()},
        "ratio_of_seconds": many[-1][1] / few[-1][1],
    }


def curve(market: OTCMarket, config: PPOConfig, updates: int, goal: float | None) -> list[tuple[int, float, float]]:
    """(updates, seconds, score) every ten updates, until the goal is reached or the updates are used up."""
    profile = initial_profile(market, jax.random.key(0), WIDTH)
    state = start(market, profile, config, jax.random.key(1), updates, ROLES)
    jax.block_until_ready(update(market, profile, state, config))  # compiles; its result is not used
    points, seconds = [(0, 0.0, score(market, profile))], 0.0
    for done in range(1, updates + 1):
        began = time.perf_counter()
        state, _ = jax.block_until_ready(update(market, profile, state, config))
        seconds += time.perf_counter() - began
        if done % EVERY == 0:
            playing = {name: learner.policy for name, learner in state.learners.items()}
            points.append((done, seconds, score(market, playing)))
            if goal is not None and points[-1][2] >= goal:
                break
    return points


def score(market: OTCMarket, profile: Profile) -> float:
    """Mean return over all agents on held-out episodes, always the same."""
    returns, _ = evaluate(market, profile, jax.random.key(2), EPISODES)
    return float(np.concatenate([np.asarray(value) for value in returns.values()], axis=-1).mean())


def _ending(points: list[tuple[int, float, float]]) -> dict[str, float]:
    updates, seconds, reached = points[-1]
    return {"updates": float(updates), "seconds": seconds, "score": reached}
