"""A leader and its crowd: the mean-field Stackelberg game of Huang & Yang in continuous time, any dimension.

The nine Riccati blocks and five gains of the slides are blocks of the engine's values (two typographical errors of the
slides do not enter; with them K10 changes its sign). Beyond the slides: the finite escape time where there is one, time
consistency by solving again from a later time, and the finite game: what the leader and a follower gain by deviating
when all play the limit's strategies among N followers, exactly, against N. The certificate solves each player's
one-player problem in the limit game, reactions of the crowd included, from the game's matrices.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from diffgames.games.differential import GaussianLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.stackelberg import stackelberg_game
from diffgames.simulation import simulate
from diffgames.simulation.moments import closed_loop, mean_and_covariance, second_moments
from diffgames.solvers import LinearQuadraticSolution, escape_time, solve
from diffgames.studies import stackelberg_run as parts
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.linear_quadratic_figures import theory_and_dots
from diffgames.studies.linear_quadratic_words import escaped, over_time, searched
from diffgames.studies.stackelberg_finite import FINITE_HEADLINE, finite_game
from diffgames.studies.stackelberg_parameters import HEADLINE, StackelbergMatrices, start_of
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

SEARCH = 10.0


@dataclass(frozen=True, kw_only=True)
class StackelbergConfig(StackelbergMatrices):
    """The game in continuous time."""

    T: Annotated[float, Parameter("horizon", "time", minimum=1e-9)] = 12.0
    rho: Annotated[float, Parameter("discount rate ρ", "1/time", minimum=0.0)] = 0.1
    paths: Annotated[int, Parameter("simulated paths of the limit game", "paths", minimum=2)] = 4096
    steps: Annotated[int, Parameter("time steps of a path", "steps", minimum=2)] = 240


def game_of(config: StackelbergConfig, horizon: float | None = None) -> LinearQuadraticGame:
    """The limit game."""
    return stackelberg_game(horizon=horizon or config.T, discount=config.rho, **config.matrices())


def run(config: StackelbergConfig, context: RunContext) -> StudyResult:
    """Solve, look for an escape up to ten horizons, certify, compare with N followers."""
    with jax.enable_x64(True):
        game = game_of(config)
        parts.check_start(config, game)
        context.progress.update("solving", 0.0)
        escape, unsearched = searched(partial(escape_time, game), config.T, SEARCH * config.T)
        if escape is not None and escape <= config.T:
            return _failed(config, game, escape)
        solution = solve(game)
        context.log(repr(solution))
        context.progress.update("certifying", 0.3)
        certificate = verify(config, solution.profile, context)
        context.progress.update("finite game", 0.5)
        finite = finite_game(
            config,
            solution,
            context,
            paths=config.paths,
            steps=config.steps,
            horizon=config.T,
            discount=config.rho,
        )
        context.progress.update("simulating", 0.8)
        means = _means(config, solution, context)
        restart = _restart(config, solution)
        context.log(f"time consistency: gains solved again from T/2 differ by {restart:.2e}")
    found = {"escape_time": escape, "restart_error": restart}
    return parts.result(solution, np.asarray(solution.time), certificate, finite, means, found, warnings=unsearched)


def verify(config: StackelbergConfig, profile: Any, context: RunContext) -> Certificate:
    """The certificate of the stored profile."""
    with jax.enable_x64(True):
        return parts.certified(config, game_of(config), profile)


def _restart(config: StackelbergConfig, solution: LinearQuadraticSolution) -> float:
    """Largest difference of the gains at T/2 and of those of the game that starts there."""
    again = solve(game_of(config, config.T / 2))
    return float(jnp.max(jnp.abs(again.profile.gain(0.0) - solution.profile.gain(config.T / 2))))


def _means(config: StackelbergConfig, solution: LinearQuadraticSolution, context: RunContext) -> xr.Dataset:
    """Theory and simulation of (x0, x1, m), means and standard deviations."""
    game = solution.game
    _, (n0, n) = parts.sizes_of(game)
    leader, follower = start_of(config, n0, n)
    mean = np.concatenate([leader, follower, follower])
    factor = np.zeros((mean.size, n))
    factor[n0 : n0 + n] = config.spread * np.eye(n)
    law = GaussianLaw(jnp.asarray(mean), jnp.asarray(factor))
    paths = simulate(
        game.as_differential(law), solution.profile, context.key, paths=config.paths, steps=config.steps, keep=0
    )
    time = np.asarray(paths.time)
    z = np.append(mean, 1.0)
    start = np.outer(z, z)
    start[: mean.size, : mean.size] += factor @ factor.T
    moments = second_moments(closed_loop(game, solution.profile), jnp.asarray(start)[None], jnp.asarray(time))
    theory_mean, covariance = map(np.asarray, mean_and_covariance(moments))
    theory = theory_mean, np.sqrt(np.maximum(np.einsum("taa->ta", covariance), 0.0))
    return parts.means_of(game, time, theory, (np.asarray(paths.mean), np.asarray(paths.deviation)))


def _failed(config: StackelbergConfig, game: LinearQuadraticGame, escape: float) -> StudyResult:
    """The run past its escape time: gains up to shortly before it."""
    rest = solve(game_of(config, 0.999 * escape))
    time = np.asarray(rest.time)
    gains = parts.gains_over_time(rest, np.arange(time.size))
    shown = time + config.T - 0.999 * escape
    return escaped(escape, config.T, arrays={"gains": over_time(gains, shown)})


def memory(config: StackelbergConfig) -> dict[str, float]:
    """Costs of every path, and the moments of every step."""
    return {"paths": 8.0 * 4 * config.paths, "steps": 8.0 * 8 * config.steps}


STUDY = Study(
    name="stackelberg",
    source="Huang & Yang 2020, mean field Stackelberg games (slides), two misprints corrected",
    shows="a leader that moves a crowd and is answered by it: exact feedback, and what it is worth among N followers",
    config=StackelbergConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"paths": 65_536, "steps": 1200}},
    minutes={"quick": 2, "paper": 4},
    headline=HEADLINE
    | FINITE_HEADLINE
    | {
        "escape_time": Headline(
            "first time-to-go at which the values escape, searched up to 10 T; null where there is none",
            "time",
            optional=True,
        ),
        "restart_error": Headline("largest difference of gains when the game is solved again from T/2"),
    },
    example="diffgames run stackelberg --set T=4 R2=0.3 finite_n=[5,50,500]",
    published=(
        "equations and parameters, and its figures without numbers; the values here are those of the "
        "corrected equations"
    ),
    figures={
        "gains": Drawing(
            "the leader's and the follower's gains settle away from T: feedback, the same whenever the game "
            "is solved again",
            "gains",
            *parts.GAINS_PANELS,
        ),
        "means": Drawing(
            "dots (simulation) lie on lines (theory): the crowd follows its leader", "means", theory_and_dots
        ),
        "finite_n_gap": "what a deviation gains among N followers falls to zero on the dashed line",
    },
)
