"""Does the calibrator need the state, or small first steps? CALSHEQ where connectivity alone decides (Figure 25).

The calibrator of Vadori et al., Algorithm 1, is trained against exact statistics, without agents
(`calibration.connectivity_calsheq`), in three ways that share their seeds:

    state      increments of Λ from a policy of Λ, that deviate by `exploration` at first;
    no_state   Λ itself, drawn from a policy that sees a constant: the paper's ablation;
    wide       as `state`, with the first deviation of any new policy, .61 of half a range.

The paper's Figure 25 has agents that learn, and prices; here the targets, the rewards and the calibrator are the same
and all else is exact, so that a target missed is the calibrator's own doing. Beside the rewards stand doing nothing,
the best of 67 random profiles, and the best of as many random profiles as a training draws particles.
"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.calibration import connectivity_calsheq as exact
from diffgames.calibration.connectivity_market import ConnectivityMarket
from diffgames.calibration.targets import Target, experiment_targets, reward
from diffgames.learning.ppo import PPOConfig
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.calibration import EXACT, NEAR, PROVIDERS, RANDOM_DRAWS
from diffgames.studies.calibration_figures import target_name
from diffgames.studies.calibration_steps import half_width
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

WIDE = None  # the deviation of any new policy


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """The experiment, the calibrator and its training."""

    experiment: Annotated[
        int, Parameter("experiment of Section 5.1: its providers and targets", minimum=1, maximum=4)
    ] = 4
    trainings: Annotated[int, Parameter("independent trainings of each way", "trainings", minimum=2)] = 5
    updates: Annotated[int, Parameter("updates of the calibrator", "updates", minimum=1)] = 300
    episodes: Annotated[int, Parameter("particles B", "episodes", minimum=2)] = 128
    exploration: Annotated[
        float, Parameter("first deviation of an increment, halves of its range", minimum=1e-2, plausible=(0.05, 0.61))
    ] = 0.15
    learning_rate: Annotated[float, Parameter("Adam's first learning rate", minimum=1e-9, plausible=(1e-5, 1e-1))] = (
        1e-2
    )
    final_learning_rate: Annotated[float, Parameter("rate that it falls to", minimum=1e-9)] = 1e-3
    passes: Annotated[int, Parameter("passes over the B samples per update", "passes", minimum=1)] = 10
    kl_target: Annotated[float, Parameter("target of the KL penalty", "nats", minimum=1e-9)] = 0.1
    width: Annotated[int, Parameter("units of a hidden layer", "units", minimum=1)] = 64
    settling: Annotated[int, Parameter("mean increments made after training", "steps", minimum=1)] = 20


PerWay = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class AblationHeadline:
    """Rewards, shares and targets of the three ways, and what they are held against."""

    reward: Annotated[
        PerWay, Headline("mean over trainings and particles, 1 if all targets are met", shape="{way: number}")
    ]
    reward_error: Annotated[PerWay, Headline("half-width of its 95% interval over trainings", shape="{way: number}")]
    reward_settled: Annotated[
        PerWay, Headline("that without what the calibrator draws to explore", shape="{way: number}")
    ]
    reward_settled_error: Annotated[
        PerWay, Headline("half-width of its 95% interval over trainings", shape="{way: number}")
    ]
    share_missed: Annotated[
        PerWay, Headline("largest miss of a share's target by a training's particles on average", shape="{way: number}")
    ]
    met: Annotated[
        dict[str, int],
        Headline("trainings whose particles meet a target on average", shape="{way, target: trainings}"),
    ]
    difference: Annotated[float, Headline("reward with the state less that without, seeds paired")]
    difference_error: Annotated[float, Headline("half-width of its 95% interval over trainings")]
    baseline_nothing: Annotated[float, Headline("reward of all probabilities ½")]
    baseline_random: Annotated[float, Headline("reward of the best of 67 random profiles")]
    baseline_random_equal: Annotated[float, Headline("reward of the best of as many as a training draws particles")]


def run(config: AblationConfig, context: RunContext) -> StudyResult:
    """Train the calibrator in three ways from the same seeds, and measure its particles exactly."""
    market, targets = ConnectivityMarket(PROVIDERS[config.experiment]), experiment_targets(config.experiment)
    keys = jax.random.split(context.key, config.trainings)
    ppo = PPOConfig(
        learning_rate=config.learning_rate,
        final_learning_rate=config.final_learning_rate,
        annealing_updates=config.updates,
        passes=config.passes,
        kl_target=config.kl_target,
        episodes=config.episodes,
    )
    ways = {"state": (True, config.exploration), "no_state": (False, config.exploration), "wide": (True, WIDE)}
    curves, rewards, settled, met, missed = {}, {}, {}, {}, {}
    for place, (way, (increments, exploration)) in enumerate(ways.items()):
        context.progress.update("calibrating", place / len(ways), way=place + 1)
        found = exact.train(
            market, targets, increments, keys, ppo, config.width, config.updates, config.settling, exploration
        )
        seen = exact.statistics(market, found.explored)
        curves[way] = np.asarray(found.reward, float)
        rewards[way] = np.asarray(reward(targets, seen), float).mean(axis=1)
        settled[way] = np.asarray(reward(targets, exact.statistics(market, found.settled)), float).mean(axis=1)
        misses = {target_name(one): _misses(one, np.asarray(one.seen(seen))) for one in targets}
        for one in targets:
            near = EXACT if one.kind == "percentiles" else NEAR
            met[f"{way}, {target_name(one)}"] = int(np.sum(misses[target_name(one)] <= near))
        missed[way] = float(max(misses[target_name(one)].max() for one in targets if one.kind != "percentiles"))
    paired = rewards["state"] - rewards["no_state"]
    nothing = market.exact(np.full((2, len(market.sizes)), 0.5))
    headline = AblationHeadline(
        reward={way: float(one.mean()) for way, one in rewards.items()},
        reward_error={way: half_width(one) for way, one in rewards.items()},
        reward_settled={way: float(one.mean()) for way, one in settled.items()},
        reward_settled_error={way: half_width(one) for way, one in settled.items()},
        share_missed=missed,
        met=met,
        difference=float(paired.mean()),
        difference_error=half_width(paired),
        baseline_nothing=float(reward(targets, nothing)),
        baseline_random=market.best_of_random(targets, RANDOM_DRAWS, context.seed)[1],
        baseline_random_equal=market.best_of_random(targets, config.updates * config.episodes, context.seed)[1],
    )
    short = [name for name, count in met.items() if name.startswith("state, ") and count < config.trainings]
    return StudyResult(
        headline,
        warnings=[f"not every training meets its target: {name}" for name in short],
        arrays={"ablation": _dataset(curves, headline)},
    )


def _misses(target: Target, found: np.ndarray) -> np.ndarray:
    """A target's loss in every training: at the mean of its particles for shares, at the median for percentiles."""
    middle = np.median if target.kind == "percentiles" else np.mean
    return np.asarray(target.miss(jnp.asarray(middle(found, axis=1))), float)


