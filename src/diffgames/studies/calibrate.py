"""Calibrate one's own market: a provider's share, trade sizes and flow response in, a law of supertypes out.

One's own provider is supertype 1, `others` are supertype 2 (`calibration.supertype_profile`); what is asked comes from
a file (`calibration.targets_file`), what the exchange does from level-2 data. In turn:

1. agents learn while every episode draws its Λ from the law before any data;
2. with them, pairs of Λ and an episode's statistics are simulated, and the law of Λ given *any* targets is fitted
   (`calibration.amortized`); draws given one's own targets answer within a second;
3. CALSHEQ (`calibration.calsheq`) trains on from these draws and these agents;
4. its law is frozen, new agents are trained under it from other seeds, and the targets are measured again.

Many Λ meet the same targets: `posterior` says how widely they differ, `identified` in how many directions they agree.
A share is met within 0.01, percentiles where the median episode has them exactly, a flow response within 5%.
"""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes

from diffgames.calibration import amortized, calsheq
from diffgames.calibration.amortized import Amortized
from diffgames.calibration.calsheq import CalibrationState, Problem
from diffgames.calibration.connectivity_market import ConnectivityMarket
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Statistics, Target, reward
from diffgames.calibration.targets_file import read_targets
from diffgames.errors import InvalidInput
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.calibration_figures import target_name
from diffgames.studies.calibration_parameters import QUICK, CalibrateConfig, CalibrateHeadline
from diffgames.studies.calibration_steps import (
    Measured,
    begin,
    build,
    configs,
    half_width,
    measure_law,
    new_calibrator,
    random_takers,
    retrain,
    taken,
)
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.study import Study, StudyResult

EXAMPLE = (
    Target("equal", (0.2,), 0),
    Target("at least", (0.7,)),
    Target("percentiles", (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0, 9.0, 10.0), 0, 0.2),
)
NEAR, NEAR_FLOW, EXACT = 0.01, 0.05, 1e-3
PRIOR_DRAWS, DRAWS, CHECKED, RANDOM_DRAWS = 4096, 1000, 200, 67
MIDDLE = 0.9


def run(config: CalibrateConfig, context: RunContext) -> StudyResult:
    """Learn, answer, train on, freeze and train anew; measure at every step."""
    problem = _problem(config, context)
    keys = jax.random.split(context.key, 8)
    learned = _learn(config, context, problem, keys[0])
    context.progress.update("fitting the law of Λ", 0.0)
    fitted, coverage = _fit(config, problem, learned.agents.policy, keys[1])
    laws, normal = amortized.posterior(fitted, problem.targets, keys[2], DRAWS)
    started = time.perf_counter()
    jax.block_until_ready(amortized.posterior(fitted, problem.targets[:1], keys[3], DRAWS))
    seconds = time.perf_counter() - started
    found = _calibrate(config, context, problem, learned, laws, keys[4])
    own = measure_law(config, problem, found.agents.policy, found.laws, keys[5])
    new = [
        measure_law(config, problem, state.agents.policy, found.laws, jax.random.fold_in(keys[5], place))
        for place, state in enumerate(retrain(config, context, problem, found.laws, keys[6]))
    ]

    def played(laws: Any) -> Measured:
        return measure_law(config, problem, learned.agents.policy, laws, keys[5])

    answered, known = played(laws), amortized.identified(np.asarray(normal))[0]
    directions, directions_error = amortized.identified_directions(np.asarray(normal))
    names = problem.space.names
    headline = CalibrateHeadline(
        wanted={target_name(one): list(one.value) for one in problem.targets},
        achieved_posterior=_values(problem, answered),
        **_reached(problem, own, new),
        reward_posterior=answered.reward,
        nothing_played=played(problem.space.start(config.risk_aversion)[None]).reward,
        prior_played=played(problem.space.from_normal(_prior(problem, keys[7], PRIOR_DRAWS))).reward,
        **_baselines(config, context, problem),
        posterior=dict(
            zip(names, np.quantile(np.asarray(laws, float), [0.05, 0.5, 0.95], axis=0).T.tolist(), strict=True)
        ),
        supertypes=dict(zip(names, np.asarray(found.laws, float).mean(axis=0).tolist(), strict=True)),
        identified=known.tolist(),
        identified_directions=directions,
        identified_directions_error=directions_error,
        information=float(fitted.gain),
        coverage=float(coverage.mean()),
        coverage_error=half_width(coverage),
        answer_seconds=seconds,
    )
    return StudyResult(
        headline,
        warnings=cautions(
            headline.targets_met_retrained,
            headline.reward_retrained,
            headline.reward_retrained_error,
            headline.baseline_random,
        ),
        arrays=_arrays(problem, headline, laws, found),
        profile={"provider": found.agents.policy, "laws": found.laws, "answered": laws},
    )


