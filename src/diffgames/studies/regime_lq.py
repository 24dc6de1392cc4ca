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
import xarray as xr
from matplotlib.axes import Axes

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.regimes import regime_game
from diffgames.games.switching_graph import gap_sensitivity, poincare_constant, spectral_gap
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.simulation.regimes import EveryRegime, simulate_regimes
from diffgames.solvers.regimes import (
    Switching,
    as_played,
    committed_game,
    held,
    solve_regimes,
    sweep_escape,
    switching_of,
)
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, Panel, lines
from diffgames.studies.linear_quadratic_figures import escaping, theory_and_dots, theory_and_simulation
from diffgames.studies.linear_quadratic_words import escaped, numbers_by, searched
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

    A: Annotated[PerRegime, Parameter("drift", "1/time", shape="regimes (× n × n)")] = (0.1, 0.2, 0.4)
    B: Annotated[PerRegime, Parameter("controller's input", shape="regimes (× n × k)")] = (1.0, 1.0, 1.0)
    D: Annotated[PerRegime, Parameter("disturbance's input", shape="regimes (× n × d)")] = (0.3, 0.4, 0.5)
    Q: Annotated[PerRegime, Parameter("running weight of x'Qx", shape="regimes (× n × n)")] = (1.0, 1.5, 3.0)
    R: Annotated[PerRegime, Parameter("weight of u'Ru", shape="regimes (× k × k)")] = (1.0, 1.0, 1.0)
    S: Annotated[PerRegime, Parameter("weight of −w'Sw", shape="regimes (× d × d)")] = (2.0, 2.0, 2.0)
    Q_T: Annotated[PerRegime, Parameter("terminal weight", shape="regimes (× n × n)")] = (1.0, 1.0, 1.0)
    noise: Annotated[PerRegime, Parameter("loading Σ of dW", "1/√time", shape="regimes (× n × w)")] = (0.2, 0.3, 0.5)
    jump_rate: Annotated[Rows, Parameter("intensities λ", "1/time", shape="regimes × laws", minimum=0.0)] = (
        (1.0, 1.0),
        (1.0, 1.0),
        (1.0, 1.0),
    )
    jump_scale: Annotated[
        PerLaw, Parameter("E: x jumps by E x + e (compensated)", shape="regimes × laws (× n × n)")
    ] = ((0.0, 0.0), (0.22360679774997896, 0.0), (0.4472135954999579, 0.0))
    jump_shift: Annotated[Shifts, Parameter("e: x jumps by E x + e", shape="regimes × laws (× n)")] = (
        (0.0, 0.1),
        (0.0, 0.1414213562373095),
        (0.0, 0.22360679774997896),
    )
    generator: Annotated[
        Rows, Parameter("rates, negative row sums on the diagonal", "1/time", shape="regimes × regimes")
    ] = ((-0.5, 0.4, 0.1), (0.6, -0.9, 0.3), (0.2, 0.8, -1.0))
    attack: Annotated[
        Rows, Parameter("rates the attacker can add", "1/time", shape="regimes × regimes", minimum=0.0)
    ] = ((0.0, 0.5, 0.2), (0.0, 0.0, 0.5), (0.0, 0.0, 0.0))
    stabilize: Annotated[
        Rows, Parameter("rates the stabilizer can take", "1/time", shape="regimes × regimes", minimum=0.0)
    ] = ((0.0, 0.3, 0.05), (0.0, 0.0, 0.2), (0.0, 0.0, 0.0))
    T: Annotated[float, Parameter("horizon", "time", minimum=1e-9)] = 1.0
    paths: Annotated[int, Parameter("simulated paths", "paths", minimum=2)] = 16_384
    steps: Annotated[int, Parameter("time steps of a path", "steps", minimum=2)] = 400
    switching: Annotated[
        Literal["exogenous", "strategic"], Parameter("whether regimes switch by chance or are fought over")
    ] = "strategic"


