"""What the potential saves: three ways to the flocking equilibrium, counted until they are equally close to it.

Descent of the potential (Algorithm 1), simultaneous gradient play and deep fictitious play start from the same gains,
take the same Euler steps, paths a step and rate of Adam, and are looked at after every `inner` steps. Excess is how far
the potential of the profile lies above the optimum of the same Euler grid (known by its Riccati recursion), relative to
it, on held-out paths that are the same for all. Counted are gradients of one function and seconds of computing,
compilation left out, until the excess first falls below `tolerance`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput
from diffgames.games import networks
from diffgames.games.kernels import Quadratic
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.solvers.distributed_paths import draw_noise, graded_grid, potential_of_paths
from diffgames.solvers.gradient_play import Towards, gradient_play
from diffgames.solvers.policies import local_gains
from diffgames.solvers.potential_lq import exact_on_grid
from diffgames.studies.context import RunContext
from diffgames.studies.crowd_parameters import MotionParameters, build_game, motion_memory, patience, player_count
from diffgames.studies.study import Headline, Parameter, Study, StudyResult

METHODS: tuple[Towards, ...] = get_args(Towards)
"""In the order of the headline's lists."""


@dataclass(frozen=True, kw_only=True)
class MethodsConfig(MotionParameters):
    """The flocking game with uniform weights, and what every method may spend."""

    steps: Annotated[int, Parameter("Euler steps", "steps", minimum=2)] = 50
    grade: Annotated[float, Parameter("grading of the steps towards T; 1 is uniform", minimum=1.0, maximum=6.0)] = 1.5
    paths: Annotated[int, Parameter("fresh paths per gradient step", "paths", minimum=2)] = 200
    learning_rate: Annotated[float, Parameter("Adam's rate, of every method", minimum=1e-9)] = 0.05
    inner: Annotated[int, Parameter("gradient steps between two looks; a best response's own", "steps", minimum=1)] = 25
    rounds: Annotated[int, Parameter("of `inner` steps each, at most", "rounds", minimum=1)] = 60
    held_paths: Annotated[int, Parameter("held-out paths of the watch", "paths", minimum=10)] = 4000
    tolerance: Annotated[float, Parameter("excess of the potential over its optimum, relative", minimum=1e-6)] = 0.05


def run(config: MethodsConfig, context: RunContext) -> StudyResult:
    """The three methods, one after the other, on the same game."""
    if player_count(config) < 2:
        raise InvalidInput("targets", config.targets, "two players at least: methods differ where players meet")
    game = build_game(config, Quadratic(), networks.complete(player_count(config)))
    context.progress.update("optimum", 0.0)
    grid = graded_grid(config.horizon, config.steps, config.grade)
    play_key, held_key = jax.random.split(context.key)
    held = draw_noise(game, grid, held_key, config.held_paths)
    measure = eqx.filter_jit(lambda policy: jnp.mean(potential_of_paths(game, policy, grid, held)))
    optimum = exact_on_grid(game, grid).potential
    begin = local_gains(game, patience=patience(config), grade=config.grade)
    rows, arrays = {}, {}
    for method in METHODS:

        def watch(policy, method=method) -> float:
            value = float(measure(policy)) / optimum - 1.0
            context.progress.update(method, 0.0, excess=value)
            return value

        found = gradient_play(
            game, begin, grid, play_key, rounds=config.rounds, inner=config.inner, paths=config.paths,
            learning_rate=config.learning_rate, towards=method, watch=watch,
        )  # fmt: skip
        seen = np.nan_to_num(found.watched, nan=math.inf, posinf=math.inf)
        below = np.flatnonzero(seen <= config.tolerance)
        share = None if below.size == 0 else (below[0] + 1) / config.rounds
        rows[method] = (
            None if share is None else found.evaluations * share,
            None if share is None else found.seconds * share,
            float(seen.min()) if math.isfinite(float(seen.min())) else None,
            found.seconds / (config.rounds * config.inner),
        )
        spent = (np.arange(config.rounds) + 1) / config.rounds
        arrays[method] = xr.Dataset(
            {"excess": ("round", seen), "seconds": ("round", found.seconds * spent, {"units": "s"})},
            coords={"round": np.arange(config.rounds) + 1, "evaluations": ("round", found.evaluations * spent)},
        )
    names = ("evaluations", "seconds", "lowest_excess", "seconds_per_step")
    headline = {name: [rows[m][k] for m in METHODS] for k, name in enumerate(names)}
    return StudyResult(
        headline={**headline, "potential_exact": optimum},
        warnings=[
            f"{m} did not come within {config.tolerance:g} of the optimum" for m in METHODS if rows[m][0] is None
        ],
        arrays=arrays,
        figures={"methods": draw(arrays, config.tolerance)},
    )


def draw(found: dict[str, xr.Dataset], tolerance: float) -> Figure:
    """Excess against gradients and against seconds, by method."""
    figure, axes = new_figure(columns=2, width=5.0, height=3.8)
    for colour, (name, data) in zip(COLOURS, found.items(), strict=False):
        excess = np.maximum(data["excess"].values, 1e-5)
        axes[0].loglog(data["evaluations"].values, excess, color=colour, label=name)
        axes[1].loglog(data["seconds"].values, excess, color=colour, label=name)
    quantities = (("gradients of one function", ""), ("computing time", "s"))
    for axis, quantity, by in zip(axes, quantities, ("gradients", "time"), strict=True):
        axis.axhline(tolerance, color="0.4", ls="--", lw=1, label="tolerance")
        label(axis, x=quantity, y=("excess of the potential, relative", ""), title=f"Way to the equilibrium, by {by}")
    legends(*axes)
    return figure


_EACH = "methods (potential, simultaneous, fictitious)"


def memory(config: MethodsConfig) -> dict[str, float]:
    """Held-out paths of the watch, and those of a gradient step."""
    return {
        "held_paths, steps": motion_memory(config, config.held_paths, config.steps),
        "paths, steps": motion_memory(config, config.paths, config.steps),
    }


STUDY = Study(
    name="crowd-methods",
    source="Guo, Li & Zhang, arXiv 2508.01929, Sections 1 and 5: what one potential saves over N coupled problems",
    shows="to be equally close to equilibrium, descent of the potential takes fewer gradients than playing costs",
    config=MethodsConfig,
    run=run,
    memory=memory,
    presets={"quick": {"rounds": 40, "held_paths": 2000}, "paper": {"paths": 500}},
    minutes={"quick": 1.0, "paper": 5.0},
    headline={
        "evaluations": Headline(
            "until the excess is within tolerance; null: never", "gradients", shape=_EACH, optional=True
        ),
        "seconds": Headline("computing until then, without compilation", "s", shape=_EACH, optional=True, timing=True),
        "lowest_excess": Headline("lowest relative excess of the potential that was met", shape=_EACH, optional=True),
        "seconds_per_step": Headline("of one step on all players", "s", shape=_EACH, timing=True),
        "potential_exact": Headline("optimum of the Euler grid, by its Riccati recursion", "cost"),
    },
    example="diffgames run crowd-methods --set tolerance=0.02",
    published="the saving in words, no numbers",
    uncertified=(
        "three ways to one profile are timed, and no profile is handed over; each is held to the exact optimum by "
        "`lowest_excess` (crowd-flocking certifies the game)"
    ),
    figures={
        "methods": "the potential's descent reaches the tolerance with the fewest gradients",
    },
)