def cautions(met: dict[str, int], reward: float, half_width: float, guessed: float | None) -> list[str]:
    """Targets that new agents miss, and a calibration that guessing where connectivity alone decides would beat."""
    notes = [f"new agents miss the target {name}" for name, one in met.items() if not one]
    if guessed is not None and guessed > reward + half_width:
        notes.append(
            f"new agents' reward, {reward:.3f}, is below that of random guesses by connectivity, {guessed:.3f}"
        )
    return notes


def _problem(config: CalibrateConfig, context: RunContext) -> Problem:
    """The market, Λ and the targets; the file is read before anything is fitted."""
    sizes = np.asarray(config.sizes, float)
    if not (len(sizes) and np.all(sizes > 0) and np.all(np.diff(sizes) > 0)):
        raise InvalidInput("sizes", config.sizes, "positive numbers that rise")
    volume = config.takers_of_each_size * float(sizes.sum())
    targets = EXAMPLE if config.targets is None else read_targets(config.targets, float(sizes[-1]), volume)
    space = SupertypeProfile(len(sizes), risk=config.moves != "connectivity", linked=config.moves == "risk aversion")
    market, told = build(config, context.seed, (1, config.others), config.sizes)
    context.log(told)
    return Problem(market, space, targets)


def _prior(problem: Problem, key: PRNGKeyArray, draws: int) -> Float[Array, "draws components"]:
    """ξ before any data."""
    return jax.random.normal(key, (draws, len(problem.space.names)), jnp.float32)


def _learn(config: CalibrateConfig, context: RunContext, problem: Problem, key: PRNGKeyArray) -> CalibrationState:
    """Agents for any Λ."""
    laws_key, key = jax.random.split(key)
    laws = problem.space.from_normal(_prior(problem, laws_key, PRIOR_DRAWS))
    config = dataclasses.replace(config, updates=config.learning_updates)
    state = begin(config, problem, key, laws, calibrating=False)
    return taken(config, context, problem, state, config.updates, slot="learning", label="learning for any Λ")