@dataclass(frozen=True, kw_only=True)
class RegimeHeadline:
    """Both layers and the switching graph at t = 0, and what is simulated."""

    P0: Annotated[list, Headline("inner P at t = 0", shape="regimes (× n × n)", normalisation="x'Px (no ½)")]
    K0: Annotated[list, Headline("outer K at t = 0", shape="regimes (× n × n)", normalisation="x'Kx (no ½)")]
    r0: Annotated[Any, Headline("constant of the inner value at t = 0", "cost", shape="regimes")]
    k0: Annotated[Any, Headline("constant of the outer value at t = 0", "cost × time", shape="regimes")]
    attack_effort: Annotated[Any, Headline("attacker's effort f* at t = 0", shape="regimes")]
    stabilize_effort: Annotated[Any, Headline("stabilizer's effort g* at t = 0", shape="regimes")]
    spectral_gap: Annotated[float, Headline("λ₂ of the rates played at t = 0", "1/time")]
    poincare: Annotated[
        float | None,
        Headline("Poincaré constant of the same; null where a regime has no weight", "1/time", optional=True),
    ]
    gap_sensitivity: Annotated[
        Any, Headline("∂λ₂/∂μ_ij of the same: what a little more switching i → j does to it", shape="regimes × regimes")
    ]
    outer_value: Annotated[
        float | None,
        Headline(
            "outer value from x = (1, …, 1) in regime 0, feedback reading; null where switching is exogenous",
            "cost × time",
            optional=True,
        ),
    ]
    committed_value: Annotated[
        list | None,
        Headline(
            "the same where efforts are held for all time: max–min and min–max over such policies",
            "cost × time",
            shape="2",
            optional=True,
        ),
    ]
    simulated_cost: Annotated[
        float, Headline("inner cost of simulated paths from x = (1, …, 1), every regime alike", "cost")
    ]
    simulated_cost_error: Annotated[float, Headline("its standard error", "cost")]
    escape_time: Annotated[
        float | None,
        Headline("first time-to-go at which P escapes, searched up to 10 T; null: none", "time", optional=True),
    ]


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
            return escaped(escape, config.T, arrays={"escape": _escaping(config, switching, escape)})
        solution = solve_regimes(game, switching)
        profile = {name: np.asarray(value) for name, value in solution.stored().items()}
        certificate = verify(config, profile, context)
        value, bounds = None, None
        if config.switching == "strategic" and game.regime_count <= MOST_COMMITTED:
            both = committed_game(game, switching, jnp.ones(game.size - 1), regime=0)
            value, bounds = float(jnp.sum(solution.outer(0.0)[0])), [float(both["lower"]), float(both["upper"])]
        context.progress.update("simulating", 0.8)
        seen = simulate_regimes(*as_played(game, profile), context.key, paths=config.paths, steps=config.steps)
    inner, outer, rates = np.asarray(solution.inner.values)[:, 0], np.asarray(solution.outer.value), profile["rates"][0]
    n = inner.shape[-1] - 1
    headline = RegimeHeadline(
        P0=numbers_by(inner[0, :, :n, :n]),
        K0=numbers_by(outer[0, :, :n, :n]),
        r0=inner[0, :, n, n],
        k0=outer[0, :, n, n],
        attack_effort=profile["attack_effort"][0],
        stabilize_effort=profile["stabilize_effort"][0],
        spectral_gap=spectral_gap(rates),
        poincare=poincare_constant(rates),
        gap_sensitivity=gap_sensitivity(rates),
        outer_value=value,
        committed_value=bounds,
        simulated_cost=float(seen["cost"][0]),
        simulated_cost_error=float(seen["cost"][1]),
        escape_time=escape,
    )
    arrays = {"values": _values(inner, outer, profile, game.control_sizes[0]), "paths": _paths(seen)}
    return StudyResult(headline, certificate, warnings=unsearched, arrays=arrays, profile=profile)


def verify(config: RegimeConfig, profile: Any, context: RunContext) -> Certificate:
    """Exact gaps of all four players from z = (1, …, 1) in every regime alike (two, where regimes switch by chance).

    Controller and disturbance are held to the stored rates, attacker and stabilizer to the stored gains.
    """
    with jax.enable_x64(True):
        game = game_of(config)
        played, feedback = as_played(game, profile)
        second = EveryRegime(game.size - 1, game.regime_count).second
        certificate = matrix_gaps(played, feedback, second)
        if config.switching == "exogenous":
            return certificate
        efforts = Efforts(held(profile, "attack_effort"), held(profile, "stabilize_effort"))
        outer = outer_gaps(game, switching_for(config), feedback.gain, efforts, second)
        return dataclasses.replace(certificate, entries=(*certificate.entries, *outer))


