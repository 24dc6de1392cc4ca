"""From a crowd game to numbers a study can report: learn the potential's minimiser, value it, judge it.

Learning runs on S graded Euler steps, its last epochs on finer ones. The learned profile is then valued on the fine
steps and on their halves and quarters, the paths the same, and extrapolated to continuous time, V = 2 V_4 − V_2
(Euler's error is of first order): what is left against the exact optimum is the learning error. The error of time
discretisation is told apart: the optimum on the fine steps against the optimum in continuous time (V_1 − V where no
optimum is known).
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from diffgames.games.distributed import DistributedGame
from diffgames.solvers.distributed_paths import (
    Grid,
    Noise,
    Policy,
    draw_noise,
    graded_grid,
    jumped,
    potential_of_paths,
    trajectory,
)
from diffgames.solvers.policies import Centred, Sum, centred, linear_gains, residual_networks, settled
from diffgames.solvers.policy_gradient import learn_potential
from diffgames.solvers.potential_lq import exact, exact_on_grid, is_linear_quadratic
from diffgames.studies.context import RunContext
from diffgames.studies.crowd_grid import fits_a_grid, potential_on_grid
from diffgames.studies.crowd_parameters import (
    CrowdParameters,
    deviator_budget,
    fine_schedule,
    gains_schedule,
    network_schedule,
    patience,
)
from diffgames.verification.certificate import Certificate
from diffgames.verification.player_deviator import certify_players
from diffgames.verification.potential_bound import alpha_interval, control_norms

MARKS = (0.25, 0.5, 0.75)
"""Where along the horizon positions are reported."""


@dataclass(frozen=True)
class CrowdSolution:
    """A learned profile and what is known about it."""

    policy: Policy
    losses: Float[np.ndarray, "epochs steps"]
    headline: dict[str, Any]
    paths: xr.Dataset
    norms: Float[np.ndarray, " players"]
    optimum: Any = field(repr=False, default=None)


def grids(config: CrowdParameters) -> tuple[Grid, Grid]:
    """The steps of learning and the fine ones."""
    coarse, fine = (graded_grid(config.horizon, steps, config.grade) for steps in (config.steps, config.fine_steps))
    return coarse, fine


def learn(config: CrowdParameters, context: RunContext, game: DistributedGame, label: str, key: PRNGKeyArray):
    """The learned policy, its losses and seconds per gradient step, rung by rung."""
    grid, fine = grids(config)
    asymmetric = getattr(game.costs, "interaction").antisymmetric  # noqa: B009 - a crowd's costs have one
    gains_key, net_key, first_key, second_key = jax.random.split(key, 4)

    def follow(name: str, epochs: int):
        def report(epoch: int, loss: float) -> None:
            context.progress.update(f"{label}: {name}", epoch / epochs, potential=loss)

        return report

    policy: Any = None
    losses, seconds = [], math.inf
    if config.policy in ("linear", "ladder"):
        gains = linear_gains(
            game,
            knots=config.knots,
            patience=patience(config),
            grade=config.grade,
            sensitivity=asymmetric,
            key=gains_key,
        )
        rungs = ((grid, gains_schedule(config), "gains"), (fine, fine_schedule(config), "gains, fine steps"))
        for rung_grid, schedule, name in rungs:
            start = centred(gains, game, rung_grid.steps, config.grade)
            slot = context.checkpoint.slot(f"{name.replace(', ', '-').replace(' ', '-')}-{label}")
            found = learn_potential(
                game, start, rung_grid, schedule, first_key, checkpoint=slot, progress=follow(name, schedule.epochs)
            )
            gains = _as_centred(found.policy).gains
            losses.append(found.losses)
            seconds = min(seconds, found.seconds_per_step)
        policy = settled(centred(gains, game, fine.steps, config.grade), game, fine)
    if config.policy in ("ladder", "network"):
        networks = residual_networks(game, net_key, width=config.width, blocks=config.blocks)
        if policy is not None:  # the output layer starts at zero: the rung below is where this one begins
            networks = eqx.tree_at(lambda m: (m.last, m.last_bias), networks, replace_fn=jnp.zeros_like)
        start = networks if policy is None else Sum(policy, networks)
        slot, schedule = context.checkpoint.slot(f"networks-{label}"), network_schedule(config)
        found = learn_potential(
            game, start, grid, schedule, second_key, checkpoint=slot, progress=follow("networks", schedule.epochs)
        )
        policy, losses, seconds = found.policy, [*losses, found.losses], found.seconds_per_step
    return policy, np.concatenate(losses), seconds


def solve(
    config: CrowdParameters, context: RunContext, game: DistributedGame, label: str, key: PRNGKeyArray
) -> CrowdSolution:
    """Learn, value in continuous time, bound α and search for it."""
    learn_key, value_key, search_key = jax.random.split(key, 3)
    policy, losses, seconds = learn(config, context, game, label, learn_key)
    grid = grids(config)[1]
    values = potential_values(game, policy, grid, config, value_key)
    paths = sample_paths(
        game, policy, grid.refined(2), jax.random.fold_in(value_key, 1), min(config.evaluation_paths, 4000)
    )
    norms = control_norms(game, policy, grid, draw_noise(game, grid, jax.random.fold_in(value_key, 2), 4000))
    bound = float(norms.max()) if config.bound is None else config.bound
    context.progress.update(f"{label}: search for α", 0.0)
    coarse = graded_grid(config.horizon, 16)
    alpha = alpha_interval(game, bound, coarse, search_key, updates=config.alpha_updates)
    optimum = exact(game) if is_linear_quadratic(game) else None
    on_grid = potential_on_grid(game, paths) if optimum is None and fits_a_grid(game) else None
    headline = {
        "potential": values["extrapolated"],
        "potential_standard_error": values["standard_error"],
        "potential_exact": None if optimum is None else optimum.potential,
        "potential_grid": None if on_grid is None else on_grid[0],
        "potential_grid_change": None if on_grid is None else on_grid[1],
        "learning_error": None if optimum is None else values["extrapolated"] - optimum.potential,
        "time_error": values["fine_steps"] - values["extrapolated"]
        if optimum is None
        else exact_on_grid(game, grid).potential - optimum.potential,
        "alpha_bound": alpha.bound,
        "alpha_found": alpha.found,
        "control_bound": bound,
        "mean_positions": marks(paths, config.horizon),
        "mean_positions_exact": None if optimum is None else _at_marks(optimum.times, optimum.mean, config.horizon),
        "seconds_per_step": seconds,
    }
    return CrowdSolution(policy=policy, losses=losses, headline=headline, paths=paths, norms=norms, optimum=optimum)


def certify(
    config: CrowdParameters, context: RunContext, game: DistributedGame, policy: Policy, label: str, key: PRNGKeyArray
) -> Certificate:
    """The gap of every player, on the fine steps."""
    context.progress.update(f"{label}: certificate", 0.0)
    return certify_players(
        game,
        policy,
        grids(config)[1],
        key,
        patience=patience(config),
        budget=deviator_budget(config),
        grade=config.grade,
    )


def merged(certificates: dict[str, Certificate]) -> Certificate:
    """One certificate from several, entries labelled by what they belong to."""
    if len(certificates) == 1:
        return next(iter(certificates.values()))
    entries = [
        replace(entry, label=f"{label}: {entry.label}")
        for label, found in certificates.items()
        for entry in found.entries
    ]
    unseen = "; ".join(dict.fromkeys(found.unseen for found in certificates.values() if found.unseen))
    return Certificate(tuple(entries), next(iter(certificates.values())).how, unseen)


def potential_values(
    game: DistributedGame, policy: Policy, grid: Grid, config: CrowdParameters, key: PRNGKeyArray
) -> dict[str, float]:
    """The policy's potential on the grid of learning and refined ones, on the same noise, and extrapolated."""
    parts = 4
    fine, half = grid.refined(parts), grid.refined(parts // 2)
    chunk = max(100, 4_000_000 // (fine.steps * game.player_count * game.state_size))
    sums = []
    for index in range(-(-config.evaluation_paths // chunk)):
        noise_key = jax.random.fold_in(key, index)
        sums.append(_coupled(game, policy, (fine, half, grid), parts, noise_key, chunk))
    on_fine, on_half, on_grid = (np.concatenate(part) for part in zip(*sums, strict=True))
    extrapolated = 2.0 * on_fine - on_half
    return {
        "extrapolated": float(extrapolated.mean()),
        "standard_error": float(extrapolated.std(ddof=1) / math.sqrt(extrapolated.size)),
        "fine_steps": float(on_grid.mean()),
    }


@eqx.filter_jit
def _coupled(game, policy, grids: tuple[Grid, Grid, Grid], parts: int, key: PRNGKeyArray, paths: int):
    noise = draw_noise(game, grids[0], key, paths).increments

    def summed(count: int) -> Noise:
        return Noise(jnp.sum(noise.reshape(-1, count, *noise.shape[1:]), axis=1))

    values = []
    for grid, count in zip(grids, (1, 2, parts), strict=True):
        values.append(potential_of_paths(game, policy, grid, summed(count)).astype(float))
    return tuple(values)


def sample_paths(game: DistributedGame, policy: Policy, grid: Grid, key: PRNGKeyArray, paths: int) -> xr.Dataset:
    """Mean positions and efforts over `paths` paths, their spread, and a few single paths, with their jumps.

    Of position–velocity states the largest difference of two players' velocities is kept too, as an attribute.
    """
    found = eqx.filter_jit(trajectory)(game, policy, grid, draw_noise(game, grid, key, paths))
    states, u, d = np.asarray(found.x, float), np.asarray(found.u, float), game.control_size
    x, v = states[:, :d], states[:, d:]
    apart = {} if not v.size else {"velocities_apart": max(_diameter(one) for one in v.transpose(0, 2, 1, 3))}
    axes = ("time", "player", "axis")
    jumps = np.asarray(jumped(game, grid, key, paths)[..., :24]).transpose(2, 0, 1)
    return xr.Dataset(
        {
            "mean": (axes, x.mean(axis=3).transpose(0, 2, 1), {"units": "length"}),
            "deviation": (axes, x.std(axis=3).transpose(0, 2, 1), {"units": "length"}),
            "effort": (("step", "player"), (u**2).sum(axis=1).mean(axis=2), {"units": "length²/time²"}),
            "sample": (("path", *axes), x[..., :24].transpose(3, 0, 2, 1), {"units": "length"}),
            "jumped": (("path", "step", "player"), jumps.astype(np.int8), {"meaning": "1 where a step has a jump"}),
        },
        coords={"time": np.asarray(found.times, float)},
        attrs=apart,
    )


def _diameter(v: Float[np.ndarray, "players axes paths"]) -> float:
    """The largest distance between two players on any path."""
    return max(float(np.sqrt(np.sum((v - v[i]) ** 2, axis=1).max())) for i in range(len(v)))


def marks(paths: xr.Dataset, horizon: float) -> Float[np.ndarray, "players marks axes"]:
    """Mean positions at T/4, T/2 and 3T/4."""
    return _at_marks(paths["time"].values, paths["mean"].values, horizon)


def _at_marks(times: np.ndarray, positions: np.ndarray, horizon: float) -> Float[np.ndarray, "players marks axes"]:
    flat = positions.reshape(len(times), -1)
    wanted = horizon * np.asarray(MARKS)
    found = np.stack([np.interp(wanted, times, column) for column in flat.T], axis=1)
    return found.reshape(len(MARKS), *positions.shape[1:]).transpose(1, 0, 2)


def _as_centred(policy: Any) -> Centred:
    if not isinstance(policy, Centred):
        raise TypeError(f"expected centred gains, got {type(policy).__name__}")
    return policy
