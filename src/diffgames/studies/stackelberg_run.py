"""What the two Stackelberg studies do alike: numbers at t = 0, the result, figures of gains and means."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.stackelberg import BLOCKS, GAINS
from diffgames.plotting import COLOURS, band, label, legends, new_figure
from diffgames.solvers import LinearQuadraticSolution
from diffgames.studies.linear_quadratic_words import over_time, plain_block
from diffgames.studies.stackelberg_finite import finite_array, finite_figure, finite_headline
from diffgames.studies.stackelberg_parameters import StackelbergMatrices, checked_sizes, start_of
from diffgames.studies.study import StudyResult
from diffgames.verification.certificate import Certificate


def sizes_of(game: LinearQuadraticGame) -> tuple[tuple[int, int], tuple[int, int]]:
    """(k0, k) and (n0, n)."""
    blocks = dict(game.blocks)
    return (game.control_sizes[0], game.control_sizes[1]), (blocks["x0"], blocks["x1"])


def check_start(config: StackelbergMatrices, game: LinearQuadraticGame) -> None:
    """`InvalidInput` for a start or sizes of the finite game that do not fit, before anything is solved."""
    start_of(config, *sizes_of(game)[1])
    checked_sizes(config.finite_n)


def start_numbers(solution: LinearQuadraticSolution) -> dict[str, Any]:
    """The nine blocks and five gains at t = 0."""
    found = {key: plain_block(solution.matrix(*place)) for key, place in BLOCKS.items()}
    return found | {key: plain_block(solution.gain(*place)) for key, place in GAINS.items()}


def result(
    solution: LinearQuadraticSolution,
    time: np.ndarray,
    certificate: Certificate,
    finite: dict[str, np.ndarray],
    means: dict[str, np.ndarray],
    own: dict[str, Any],
    discrete: bool = False,
    **more: Any,
) -> StudyResult:
    """What a run has found: gains over time, means of theory and simulation, the finite game, and the study's `own`."""
    gains = gains_over_time(solution, np.arange(time.size))
    headline = start_numbers(solution) | finite_headline(finite) | own
    states, axis = {key: value for key, value in means.items() if key != "time"}, ("step",) if discrete else ()
    return StudyResult(
        headline=headline,
        certificate=certificate,
        arrays={
            "gains": over_time(gains, time, *axis),
            "means": over_time(states, means["time"], *axis),
            "finite_game": finite_array(finite),
        },
        profile=solution.profile,
        figures={
            "gains": lambda: gains_figure(gains, time, "steps" if discrete else ""),
            "means": lambda: means_figure(means),
            "finite_n_gap": lambda: finite_figure(finite, headline),
        },
        **more,
    )


def gains_figure(gains: dict[str, np.ndarray], time: np.ndarray, unit: str, note: str = "") -> Figure:
    """Gains over time, the leader's beside the followers'."""
    figure, axes = new_figure(columns=2)
    for ax, names, title in ((axes[0], ("K00", "K10"), "leader"), (axes[1], ("K0", "K1", "K2"), "follower")):
        for number, name in enumerate(names):
            series = gains[name].reshape(time.size, -1)
            for column in range(min(series.shape[1], 4)):
                text = name if column == 0 else None
                ax.plot(time, series[:, column], label=text, color=COLOURS[number])
        label(ax, x=("time", unit), y=("gain", ""), title=f"{title}{note}")
    legends(*axes)
    return figure


def means_figure(means: dict[str, np.ndarray]) -> Figure:
    """Means with bands of two standard deviations, simulation as dots on theory."""
    figure, axes = new_figure()
    ax, time = axes[0], means["time"]
    names = ("leader x0", "follower x1", "mean m")
    for number in range(3):
        column = int(np.flatnonzero(means["block"][0] == number)[0])
        centre, width = means["theory_mean"][:, column], 2 * means["theory_deviation"][:, column]
        ax.plot(time, centre, ("-", "-", "--")[number], color=COLOURS[number], label=names[number])
        band(ax, time, centre - width, centre + width, colour=COLOURS[number])
        every = slice(None, None, max(time.size // 24, 1))
        ax.plot(time[every], means["simulated_mean"][every, column], "o", color=COLOURS[number], markersize=3)
    label(ax, x=("time", ""), y=("state", ""), title="Theory (lines, ±2 sd), simulation (dots)")
    legends(ax)
    return figure


def gains_over_time(solution: LinearQuadraticSolution, keep: np.ndarray) -> dict[str, np.ndarray]:
    """The five gains at the kept times."""
    gains = np.asarray(solution.profile.gain.value)[keep]
    game = solution.game
    places = {key: (game.player_index(player), game.block(block)) for key, (player, block) in GAINS.items()}
    return {key: gains[:, 0, game.control_slices[p], block] for key, (p, block) in places.items()}
