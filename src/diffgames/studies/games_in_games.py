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

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.numerics.grid import Axis, Grid
from diffgames.plotting import label, legends, new_figure
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.switching_committed import solve_committed_switching
from diffgames.solvers.switching_game import MacroGame, SwitchingSolution, solve_switching_game
from diffgames.studies.context import RunContext
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class GamesInGamesConfig:
    """The modes, the rates and the grid."""

    A: Annotated[tuple[float, ...], Parameter(shape="regimes", unit="1/time", meaning="drift coefficient")] = (
        0.1,
        0.2,
        0.4,
    )
    D: Annotated[tuple[float, ...], Parameter(shape="regimes", meaning="gain of the disturbance")] = (0.3, 0.4, 0.5)
    Q: Annotated[tuple[float, ...], Parameter(shape="regimes", meaning="running cost of X²", minimum=0.0)] = (
        1.0,
        1.5,
        3.0,
    )
    S: Annotated[float, Parameter(meaning="cost of w²", minimum=1e-6)] = 2.0
    sigma: Annotated[
        tuple[float, ...], Parameter(shape="regimes", unit="1/√time", meaning="volatility Σ", minimum=0.0)
    ] = (0.2, 0.3, 0.5)
    jump_scale: Annotated[
        tuple[float, ...], Parameter(shape="regimes", meaning="multiplicative jump E, one per unit of time")
    ] = (0.0, 0.2236067977, 0.4472135955)
    jump_shift: Annotated[
        tuple[float, ...], Parameter(shape="regimes", meaning="additive jump e, one per unit of time")
    ] = (0.1, 0.1414213562, 0.2236067977)
    base: Annotated[
        Matrix, Parameter(shape="regimes × regimes", unit="1/time", meaning="rates μ⁰, zero diagonal", minimum=0.0)
    ] = ((0.0, 0.4, 0.1), (0.6, 0.0, 0.3), (0.2, 0.8, 0.0))
    attack: Annotated[
        Matrix, Parameter(shape="regimes × regimes", unit="1/time", meaning="rates λ^att added", minimum=0.0)
    ] = ((0.0, 0.5, 0.2), (0.0, 0.0, 0.5), (0.0, 0.0, 0.0))
    stabilize: Annotated[
        Matrix, Parameter(shape="regimes × regimes", unit="1/time", meaning="rates λ^stab taken away", minimum=0.0)
    ] = ((0.0, 0.3, 0.05), (0.0, 0.0, 0.2), (0.0, 0.0, 0.0))
    reading: Annotated[
        Literal["feedback", "committed"],
        Parameter(meaning="efforts take the inner value as given, or are policies that the inner players answer"),
    ] = "feedback"
    mixed: Annotated[bool, Parameter(meaning="whether efforts may be drawn by lot")] = True
    levels: Annotated[int, Parameter(meaning="levels of effort from 0 to 1; 2: all or nothing", minimum=2)] = 2
    effort_attack: Annotated[float, Parameter(unit="cost", meaning="ρ_f of ½ρ_f f²; 0: bang-bang", minimum=0.0)] = 0.0
    effort_stabilize: Annotated[float, Parameter(unit="cost", meaning="ρ_g of ½ρ_g g²; 0: bang-bang", minimum=0.0)] = (
        0.0
    )
    horizon: Annotated[float, Parameter(unit="time", meaning="horizon T", minimum=1e-6)] = 1.0
    width: Annotated[float, Parameter(meaning="the grid is −width … width", minimum=1e-3)] = 3.0
    points: Annotated[int, Parameter(meaning="points of the grid, odd", minimum=21)] = 121
    u_max: Annotated[float, Parameter(meaning="largest |u|", minimum=1e-3)] = 9.0
    w_max: Annotated[float, Parameter(meaning="largest |w|", minimum=1e-3)] = 4.0
    steps: Annotated[
        int | None,
        Parameter(
            unit="steps", meaning="explicit time steps, a multiple of 20; null: as many as stability wants", minimum=1
        ),
    ] = None
    start: Annotated[float, Parameter(meaning="state at t = 0, from which the leak is counted")] = 0.0
    leak_tolerance: Annotated[
        float, Parameter(meaning="largest probability of meeting an end of the grid", minimum=0.0, maximum=1.0)
    ] = 0.05


