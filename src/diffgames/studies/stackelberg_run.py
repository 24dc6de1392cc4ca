"""What the two Stackelberg studies do alike: numbers at t = 0, the certificate, the result, panels of gains."""

from typing import Any

import numpy as np
import xarray as xr

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.stackelberg import BLOCKS, GAINS
from diffgames.solvers import LinearQuadraticSolution
from diffgames.studies.drawing import lines
from diffgames.studies.linear_quadratic_figures import theory_and_simulation
from diffgames.studies.linear_quadratic_words import over_time, plain_block
from diffgames.studies.stackelberg_finite import finite_array, finite_figure, finite_headline
from diffgames.studies.stackelberg_parameters import StackelbergMatrices, checked_sizes, second_moment, start_of
from diffgames.studies.study import StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.linear_response import matrix_gaps

GAINS_PANELS = (lines("K00", "K10", y="gain", title="leader"), lines("K0", "K1", "K2", y="gain", title="follower"))
"""Gains over time, the leader's beside the followers'."""


def sizes_of(game: LinearQuadraticGame) -> tuple[tuple[int, int], tuple[int, int]]:
    """(k0, k) and (n0, n)."""
    blocks = dict(game.blocks)
    return (game.control_sizes[0], game.control_sizes[1]), (blocks["x0"], blocks["x1"])


def check_start(config: StackelbergMatrices, game: LinearQuadraticGame) -> None:
    """`InvalidInput` for a start or sizes of the finite game that do not fit, before anything is solved."""
    start_of(config, *sizes_of(game)[1])
    checked_sizes(config.finite_n)


def certified(config: StackelbergMatrices, game: LinearQuadraticGame, profile: Any) -> Certificate:
    """Exact gaps of a profile of the limit game, from the law at the start."""
    return matrix_gaps(game, profile, second_moment(config, *sizes_of(game)[1]))


def start_numbers(solution: LinearQuadraticSolution) -> dict[str, Any]:
    """The nine blocks and five gains at t = 0."""
    found = {key: plain_block(solution.matrix(*place)) for key, place in BLOCKS.items()}
    return found | {key: plain_block(solution.gain(*place)) for key, place in GAINS.items()}


def result(
    solution: LinearQuadraticSolution,
    time: np.ndarray,
    certificate: Certificate,
    finite: dict[str, np.ndarray],
    means: xr.Dataset,
    own: dict[str, Any],
    discrete: bool = False,
    **more: Any,
) -> StudyResult:
    """What a run has found: gains over time, means of theory and simulation, the finite game, and the study's `own`."""
    gains = gains_over_time(solution, np.arange(time.size))
    headline = start_numbers(solution) | finite_headline(finite) | own
    return StudyResult(
        headline=headline,
        certificate=certificate,
        arrays={
            "gains": over_time(gains, time, *(("step",) if discrete else ())),
            "means": means,
            "finite_game": finite_array(finite),
        },
        profile=solution.profile,
        figures={"finite_n_gap": lambda: finite_figure(finite, headline)},
        **more,
    )


def means_of(
    game: LinearQuadraticGame, time: np.ndarray, theory: tuple[Any, Any], simulated: tuple[Any, Any]
) -> xr.Dataset:
    """Means and standard deviations of (x0, x1, m) at the same times, by theory and by simulation."""
    _, (n0, n) = sizes_of(game)
    blocks = (("leader x0", n0), ("follower x1", n), ("mean m", n))
    states = [name + (f", {k + 1}" if size > 1 else "") for name, size in blocks for k in range(size)]
    return theory_and_simulation(states, (time, *theory), (time, *simulated))


def gains_over_time(solution: LinearQuadraticSolution, keep: np.ndarray) -> dict[str, np.ndarray]:
    """The five gains at the kept times."""
    gains = np.asarray(solution.profile.gain.value)[keep]
    game = solution.game
    places = {key: (game.player_index(player), game.block(block)) for key, (player, block) in GAINS.items()}
    return {key: gains[:, 0, game.control_slices[p], block] for key, (p, block) in places.items()}
