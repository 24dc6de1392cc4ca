"""Calibrate an over-the-counter market to shares and trade sizes while its agents learn (Vadori et al., Section 5.1).

The four experiments differ in the number of providers, the targets, and whether risk aversion is calibrated too (see
`calibration.targets`, `calibration.supertype_profile`). Provider 1 is supertype 1, the others supertype 2; takers buy
or sell a fixed size at random every step, as many of each size 1…10, all of them connected to the exchange (the paper
does not say); γ is `risk_aversion` where it is not calibrated (nor does it say that).

CALSHEQ runs first; then Bayesian optimization from new agents over as many episodes; then the law of Λ that CALSHEQ
ended with, its particles, is frozen, *new* agents are trained under it from other seeds, and all is measured again. A
reward alone proves nothing: beside it stand what doing nothing (every probability ½), the best of 67 random profiles
and a closed form earn where all providers quote alike and connectivity alone decides (`connectivity_market`), and what
the first and the last earn when the calibrated agents play them. A target is met where a share is within 0.01 of it,
or where the median episode has exactly the wanted percentiles.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from scipy.stats import t

from diffgames.calibration import bayesian, calsheq
from diffgames.calibration.calsheq import CalibrationState, Problem
from diffgames.calibration.connectivity_market import ConnectivityMarket, closed_form
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Statistics, experiment_targets, reward
from diffgames.learning.policy import FixedProbabilities, Profile
from diffgames.learning.ppo import PPOConfig, new_learner
from diffgames.learning.train import initial_profile
from diffgames.studies.calibration_figures import dataset, target_name
from diffgames.studies.calibration_words import CalibrationConfig, CalibrationHeadline
from diffgames.studies.context import RunContext
from diffgames.studies.learning_parameters import ppo_config, tenth
from diffgames.studies.market_parameters import MarketParameters, build_market, fit_from
from diffgames.studies.study import StudyResult

SIZES, NEAR, EXACT, RANDOM_DRAWS = 10, 0.01, 1e-3, 67
PROVIDERS = {1: (1, 4), 2: (1, 4), 3: (1, 9), 4: (1, 9)}


def run(config: CalibrationConfig, context: RunContext, experiment: int) -> StudyResult:
    """Calibrate, search by Bayesian optimization, train new agents, measure all."""
    problem, report = build_problem(config, context.seed, experiment)
    context.log(report)
    keys = jax.random.split(context.key, 5)
    found = _calibrate(config, context, problem, keys[0])
    searched = _search(config, context, problem, keys[1])
    measured = functools.partial(_measured, config, problem)
    assert found.calibrator is not None
    own = measured(found.agents.policy, found.laws, keys[3])
    half, closed = (_profile(problem, config, links) for links in (np.full((2, SIZES), 0.5), closed_form(experiment)))
    new = [
        measured(state.agents.policy, found.laws, jax.random.fold_in(keys[3], place))
        for place, state in enumerate(_retrain(config, context, problem, found.laws, keys[2]))
    ]
    proposals = _proposals(config, searched)
    best = measured(searched.agents.policy, proposals[0][int(np.argmax(proposals[1]))][None], keys[3])
    headline = CalibrationHeadline(
        **_reached(problem, own),
        **_held(problem, new),
        **_baselines(config, context, problem, experiment),
        nothing_played=measured(found.agents.policy, half, keys[3]).reward,
        closed_played=measured(found.agents.policy, closed, keys[3]).reward,
        bayesian_reward=best.reward,
        bayesian_share=float(best.share.mean()),
        bayesian_total_share=float(best.total.mean()),
        reward_training=tenth(np.asarray(found.history["reward"]), first=False),
        bayesian_training=tenth(np.asarray(searched.history["reward"]), first=False),
        provider_reward=own.earned,
        bayesian_provider_reward=_by_supertype(_last_tenth(searched.history["earned"])),
        supertypes=dict(zip(problem.space.names, np.asarray(found.laws).mean(axis=0).tolist(), strict=True)),
    )
    missed = [name for name, met in headline.targets_met_retrained.items() if not met]
    return StudyResult(
        headline,
        warnings=[
            *(f"new agents miss the target {name}" for name in missed),
            *(
                f"providers of supertype {j + 1} earn {earned:.3g}, withdrawing 0: their policy has not settled"
                for j, earned in enumerate(own.earned)
                if earned < 0
            ),
        ],
        arrays={"calibration": dataset(problem, found, searched, headline)},
        profile={"provider": found.agents.policy, "calibrator": found.calibrator.policy, "laws": found.laws},
    )


def random_takers() -> Profile:
    """Takers that buy or sell every step, with equal probability."""
    return {"taker": FixedProbabilities.of([0.0, 0.5, 0.5])}


def build_problem(config: CalibrationConfig, seed: int, experiment: int) -> tuple[Problem, str]:
    """The market of an experiment on a fitted exchange, its Λ and its targets; and the fit in words."""
    many = (0.0,) * SIZES
    parameters = MarketParameters(
        provider_counts=PROVIDERS[experiment],
        provider_risk_aversion=(config.risk_aversion,) * 2,
        provider_pnl_weight=(1.0, 1.0),
        taker_counts=(config.takers_of_each_size,) * SIZES,
        taker_quantity=tuple(float(size) for size in range(1, SIZES + 1)),
        taker_risk_aversion=many,
        taker_pnl_weight=many,
        taker_buy_target=(0.5,) * SIZES,
        taker_sell_target=(0.5,) * SIZES,
        connectivity=((0.5,) * SIZES,) * 2,
        steps=config.steps,
    )
    exchange, report = fit_from(config, seed)
    space = SupertypeProfile(SIZES, risk=experiment == 4)
    market, targets = build_market(parameters, exchange), experiment_targets(experiment)
    return Problem(market, space, targets, not config.no_state), str(report)


def _configs(config: CalibrationConfig) -> tuple[PPOConfig, PPOConfig]:
    return ppo_config(config), ppo_config(
        config,
        learning_rate=config.calibrator_learning_rate,
        final_learning_rate=config.calibrator_final_learning_rate,
        passes=config.calibrator_passes,
        kl_target=config.calibrator_kl_target,
    )


def _start(
    config: CalibrationConfig, problem: Problem, key: PRNGKeyArray, laws: jax.Array, calibrating: bool
) -> CalibrationState:
    """New agents and, where it calibrates, a new calibrator."""
    agent_key, calibrator_key, key = jax.random.split(key, 3)
    both = _configs(config)
    agents = new_learner(
        initial_profile(problem.market, agent_key, config.width, config.recurrent)["provider"], both[0]
    )
    calibrator = calsheq.new_calibrator(problem, calibrator_key, config.width, both[1]) if calibrating else None
    return calsheq.start(problem, random_takers(), agents, calibrator, laws, key, both, config.updates)


def _report(context: RunContext, label: str, updates: int):
    def follow(done: int, metrics: Any) -> None:
        context.progress.update(
            label, done / updates, reward=float(metrics["reward"]), share_of_first=float(metrics["share"][0])
        )

    context.progress.update(label, 0.0)  # the first update compiles: say that something happens
    return follow


def _calibrate(config: CalibrationConfig, context: RunContext, problem: Problem, key: PRNGKeyArray) -> CalibrationState:
    start = jnp.asarray(problem.space.start(config.risk_aversion))
    laws = jnp.broadcast_to(start, (config.episodes, len(start)))
    return calsheq.calibrate(
        problem,
        random_takers(),
        _start(config, problem, key, laws, calibrating=True),
        _configs(config),
        config.updates,
        checkpoint=context.checkpoint.slot("calsheq"),
        progress=_report(context, "calibrating", config.updates),
    )


def _search(config: CalibrationConfig, context: RunContext, problem: Problem, key: PRNGKeyArray) -> CalibrationState:
    """Bayesian optimization: the agents learn on, a new Λ is proposed every M updates."""
    laws = jnp.zeros((config.episodes, len(problem.space.names)), jnp.float32)
    begun = _start(config, problem, key, laws, calibrating=False)

    def compute() -> CalibrationState:
        state, rng = begun, np.random.default_rng(context.seed)
        follow = _report(context, "Bayesian optimization", config.updates)
        for done in range(0, config.updates, config.bayesian_every):
            tried, rewards = _proposals(config, state)
            law = bayesian.propose(tried, rewards, problem.space.high, config.kappa, rng)
            state = dataclasses.replace(state, laws=jnp.broadcast_to(jnp.asarray(law, jnp.float32), laws.shape))
            end = min(done + config.bayesian_every, config.updates)
            state = calsheq.calibrate(problem, random_takers(), state, _configs(config), end, progress=follow)
        return state

    return context.stage("bayesian", compute, like=begun)


def _proposals(config: CalibrationConfig, state: CalibrationState) -> tuple[np.ndarray, np.ndarray]:
    """The profiles tried so far and the reward of the last update under each."""
    done = int(state.index)
    ends = np.minimum(np.arange(config.bayesian_every, done + config.bayesian_every, config.bayesian_every), done) - 1
    return np.asarray(state.history["law"])[ends], np.asarray(state.history["reward"])[ends]


def _retrain(
    config: CalibrationConfig, context: RunContext, problem: Problem, laws: jax.Array, key: PRNGKeyArray
) -> list[CalibrationState]:
    updates = min(config.training_updates or config.updates, config.updates)
    return [
        calsheq.calibrate(
            problem,
            random_takers(),
            _start(config, problem, jax.random.fold_in(key, place), laws, calibrating=False),
            _configs(config),
            updates,
            checkpoint=context.checkpoint.slot(f"training{place}"),
            progress=_report(context, f"new agents {place + 1} of {config.trainings}", updates),
        )
        for place in range(config.trainings)
    ]


@dataclass(frozen=True)
class _Measured:
    """Held-out episodes: shares of supertype 1 and of all, median percentiles, rewards; returns by supertype."""

    share: np.ndarray
    total: np.ndarray
    percentiles: np.ndarray
    rewards: np.ndarray
    earned: list[float]

    @property
    def reward(self) -> float:
        return float(self.rewards.mean())


def _measured(config: CalibrationConfig, problem: Problem, policy: Any, laws: Any, key: PRNGKeyArray) -> _Measured:
    laws = jnp.asarray(laws, jnp.float32)
    laws = jnp.broadcast_to(laws, (config.episodes, laws.shape[1]))
    seen, rewards, earned = calsheq.measure(
        problem, {**random_takers(), "provider": policy}, laws, key, config.evaluation_episodes
    )
    return _Measured(
        np.asarray(seen.share, float)[:, 0],
        np.asarray(seen.total_share, float),
        np.median(np.asarray(seen.percentiles, float), axis=0),
        np.asarray(rewards, float),
        _by_supertype(np.asarray(earned, float).mean(axis=0)),
    )


def _profile(problem: Problem, config: CalibrationConfig, links: np.ndarray) -> np.ndarray:
    """Λ with these connection probabilities and the stated risk aversion."""
    start = problem.space.start(config.risk_aversion)
    return np.concatenate([links.reshape(-1), start[2 * SIZES :]])[None].astype(np.float32)


def _by_supertype(earned: np.ndarray) -> list[float]:
    return [float(earned[0]), float(earned[1:].mean())]


def _last_tenth(curve: Any) -> np.ndarray:
    curve = np.asarray(curve, float)
    return curve[-max(1, len(curve) // 10) :].mean(axis=0)


def _half_width(sample: np.ndarray) -> float:
    return float(sample.std(ddof=1) / len(sample) ** 0.5 * t.ppf(0.975, len(sample) - 1))


def _met(problem: Problem, share: float, total: float, percentiles: np.ndarray) -> dict[str, int]:
    shares = np.asarray([share, total - share])
    seen = Statistics(share=shares, percentiles=percentiles)
    return {
        target_name(one): int(float(one.loss(seen)) <= (EXACT if one.kind == "percentiles" else NEAR))
        for one in problem.targets
    }


def _reached(problem: Problem, own: _Measured) -> Any:
    share, total = float(own.share.mean()), float(own.total.mean())
    return {
        "reward": own.reward,
        "reward_error": _half_width(own.rewards),
        "share": share,
        "share_error": _half_width(own.share),
        "total_share": total,
        "total_share_error": _half_width(own.total),
        "percentiles_1": own.percentiles[0].tolist(),
        "percentiles_2": own.percentiles[1].tolist(),
        "targets_met": _met(problem, share, total, own.percentiles),
    }


def _held(problem: Problem, new: list[_Measured]) -> Any:
    columns = {
        "reward": np.asarray([one.reward for one in new]),
        "share": np.asarray([one.share.mean() for one in new]),
        "total_share": np.asarray([one.total.mean() for one in new]),
    }
    percentiles = np.median([one.percentiles for one in new], axis=0)
    found: dict[str, Any] = {f"{name}_retrained": float(values.mean()) for name, values in columns.items()}
    found |= {f"{name}_retrained_error": _half_width(values) for name, values in columns.items()}
    found |= {f"percentiles_{j + 1}_retrained": row.tolist() for j, row in enumerate(percentiles)}
    met = _met(problem, found["share_retrained"], found["total_share_retrained"], percentiles)
    return {**found, "targets_met_retrained": met}


def _baselines(config: CalibrationConfig, context: RunContext, problem: Problem, experiment: int) -> Any:
    """Mean rewards of sampled episodes where connectivity alone decides, on as many takers."""
    market = ConnectivityMarket(PROVIDERS[experiment], takers=(config.takers_of_each_size,) * SIZES)
    random, _ = market.best_of_random(problem.targets, RANDOM_DRAWS, context.seed)
    profiles = {"nothing": np.full((2, SIZES), 0.5), "random": random, "closed": closed_form(experiment)}
    return {
        f"baseline_{name}": float(
            jnp.mean(reward(problem.targets, market.sample(links, config.evaluation_episodes, context.seed)))
        )
        for name, links in profiles.items()
    }


def memory(config: CalibrationConfig, experiment: int) -> dict[str, float]:
    """What learning holds: providers' decisions, connections and orders of all episodes, networks, the history."""
    providers, takers = sum(PROVIDERS[experiment]), SIZES * config.takers_of_each_size
    return {
        "episodes, steps": 4.0 * 50 * providers * config.steps * config.episodes,
        "episodes, takers_of_each_size": 4.0 * providers * takers * config.episodes,
        "evaluation_episodes, takers_of_each_size": 4.0 * providers * takers * config.evaluation_episodes,
        "width": 4.0 * 3 * config.width**2,
        "updates": 4.0 * 80 * config.updates,
    }
