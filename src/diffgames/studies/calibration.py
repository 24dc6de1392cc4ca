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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from diffgames.calibration import bayesian, calsheq
from diffgames.calibration.calsheq import CalibrationState, Problem
from diffgames.calibration.connectivity_market import ConnectivityMarket, closed_form
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Statistics, experiment_targets, reward
from diffgames.studies import calibration_figures as figures
from diffgames.studies.calibration_figures import dataset, target_name
from diffgames.studies.calibration_parameters import QUICK, CalibrationConfig, CalibrationHeadline
from diffgames.studies.calibration_steps import (
    Measured,
    begin,
    build,
    by_supertype,
    configs,
    followed,
    half_width,
    measure_law,
    random_takers,
    retrain,
    taken,
)
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.learning_parameters import tenth
from diffgames.studies.study import Study, StudyResult

SIZES, NEAR, EXACT, RANDOM_DRAWS = 10, 0.01, 1e-3, 67
PROVIDERS = {1: (1, 4), 2: (1, 4), 3: (1, 9), 4: (1, 9)}


def run(config: CalibrationConfig, context: RunContext, experiment: int) -> StudyResult:
    """Calibrate, search by Bayesian optimization, train new agents, measure all."""
    problem, report = build_problem(config, context.seed, experiment)
    context.log(report)
    keys = jax.random.split(context.key, 5)
    found = _calibrate(config, context, problem, keys[0])
    searched = _search(config, context, problem, keys[1])
    measured = functools.partial(measure_law, config, problem)
    assert found.calibrator is not None
    own = measured(found.agents.policy, found.laws, keys[3])
    half, closed = (_profile(problem, config, links) for links in (np.full((2, SIZES), 0.5), closed_form(experiment)))
    new = [
        measured(state.agents.policy, found.laws, jax.random.fold_in(keys[3], place))
        for place, state in enumerate(retrain(config, context, problem, found.laws, keys[2]))
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
        bayesian_provider_reward=by_supertype(_last_tenth(searched.history["earned"])),
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


def _calibrate(config: CalibrationConfig, context: RunContext, problem: Problem, key: PRNGKeyArray) -> CalibrationState:
    start = jnp.asarray(problem.space.start(config.risk_aversion))
    laws = jnp.broadcast_to(start, (config.episodes, len(start)))
    state = begin(config, problem, key, laws, calibrating=True)
    return taken(config, context, problem, state, config.updates, slot="calsheq", label="calibrating")


def _search(config: CalibrationConfig, context: RunContext, problem: Problem, key: PRNGKeyArray) -> CalibrationState:
    """Bayesian optimization: the agents learn on, a new Λ is proposed every M updates."""
    laws = jnp.zeros((config.episodes, len(problem.space.names)), jnp.float32)
    begun = begin(config, problem, key, laws, calibrating=False)

    def compute() -> CalibrationState:
        state, rng = begun, np.random.default_rng(context.seed)
        follow = followed(context, "Bayesian optimization", config.updates)
        for done in range(0, config.updates, config.bayesian_every):
            tried, rewards = _proposals(config, state)
            law = bayesian.propose(tried, rewards, problem.space.high, config.kappa, rng, config.acquisition)
            state = dataclasses.replace(state, laws=jnp.broadcast_to(jnp.asarray(law, jnp.float32), laws.shape))
            end = min(done + config.bayesian_every, config.updates)
            state = calsheq.calibrate(problem, random_takers(), state, configs(config), end, progress=follow)
        return state

    return context.stage("bayesian", compute, like=begun)


def _proposals(config: CalibrationConfig, state: CalibrationState) -> tuple[np.ndarray, np.ndarray]:
    """The profiles tried so far and the reward of the last update under each."""
    done = int(state.index)
    ends = np.minimum(np.arange(config.bayesian_every, done + config.bayesian_every, config.bayesian_every), done) - 1
    return np.asarray(state.history["law"])[ends], np.asarray(state.history["reward"])[ends]


def build_problem(config: CalibrationConfig, seed: int, experiment: int) -> tuple[Problem, str]:
    """The market of an experiment on a fitted exchange, its Λ and its targets; and the fit in words."""
    space = SupertypeProfile(SIZES, risk=experiment == 4)
    sizes = tuple(float(size) for size in range(1, SIZES + 1))
    market, report = build(config, seed, PROVIDERS[experiment], sizes)
    return Problem(market, space, experiment_targets(experiment), not config.no_state), report


def _profile(problem: Problem, config: CalibrationConfig, links: np.ndarray) -> np.ndarray:
    """Λ with these connection probabilities and the stated risk aversion."""
    start = problem.space.start(config.risk_aversion)
    return np.concatenate([links.reshape(-1), start[2 * SIZES :]])[None].astype(np.float32)


def _last_tenth(curve: Any) -> np.ndarray:
    curve = np.asarray(curve, float)
    return curve[-max(1, len(curve) // 10) :].mean(axis=0)


def _met(problem: Problem, share: float, total: float, percentiles: np.ndarray) -> dict[str, int]:
    shares = np.asarray([share, total - share])
    seen = Statistics(share=shares, percentiles=percentiles)
    return {
        target_name(one): int(float(one.loss(seen)) <= (EXACT if one.kind == "percentiles" else NEAR))
        for one in problem.targets
    }


def _reached(problem: Problem, own: Measured) -> Any:
    share, total = float(own.share.mean()), float(own.total.mean())
    return {
        "reward": own.reward,
        "reward_error": half_width(own.rewards),
        "share": share,
        "share_error": half_width(own.share),
        "total_share": total,
        "total_share_error": half_width(own.total),
        "percentiles_1": own.percentiles[0].tolist(),
        "percentiles_2": own.percentiles[1].tolist(),
        "targets_met": _met(problem, share, total, own.percentiles),
    }


def _held(problem: Problem, new: list[Measured]) -> Any:
    columns = {
        "reward": np.asarray([one.reward for one in new]),
        "share": np.asarray([one.share.mean() for one in new]),
        "total_share": np.asarray([one.total.mean() for one in new]),
    }
    percentiles = np.median([one.percentiles for one in new], axis=0)
    found: dict[str, Any] = {f"{name}_retrained": float(values.mean()) for name, values in columns.items()}
    found |= {f"{name}_retrained_error": half_width(values) for name, values in columns.items()}
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


SEARCHED = {"updates": 300, "bayesian_every": 15, "training_updates": 100}
LONG = {"exchange": "mixture", "updates": 6667, "trainings": 2}
SHARED: dict[str, Any] = {
    "headline": CalibrationHeadline,
    "published": "its targets and, as curves without numbers, how near it comes",
    "uncertified": "a calibration is judged by its targets, measured again with new agents under the frozen law",
    "figures": {
        "calibration": Drawing(
            "CALSHEQ's reward rises above Bayesian optimization's; whether the targets are met is seen in the "
            "shares and trade sizes, of the calibrated agents and of new ones",
            "calibration",
            figures.rewards,
            figures.shares,
            figures.percentiles,
            width=4.6,
            height=3.6,
        )
    },
}
CALIBRATION_1 = Study(
    name="calibration-1",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 1",
    shows="supertypes are calibrated while agents learn: share of supertype 1 ≥ .15, of all ≥ .8, "
    "supertype 1's percentiles 8, 8, 8, 9, 9, 9, 10, 10, 10",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=1),
    memory=functools.partial(memory, experiment=1),
    presets={"quick": QUICK | SEARCHED, "paper": LONG},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-1 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
CALIBRATION_2 = Study(
    name="calibration-2",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 2",
    shows="supertypes are calibrated while agents learn: those of experiment 1, and supertype 2's "
    "percentiles 2, 3, 3, 4, 5, 5, 6, 6, 7",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=2),
    memory=functools.partial(memory, experiment=2),
    presets={"quick": QUICK | SEARCHED, "paper": LONG},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-2 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
CALIBRATION_3 = Study(
    name="calibration-3",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 3",
    shows="supertypes are calibrated while agents learn: those of experiment 2, with ten providers",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=3),
    memory=functools.partial(memory, experiment=3),
    presets={"quick": QUICK | SEARCHED, "paper": LONG | {"updates": 3333}},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-3 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
CALIBRATION_4 = Study(
    name="calibration-4",
    source="Vadori et al., arXiv 2210.07184, Section 5.1, experiment 4",
    shows="supertypes are calibrated while agents learn: share of supertype 1 = .25, of all ≥ .8, "
    "with ten providers whose risk aversion is calibrated too",
    config=CalibrationConfig,
    run=functools.partial(run, experiment=4),
    memory=functools.partial(memory, experiment=4),
    presets={"quick": QUICK | SEARCHED, "paper": LONG | {"updates": 3333}},
    minutes={"quick": 2.5, "paper": 3000.0},
    example="diffgames run calibration-4 --set updates=600 --set bayesian_every=30",
    **SHARED,
)
