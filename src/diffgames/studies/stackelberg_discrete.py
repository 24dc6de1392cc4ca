"""A leader and its crowd in discrete time: the recursion that the slides leave out, with its finite game.

x⁺ = A x + …, discount factor α a step. Leading is worth something here even without the cross cost R2: the followers'
reaction to the leader's control, H_u, passes through the next state. The certificate solves each player's one-player
problem in the limit game from the game's matrices, as does the comparison with N followers.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.stackelberg import stackelberg_game
from diffgames.solvers import LinearQuadraticSolution, solve
from diffgames.studies import stackelberg_run as parts
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.linear_quadratic_figures import theory_and_dots
from diffgames.studies.linear_quadratic_words import plain_block
from diffgames.studies.stackelberg_finite import FINITE_HEADLINE, finite_game
from diffgames.studies.stackelberg_parameters import HEADLINE, StackelbergMatrices, start_of
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate


@dataclass(frozen=True, kw_only=True)
class StackelbergDiscreteConfig(StackelbergMatrices):
    """The game in discrete time."""

    T: Annotated[int, Parameter("horizon", "steps", minimum=1)] = 10
    alpha: Annotated[float, Parameter("discount factor α a step", minimum=1e-6, maximum=1.0)] = 0.9
    paths: Annotated[int, Parameter("simulated paths of the limit game", "paths", minimum=2)] = 4096


def game_of(config: StackelbergDiscreteConfig) -> LinearQuadraticGame:
    """The limit game."""
    return stackelberg_game(horizon=config.T, discount=-math.log(config.alpha), discrete=True, **config.matrices())


def run(config: StackelbergDiscreteConfig, context: RunContext) -> StudyResult:
    """Solve, certify, compare with N followers."""
    with jax.enable_x64(True):
        game = game_of(config)
        parts.check_start(config, game)
        context.progress.update("solving", 0.0)
        solution = solve(game)
        context.log(repr(solution))
        certificate = verify(config, solution.profile, context)
        context.progress.update("finite game", 0.5)
        finite = finite_game(
            config,
            solution,
            context,
            paths=config.paths,
            steps=config.T,
            horizon=config.T,
            discount=-math.log(config.alpha),
            discrete=True,
        )
        means = _means(config, solution, context)
    (k0, _), _ = parts.sizes_of(solution.game)
    reaction = np.asarray(solution.profile.reaction(0.0))[0][solution.game.control_slices[1], :k0]
    found = {"H_u": plain_block(reaction), "escape_time": None}
    time = np.asarray(solution.profile.gain.time)
    return parts.result(solution, time, certificate, finite, means, found, discrete=True)


def verify(config: StackelbergDiscreteConfig, profile: Any, context: RunContext) -> Certificate:
    """The certificate of the stored profile."""
    with jax.enable_x64(True):
        return parts.certified(config, game_of(config), profile)


def _means(config: StackelbergDiscreteConfig, solution: LinearQuadraticSolution, context: RunContext) -> xr.Dataset:
    """Theory and simulation of (x0, x1, m)."""
    game = solution.game
    _, (n0, n) = parts.sizes_of(game)
    leader, follower = start_of(config, n0, n)
    mean = np.concatenate([leader, follower, follower, [1.0]])
    spread = np.zeros((mean.size,) * 2)
    spread[n0 : n0 + n, n0 : n0 + n] = config.spread**2 * np.eye(n)
    time = np.arange(config.T + 1, dtype=float)
    theory = _flow(solution, mean, spread)
    rng = np.random.default_rng(context.seed)
    state = np.repeat(mean[None], config.paths, axis=0)
    state[:, n0 : n0 + n] += config.spread * rng.normal(size=(config.paths, n))
    c = game.coefficients(0.0)
    noise = np.asarray(c.diffusion[0])[:, :, -1]
    kept = [state]
    for t in range(config.T):
        closed = c.drift[0] + c.input[0] @ solution.profile.gain(float(t))[0]
        closed = closed + c.crowd_input[0] @ solution.profile.crowd_gain(float(t))[0]
        state = state @ np.asarray(closed).T + rng.normal(size=(config.paths, noise.shape[0])) @ noise
        kept.append(state)
    paths = np.asarray(kept)[:, :, :-1]
    deviation = np.sqrt(np.maximum(np.einsum("taa->ta", theory["covariance"]), 0.0))
    means = theory["mean"][:, :-1], deviation[:, :-1]
    return parts.means_of(game, time, means, (paths.mean(axis=1), paths.std(axis=1)))


def _flow(solution: LinearQuadraticSolution, mean: np.ndarray, spread: np.ndarray) -> dict[str, np.ndarray]:
    """Means and covariances of z after every step."""
    c, play = solution.game.coefficients(0.0), solution.profile
    noise = np.asarray(c.diffusion[0])[:, :, -1]
    drift, own, crowd = (np.asarray(part[0]) for part in (c.drift, c.input, c.crowd_input))
    gains = zip(np.asarray(play.gain.value)[:, 0], np.asarray(play.crowd_gain.value)[:, 0], strict=True)
    means, spreads = [mean], [spread]
    for gain, crowd_gain in gains:
        step = drift + own @ gain + crowd @ crowd_gain
        means.append(step @ means[-1])
        spreads.append(step @ spreads[-1] @ step.T + noise.T @ noise)
    return {"mean": np.asarray(means), "covariance": np.asarray(spreads)}


def memory(config: StackelbergDiscreteConfig) -> dict[str, float]:
    """Costs of every path, and both players' values of every step."""
    return {"paths": 8.0 * 4 * config.paths, "T": 8.0 * 2 * 16 * config.T}


STUDY = Study(
    name="stackelberg-discrete",
    source="after Huang & Yang 2020, mean field Stackelberg games (slides), discrete time derived anew",
    shows="the same leader and crowd in discrete time, where leading works through the next state as well",
    config=StackelbergDiscreteConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"paths": 65_536, "T": 40}},
    minutes={"quick": 0.5, "paper": 1},
    headline=HEADLINE
    | FINITE_HEADLINE
    | {
        "H_u": Headline("followers' reaction to the leader's control at t = 0", shape="scalar or matrix"),
        "escape_time": Headline("null: a recursion has no finite escape time", "steps", optional=True),
    },
    example="diffgames run stackelberg-discrete --set alpha=0.95 T=20",
    published="the discrete model and its claims in words, no equations and no numbers",
    figures={
        "gains": Drawing(
            "gains by step: leading is worth something even without a cross cost", "gains", *parts.GAINS_PANELS
        ),
        "means": Drawing("dots (simulation) lie on lines (theory)", "means", theory_and_dots),
        "finite_n_gap": "what a deviation gains among N followers falls to zero on the dashed line",
    },
)
