"""Games in games: a controlled jump diffusion in regimes that an attacker and a defender switch.

In mode i, dX = (A_i X + u + D_i w) dt + Σ_i dW + E_i X dÑ¹ + e_i dÑ², cost ∫(Q_i X² + u² − S w²) + X_T²: u
minimises, w maximises. The attacker adds f λ^att to the switching rates μ⁰, the defender takes g λ^stab away, with
efforts f, g on `levels` from 0 to 1 (mixed or pure) that cost ½ρ_f f² and ½ρ_g g², for the outer value of the stress
φ = V_i (Pan & Zhu 2025, equations (8) and (13)). Solved on a grid in one backward sweep (feedback reading) or as
policies that the inner players answer (committed reading, a fixed point); the certificate is a grid of half the
spacing, and what the switching game is compared with are the rates μ⁰ alone.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.games.regimes import regime_diffusion
from diffgames.numerics.grid import Axis, Grid
from diffgames.plotting import COLOURS
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.switching_committed import solve_committed_switching
from diffgames.solvers.switching_game import MacroGame, SwitchingSolution, contested_rates, solve_switching_game
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class GamesInGamesConfig:
    """The modes, the rates and the grid."""

    A: Annotated[tuple[float, ...], Parameter("drift coefficient", "1/time", shape="regimes")] = (0.1, 0.2, 0.4)
    D: Annotated[tuple[float, ...], Parameter("gain of the disturbance", shape="regimes")] = (0.3, 0.4, 0.5)
    Q: Annotated[tuple[float, ...], Parameter("running cost of X²", shape="regimes", minimum=0.0)] = (1.0, 1.5, 3.0)
    S: Annotated[float, Parameter("cost of w²", minimum=1e-6)] = 2.0
    sigma: Annotated[tuple[float, ...], Parameter("volatility Σ", "1/√time", shape="regimes", minimum=0.0)] = (
        0.2,
        0.3,
        0.5,
    )
    jump_scale: Annotated[
        tuple[float, ...], Parameter("multiplicative jump E, one per unit of time", shape="regimes")
    ] = (0.0, 0.2236067977, 0.4472135955)
    jump_shift: Annotated[tuple[float, ...], Parameter("additive jump e, one per unit of time", shape="regimes")] = (
        0.1,
        0.1414213562,
        0.2236067977,
    )
    base: Annotated[Matrix, Parameter("rates μ⁰, zero diagonal", "1/time", shape="regimes × regimes", minimum=0.0)] = (
        (0.0, 0.4, 0.1),
        (0.6, 0.0, 0.3),
        (0.2, 0.8, 0.0),
    )
    attack: Annotated[Matrix, Parameter("rates λ^att added", "1/time", shape="regimes × regimes", minimum=0.0)] = (
        (0.0, 0.5, 0.2),
        (0.0, 0.0, 0.5),
        (0.0, 0.0, 0.0),
    )
    stabilize: Annotated[
        Matrix, Parameter("rates λ^stab taken away", "1/time", shape="regimes × regimes", minimum=0.0)
    ] = ((0.0, 0.3, 0.05), (0.0, 0.0, 0.2), (0.0, 0.0, 0.0))
    reading: Annotated[
        Literal["feedback", "committed"],
        Parameter("efforts take the inner value as given, or are policies that the inner players answer"),
    ] = "feedback"
    mixed: Annotated[bool, Parameter("whether efforts may be drawn by lot")] = True
    levels: Annotated[int, Parameter("levels of effort from 0 to 1; 2: all or nothing", minimum=2)] = 2
    effort_attack: Annotated[float, Parameter("ρ_f of ½ρ_f f²; 0: bang-bang", "cost", minimum=0.0)] = 0.0
    effort_stabilize: Annotated[float, Parameter("ρ_g of ½ρ_g g²; 0: bang-bang", "cost", minimum=0.0)] = 0.0
    horizon: Annotated[float, Parameter("horizon T", "time", minimum=1e-6)] = 1.0
    width: Annotated[float, Parameter("the grid is −width … width", minimum=1e-3)] = 3.0
    points: Annotated[int, Parameter("points of the grid, odd", minimum=21)] = 121
    u_max: Annotated[float, Parameter("largest |u|", minimum=1e-3)] = 9.0
    w_max: Annotated[float, Parameter("largest |w|", minimum=1e-3)] = 4.0
    steps: Annotated[
        int | None,
        Parameter("explicit time steps, a multiple of 20; null: as many as stability wants", "steps", minimum=1),
    ] = None
    start: Annotated[float, Parameter("state at t = 0, from which the leak is counted")] = 0.0
    leak_tolerance: Annotated[
        float, Parameter("largest probability of meeting an end of the grid", minimum=0.0, maximum=1.0)
    ] = 0.05


Regimes = Any
"""A number for each regime."""


@dataclass(frozen=True, kw_only=True)
class GamesInGamesHeadline:
    """Values, efforts and mixing at the middle of the grid at t = 0, and how far all of it can be trusted."""

    inner: Annotated[Regimes, Headline("V at x = 0, t = 0", shape="regimes", normalisation="P x² + r")]
    outer: Annotated[Regimes, Headline("U at x = 0, t = 0", shape="regimes", normalisation="K x² + k")]
    inner_exogenous: Annotated[
        Regimes, Headline("V at x = 0, t = 0 under the base rates", shape="regimes", normalisation="P x² + r")
    ]
    attack: Annotated[Regimes, Headline("mean effort f of the attacker at x = 0, t = 0", shape="regimes")]
    stabilize: Annotated[Regimes, Headline("mean effort g of the defender at x = 0, t = 0", shape="regimes")]
    spectral_gap: Annotated[float, Headline("λ₂ of the equilibrium generator at x = 0, t = 0", "1/time")]
    spectral_gap_exogenous: Annotated[float, Headline("λ₂ of the base rates", "1/time")]
    stage_gap: Annotated[float, Headline("largest duality gap of a stage game; committed: first-order gain left")]
    isaacs_gap: Annotated[float, Headline("largest min max − max min of the inner Hamiltonian", "cost/time")]
    leak: Annotated[float, Headline("probability, at equilibrium, of meeting an end of the grid before the horizon")]
    finer_grid_change: Annotated[
        float | None, Headline("largest change of V and U at half the spacing, inner half of the grid")
    ]


def solve(config: GamesInGamesConfig, strategic: bool = True, keep: int = 20) -> SwitchingSolution:
    """The switching game in its reading, or the chain of the base rates alone."""
    names = ("A", "D", "Q", "S", "sigma", "jump_scale", "jump_shift", "horizon", "start")
    given = {name: getattr(config, name) for name in names}
    game = regime_diffusion(**given, regimes=len(config.base), bounds=(config.u_max, config.w_max))
    levels = np.linspace(0.0, 1.0, config.levels)
    rates = contested_rates(config.base, config.attack, config.stabilize, levels)
    paid = 0.5 * levels**2
    effort = config.effort_stabilize * paid[:, None] - config.effort_attack * paid[None, :]
    if not strategic:
        rates, effort = rates[:1, :1], effort[:1, :1]
    macro = MacroGame(jnp.asarray(rates), jnp.asarray(effort), lambda t, x, i, v: v, config.mixed)
    grid = Grid((Axis("x", -config.width, config.width, config.points),))
    committed = strategic and config.reading == "committed"
    solver = solve_committed_switching if committed else solve_switching_game
    options = {"keep": keep, "steps": config.steps, "leak_tolerance": config.leak_tolerance}
    return solver(game, macro, grid, search=Affine(), **options)


def run(config: GamesInGamesConfig, context: RunContext) -> StudyResult:
    """Solve with and without the outer players, certify on a finer grid."""
    with jax.enable_x64(True):
        context.progress.update("switching game", 0.1)
        game, alone = solve(config), solve(config, strategic=False)
        assert game.leak_at_start is not None  # the grid's ends are artificial
        profile = {"inner": np.asarray(game.inner[0]), "outer": np.asarray(game.outer[0])}
        certificate = verify(config, profile, context)
        data = _values(game, alone)
        middle = data.isel(time=0, x=config.points // 2)
        headline = GamesInGamesHeadline(
            inner=middle.inner.values,
            outer=middle.outer.values,
            inner_exogenous=middle.inner_exogenous.values,
            attack=middle.attack.values,
            stabilize=middle.stabilize.values,
            spectral_gap=float(middle.spectral_gap),
            spectral_gap_exogenous=float(alone.spectral_gap()[0, config.points // 2]),
            stage_gap=float(game.gap),
            isaacs_gap=float(game.isaacs_gap),
            leak=float(game.leak_at_start),
            finer_grid_change=certificate.checks["finer_grid_change"],
        )
    return StudyResult(headline, certificate, arrays={"values": data}, profile=profile)


def verify(config: GamesInGamesConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """Largest change of both stored values on the inner half of the grid at half the spacing."""
    context.progress.update("a finer grid", 0.6)
    keep = 20 if config.reading == "committed" else 1  # committed policies are constant between kept times
    with jax.enable_x64(True):
        fine = solve(replace(config, points=2 * config.points - 1, steps=None), keep=keep)
    inside = slice(config.points // 4, -(config.points // 4))
    pairs = ((fine.inner[0], profile["inner"]), (fine.outer[0], profile["outer"]))
    changes = [np.asarray(a)[:, ::2] - b for a, b in pairs]
    return Certificate(
        (),
        how="both values against those on a grid of half the spacing, on the inner half of the grid",
        unseen="no best reply is computed on its own: two grids that agree say that the equations are solved; "
        "`stage_gap` and `isaacs_gap` of the headline say how far every stage is from a saddle point",
        checks={"finer_grid_change": max(float(np.abs(c[:, inside]).max()) for c in changes)},
    )


def _values(game: SwitchingSolution, alone: SwitchingSolution) -> xr.Dataset:
    """Values, mean efforts and mixing of the regimes at every kept time and point."""
    axes, levels = ("time", "regime", "x"), np.linspace(0.0, 1.0, game.attacker.shape[-1])
    rate = {"units": "1/time"}
    return xr.Dataset(
        {
            "inner": (axes, np.asarray(game.inner), {"long_name": "cost"}),
            "outer": (axes, np.asarray(game.outer), {"long_name": "cost × time"}),
            "inner_exogenous": (axes, np.asarray(alone.inner)),
            "attack": (axes, np.asarray(game.attacker) @ levels),
            "stabilize": (axes, np.asarray(game.defender) @ levels),
            "spectral_gap": (("time", "x"), game.spectral_gap(), {"long_name": "spectral gap λ₂", **rate}),
            "poincare_constant": (
                ("time", "x"),
                game.poincare_constant(),
                {"long_name": "Poincaré λ_P", **rate},
            ),
        },
        coords={"time": np.asarray(game.time), "x": ("x", game.grid.axes[0].coordinates(), {"long_name": "state x"})},
    )


def _inner(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The inner value at t = 0, dotted under the base rates alone."""
    first = data.isel(time=0)
    ax = lines("inner", by="regime", title="Inner value V (dotted: base rates alone)")(first, ax)
    for colour, series in zip(COLOURS, first.inner_exogenous.values, strict=False):
        ax.plot(first.x, series, ":", color=colour)
    return ax