def _dataset(curves: dict[str, np.ndarray], headline: AblationHeadline) -> xr.Dataset:
    """The reward of every update, way and training."""
    reward_of = np.asarray(list(curves.values()))
    return xr.Dataset(
        {"reward": (("way", "training", "update"), reward_of, {"long_name": "mean reward of the particles"})},
        coords={"way": list(curves), "update": np.arange(1, reward_of.shape[-1] + 1)},
        attrs={"nothing": headline.baseline_nothing, "random": headline.baseline_random},
    )


def rewards_panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Mean reward over updates, the range over trainings shaded."""
    ax = axes_or_new(ax)
    for colour, way in zip(COLOURS, data.way.values, strict=False):
        curves = data.reward.sel(way=way)
        ax.plot(data["update"], curves.mean("training"), color=colour, label=str(way).replace("_", " "))
        ax.fill_between(data["update"], curves.min("training"), curves.max("training"), color=colour, alpha=0.2, lw=0)
    ax.axhline(data.attrs["random"], color="0.4", ls="--", lw=1, label="best of 67 random")
    ax.axhline(data.attrs["nothing"], color="0.4", ls=":", lw=1, label="all ½")
    return label(ax, x=("update", ""), y=("reward", ""), title="connectivity alone")


def memory(config: AblationConfig) -> dict[str, float]:
    """What a minibatch's networks and the exact statistics hold, and the random profiles."""
    profiles = float(config.updates) * config.episodes
    return {
        "trainings, episodes, width": 4.0 * config.trainings * config.episodes * (12 * config.width + 600),
        "updates, episodes": 8.0 * 300 * profiles,
        "trainings, width": 4.0 * 12 * config.trainings * config.width**2,
    }


STUDY = Study(
    name="calibration-ablation",
    source="Vadori et al., arXiv 2210.07184, Figure 25",
    shows="a calibrator with the state beside one without, and small first steps beside large ones, all else exact",
    config=AblationConfig,
    run=run,
    headline=AblationHeadline,
    memory=memory,
    presets={"quick": {}},
    minutes={"quick": 2.0},
    example="diffgames run calibration-ablation --set experiment=1",
    published="Figure 25, of a market with learning agents: curves, no numbers",
    uncertified="statistics are exact, and the best of as many random profiles stands beside",
    figures={
        "ablation": Drawing(
            "the rewards of the three ways rise above the best of 67 random profiles where the targets are hard; where "
            "two shares alone are asked, guessing is nearly as good",
            "ablation",
            rewards_panel,
            width=5.6,
            height=3.8,
        )
    },
)