def build_game(config: GamesInGamesConfig) -> DifferentialGame:
    """The inner game."""
    names = ("A", "D", "Q", "sigma", "jump_scale", "jump_shift")
    count = len(config.base)
    for name in names:
        if len(getattr(config, name)) != count:
            raise InvalidInput(name, getattr(config, name), f"one number for each of the {count} regimes")
    a, d, q, sigma, scale, shift = (jnp.asarray(getattr(config, name), jnp.float64) for name in names)

    def cost(t, x, u, i):
        return jnp.broadcast_to(q[i] * x[0] ** 2 + u[0][0] ** 2 - config.S * u[1][0] ** 2, (2,))

    def once(t, x, u, i):
        return jnp.ones((), x.dtype)

    mark = FixedMark(jnp.ones(1, jnp.float64))
    jumps = (
        JumpLaw(once, lambda t, x, u, z, i: scale[i] * x, mark),
        JumpLaw(once, lambda t, x, u, z, i: shift[i] * z, mark),
    )
    return DifferentialGame(
        players=("controller", "disturbance"),
        control_sizes=(1, 1),
        drift=lambda t, x, u, i: a[i] * x + u[0] + d[i] * u[1],
        diffusion=lambda t, x, u, i: sigma[i][None, None],
        running_cost=cost,
        terminal_cost=lambda x, i: jnp.broadcast_to(x[0] ** 2, (2,)),
        initial=PointLaw(jnp.full(1, config.start, jnp.float64)),
        horizon=config.horizon,
        jumps=jumps,
        signs=(1, -1),
        bounds=((-config.u_max, config.u_max), (-config.w_max, config.w_max)),
    )


def efforts(config: GamesInGamesConfig) -> np.ndarray:
    """The levels of effort."""
    return np.linspace(0.0, 1.0, config.levels)


def macro_rates(config: GamesInGamesConfig) -> np.ndarray:
    """Generators [g, f, regimes, regimes] at all levels; `InvalidInput` where a rate would be negative."""
    base, attack, stabilize = (np.array(m, float) for m in (config.base, config.attack, config.stabilize))
    if not base.shape == attack.shape == stabilize.shape or base.shape[0] != base.shape[1]:
        raise InvalidInput("attack, stabilize", (attack.shape, stabilize.shape), f"the shape of base, {base.shape}")
    if (base < stabilize).any():
        raise InvalidInput("stabilize", config.stabilize, "rates that base has to give: negative intensity otherwise")
    rates = np.array([[base + f * attack - g * stabilize for f in efforts(config)] for g in efforts(config)])
    return rates - np.eye(len(base)) * rates.sum(axis=-1, keepdims=True)


def solve(config: GamesInGamesConfig, strategic: bool = True, keep: int = 20) -> SwitchingSolution:
    """The switching game in its reading, or the chain of the base rates alone."""
    paid = 0.5 * efforts(config) ** 2
    effort = config.effort_stabilize * paid[:, None] - config.effort_attack * paid[None, :]
    rates = macro_rates(config)
    if not strategic:
        rates, effort = rates[:1, :1], effort[:1, :1]
    macro = MacroGame(jnp.asarray(rates), jnp.asarray(effort), lambda t, x, i, v: v, config.mixed)
    grid = Grid((Axis("x", -config.width, config.width, config.points),))
    committed = strategic and config.reading == "committed"
    solver = solve_committed_switching if committed else solve_switching_game
    options = {"keep": keep, "steps": config.steps, "leak_tolerance": config.leak_tolerance}
    return solver(build_game(config), macro, grid, search=Affine(), **options)


def run(config: GamesInGamesConfig, context: RunContext) -> StudyResult:
    """Solve with and without the outer players, certify on a finer grid, draw."""
    with jax.enable_x64(True):
        build_game(config)  # what is wrong here, and in the rates, is told before anything is computed
        macro_rates(config)
        context.progress.update("switching game", 0.1)
        game, alone = solve(config), solve(config, strategic=False)
        assert game.leak_at_start is not None  # the grid's ends are artificial
        certificate = _certify(config, context, np.asarray(game.inner[0]), np.asarray(game.outer[0]))
        middle = config.points // 2
        gap, poincare = game.spectral_gap(), game.poincare_constant()
        attack, calm = (np.asarray(policy) @ efforts(config) for policy in (game.attacker, game.defender))
        dataset = xr.Dataset(
            {
                "inner": (("time", "regime", "x"), np.asarray(game.inner)),
                "outer": (("time", "regime", "x"), np.asarray(game.outer)),
                "inner_exogenous": (("time", "regime", "x"), np.asarray(alone.inner)),
                "attack": (("time", "regime", "x"), attack),
                "stabilize": (("time", "regime", "x"), calm),
                "spectral_gap": (("time", "x"), gap),
                "poincare_constant": (("time", "x"), poincare),
            },
            coords={"time": np.asarray(game.time), "x": game.grid.axes[0].coordinates()},
        )
        headline = {
            "inner": np.asarray(game.inner[0, :, middle]),
            "outer": np.asarray(game.outer[0, :, middle]),
            "inner_exogenous": np.asarray(alone.inner[0, :, middle]),
            "attack": attack[0, :, middle],
            "stabilize": calm[0, :, middle],
            "spectral_gap": float(gap[0, middle]),
            "spectral_gap_exogenous": float(alone.spectral_gap()[0, middle]),
            "stage_gap": float(game.gap),
            "isaacs_gap": float(game.isaacs_gap),
            "leak": float(game.leak_at_start),
            "finer_grid_change": certificate.checks["finer_grid_change"],
        }
    profile = {"inner": np.asarray(game.inner[0]), "outer": np.asarray(game.outer[0])}
    return StudyResult(
        headline=headline,
        certificate=certificate,
        arrays={"values": dataset},
        profile=profile,
        figures={"values": _figure(dataset)},
    )


