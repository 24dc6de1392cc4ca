"""The steps of a calibration that its studies share: the market, agents and calibrator, trainings, measurements."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from scipy.stats import t

from diffgames.calibration import calsheq
from diffgames.calibration.calsheq import CalibrationState, Problem
from diffgames.learning.policy import FixedProbabilities, Profile
from diffgames.learning.ppo import Learner, PPOConfig, new_learner
from diffgames.learning.train import initial_profile
from diffgames.markets.environment import OTCMarket
from diffgames.studies.calibration_parameters import CalibratedMarket
from diffgames.studies.context import RunContext
from diffgames.studies.exchange_parameters import fit_from
from diffgames.studies.learning_parameters import ppo_config
from diffgames.studies.market_parameters import MarketParameters, build_market


def random_takers() -> Profile:
    """Takers that buy or sell every step, with equal probability."""
    return {"taker": FixedProbabilities.of([0.0, 0.5, 0.5])}


def build(
    config: CalibratedMarket, seed: int, providers: tuple[int, ...], sizes: tuple[float, ...]
) -> tuple[OTCMarket, str]:
    """Providers of two supertypes and takers of each size, on a fitted exchange; and the fit in words."""
    many = (0.0,) * len(sizes)
    half = (0.5,) * len(sizes)
    parameters = MarketParameters(
        provider_counts=providers,
        provider_risk_aversion=(config.risk_aversion,) * 2,
        provider_pnl_weight=(1.0, 1.0),
        taker_counts=(config.takers_of_each_size,) * len(sizes),
        taker_quantity=sizes,
        taker_risk_aversion=many,
        taker_pnl_weight=many,
        taker_buy_target=half,
        taker_sell_target=half,
        connectivity=(half,) * 2,
        steps=config.steps,
    )
    exchange, report = fit_from(config, seed)
    return build_market(parameters, exchange), str(report)


def configs(config: CalibratedMarket) -> tuple[PPOConfig, PPOConfig]:
    """The agents' and the calibrator's."""
    return ppo_config(config), ppo_config(
        config,
        learning_rate=config.calibrator_learning_rate,
        final_learning_rate=config.calibrator_final_learning_rate,
        passes=config.calibrator_passes,
        kl_target=config.calibrator_kl_target,
    )


def new_calibrator(config: CalibratedMarket, problem: Problem, key: PRNGKeyArray) -> Learner:
    """A calibrator of the stated width and exploration."""
    own, explored = configs(config)[1], config.calibrator_exploration
    return calsheq.new_calibrator(problem.space, problem.increments, key, config.width, own, explored)


def begin(
    config: CalibratedMarket, problem: Problem, key: PRNGKeyArray, laws: jax.Array, calibrating: bool
) -> CalibrationState:
    """New agents and, where it calibrates, a new calibrator."""
    agent_key, calibrator_key, key = jax.random.split(key, 3)
    both = configs(config)
    agents = new_learner(
        initial_profile(problem.market, agent_key, config.width, config.recurrent)["provider"], both[0]
    )
    calibrator = new_calibrator(config, problem, calibrator_key) if calibrating else None
    return calsheq.start(problem, random_takers(), agents, calibrator, laws, key, both, config.updates)


def followed(context: RunContext, label: str, updates: int):
    """What is told of every update while it runs."""

    def follow(done: int, metrics: Any) -> None:
        context.progress.update(
            label, done / updates, reward=float(metrics["reward"]), share_of_first=float(metrics["share"][0])
        )

    context.progress.update(label, 0.0)  # the first update compiles: say that something happens
    return follow


def taken(
    config: CalibratedMarket,
    context: RunContext,
    problem: Problem,
    state: CalibrationState,
    updates: int,
    *,
    slot: str,
    label: str,
) -> CalibrationState:
    """The state after so many updates, with progress and checkpoints in the run folder."""
    return calsheq.calibrate(
        problem,
        random_takers(),
        state,
        configs(config),
        updates,
        checkpoint=context.checkpoint.slot(slot),
        progress=followed(context, label, updates),
    )


def retrain(
    config: CalibratedMarket, context: RunContext, problem: Problem, laws: jax.Array, key: PRNGKeyArray
) -> list[CalibrationState]:
    """New agents under the frozen law of Λ, `trainings` times from other seeds."""
    updates = min(config.training_updates or config.updates, config.updates)
    return [
        taken(
            config,
            context,
            problem,
            begin(config, problem, jax.random.fold_in(key, place), laws, calibrating=False),
            updates,
            slot=f"training{place}",
            label=f"new agents {place + 1} of {config.trainings}",
        )
        for place in range(config.trainings)
    ]


@dataclass(frozen=True)
class Measured:
    """Held-out episodes: shares of supertype 1 and of all, median percentiles, rewards; returns by supertype."""

    share: np.ndarray
    total: np.ndarray
    percentiles: np.ndarray
    rewards: np.ndarray
    earned: list[float]
    reached: list[list[float]]  # of each target: means over episodes, medians of percentiles

    @property
    def reward(self) -> float:
        """Mean reward."""
        return float(self.rewards.mean())


def measure_law(config: CalibratedMarket, problem: Problem, policy: Any, laws: Any, key: PRNGKeyArray) -> Measured:
    """Play held-out episodes of the policy, each with a Λ drawn from `laws` (one, or several)."""
    laws = jnp.asarray(laws, jnp.float32)
    laws = laws[jnp.arange(config.episodes) % laws.shape[0]]  # of one shape, so that all is compiled once
    seen, rewards, earned = calsheq.measure(
        problem, {**random_takers(), "provider": policy}, laws, key, config.evaluation_episodes
    )
    return Measured(
        np.asarray(seen.share, float)[:, 0],
        np.asarray(seen.total_share, float),
        np.median(np.asarray(seen.percentiles, float), axis=0),
        np.asarray(rewards, float),
        by_supertype(np.asarray(earned, float).mean(axis=0)),
        [
            (np.median if one.kind == "percentiles" else np.mean)(np.asarray(one.seen(seen), float), axis=0).tolist()
            for one in problem.targets
        ],
    )


def by_supertype(earned: np.ndarray) -> list[float]:
    """Means over the providers of each supertype, the first of whom is alone."""
    return [float(earned[0]), float(earned[1:].mean())]


def half_width(sample: np.ndarray) -> float:
    """Of the 95% interval of a mean, by Student's t."""
    return float(sample.std(ddof=1) / len(sample) ** 0.5 * t.ppf(0.975, len(sample) - 1))