def _outer(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The outer value at t = 0."""
    return lines("outer", by="regime", title="Outer value U")(data.isel(time=0), ax)


def _mixing(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Spectral gap and Poincaré constant at the middle of the grid."""
    middle = data.isel(x=data.sizes["x"] // 2)
    ax = lines("spectral_gap", "poincare_constant", y="rate", title="Mixing of regime risks at x = 0")(middle, ax)
    ax.set_ylim(bottom=0)
    return ax


def memory(config: GamesInGamesConfig) -> dict[str, float]:
    """Values at the kept times, and the stage game of every point on the finer grid."""
    cells = 2 * config.points * len(config.base)
    return {"points": 8.0 * 20 * cells, "points, levels": 8.0 * cells * config.levels**2}


STUDY = Study(
    name="games-in-games",
    source="Pan & Zhu, arXiv 2512.18098, equations (8) and (13), linear-quadratic layer",
    shows="an inner game and an outer game on its switching graph, in one backward sweep or by committed policies",
    config=GamesInGamesConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"points": 241}},
    minutes={"quick": 1.0, "paper": 1.5},
    headline=GamesInGamesHeadline,
    example="diffgames run games-in-games --set points=241 --set attack=[[0,1,0.5],[0,0,1],[0,0,0]]",
    published="no numbers that are at hand (abstract and notes of the paper only)",
    figures={
        "values": Drawing(
            "the game over regimes raises the values where the attacker pushes",
            "values",
            _inner,
            _outer,
            _mixing,
            width=4.2,
        ),
    },
)