def verify(config: GamesInGamesConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of the stored values."""
    with jax.enable_x64(True):
        return _certify(config, context, profile["inner"], profile["outer"])


def _certify(config: GamesInGamesConfig, context: RunContext, inner: np.ndarray, outer: np.ndarray) -> Certificate:
    """Largest change of both values on the inner half of the grid at half the spacing."""
    context.progress.update("a finer grid", 0.6)
    keep = 20 if config.reading == "committed" else 1  # committed policies are constant between kept times
    fine = solve(replace(config, points=2 * config.points - 1, steps=None), keep=keep)
    inside = slice(config.points // 4, -(config.points // 4))
    changes = [np.asarray(a)[:, ::2] - b for a, b in ((fine.inner[0], inner), (fine.outer[0], outer))]
    return Certificate(
        (),
        how="both values against those on a grid of half the spacing, on the inner half of the grid",
        unseen="no best reply is computed on its own: two grids that agree say that the equations are solved; "
        "`stage_gap` and `isaacs_gap` of the headline say how far every stage is from a saddle point",
        checks={"finer_grid_change": max(float(np.abs(c[:, inside]).max()) for c in changes)},
    )


def _figure(dataset: xr.Dataset) -> Any:
    figure, axes = new_figure(1, 3, width=4.2, height=3.4)
    for i in range(dataset.sizes["regime"]):
        line = axes[0].plot(dataset["x"], dataset["inner"][0, i], label=f"regime {i + 1}")[0]
        axes[0].plot(dataset["x"], dataset["inner_exogenous"][0, i], ":", color=line.get_color())
        axes[1].plot(dataset["x"], dataset["outer"][0, i], color=line.get_color())
    label(axes[0], x=("state x", ""), y=("cost", ""), title="Inner value V (dotted: base rates alone)")
    label(axes[1], x=("state x", ""), y=("cost × time", ""), title="Outer value U")
    middle = dataset.sizes["x"] // 2
    axes[2].plot(dataset["time"], dataset["spectral_gap"][:, middle], label="spectral gap λ₂")
    axes[2].plot(dataset["time"], dataset["poincare_constant"][:, middle], "--", label="Poincaré constant λ_P")
    axes[2].set_ylim(bottom=0)
    label(axes[2], x=("time", ""), y=("rate", "1/time"), title="Mixing of regime risks at x = 0")
    legends(*axes)
    return figure


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
    headline={
        "inner": Headline(shape="regimes", meaning="V at x = 0, t = 0", normalisation="P x² + r"),
        "outer": Headline(shape="regimes", meaning="U at x = 0, t = 0", normalisation="K x² + k"),
        "inner_exogenous": Headline(
            shape="regimes", meaning="V at x = 0, t = 0 under the base rates", normalisation="P x² + r"
        ),
        "attack": Headline(shape="regimes", meaning="mean effort f of the attacker at x = 0, t = 0"),
        "stabilize": Headline(shape="regimes", meaning="mean effort g of the defender at x = 0, t = 0"),
        "spectral_gap": Headline(unit="1/time", meaning="λ₂ of the equilibrium generator at x = 0, t = 0"),
        "spectral_gap_exogenous": Headline(unit="1/time", meaning="λ₂ of the base rates"),
        "stage_gap": Headline(meaning="largest duality gap of a stage game; committed: first-order gain left"),
        "isaacs_gap": Headline(unit="cost/time", meaning="largest min max − max min of the inner Hamiltonian"),
        "leak": Headline(meaning="probability, at equilibrium, of meeting an end of the grid before the horizon"),
        "finer_grid_change": Headline(meaning="largest change of V and U at half the spacing, inner half of the grid"),
    },
    example="diffgames run games-in-games --set points=241 --set attack=[[0,1,0.5],[0,0,1],[0,0,0]]",
    published="no numbers that are at hand (abstract and notes of the paper only)",
    figures={
        "values": "the game over regimes raises the values where the attacker pushes",
    },
)
