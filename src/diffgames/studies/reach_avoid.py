"""Two planes at one altitude: from where can the pursuer come within a given distance, whatever the evader does?

In the frame of the evader (Merz 1972; Mitchell, Bayen & Tomlin 2005), with speeds v_e, v_p, turn rates a, b and
relative heading ψ,

    ẋ = −v_e + v_p cos ψ + a y,    ẏ = v_p sin ψ − a x,    ψ̇ = b − a  (+ noise dW, if any),

the evader (a) maximises and the pursuer (b) minimises the least distance before the horizon less the capture radius:

    V(t, x) = max_a min_b min_{s ≥ t} l(X_s),   l = |(x, y)| − R,   V ≤ 0: the reachable tube,

the variational inequality V = min(V, l) of a pursuer that may stop. The certificate holds the value against a finer
grid, and plays the feedbacks against each other and against turning flat out or not at all: either side's feedback
should guarantee V. Which turn is best is seen on half of the starts, what it gains on the other half.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame
from diffgames.numerics.grid import Axis, Grid
from diffgames.simulation.paths import simulate
from diffgames.simulation.rollout import Scheme
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.grid_solution import GridFeedback, GridSolution
from diffgames.solvers.grid_sweep import Stopping
from diffgames.solvers.isaacs import Stepping, solve_isaacs
from diffgames.studies.context import RunContext
from diffgames.studies.grid_figures import tube_figure, value_slices
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate, Gap, gap_of_pairs

PLAYERS = ("evader", "pursuer")


@dataclass(frozen=True, kw_only=True)
class ReachAvoidConfig:
    """The planes, the grid, and what the certificate may spend."""

    evader_speed: Annotated[float, Parameter("speed of the evader", "length/time", minimum=0.0)] = 5.0
    pursuer_speed: Annotated[float, Parameter("speed of the pursuer", "length/time", minimum=0.0)] = 5.0
    evader_turn: Annotated[float, Parameter("largest turn rate of the evader", "rad/time", minimum=0.0)] = 1.0
    pursuer_turn: Annotated[float, Parameter("largest turn rate of the pursuer", "rad/time", minimum=0.0)] = 1.0
    radius: Annotated[float, Parameter("capture radius R", "length", minimum=1e-6)] = 5.0
    horizon: Annotated[float, Parameter("horizon", "time", minimum=1e-6)] = 2.8
    heading_noise: Annotated[float, Parameter("volatility of the relative heading", "rad/√time", minimum=0.0)] = 0.0
    low: Annotated[tuple[float, ...], Parameter("lowest x and y of the grid", "length", shape="2")] = (-6.0, -10.0)
    high: Annotated[tuple[float, ...], Parameter("highest x and y of the grid", "length", shape="2")] = (20.0, 10.0)
    points: Annotated[tuple[int, ...], Parameter("points along x, y and ψ", shape="3", minimum=5)] = (51, 51, 51)
    flux: Annotated[Literal["upwind", "lax_friedrichs"], Parameter("monotone flux")] = "upwind"
    finer: Annotated[bool, Parameter("solve on half the spacing too, for the certificate")] = True
    steps: Annotated[
        int | None,
        Parameter("explicit time steps, a multiple of 14; null: as many as stability wants", "steps", minimum=1),
    ] = None
    starts: Annotated[int, Parameter("starts that are played out", "paths", minimum=4)] = 400
    simulation_steps: Annotated[int, Parameter("steps of a played path", "steps", minimum=1)] = 280


class UniformStarts(eqx.Module):
    """Starts anywhere in a box."""

    low: Float[Array, " n"]
    high: Float[Array, " n"]

    def __call__(self, key: PRNGKeyArray) -> tuple[Float[Array, " n"], Int[Array, ""]]:
        """A start, and the only regime."""
        return jax.random.uniform(key, self.low.shape, self.low.dtype, self.low, self.high), jnp.int32(0)


def pursuit_game(config: ReachAvoidConfig, precision: str = "float64") -> DifferentialGame:
    """The game, its terminal cost l; starts are uniform in the inner half of the grid."""

    def drift(t, x, u, i):
        a, b = u[0][0], u[1][0]
        forth = config.pursuer_speed * jnp.cos(x[2]) - config.evader_speed + a * x[1]
        return jnp.stack([forth, config.pursuer_speed * jnp.sin(x[2]) - a * x[0], b - a])

    def diffusion(t, x, u, i):
        return jnp.zeros((3, 1), x.dtype).at[2, 0].set(config.heading_noise)

    low, high = np.array([*config.low, 0.0]), np.array([*config.high, 2 * np.pi])
    middle, half = (low + high) / 2, (high - low) / 2 * np.array([0.5, 0.5, 1.0])
    return DifferentialGame(
        players=PLAYERS,
        control_sizes=(1, 1),
        drift=drift,
        diffusion=diffusion,
        running_cost=lambda t, x, u, i: jnp.zeros(2, x.dtype),
        terminal_cost=lambda x, i: jnp.broadcast_to(distance(config, x), (2,)),
        initial=UniformStarts(jnp.asarray(middle - half, precision), jnp.asarray(middle + half, precision)),
        horizon=config.horizon,
        signs=(-1, 1),
        bounds=((-config.evader_turn, config.evader_turn), (-config.pursuer_turn, config.pursuer_turn)),
    )


def distance(config: ReachAvoidConfig, x: Array) -> Array:
    """l(x) = |(x, y)| − R."""
    return jnp.sqrt(x[0] ** 2 + x[1] ** 2) - config.radius


def grid_of(config: ReachAvoidConfig) -> Grid:
    """The grid of the configuration; `InvalidInput` where an axis is missing or turned around."""
    for key, count in (("low", 2), ("high", 2), ("points", 3)):
        if len(getattr(config, key)) != count:
            raise InvalidInput(
                key, getattr(config, key), f"{count} numbers, one for each of {', '.join('xyψ'[:count])}"
            )
    names = ("x", "y")
    axes = [Axis(names[d], config.low[d], config.high[d], config.points[d], "linear") for d in range(2)]
    return Grid((*axes, Axis("ψ", 0.0, 2 * np.pi, config.points[2], "periodic")))


def solve(
    config: ReachAvoidConfig, game: DifferentialGame, grid: Grid, keep: int, steps: int | None = None
) -> GridSolution:
    """Value and feedbacks on `grid`."""
    stopping = Stopping(minimiser=lambda t, x, i: distance(config, x))
    search, stepping = Affine(config.flux), Stepping(keep=keep, steps=steps)
    return solve_isaacs(game, grid, search=search, stepping=stepping, stopping=stopping, leak_tolerance=None)


def run(config: ReachAvoidConfig, context: RunContext) -> StudyResult:
    """Solve, certify, and draw value and tube."""
    with jax.enable_x64(True):
        grid = grid_of(config)
        game = pursuit_game(config)
        context.progress.update("value on the grid", 0.1)
        solution = solve(config, game, grid, keep=14, steps=config.steps)
        value = np.asarray(solution.value[0, 0])
        profile = {
            "value": value,
            "time": np.asarray(solution.time),
            "pursuer": np.asarray(solution.feedback.u),
            "evader": np.asarray(solution.feedback.w),
        }
        certificate = _certify(config, context, profile)
    checks = certificate.checks
    cell = float(np.prod(grid.spacing))
    dataset = xr.Dataset(
        {"value": (("x", "y", "heading"), value, {"units": "length"})},
        coords={name: axis.coordinates() for name, axis in zip(("x", "y", "heading"), grid.axes, strict=True)},
    )
    published = {}
    if config == ReachAvoidConfig(flux="lax_friedrichs"):
        published = {"tube_fraction": 0.246195}  # hj_reachability at first order
    return StudyResult(
        headline={
            "tube_fraction": float((value <= 0).mean()),
            "tube_volume": float((value <= 0).sum() * cell),
            "least_value": float(value.min()),
            "isaacs_gap": float(solution.isaacs_gap),
            "finer_grid_change": checks["finer_grid_change"],
            "simulated_error": checks["mean_error"],
            "evader_deviation_gain": checks["evader_deviation_gain"],
            "pursuer_deviation_gain": checks["pursuer_deviation_gain"],
            "steps": solution.steps,
        },
        certificate=certificate,
        published=published,
        arrays={"value": dataset},
        profile=profile,
        figures={"value": value_slices(dataset), "tube": tube_figure(dataset)},
    )


def verify(config: ReachAvoidConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of the stored feedbacks."""
    with jax.enable_x64(True):
        return _certify(config, context, profile)


