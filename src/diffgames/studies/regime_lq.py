"""Robust control while an attacker and a stabilizer fight over the regimes: games in games, linear-quadratic layer.

Inside a regime a controller steers against a disturbance; over the regimes an attacker pushes into worse ones and a
stabilizer holds back, judged by the inner value (feedback reading; the committed reading's value stands beside it).
Matrices of `games.regimes`; with switching=exogenous the rates are the given ones and K only values them. The
certificate solves controller's and disturbance's own problems under the equilibrium's rates, attacker's and
stabilizer's under its gains.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.regimes import regime_game
from diffgames.games.switching_graph import gap_sensitivity, poincare_constant, spectral_gap
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.solvers.feedback import LinearFeedback, Track
from diffgames.solvers.regimes import (
    RegimeSolution,
    Switched,
    Switching,
    committed_game,
    solve_regimes,
    sweep_escape,
    switching_of,
)
from diffgames.studies.context import RunContext
from diffgames.studies.linear_quadratic_words import escaped, over_time, searched
from diffgames.studies.regime_simulation import EveryRegime, paths_figure, simulate_regimes
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.linear_response import matrix_gaps
from diffgames.verification.regime_response import Efforts, outer_gaps

Rows = tuple[tuple[float, ...], ...]
PerRegime = tuple[float | Rows, ...]
PerLaw = tuple[tuple[float | Rows, ...], ...]
Shifts = tuple[tuple[float | tuple[float, ...], ...], ...]
SEARCH = 10.0
MOST_COMMITTED = 4  # regimes; policies held for all time are 2^regimes a side


@dataclass(frozen=True, kw_only=True)
class RegimeConfig:
    """First index = regime; a number stands for a 1×1 matrix."""

    A: Annotated[PerRegime, Parameter(shape="regimes (× n × n)", unit="1/time", meaning="drift")] = (0.1, 0.2, 0.4)
    B: Annotated[PerRegime, Parameter(shape="regimes (× n × k)", meaning="controller's input")] = (1.0, 1.0, 1.0)
    D: Annotated[PerRegime, Parameter(shape="regimes (× n × d)", meaning="disturbance's input")] = (0.3, 0.4, 0.5)
    Q: Annotated[PerRegime, Parameter(shape="regimes (× n × n)", meaning="running weight of x'Qx")] = (1.0, 1.5, 3.0)
    R: Annotated[PerRegime, Parameter(shape="regimes (× k × k)", meaning="weight of u'Ru")] = (1.0, 1.0, 1.0)
    S: Annotated[PerRegime, Parameter(shape="regimes (× d × d)", meaning="weight of −w'Sw")] = (2.0, 2.0, 2.0)
    Q_T: Annotated[PerRegime, Parameter(shape="regimes (× n × n)", meaning="terminal weight")] = (1.0, 1.0, 1.0)
    noise: Annotated[PerRegime, Parameter(shape="regimes (× n × w)", unit="1/√time", meaning="loading Σ of dW")] = (
        0.2,
        0.3,
        0.5,
    )
    jump_rate: Annotated[
        Rows, Parameter(shape="regimes × laws", unit="1/time", meaning="intensities λ", minimum=0.0)
    ] = ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    jump_scale: Annotated[
        PerLaw, Parameter(shape="regimes × laws (× n × n)", meaning="E: x jumps by E x + e (compensated)")
    ] = ((0.0, 0.0), (0.22360679774997896, 0.0), (0.4472135954999579, 0.0))
    jump_shift: Annotated[Shifts, Parameter(shape="regimes × laws (× n)", meaning="e: x jumps by E x + e")] = (
        (0.0, 0.1),
        (0.0, 0.1414213562373095),
        (0.0, 0.22360679774997896),
    )
    generator: Annotated[
        Rows, Parameter(shape="regimes × regimes", unit="1/time", meaning="rates, negative row sums on the diagonal")
    ] = ((-0.5, 0.4, 0.1), (0.6, -0.9, 0.3), (0.2, 0.8, -1.0))
    attack: Annotated[
        Rows, Parameter(shape="regimes × regimes", unit="1/time", meaning="rates the attacker can add", minimum=0.0)
    ] = ((0.0, 0.5, 0.2), (0.0, 0.0, 0.5), (0.0, 0.0, 0.0))
    stabilize: Annotated[
        Rows, Parameter(shape="regimes × regimes", unit="1/time", meaning="rates the stabilizer can take", minimum=0.0)
    ] = ((0.0, 0.3, 0.05), (0.0, 0.0, 0.2), (0.0, 0.0, 0.0))
    T: Annotated[float, Parameter(unit="time", meaning="horizon", minimum=1e-9)] = 1.0
    paths: Annotated[int, Parameter(unit="paths", meaning="simulated paths", minimum=2)] = 16_384
    steps: Annotated[int, Parameter(unit="steps", meaning="time steps of a path", minimum=2)] = 400
    switching: Annotated[
        Literal["exogenous", "strategic"], Parameter(meaning="whether regimes switch by chance or are fought over")
    ] = "strategic"


def game_of(config: RegimeConfig, horizon: float | None = None) -> LinearQuadraticGame:
    """The inner game at the base rates."""
    names = ("A", "B", "D", "Q", "R", "S", "Q_T", "noise", "jump_rate", "jump_scale", "jump_shift", "generator")
    return regime_game(horizon=horizon or config.T, **{name: getattr(config, name) for name in names})


def switching_for(config: RegimeConfig) -> Switching:
    """Who moves the rates."""
    if config.switching == "exogenous":
        return switching_of(config.generator)
    return switching_of(config.generator, config.attack, config.stabilize)


def run(config: RegimeConfig, context: RunContext) -> StudyResult:
    """Solve both layers in one sweep, certify, describe the switching graph."""
    with jax.enable_x64(True):
        game, switching = game_of(config), switching_for(config)
        context.progress.update("solving", 0.0)
        escape, unsearched = searched(partial(sweep_escape, game, switching), config.T, SEARCH * config.T)
        if escape is not None and escape <= config.T:
            return _failed(config, switching, escape)
        solution = solve_regimes(game, switching)
        profile = {
            "gain": solution.inner.profile.gain.value,
            "slope": solution.inner.profile.gain.slope,
            "time": solution.inner.time,
            "rates": solution.rates,
            "attack_effort": solution.attack_effort,
            "stabilize_effort": solution.stabilize_effort,
        }
        certificate = verify(config, profile, context)
        committed = _committed(config, game, switching, solution)
        context.progress.update("simulating", 0.8)
        seen = simulate_regimes(*stored_play(game, profile), context.key, paths=config.paths, steps=config.steps)
    inner, outer = np.asarray(solution.inner.values)[:, 0], np.asarray(solution.outer.value)
    first = np.asarray(solution.rates)[0]
    n = inner.shape[-1] - 1
    return StudyResult(
        warnings=unsearched,
        headline={
            "P0": _short(inner[0, :, :n, :n]),
            "K0": _short(outer[0, :, :n, :n]),
            "r0": inner[0, :, n, n].tolist(),
            "k0": outer[0, :, n, n].tolist(),
            "attack_effort": np.asarray(solution.attack_effort)[0].tolist(),
            "stabilize_effort": np.asarray(solution.stabilize_effort)[0].tolist(),
            "spectral_gap": spectral_gap(first),
            "poincare": poincare_constant(first),
            "gap_sensitivity": gap_sensitivity(first).tolist(),
            **committed,
            "simulated_cost": float(seen["cost"][0]),
            "simulated_cost_error": float(seen["cost"][1]),
            "escape_time": escape,
        },
        certificate=certificate,
        arrays={
            "values": over_time({"S": inner, "K": outer, "rates": np.asarray(solution.rates)}, solution.inner.time),
            "paths": over_time({key: seen[key] for key in seen if key not in ("time", "cost")}, seen["time"]),
        },
        profile={key: np.asarray(value) for key, value in profile.items()},
        figures={
            "values": lambda: values_figure(solution),
            "gains": lambda: gains_figure(solution),
            "paths": lambda: paths_figure(seen),
        },
    )


def verify(config: RegimeConfig, profile: Any, context: RunContext) -> Certificate:
    """Exact gaps of all four players from z = (1, …, 1) in every regime alike (two, where regimes switch by chance).

    Controller and disturbance are held to the stored rates, attacker and stabilizer to the stored gains.
    """
    with jax.enable_x64(True):
        game = game_of(config)
        played, feedback = stored_play(game, profile)
        second = EveryRegime(game.size - 1, game.regime_count).second
        certificate = matrix_gaps(played, feedback, second)
        if config.switching == "exogenous":
            return certificate
        efforts = (Switched(_held(profile, name)) for name in ("attack_effort", "stabilize_effort"))
        outer = outer_gaps(game, switching_for(config), feedback.gain, Efforts(*efforts), second)
        return dataclasses.replace(certificate, entries=(*certificate.entries, *outer))


def stored_play(game: LinearQuadraticGame, profile: Any) -> tuple[LinearQuadraticGame, LinearFeedback]:
    """The game at the stored rates, and the stored gains as its profile."""
    gain, slope = (jnp.asarray(profile[name], jnp.float64) for name in ("gain", "slope"))
    time = jnp.asarray(profile["time"], jnp.float64)
    names = ("drift", "players", "horizon", "diffusion", "jump_scale", "jump_rate", "tiers", "blocks")
    rates = Switched(_held(profile, "rates"))
    played = LinearQuadraticGame(**{name: getattr(game, name) for name in names}, generator=rates)
    total = gain.shape[2]
    still = jnp.broadcast_to(jnp.eye(total), (*gain.shape[:2], total, total))
    feedback = LinearFeedback(
        gain=Track(time, gain, slope),
        crowd_gain=Track(time, 0 * gain, 0 * gain),
        reaction=Track(time, still, 0 * still),
        crowd_reaction=Track(time, 0 * still, 0 * still),
        sizes=game.control_sizes,
    )
    return played, feedback


def _held(profile: Any, name: str) -> Track:
    """A stored series over time, as what is held between its times."""
    value = jnp.asarray(profile[name], jnp.float64)
    return Track(jnp.asarray(profile["time"], jnp.float64), value, jnp.zeros_like(value))


def _committed(
    config: RegimeConfig, game: LinearQuadraticGame, switching: Switching, solution: RegimeSolution
) -> dict[str, Any]:
    """The outer value from x = (1, …, 1), regime 0, in both readings."""
    if config.switching == "exogenous" or game.regime_count > MOST_COMMITTED:
        return {"outer_value": None, "committed_value": None}
    both = committed_game(game, switching, jnp.ones(game.size - 1), regime=0)
    bounds = [float(both["lower"]), float(both["upper"])]
    return {"outer_value": float(jnp.sum(solution.outer(0.0)[0])), "committed_value": bounds}


def values_figure(solution: RegimeSolution) -> Figure:
    """Inner P and outer K of every regime over time (first state)."""
    figure, axes = new_figure(columns=2)
    pairs = ((np.asarray(solution.inner.values)[:, 0], "inner P"), (np.asarray(solution.outer.value), "outer K"))
    for ax, (values, name) in zip(axes, pairs, strict=True):
        for regime in range(min(values.shape[1], len(COLOURS))):
            ax.plot(solution.inner.time, values[:, regime, 0, 0], color=COLOURS[regime], label=f"regime {regime}")
        label(ax, x=("time", ""), y=(name, "x'Px, no ½"), title=name)
    legends(*axes)
    return figure


def gains_figure(solution: RegimeSolution) -> Figure:
    """Feedback of controller and disturbance, and the efforts of attacker and stabilizer."""
    figure, axes = new_figure(columns=3)
    gains = np.asarray(solution.inner.profile.gain.value)
    k = solution.inner.game.control_sizes[0]
    for regime in range(min(gains.shape[1], len(COLOURS))):
        colour = COLOURS[regime]
        axes[0].plot(solution.inner.time, gains[:, regime, 0, 0], color=colour, label=f"u, regime {regime}")
        axes[0].plot(solution.inner.time, gains[:, regime, k, 0], "--", color=colour, label=f"w, regime {regime}")
        wide = 1.2 + 1.6 * (min(gains.shape[1], len(COLOURS)) - 1 - regime)  # equal efforts show as rims of one another
        for ax, effort in zip(axes[1:], (solution.attack_effort, solution.stabilize_effort), strict=True):
            series = np.asarray(effort)[:-1, regime]  # at T nothing is at stake, and no effort is drawn
            time = solution.inner.time[:-1]
            ax.step(time, series, where="post", color=colour, lw=wide, label=f"regime {regime}")
    label(axes[0], x=("time", ""), y=("gain on x", ""), title="Controller and disturbance")
    label(axes[1], x=("time", ""), y=("effort f", ""), title="Attacker")
    label(axes[2], x=("time", ""), y=("effort g", ""), title="Stabilizer")
    legends(*axes)
    return figure


def _failed(config: RegimeConfig, switching: Switching, escape: float) -> StudyResult:
    solution = solve_regimes(game_of(config, 0.999 * escape), switching, throw=False)
    time = np.asarray(solution.inner.time)
    values = np.asarray(solution.inner.values)[:, 0]

    def figure() -> Figure:
        drawn, axes = new_figure()
        for regime in range(min(values.shape[1], len(COLOURS))):
            axes[0].semilogy(
                time[-1] - time,
                np.abs(values[:, regime, 0, 0]) + 1e-12,
                color=COLOURS[regime],
                label=f"regime {regime}",
            )
        axes[0].axvline(escape, color="black", linestyle="--", label=f"escape {escape:.4g}")
        label(axes[0], x=("time to go", ""), y=("|P|", ""), title="The inner values escape")
        legends(axes[0])
        return drawn

    return escaped(
        escape,
        config.T,
        arrays={"values": over_time({"S": values}, time[-1] - time, "to_go")},
        figures={"escape": figure},
    )


def _short(values: np.ndarray) -> list:
    return values.reshape(-1).tolist() if values[0].size == 1 else values.tolist()


def memory(config: RegimeConfig) -> dict[str, float]:
    """Costs of every path, and the moments of every step."""
    return {"paths": 8.0 * 6 * config.paths, "steps": 8.0 * 6 * len(config.A) * config.steps}


STUDY = Study(
    name="regime-lq",
    source="Pan & Zhu 2025 (arXiv 2512.18098), linear-quadratic layer, its formulas corrected and with jumps",
    shows="robust control under regimes that are fought over: inner and outer Riccati equations, who pushes where",
    config=RegimeConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {}},
    minutes={"quick": 1, "paper": 1},
    headline={
        "P0": Headline(shape="regimes (× n × n)", meaning="inner P at t = 0", normalisation="x'Px (no ½)"),
        "K0": Headline(shape="regimes (× n × n)", meaning="outer K at t = 0", normalisation="x'Kx (no ½)"),
        "r0": Headline(shape="regimes", unit="cost", meaning="constant of the inner value at t = 0"),
        "k0": Headline(shape="regimes", unit="cost × time", meaning="constant of the outer value at t = 0"),
        "attack_effort": Headline(shape="regimes", meaning="attacker's effort f* at t = 0"),
        "stabilize_effort": Headline(shape="regimes", meaning="stabilizer's effort g* at t = 0"),
        "spectral_gap": Headline(unit="1/time", meaning="λ₂ of the rates played at t = 0"),
        "poincare": Headline(
            unit="1/time", meaning="Poincaré constant of the same; null where a regime has no weight", optional=True
        ),
        "gap_sensitivity": Headline(
            shape="regimes × regimes", meaning="∂λ₂/∂μ_ij of the same: what a little more switching i → j does to it"
        ),
        "outer_value": Headline(
            unit="cost × time",
            meaning="outer value from x = (1, …, 1) in regime 0, feedback reading; null where switching is exogenous",
            optional=True,
        ),
        "committed_value": Headline(
            shape="2",
            unit="cost × time",
            meaning="the same where efforts are held for all time: max–min and min–max over such policies",
            optional=True,
        ),
        "simulated_cost": Headline(
            unit="cost", meaning="inner cost of simulated paths from x = (1, …, 1), every regime alike"
        ),
        "simulated_cost_error": Headline(unit="cost", meaning="its standard error"),
        "escape_time": Headline(
            unit="time",
            meaning="first time-to-go at which P escapes, searched up to 10 T; null: none",
            optional=True,
        ),
    },
    example="diffgames run regime-lq --set switching=exogenous T=2",
    published="no numbers that are at hand (abstract and notes of the paper only)",
    figures={
        "values": "the worse the regime, the larger the value, inside and outside",
        "gains": "the controller counters harder in worse regimes; efforts switch between nothing and all",
        "paths": "simulated paths, with the band of theory",
    },
)
