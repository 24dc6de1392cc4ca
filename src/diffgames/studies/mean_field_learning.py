"""Learning in crowds: dynamic regret where the environment drifts, and what a policy learned in a finite crowd leaves.

Two claims. The two-timescale step of `learning.two_timescales` freezes: the regret of tracking a drifting optimum grows
like T to the power 0 (bounded drift), 2 (√T), 3 (linear) and 1 (jumps), not ½. Exponents are fitted in logarithms over
`rounds`; a constant step stands beside, and so do exact moments, which need no sampled gradient.

And the mean-field-conditioned policy gradient of `learning.crowd_policy`, which learns from N agents and their
empirical law, approaches the equilibrium of the two-type congestion game of the study `mean-field`. What it leaves is
measured with infinitely many agents: law and policy are carried on a grid, and `verification.mean_field_response`
answers them. The same certificate of no learning at all and of Newton's equilibrium stands beside.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.special import stdtrit

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_frozen import frozen
from diffgames.learning.crowd_policy import CrowdLearning, law_under, learn_in_crowd
from diffgames.learning.two_timescales import (
    DRIFTS,
    TwoTimescales,
    constant_step,
    targets,
    track,
    wasserstein_floor,
)
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.solvers.mean_field_newton import solve_mean_field
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.mean_field import MeanFieldConfig, cells_of, game_of
from diffgames.studies.rates import fitted_exponent
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.mean_field_response import response_gaps

PerDrift = dict[str, float]
LEARNERS = ("printed step", "floor subtracted", "slow critic", "constant step")
PUBLISHED = {
    "regret_exponent": dict(zip(DRIFTS, (0.06, 1.95, 3.0, 1.0), strict=True)),
    "regret_exponent_constant": dict(zip(DRIFTS, (0.51, 0.24, 1.05, 0.57), strict=True)),
}


@dataclass(frozen=True, kw_only=True)
class MeanFieldLearningConfig:
    """Tracking, learning in crowds, and the grid of the certificate."""

    rounds: Annotated[
        tuple[int, ...], Parameter(shape="horizons", unit="rounds", meaning="T of the regrets", minimum=50)
    ] = (500, 1000, 2000, 4000)
    actor: Annotated[float, Parameter(meaning="α₀ of the tracking actor", minimum=1e-6, maximum=1.0)] = 0.5
    slow_after: Annotated[float, Parameter(unit="rounds", meaning="τ₀ of the tracking actor", minimum=1.0)] = 20.0
    modulation: Annotated[float, Parameter(meaning="β, weight of W₁ in the tracking actor's step", minimum=0.0)] = 5.0
    constant: Annotated[float, Parameter(meaning="step of the learner beside", minimum=1e-6, maximum=1.0)] = 0.1
    noise: Annotated[float, Parameter(meaning="deviation of what the tracking learner sees", minimum=0.0)] = 0.3
    crowd: Annotated[int, Parameter(unit="agents", meaning="agents whose W₁ modulates the step", minimum=2)] = 100
    replications: Annotated[int, Parameter(unit="replications", meaning="of every regret", minimum=2)] = 16
    agents: Annotated[
        tuple[int, ...], Parameter(shape="populations", unit="agents", meaning="N of the crowds", minimum=2)
    ] = (100, 1000)
    learners: Annotated[int, Parameter(unit="learners", meaning="learners per N, other draws each", minimum=2)] = 3
    updates: Annotated[int, Parameter(unit="updates", meaning="rounds of learning", minimum=1)] = 400
    together: Annotated[
        int, Parameter(unit="agents", meaning="agents per round at least, in as many crowds as it takes", minimum=1)
    ] = 1000
    learning_rate: Annotated[float, Parameter(meaning="α₀ of the policy's actor", minimum=1e-6)] = 0.03
    exploration: Annotated[float, Parameter(meaning="deviation s of the controls at first", minimum=1e-3)] = 0.4
    steps: Annotated[int, Parameter(unit="steps", meaning="time steps of the crowds", minimum=4)] = 16
    bins: Annotated[int, Parameter(unit="cells", meaning="cells in which agents count their crowd", minimum=4)] = 20
    points: Annotated[int, Parameter(unit="cells", meaning="cells and steps of the certificate", minimum=16)] = 80


@dataclass(frozen=True, kw_only=True)
class MeanFieldLearningHeadline:
    """Growth of regret by class of drift, and exploitability by population."""

    regret_exponent: Annotated[
        PerDrift, Headline(shape="{drift: number}", meaning="growth of dynamic regret in T, the printed step")
    ]
    regret_exponent_half_width: Annotated[
        PerDrift, Headline(shape="{drift: number}", meaning="of its 95% interval over replications")
    ]
    regret_exponent_exact: Annotated[
        PerDrift, Headline(shape="{drift: number}", meaning="the same from exact moments given the steps")
    ]
    regret_exponent_floor: Annotated[
        PerDrift, Headline(shape="{drift: number}", meaning="with the floor of W₁ subtracted")
    ]
    regret_exponent_critic: Annotated[
        PerDrift, Headline(shape="{drift: number}", meaning="with a critic of step t^−0.6 between")
    ]
    regret_exponent_constant: Annotated[
        PerDrift, Headline(shape="{drift: number}", meaning="of a learner of constant step")
    ]
    regret_exponent_constant_half_width: Annotated[
        PerDrift, Headline(shape="{drift: number}", meaning="of its 95% interval over replications")
    ]
    distance_floor: Annotated[float, Headline(meaning="mean W₁ of two samples of one normal law of `crowd` agents")]
    exploitability: Annotated[
        PerDrift, Headline(shape="{agents: number}", unit="cost", meaning="mean gain of a best reply, learned policy")
    ]
    exploitability_half_width: Annotated[
        PerDrift, Headline(shape="{agents: number}", unit="cost", meaning="of its 95% interval over learners")
    ]
    exploitability_start: Annotated[float, Headline(unit="cost", meaning="the same of agents that do nothing")]
    exploitability_equilibrium: Annotated[
        float, Headline(unit="cost", meaning="the same of Newton's equilibrium: what the grid leaves")
    ]
    control_error: Annotated[
        PerDrift,
        Headline(shape="{agents: number}", meaning="root mean square distance of the controls from the equilibrium's"),
    ]


def run(config: MeanFieldLearningConfig, context: RunContext) -> StudyResult:
    """Track, fit the exponents, learn in crowds, and certify."""
    for name in ("rounds", "agents"):
        values = getattr(config, name)
        if len(values) < (2 if name == "rounds" else 1) or list(values) != sorted(set(values)):
            raise InvalidInput(name, values, "different numbers in rising order" + ", two or more" * (name == "rounds"))
    regret, exact = _regrets(config, context)
    exponents = {(i, j): fitted_exponent(np.asarray(config.rounds, float), regret[i, j]) for i, j in np.ndindex(4, 4)}

    def per_drift(learner: int, part: int = 0) -> PerDrift:
        return {drift: float(exponents[learner, j][part] or 0.0) for j, drift in enumerate(DRIFTS)}

    profile = _learned(config, context)
    certificates = _certified(config, profile)
    share = np.asarray(MeanFieldConfig().share)
    gain = {name: float(share @ [entry.gain for entry in one.entries]) for name, one in certificates.items()}
    table = np.asarray([[gain[f"{n} agents, learner {s}"] for s in range(config.learners)] for n in config.agents])
    apart = np.asarray(
        [[_apart(profile, f"{n} agents, learner {s}") for s in range(config.learners)] for n in config.agents]
    )
    half = stdtrit(config.learners - 1, 0.975) * table.std(axis=1, ddof=1) / np.sqrt(config.learners)
    names = [str(n) for n in config.agents]
    return StudyResult(
        MeanFieldLearningHeadline(
            regret_exponent=per_drift(0),
            regret_exponent_half_width=per_drift(0, 1),
            regret_exponent_exact={
                d: float(fitted_exponent(np.asarray(config.rounds, float), exact[0, j])[0] or 0.0)
                for j, d in enumerate(DRIFTS)
            },
            regret_exponent_floor=per_drift(1),
            regret_exponent_critic=per_drift(2),
            regret_exponent_constant=per_drift(3),
            regret_exponent_constant_half_width=per_drift(3, 1),
            distance_floor=wasserstein_floor(config.crowd),
            exploitability=dict(zip(names, table.mean(axis=1).tolist(), strict=True)),
            exploitability_half_width=dict(zip(names, half.tolist(), strict=True)),
            exploitability_start=gain["nothing done"],
            exploitability_equilibrium=gain["equilibrium"],
            control_error=dict(zip(names, apart.mean(axis=1).tolist(), strict=True)),
        ),
        certificate=_best_of(config, certificates, gain),
        published=PUBLISHED,
        arrays={"regret": _curves(config, regret), "crowds": _crowds(config, table, gain)},
        profile=profile,
    )


def _regrets(config: MeanFieldLearningConfig, context: RunContext) -> tuple[np.ndarray, np.ndarray]:
    """Regrets sampled and from exact moments, [learners, drifts, horizons, replications] each."""
    printed = TwoTimescales(config.actor, config.slow_after, 1.0, config.modulation)
    learners = [
        printed,
        TwoTimescales(config.actor, config.slow_after, 1.0, config.modulation, floor=wasserstein_floor(config.crowd)),
        TwoTimescales(config.actor, config.slow_after, 1.0, config.modulation, critic_decay=0.6),
        constant_step(config.constant),
    ]
    found = []
    for place, rounds in enumerate(config.rounds):
        context.progress.update("regret", place / len(config.rounds))
        target = np.stack([targets(drift, rounds) for drift in DRIFTS])
        key = jax.random.fold_in(context.key, place)
        sizes = {"agents": config.crowd, "replications": config.replications}
        found.append(track(target, learners, key, noise=config.noise, **sizes))
    sampled, expected = ([np.asarray(getattr(one, name)) for one in found] for name in ("regret", "expected"))
    return np.stack(sampled, axis=2), np.stack(expected, axis=2)


def _learned(config: MeanFieldLearningConfig, context: RunContext) -> dict[str, dict[str, np.ndarray]]:
    """Controls and laws with infinitely many agents, of every learner, of no control, and of the equilibrium."""
    game, fine = game_of(MeanFieldConfig()), cells_of(config.points)
    steps = TwoTimescales(config.learning_rate, max(config.updates / 4, 1.0), 1.0, 0.5, critic=0.03)
    budget = CrowdLearning(
        config.updates, config.steps, config.together, exploration=config.exploration, timescales=steps
    )
    solved = solve_mean_field(game, fine, config.points, differences="central")
    found = {"equilibrium": {"control": solved.control[:, :, 0], "mass": solved.mass}}
    for n in config.agents:
        for seed in range(config.learners):
            key = jax.random.fold_in(jax.random.fold_in(context.key, n), seed)

            def told(update: int, n: int = n, seed: int = seed) -> None:
                done = (seed + update / config.updates) / config.learners
                context.progress.update(f"{n} agents", done)

            learned = learn_in_crowd(game, cells_of(config.bins), n, key, budget, told)
            control, mass = law_under(learned.policy.mean, game, fine, config.points)
            found[f"{n} agents, learner {seed}"] = {"control": control, "mass": mass}
            context.log(f"{n} agents, learner {seed}: last steps {learned.step[-1]:.2g}, W1 {learned.distance[-1]:.2g}")
    none = law_under(lambda seen: 0.0 * seen[..., 0], game, fine, config.points)
    return found | {"nothing done": {"control": none[0], "mass": none[1]}}


def _apart(profile: dict[str, dict[str, np.ndarray]], name: str) -> float:
    """Root mean square distance of a profile's controls from the equilibrium's, over its own agents and times."""
    away = (profile[name]["control"] - profile["equilibrium"]["control"]) ** 2
    share = np.asarray(MeanFieldConfig().share)
    return float(np.sqrt(share @ np.sum(profile[name]["mass"][:-1] * away, axis=2).mean(axis=0)))


def _certified(config: MeanFieldLearningConfig, profile: dict[str, Any]) -> dict[str, Certificate]:
    """Best replies to every stored crowd."""
    game, cells = game_of(MeanFieldConfig()), cells_of(config.points)
    return {
        name: response_gaps(frozen(game, cells, np.asarray(one["control"])[:, :, None], np.asarray(one["mass"])))
        for name, one in profile.items()
    }


def _best_of(
    config: MeanFieldLearningConfig, certificates: dict[str, Certificate], gain: dict[str, float]
) -> Certificate:
    """The certificate of the learned policy that leaves the least."""
    return certificates[min((name for name in certificates if " agents, " in name), key=lambda name: gain[name])]


def verify(config: MeanFieldLearningConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """Answer the stored crowds again."""
    certificates, share = _certified(config, profile), np.asarray(MeanFieldConfig().share)
    gain = {name: float(share @ [entry.gain for entry in one.entries]) for name, one in certificates.items()}
    return _best_of(config, certificates, gain)


def _curves(config: MeanFieldLearningConfig, regret: np.ndarray) -> xr.Dataset:
    names = ("learner", "drift", "rounds")
    return xr.Dataset(
        {"regret": (names, regret.mean(axis=-1), {"long_name": "dynamic regret"})},
        coords={
            "learner": list(LEARNERS),
            "drift": list(DRIFTS),
            "rounds": ("rounds", list(config.rounds), {"long_name": "rounds T"}),
        },
    )


def _crowds(config: MeanFieldLearningConfig, table: np.ndarray, gain: dict[str, float]) -> xr.Dataset:
    return xr.Dataset(
        {
            "exploitability": (("agents", "learner"), table, {"long_name": "exploitability", "units": "cost"}),
            "start": ((), gain["nothing done"]),
            "equilibrium": ((), gain["equilibrium"]),
        },
        coords={
            "agents": ("agents", list(config.agents), {"long_name": "agents N"}),
            "learner": range(config.learners),
        },
    )


def _regret_panel(learner: str):
    """Regret against T of one learner on logarithmic axes, with the fitted powers."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        rounds = data.rounds.values.astype(float)
        for colour, drift in zip(COLOURS, data.drift.values, strict=False):
            row = data.regret.sel({"learner": learner, "drift": drift}).values
            slope, level = np.polyfit(np.log(rounds), np.log(np.maximum(row, 1e-300)), 1)
            ax.loglog(rounds, row, "o", ms=4, color=colour, label=f"{drift}: T^{slope:.2f}")
            ax.loglog(rounds, np.exp(level) * rounds**slope, "-", lw=1, color=colour)
        return label(ax, x=("rounds T", ""), y=("dynamic regret", ""), title=learner)

    return panel


