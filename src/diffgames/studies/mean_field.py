"""Two crowds that avoid each other: a typed mean-field game beyond linear-quadratic, solved, certified, and compared.

Agents of type τ, shares λ_τ, move on [0, 1] between reflecting walls by dx = u dt + σ_τ dW and minimize

    E[∫₀ᵀ ½ r_τ u² + c_τ m̄(t, x) + k_τ (x − d_τ)² dt + ½ (x_T − d_τ)²],      m̄ = Σ λ_τ m_τ,

from normal laws of mean `mean0` and deviation `deviation0`, cut at the walls. `solvers.mean_field_newton` solves the
coupled equations; the certificate is `verification.mean_field_response`. Damped Picard iteration cycles on the default
game, which is why Newton's method is the default. Orders are measured on grids of a quarter and half the size.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import equinox as eqx
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_frozen import frozen
from diffgames.games.mean_field_grid import (
    AgentType,
    Felt,
    MixtureDensity,
    NormalDensity,
    QuadraticControl,
    TypedMeanFieldGame,
)
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.solvers.mean_field_newton import METHODS, MeanFieldSolution, solve_mean_field
from diffgames.studies.axes import check_lengths
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.mean_field_response import CrowdSearch, response_gaps, trained_gaps
from diffgames.verification.verify import Verification

PerType = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class MeanFieldConfig:
    """One entry per type, and the grid."""

    share: Annotated[PerType, Parameter(shape="types", meaning="shares λ of the types, sum one", minimum=1e-9)] = (
        0.6,
        0.4,
    )
    sigma: Annotated[PerType, Parameter(shape="types", unit="1/√time", meaning="noise", minimum=0.0)] = (0.3, 0.2)
    r: Annotated[PerType, Parameter(shape="types", meaning="weight of ½ u²", minimum=1e-9)] = (1.0, 0.5)
    c: Annotated[PerType, Parameter(shape="types", meaning="weight of the crowd's density; below 0: attraction")] = (
        0.5,
        1.0,
    )
    k: Annotated[PerType, Parameter(shape="types", meaning="weight of (x − d)²")] = (0.5, 1.0)
    d: Annotated[PerType, Parameter(shape="types", meaning="where each type wants to be")] = (0.25, 0.75)
    mean0: Annotated[PerType, Parameter(shape="types", meaning="means at the start", minimum=0.0, maximum=1.0)] = (
        0.6,
        0.4,
    )
    deviation0: Annotated[PerType, Parameter(shape="types", meaning="deviations at the start", minimum=1e-3)] = (
        0.1,
        0.15,
    )
    horizon: Annotated[float, Parameter(unit="time", meaning="T", minimum=1e-6)] = 1.0
    points: Annotated[int, Parameter(unit="cells", meaning="cells of [0, 1]", minimum=8)] = 80
    steps: Annotated[int, Parameter(unit="steps", meaning="implicit steps of time", minimum=4)] = 80
    method: Annotated[
        Literal["newton", "picard", "fictitious", "mirror"], Parameter(meaning="how the equations are solved")
    ] = "newton"
    damping: Annotated[
        float, Parameter(meaning="weight of the new law (picard) or values (mirror)", minimum=1e-6, maximum=1.0)
    ] = 0.5
    longest: Annotated[int, Parameter(unit="iterations", meaning="iterations at most", minimum=1)] = 60
    compare: Annotated[int, Parameter(unit="iterations", meaning="of every method in turn; 0: none", minimum=0)] = 24
    orders: Annotated[bool, Parameter(meaning="measure the orders on coarser grids")] = True
    deviator_updates: Annotated[
        int, Parameter(unit="updates", meaning="training of the deviator on paths; 0: none", minimum=0)
    ] = 120


@dataclass(frozen=True, kw_only=True)
class MeanFieldHeadline:
    """What the types pay, where they end, and what the profile leaves to gain."""

    cost: Annotated[PerType, Headline(shape="types", unit="cost", meaning="expected cost of an agent of each type")]
    mean_T: Annotated[PerType, Headline(shape="types", meaning="mean of each type at T")]
    variance_T: Annotated[PerType, Headline(shape="types", meaning="variance of each type at T")]
    density_T: Annotated[PerType, Headline(shape="types", meaning="density of each type at T and x = ½")]
    exploitability: Annotated[
        float, Headline(unit="cost", meaning="largest gain by a best reply on a four times finer grid, over types")
    ]
    iterations: Annotated[int, Headline(unit="iterations", meaning="iterations done")]
    residual: Annotated[
        float, Headline(meaning="of the equations (newton), last change of densities or values (the others)")
    ]
    mass_error: Annotated[float, Headline(meaning="largest deviation of a total mass from one, nothing divided")]
    converged: Annotated[
        int, Headline(meaning="1 where the equations are solved, 0 where the method cycles or is slow")
    ]
    order_space: Annotated[
        float | None, Headline(meaning="observed order of the mean cost in the spacing", optional=True)
    ]
    order_time: Annotated[float | None, Headline(meaning="observed order of the mean cost in the step", optional=True)]
    compared: Annotated[
        dict[str, float] | None,
        Headline(
            shape="{method: number}",
            unit="cost",
            meaning="least mean exploitability of each method's iterates, on its own grid",
            optional=True,
        ),
    ]


class Congestion(eqx.Module):
    """c m̄ + k (x − d)²."""

    c: float
    k: float
    d: float

    def __call__(self, x: Float[Array, " d"], felt: Felt) -> Array:
        return self.c * felt["crowd"] + self.k * (x[0] - self.d) ** 2


class Arrival(eqx.Module):
    """½ (x − d)² at the end."""

    d: float

    def __call__(self, x: Float[Array, " d"], felt: Felt) -> Array:
        return 0.5 * (x[0] - self.d) ** 2


def game_of(config: MeanFieldConfig) -> TypedMeanFieldGame:
    """The game of the parameters."""
    types = tuple(
        AgentType(
            share=config.share[i],
            start=NormalDensity(config.mean0[i], config.deviation0[i]),
            diffusion=config.sigma[i],
            control_cost=QuadraticControl(config.r[i]),
            running_cost=Congestion(config.c[i], config.k[i], config.d[i]),
            terminal_cost=Arrival(config.d[i]),
        )
        for i in range(len(config.share))
    )
    return TypedMeanFieldGame(types, {"crowd": MixtureDensity()}, config.horizon)


def cells_of(points: int) -> Cells:
    """[0, 1] between reflecting walls."""
    return Cells((CellAxis("x", 0.0, 1.0, points),))


def run(config: MeanFieldConfig, context: RunContext) -> StudyResult:
    """Solve, certify, measure the orders and compare the methods."""
    check_lengths(STUDY, config)
    if abs(sum(config.share) - 1.0) > 1e-9:
        raise InvalidInput("share", config.share, "positive shares that sum to one")
    game, cells = game_of(config), cells_of(config.points)

    def told(iteration: int, residual: float) -> None:
        context.progress.update(config.method, iteration / config.longest, residual=residual)

    solution = solve_mean_field(
        game,
        cells,
        config.steps,
        method=config.method,
        damping=config.damping,
        longest=config.longest,
        report=told,
    )
    context.log(repr(solution))
    profile = {"control": solution.control, "mass": solution.mass}
    certificate = verify(config, profile, context)
    space, time = _orders(config, game, solution) if config.orders and solution.converged else (None, None)
    curves = _compared(config, game, context) if config.compare else {}
    mean, variance = solution.moments()
    x = cells.points()[0]
    assert certificate.exact is not None
    words = [] if solution.converged else [f"{config.method} {_SAID[solution.status]}; method=newton solves this game"]
    return StudyResult(
        MeanFieldHeadline(
            cost=tuple(solution.cost.tolist()),
            mean_T=tuple(mean[-1].tolist()),
            variance_T=tuple(variance[-1].tolist()),
            density_T=tuple(float(np.interp(0.5, x, row)) for row in solution.density[-1]),
            exploitability=certificate.exact.gap,
            iterations=solution.iterations,
            residual=solution.residuals[-1],
            mass_error=solution.mass_error,
            converged=int(solution.converged),
            order_space=space,
            order_time=time,
            compared={name: float(np.min(curve)) for name, curve in curves.items()} or None,
        ),
        certificate=certificate,
        warnings=[*solution.cautions, *words],
        arrays=_datasets(config, solution, curves),
        profile=profile,
    )


_SAID = {"cycles": "cycles: its residual no longer falls", "slow": "has not converged within `longest` iterations"}


def verify(config: MeanFieldConfig, profile: dict[str, Any], context: RunContext) -> Verification:
    """The certificate of a stored profile: best replies on finer grids, and a deviator on paths."""
    return certify_crowd(game_of(config), cells_of(config.points), profile, config.deviator_updates, context)


def certify_crowd(
    game: TypedMeanFieldGame, cells: Cells, profile: dict[str, Any], updates: int, context: RunContext
) -> Verification:
    """The certificate of a stored `control` against the stored `mass`; without `updates` nobody is trained."""
    crowd, trained = frozen(game, cells, np.asarray(profile["control"]), np.asarray(profile["mass"])), None
    if updates:
        context.progress.update("deviator", 0.0)
        trained = trained_gaps(crowd, context.key, CrowdSearch(updates=updates))
    return Verification(response_gaps(crowd), trained)


def _orders(
    config: MeanFieldConfig, game: TypedMeanFieldGame, solution: MeanFieldSolution
) -> tuple[float | None, float | None]:
    """Observed orders, from quarter and half the cells, and from quarter and half the steps."""
    share, found = np.asarray(config.share), []
    for points, steps in (((4, 2), (1, 1)), ((1, 1), (4, 2))):
        costs = []
        for fewer, longer in zip(points, steps, strict=True):
            coarse = solve_mean_field(game, cells_of(config.points // fewer), config.steps // longer)
            costs.append(float(share @ coarse.cost))
        near, far = abs(float(share @ solution.cost) - costs[1]), abs(costs[1] - costs[0])
        exact = all(n % 4 == 0 for n in (config.points, config.steps)) and near > 0 and far > 0
        found.append(float(np.log2(far / near)) if exact else None)
    return found[0], found[1]


def _compared(config: MeanFieldConfig, game: TypedMeanFieldGame, context: RunContext) -> dict[str, list[float]]:
    """Mean exploitability of every iterate of every method, on the solver's own grid."""
    share, curves = np.asarray(config.share), {}
    for place, method in enumerate(METHODS):
        curve: list[float] = []
        context.progress.update("methods", place / len(METHODS))
        solve_mean_field(
            game,
            cells_of(config.points),
            config.steps,
            method=method,
            damping=config.damping,
            longest=config.compare,
            watch=lambda system, values, curve=curve: curve.append(float(share @ system.exploitability(values))),
        )
        curves[method] = curve
    return curves