def _certify(config: ReachAvoidConfig, context: RunContext, profile: dict[str, Any]) -> Certificate:
    game, grid, change = pursuit_game(config), grid_of(config), None
    if config.finer:
        context.progress.update("value on a finer grid", 0.3)
        fine = solve(config, game, grid.refined(), keep=1)
        inside = (slice(2, -2), slice(2, -2))
        off = np.asarray(grid.coarse_part(fine.value[0, 0])) - profile["value"]
        change = float(np.abs(off[inside]).mean())
    context.progress.update("playing the feedbacks", 0.8)
    entries, checks = _play(config, context, game, grid, profile)
    return Certificate(
        entries,
        how="lower bound: the best of three constant turns against the other side's feedback, on simulated paths of "
        "the same starts and noise; the value against a grid of half the spacing",
        unseen="turns that change with time or state",
        checks={"finer_grid_change": change, **checks},
    )


class _Constant(eqx.Module):
    """One side by its feedback, the other at a constant turn."""

    feedback: GridFeedback
    player: int = eqx.field(static=True)
    turn: Array

    def __call__(self, t, x, i):
        play = list(self.feedback(t, x, i))
        play[self.player] = self.turn[None]
        return tuple(play)


def _play(
    config: ReachAvoidConfig, context: RunContext, game: DifferentialGame, grid: Grid, profile: dict[str, Any]
) -> tuple[tuple[Gap, ...], dict[str, float]]:
    """Gains of constant turns, and least distances of simulated paths against the value at their starts."""
    u, w = (jnp.asarray(profile[name], jnp.float64) for name in ("pursuer", "evader"))
    feedback = GridFeedback(grid, jnp.asarray(profile["time"], jnp.float64), u, w, None, 1, 0, (1, 1))

    def least(strategy: Any) -> tuple[np.ndarray, np.ndarray]:
        options = {"paths": config.starts, "steps": config.simulation_steps, "scheme": Scheme(chunk=config.starts)}
        paths = simulate(game, strategy, context.key, **options)
        assert paths.state is not None  # every step is kept
        found = jnp.min(jax.vmap(jax.vmap(lambda x: distance(config, x)))(paths.state), axis=1)
        start = paths.state[:, 0].T
        return np.asarray(found), np.asarray(grid.interpolate(jnp.asarray(profile["value"], jnp.float64), start))

    reached, predicted = least(feedback)
    checks = {
        "mean_error": float((reached - predicted).mean()),
        "mean_absolute_error": float(np.abs(reached - predicted).mean()),
        "tube_agreement": float(((reached <= 0) == (predicted <= 0)).mean()),
    }
    entries = []
    for player, (name, sign) in enumerate(zip(PLAYERS, (1.0, -1.0), strict=True)):
        most = (config.evader_turn, config.pursuer_turn)[player]
        turns = (-most, 0.0, most)
        rewards = np.stack([sign * least(_Constant(feedback, player, jnp.asarray(turn)))[0] for turn in turns])
        checks[f"{name}_deviation_gain"] = float((rewards - sign * predicted).mean(axis=1).max())
        best = int(rewards[:, ::2].mean(axis=1).argmax())
        turn = f"turning at {turns[best]:.3g}"
        entries.append(gap_of_pairs(name, sign * reached[1::2], rewards[best, 1::2], selected=turn))
    return tuple(entries), checks