def _values(inner: np.ndarray, outer: np.ndarray, profile: dict[str, np.ndarray], controls: int) -> xr.Dataset:
    """Values, rates, gains and efforts over time."""
    axes, unit = ("time", "regime"), {"units": "x'Px, no ½"}
    gains = {
        "controller": ("u", profile["gain"][:, :, :controls]),
        "disturbance": ("w", profile["gain"][:, :, controls:]),
    }
    return xr.Dataset(
        {
            "S": ((*axes, "z", "other z"), inner, {"long_name": "inner P", **unit}),
            "K": ((*axes, "z", "other z"), outer, {"long_name": "outer K", **unit}),
            "rates": ((*axes, "to"), profile["rates"], {"units": "1/time"}),
            **{name: ((*axes, letter, "z"), gain, {"long_name": letter}) for name, (letter, gain) in gains.items()},
            "attack_effort": (axes, profile["attack_effort"], {"long_name": "effort f"}),
            "stabilize_effort": (axes, profile["stabilize_effort"], {"long_name": "effort g"}),
        },
        coords={"time": profile["time"]},
    )


def _paths(seen: dict[str, np.ndarray]) -> xr.Dataset:
    """States and shares of the regimes over time, by theory and by simulation."""
    count, time = seen["theory_mean"].shape[1], seen["time"]
    names = [f"x{k + 1}" for k in range(count)] if count > 1 else ["x"]
    theory, simulated = ((time, seen[f"{route}_mean"], seen[f"{route}_deviation"]) for route in ("theory", "simulated"))
    data = theory_and_simulation(names, theory, simulated)
    data["theory_share"] = (("time", "regime"), seen["theory_share"], {"long_name": "share of paths"})
    return data.assign(simulated_share=(("seen", "regime"), seen["simulated_share"]))


def _escaping(config: RegimeConfig, switching: Switching, escape: float) -> xr.Dataset:
    """Inner values of the game that ends shortly before the escape."""
    solution = solve_regimes(game_of(config, 0.999 * escape), switching, throw=False)
    time = np.asarray(solution.inner.time)
    return xr.Dataset(
        {"S": (("to_go", "regime", "z", "other z"), np.asarray(solution.inner.values)[:, 0], {"long_name": "P"})},
        coords={"to_go": ("to_go", time[-1] - time, {"long_name": "time to go"})},
        attrs={"escape_time": escape},
    )


def _efforts(name: str, title: str) -> Panel:
    """An effort of every regime over time; equal ones show as rims of one another."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax, efforts = (
            axes_or_new(ax),
            data[name][:-1, : len(COLOURS)],
        )  # at T nothing is at stake, and no effort is drawn
        for regime, series in enumerate(efforts.values.T):
            wide = 1.2 + 1.6 * (efforts.shape[1] - 1 - regime)
            ax.step(efforts.time, series, where="post", color=COLOURS[regime], lw=wide, label=f"regime {regime}")
        return label(ax, x=("time", ""), y=(data[name].attrs["long_name"], ""), title=title)

    return panel


def _shares(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Shares of the regimes: simulation as dots on theory."""
    ax = lines("theory_share", by="regime", title="Where the regimes are")(data, ax)
    dots = data.simulated_share.isel(seen=slice(None, None, max(data.sizes["seen"] // 16, 1)))
    for colour, series in zip(COLOURS, dots.values.T, strict=False):
        ax.plot(dots.seen, series, "o", color=colour, markersize=3)
    ax.set_ylim(bottom=0.0)
    return ax


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
    headline=RegimeHeadline,
    example="diffgames run regime-lq --set switching=exogenous T=2",
    published="no numbers that are at hand (abstract and notes of the paper only)",
    figures={
        "values": Drawing(
            "the worse the regime, the larger the value, inside and outside",
            "values",
            lines("S", by="regime", title="Inner P"),
            lines("K", by="regime", title="Outer K"),
        ),
        "gains": Drawing(
            "the controller counters harder in worse regimes; efforts switch between nothing and all",
            "values",
            lines("controller", "disturbance", by="regime", y="gain on x", title="Controller and disturbance"),
            _efforts("attack_effort", "Attacker"),
            _efforts("stabilize_effort", "Stabilizer"),
        ),
        "paths": Drawing("simulated paths, with the band of theory", "paths", theory_and_dots, _shares),
        "escape": Drawing("inner values grow without bound towards the escape", "escape", escaping("S", "regime")),
    },
)