def _crowd_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Exploitability against N, every learner a point, between no learning and the equilibrium."""
    ax = axes_or_new(ax)
    for seed in data.learner.values:
        ax.loglog(
            data.agents, data.exploitability.sel({"learner": seed}), "o", color=COLOURS[0], label="learned" * (not seed)
        )
    ax.loglog(data.agents, data.exploitability.mean("learner"), "-", color=COLOURS[0], label="mean of the learners")
    ax.axhline(float(data.start), color=COLOURS[1], ls="--", label="nothing done")
    ax.axhline(float(data.equilibrium), color=COLOURS[2], ls=":", label="equilibrium on the grid")
    return label(ax, x=("agents N", ""), y=("exploitability", "cost"))


def memory(config: MeanFieldLearningConfig) -> dict[str, float]:
    """Observations, hidden layers and their derivatives of a round; the normal draws of the tracking crowds."""
    largest = max(*config.agents, config.together)
    return {
        "agents, together, steps": 4.0 * largest * config.steps * 120,
        "crowd, replications": 8.0 * 4 * config.crowd * config.replications,
        "points": 8.0 * 2 * 82 * 2 * config.points**2,
    }


STUDY = Study(
    name="mean-field-learning",
    source="mean-field-type games tutorial, sections 4.1 and 4.2",
    shows="the two-timescale step's regret outgrows √T where the law drifts; crowds of N learn towards the equilibrium",
    config=MeanFieldLearningConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={
        "quick": {},
        "paper": {
            "rounds": (500, 1000, 2000, 4000, 8000, 16000),
            "agents": (100, 1000, 10_000, 100_000),
            "learners": 5,
            "updates": 800,
            "together": 10_000,
        },
    },
    minutes={"quick": 2.0, "paper": 120.0},
    headline=MeanFieldLearningHeadline,
    example="diffgames run mean-field-learning --set agents=[100,10000] updates=600",
    published="no numbers; reference exponents of the same steps from an independent simulation",
    figures={
        "regret": Drawing(
            "the printed step's regret grows like T², T³ and T under drift; a constant step follows",
            "regret",
            _regret_panel(LEARNERS[0]),
            _regret_panel(LEARNERS[3]),
        ),
        "crowds": Drawing("what the learned policies leave to a best reply", "crowds", _crowd_panel),
    },
)