def memory(config: ReachAvoidConfig) -> dict[str, float]:
    """Value and feedbacks on the finer grid, or at all kept times, and the played paths."""
    cells = math.prod(config.points)
    return {
        "points": 8.0 * cells * (8 * 4 if config.finer else 15 * 3),
        "starts, simulation_steps": 8.0 * 3 * config.starts * config.simulation_steps,
    }


STUDY = Study(
    name="reach-avoid",
    source="Mitchell, Bayen & Tomlin, IEEE Transactions on Automatic Control 50 (2005), Section V",
    shows="the set of relative positions from which one plane cannot escape another, and both sides' feedback",
    config=ReachAvoidConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {"points": [41, 41, 41]}, "paper": {}},
    minutes={"quick": 1.0, "paper": 2.0},
    headline={
        "tube_fraction": Headline(
            "share of the grid's points with V ≤ 0", "1", published="hj_reachability, first order"
        ),
        "tube_volume": Headline("volume of V ≤ 0", "length² rad"),
        "least_value": Headline("smallest value on the grid", "length"),
        "isaacs_gap": Headline("largest min max − max min of the Hamiltonian", "length/time"),
        "finer_grid_change": Headline(
            "mean |change| of the value at half the spacing, ends apart", "length", optional=True
        ),
        "simulated_error": Headline("mean of played least distance − R minus value", "length"),
        "evader_deviation_gain": Headline(
            "mean gain over the value of the best constant turn, pursuer at its feedback", "length"
        ),
        "pursuer_deviation_gain": Headline(
            "mean gain over the value of the best constant turn, evader at its feedback", "length"
        ),
        "steps": Headline("explicit time steps", "steps"),
    },
    example="diffgames run reach-avoid --set pursuer_speed=6 --set points=[61,61,61]",
    published=(
        "the set as a figure, without numbers; 0.246195 is the share that hj_reachability computes on "
        "the same grid at first order"
    ),
    figures={
        "tube": "inside the surface the evader cannot get away",
        "value": "slices by heading: the dark inside is lost",
    },
)