def _fit(
    config: CalibrateConfig, problem: Problem, policy: Any, key: PRNGKeyArray
) -> tuple[Amortized, Float[np.ndarray, " pairs"]]:
    """The law of Λ given any targets; and, of pairs not fitted to, the share of components that intervals hold."""
    draw_key, play_key, fit_key, rank_key = jax.random.split(key, 4)
    batches = -(-(config.simulations + CHECKED) // config.episodes)
    normal = _prior(problem, draw_key, batches * config.episodes)
    laws = problem.space.from_normal(normal).reshape(batches, config.episodes, -1)
    profile = {**random_takers(), "provider": policy}
    parts = [
        jax.tree.map(np.asarray, calsheq.seen_under(problem, profile, one, jax.random.fold_in(play_key, place)))
        for place, one in enumerate(laws)
    ]
    seen: Statistics = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    first, last = (jax.tree.map(lambda leaf, cut=cut: leaf[cut], seen) for cut in (np.s_[:-CHECKED], np.s_[-CHECKED:]))
    settings = amortized.Fit(width=config.fit_width, steps=config.fit_steps)
    fitted = amortized.fit(problem.space, _questions(problem), normal[:-CHECKED], first, fit_key, settings)
    rank = np.asarray(amortized.ranks(fitted, normal[-CHECKED:], last, rank_key, 199)) / 199
    outside = (1 - MIDDLE) / 2
    return fitted, ((rank >= outside) & (rank <= 1 - outside)).mean(axis=1)


def _questions(problem: Problem) -> tuple[Target, ...]:
    """What is asked, and both shares and one's own percentiles where they are not: other targets have answers too."""
    asked = list(problem.targets)
    for usual in (Target("equal", (0.0,), 0), Target("equal", (0.0,)), Target("percentiles", (0.0,) * 9, 0)):
        kinds = ("percentiles",) if usual.kind == "percentiles" else amortized.SHARES
        if not any(one.kind in kinds and one.supertype == usual.supertype for one in asked):
            asked.append(usual)
    return tuple(asked)


def _calibrate(
    config: CalibrateConfig,
    context: RunContext,
    problem: Problem,
    learned: CalibrationState,
    laws: Array,
    key: PRNGKeyArray,
) -> CalibrationState:
    """CALSHEQ from the answered law and the agents that have learned."""
    calibrator_key, pick_key, key = jax.random.split(key, 3)
    both = configs(config)
    particles = laws[jax.random.randint(pick_key, (config.episodes,), 0, laws.shape[0])]
    calibrator = new_calibrator(config, problem, calibrator_key)
    state = calsheq.start(problem, random_takers(), learned.agents, calibrator, particles, key, both, config.updates)
    return taken(config, context, problem, state, config.updates, slot="calsheq", label="calibrating")


def _values(problem: Problem, measured: Measured) -> dict[str, list[float]]:
    return {target_name(one): value for one, value in zip(problem.targets, measured.reached, strict=True)}


def _met(problem: Problem, values: dict[str, list[float]]) -> dict[str, int]:
    found = {}
    for one in problem.targets:
        near = {"percentiles": EXACT, "flow": NEAR_FLOW * float(np.mean(one.value))}.get(one.kind, NEAR)
        found[target_name(one)] = int(float(one.miss(jnp.asarray(values[target_name(one)]))) <= near)
    return found


def _reached(problem: Problem, own: Measured, new: list[Measured]) -> Any:
    values, again = _values(problem, own), [_values(problem, one) for one in new]
    stacked = {name: np.asarray([one[name] for one in again]) for name in values}
    held = {
        target_name(one): (np.median if one.kind == "percentiles" else np.mean)(
            stacked[target_name(one)], axis=0
        ).tolist()
        for one in problem.targets
    }
    rewards = np.asarray([one.reward for one in new])
    return {
        "achieved": values,
        "achieved_retrained": held,
        "achieved_retrained_error": {name: [half_width(one) for one in rows.T] for name, rows in stacked.items()},
        "targets_met": _met(problem, values),
        "targets_met_retrained": _met(problem, held),
        "reward": own.reward,
        "reward_error": half_width(own.rewards),
        "reward_retrained": float(rewards.mean()),
        "reward_retrained_error": half_width(rewards),
    }


def _baselines(config: CalibrateConfig, context: RunContext, problem: Problem) -> Any:
    """Mean rewards of sampled episodes where connectivity alone decides; no prices there, so no flow response."""
    profiles: dict[str, np.ndarray | None] = dict.fromkeys(("nothing", "random", "closed"))
    market = ConnectivityMarket((1, config.others), config.sizes, (config.takers_of_each_size,) * len(config.sizes))
    if config.moves != "risk aversion" and all(one.kind not in ("flow", "statistic") for one in problem.targets):
        profiles["nothing"] = np.full((2, len(config.sizes)), 0.5)
        profiles["random"], _ = market.best_of_random(problem.targets, RANDOM_DRAWS, context.seed)
        shares = {one.supertype: one.value[0] for one in problem.targets if one.kind in amortized.SHARES}
        if set(shares) == {0, None} and len(problem.targets) == 2:
            profiles["closed"] = market.meeting(shares[0], shares[None])
    return {
        f"baseline_{name}": None
        if one is None
        else float(jnp.mean(reward(problem.targets, market.sample(one, config.evaluation_episodes, context.seed))))
        for name, one in profiles.items()
    }


def _arrays(
    problem: Problem, headline: CalibrateHeadline, laws: Array, found: CalibrationState
) -> dict[str, xr.Dataset]:
    """Quantiles of Λ before any data and given the targets, targets reached, and the course of the training."""
    prior = problem.space.from_normal(_prior(problem, jax.random.key(0), PRIOR_DRAWS))
    quantiles = [np.quantile(np.asarray(one, float), [0.05, 0.5, 0.95], axis=0) for one in (prior, laws)]
    columns = ("wanted", "achieved_posterior", "achieved", "achieved_retrained")
    flat = [np.concatenate([np.asarray(one) for one in getattr(headline, name).values()]) for name in columns]
    kinds = [
        target_name(one) + (f" {at:g}" if at is not None else "")
        for one in problem.targets
        for at in (one.at or (None,))
    ]
    data = xr.Dataset(
        {
            "law": (("given", "quantile", "component"), np.asarray(quantiles)),
            "value": (("measured", "target"), np.asarray(flat)),
            "identified": ("direction", headline.identified, {"long_name": "1 − λ"}),
            "reward": ("update", np.asarray(found.history["reward"], float), {"long_name": "reward of CALSHEQ"}),
        },
        coords={
            "given": ["nothing", "the targets"],
            "quantile": [0.05, 0.5, 0.95],
            "component": list(problem.space.names),
            "measured": ["asked", "amortized law", "CALSHEQ", "new agents"],
            "target": kinds,
            "direction": np.arange(1, len(headline.identified) + 1),
            "update": np.arange(1, len(found.history["reward"]) + 1),
        },
    )
    return {"calibrate": data}


def laws_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Medians and 90% intervals of the components of Λ, before any data and given the targets."""
    ax, place = axes_or_new(ax), np.arange(data.sizes["component"])
    for shift, colour, given in zip((-0.15, 0.15), COLOURS, data.given.values, strict=False):
        low, middle, high = (data.law.sel(given=given, quantile=q).values for q in (0.05, 0.5, 0.95))
        ax.errorbar(
            place + shift,
            middle,
            [middle - low, high - middle],
            fmt="o",
            ms=3,
            lw=1,
            color=colour,
            label=f"given {given}",
        )
    return label(ax, x=("component of Λ, in order", ""), y=("Λ", ""), title="law of Λ, 90% intervals")


def reached_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """What was reached, over what was asked."""
    ax, place = axes_or_new(ax), np.arange(data.sizes["target"])
    asked = np.maximum(np.abs(data.value.sel(measured="asked").values), 1e-9)
    for mark, colour, measured in zip("s^ox", COLOURS, data.measured.values, strict=False):
        ax.plot(place, data.value.sel(measured=measured).values / asked, mark, mfc="none", color=colour, label=measured)
    ax.set_xticks(place, [str(one) for one in data.target.values], rotation=90, fontsize=6)
    return label(ax, x=("target", ""), y=("reached / asked", ""), title="targets")


def memory(config: CalibrateConfig) -> dict[str, float]:
    """What learning holds, the simulated pairs, and a batch of the fit."""
    providers, takers = 1 + config.others, len(config.sizes) * config.takers_of_each_size
    components = 2 * len(config.sizes) + 3
    return {
        "episodes, steps": 4.0 * 50 * providers * config.steps * config.episodes,
        "episodes, takers_of_each_size": 4.0 * providers * takers * config.episodes,
        "evaluation_episodes, takers_of_each_size": 4.0 * providers * takers * config.evaluation_episodes,
        "width": 4.0 * 3 * config.width**2,
        "fit_width": 4.0 * 4 * components * config.fit_width**2,
        "simulations": 4.0 * 60 * config.simulations,
    }


STUDY = Study(
    name="calibrate",
    source="Vadori et al., arXiv 2210.07184, Section 5.1; Cranmer, Brehmer and Louppe, PNAS 2020",
    shows="one's own market shares, trade sizes and flow response are answered by a law of supertypes, with what they "
    "leave open, and met again by new agents",
    config=CalibrateConfig,
    run=run,
    headline=CalibrateHeadline,
    memory=memory,
    presets={
        "quick": QUICK
        | {
            "learning_updates": 150,
            "updates": 100,
            "trainings": 2,
            "training_updates": 80,
            "simulations": 6000,
            "fit_steps": 1500,
            "fit_width": 32,
        }
    },
    minutes={"quick": 2.5},
    example="diffgames run calibrate --set targets=targets.csv data=orderbook.csv",
    published="no market of one's own; its four experiments are calibration-1 to calibration-4",
    uncertified="a calibration is judged by its targets, measured again with new agents under the frozen law",
    figures={
        "calibrate": Drawing(
            "given the targets the law of Λ is narrower in some components and as wide as before in others; what was "
            "reached lies at one times what was asked",
            "calibrate",
            laws_panel,
            reached_panel,
            lines("identified", title="directions of Λ: 1 known, 0 as before"),
            width=4.6,
            height=3.6,
        )
    },
)