def _datasets(config: MeanFieldConfig, solution: MeanFieldSolution, curves: dict) -> dict[str, xr.Dataset]:
    """Densities and controls at five times, and the curves of the methods."""
    chosen = np.unique(np.linspace(0, config.steps, 5).astype(int))
    coords = {
        "time": ("time", chosen * solution.dt, {"long_name": "time"}),
        "type": [f"type {i}" for i in range(len(config.share))],
        "x": ("x", solution.scheme.cells.points()[0], {"long_name": "x"}),
    }
    control = np.concatenate([solution.control, solution.control[-1:]])[chosen][:, :, 0]
    dims = ("time", "type", "x")
    found = {
        "law": xr.Dataset({"density": (dims, solution.density[chosen]), "control": (dims, control)}, coords=coords)
    }
    if curves:
        table = np.full((len(curves), config.compare + 1), np.nan)
        for row, curve in enumerate(curves.values()):
            table[row, : min(len(curve), config.compare + 1)] = np.maximum(curve[: config.compare + 1], 1e-16)
        found["methods"] = xr.Dataset(
            {"exploitability": (("method", "iteration"), table, {"units": "cost"})},
            coords={"method": list(curves), "iteration": np.arange(config.compare + 1)},
        )
    return found


def _snapshots(name: str, quantity: str):
    """A quantity against x, a color for each type, darker with time."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        for colour, one in zip(COLOURS, data.type.values, strict=False):
            for place, time in enumerate(data.time.values):
                shade = 0.25 + 0.75 * place / max(len(data.time) - 1, 1)
                text = f"{one}, time {time:.3g}" if place in (0, len(data.time) - 1) else None
                row = data[name].sel({"type": one, "time": time})
                ax.plot(data.x, row, color=colour, alpha=shade, label=text)
        return label(ax, x=("x", ""), y=(quantity, ""))

    return panel


def _curves(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Exploitability of every method's iterates, on a logarithmic axis."""
    ax = axes_or_new(ax)
    for colour, name in zip(COLOURS, data.method.values, strict=False):
        ax.semilogy(
            data.iteration, data.exploitability.sel({"method": name}), "o-", ms=3, color=colour, label=str(name)
        )
    return label(ax, x=("iteration", ""), y=("mean exploitability", "cost"))


def memory(config: MeanFieldConfig) -> dict[str, float]:
    """The basis of the linear solves: up to eighty vectors of values and masses."""
    return {"points, steps": 8.0 * 2 * 82 * len(config.share) * config.points * config.steps}


STUDY = Study(
    name="mean-field",
    source="congestion game of two types on [0, 1]; scheme of Achdou & Capuzzo-Dolcetta (2010), typed",
    shows="crowds that avoid each other: Newton's method solves what damped Picard iteration cycles on",
    config=MeanFieldConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"points": 160, "steps": 160}},
    minutes={"quick": 2.0, "paper": 6.0},
    headline=MeanFieldHeadline,
    example="diffgames run mean-field --set method=picard damping=0.25",
    published="no numbers; an independent solver of the same scheme has the same eight digits on the default grid",
    figures={
        "law": Drawing(
            "from pale (time 0) to dark (T): each type heads for its own place, and keeps out of the other's way",
            "law",
            _snapshots("density", "density"),
            _snapshots("control", "control u"),
        ),
        "methods": Drawing("Newton's method falls to rounding; damped Picard iteration stays up", "methods", _curves),
    },
)
