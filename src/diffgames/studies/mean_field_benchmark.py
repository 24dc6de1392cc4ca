"""The test games of the discrete mean-field literature, solved by three methods to an exact exploitability.

Games of `games.mean_field_benchmarks` with the defaults of the packages that ship them, methods of
`solvers.mean_field_discrete`: Newton on proximal steps, online mirror descent, fictitious play. Iterations are counted
until the exploitability, which is exact in every one of them, is within the tolerance; what does not get there is said
to be no equilibrium. Of the policy that is least exploitable the certificate is made by other means: the law by an
eigenvector, the value by a linear solve, the best response by linear programming. With `game=garnet`, `draws` random
games from consecutive seeds are solved; policy, law and certificate are those of the first.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_benchmarks import GAMES, Structure, garnet
from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.solvers.mean_field_discrete import MeanFieldSolution, Method, solve_mean_field
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.mean_field_discrete import certify_mean_field

Name = Literal["lasry-lions-chain", "beach-bar", "crowd-motion", "susceptible-infected", "garnet"]
RATES = {"lasry-lions-chain": 0.025}  # Bench-MFG's slowest learning rate over its temperature; elsewhere 1, as MFGLib
MOST_UNKNOWNS = 1000
PRINTED_LAW = (0.00111787, 0.04952394, 0.27750186, 0.34371267, 0.27750186, 0.04952394, 0.00111787)
PerMethod = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """The game, the methods and when they stop."""

    game: Annotated[Name, Parameter("which test game")] = "lasry-lions-chain"
    methods: Annotated[tuple[Method, ...], Parameter("how it is solved", shape="methods")] = (
        "newton",
        "mirror",
        "fictitious",
    )
    tolerance: Annotated[float, Parameter("exploitability at which a method stops", "reward", minimum=1e-13)] = 1e-10
    iterations: Annotated[int, Parameter("at most", "iterations", minimum=1)] = 1000
    rate: Annotated[float | None, Parameter("α of mirror descent; null: 1, on the chain 0.025", minimum=1e-9)] = None
    seed_of_game: Annotated[int, Parameter("seed of the (first) Garnet", minimum=0)] = 0
    draws: Annotated[int, Parameter("Garnets of consecutive seeds", "games", minimum=1)] = 1
    states: Annotated[int, Parameter("of a Garnet", "states", minimum=2)] = 10
    actions: Annotated[int, Parameter("of a Garnet", "actions", minimum=1)] = 4
    branching: Annotated[int, Parameter("a Garnet's moves lead to", "states", minimum=1)] = 4
    structure: Annotated[Structure, Parameter("of a Garnet's rewards in the law")] = "monotone"
    crowding: Annotated[float, Parameter("c, weight of the law in a Garnet's rewards", "reward")] = 1.0
    mixing: Annotated[float, Parameter("ρ, share of the law in a Garnet's moves", minimum=0.0, maximum=0.999)] = 0.2


@dataclass(frozen=True, kw_only=True)
class BenchmarkHeadline:
    """The least exploitable policy and what every method came to."""

    exploitability: Annotated[float, Headline("of the least exploitable policy, exact", "reward")]
    exploitability_by_method: Annotated[
        PerMethod, Headline("at the last iteration, exact", "reward", shape="{method: number}")
    ]
    iterations: Annotated[dict[str, int], Headline("done", "iterations", shape="{method: number}")]
    converged: Annotated[
        PerMethod, Headline("share of the games solved within the tolerance", shape="{method: number}")
    ]
    median: Annotated[PerMethod, Headline("median exploitability of the draws", "reward", shape="{method: number}")]
    worst: Annotated[PerMethod, Headline("largest exploitability of the draws", "reward", shape="{method: number}")]
    law: Annotated[
        list[float],
        Headline(
            "invariant law of that policy, of a finite horizon the last",
            shape="states",
            published="reference solution of the chain, eight digits",
        ),
    ]
    value: Annotated[float, Headline("what the representative player earns", "reward")]
    seconds: Annotated[PerMethod, Headline("of one game, compiled", "s", shape="{method: number}", timing=True)]


def game_of(config: BenchmarkConfig, draw: int = 0) -> DiscreteMeanFieldGame:
    """The game; of Garnets the one of that draw."""
    if config.game != "garnet":
        return GAMES[config.game]()
    sizes = (config.states, config.actions, config.branching, config.structure)
    return garnet(config.seed_of_game + draw, *sizes, crowding=config.crowding, mixing=config.mixing)


def run(config: BenchmarkConfig, context: RunContext) -> StudyResult:
    """Solve every draw by every method; certify the best policy of the first."""
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise InvalidInput("methods", config.methods, "at least one of newton, mirror, fictitious, none twice")
    with jax.enable_x64(True):
        games = [game_of(config, draw) for draw in range(config.draws if config.game == "garnet" else 1)]
        methods, notes = list(config.methods), []
        unknowns = games[0].times * len(games[0].initial)
        if unknowns > MOST_UNKNOWNS and "newton" in methods and len(methods) > 1:
            methods.remove("newton")
            notes.append(f"newton is left out: its linear systems have {unknowns} unknowns, more than {MOST_UNKNOWNS}")
        found: dict[str, list[MeanFieldSolution]] = {}
        seconds = {}
        for place, method in enumerate(methods):
            context.progress.update(method, place / len(methods))
            found[method] = [_solve(config, game, method) for game in games]
            started = time.perf_counter()
            jax.block_until_ready(_solve(config, games[0], method).law)
            seconds[method] = time.perf_counter() - started
        best = min((row[0] for row in found.values()), key=lambda one: float(one.exploitability))
    reached = {method: np.array([float(one.exploitability) for one in row]) for method, row in found.items()}
    for method, row in found.items():
        if failed := sum(not one.converged for one in row):
            notes.append(
                f"{method}: not an equilibrium within {config.tolerance:g} after {config.iterations} iterations, "
                f"exploitability {reached[method].max():.3g}" + (f" ({failed} of {len(row)})" if len(row) > 1 else "")
            )
    profile = {"policy": np.asarray(best.policy), "law": np.asarray(best.law)}
    certificate = verify(config, profile, context)
    return StudyResult(
        BenchmarkHeadline(
            exploitability=float(best.exploitability),
            exploitability_by_method={method: float(row[0]) for method, row in reached.items()},
            iterations={method: int(row[0].iterations) for method, row in found.items()},
            converged={method: float(np.mean([one.converged for one in row])) for method, row in found.items()},
            median={method: float(np.median(row)) for method, row in reached.items()},
            worst={method: float(row.max()) for method, row in reached.items()},
            law=profile["law"][-1].tolist(),
            value=certificate.entries[0].value,
            seconds=seconds,
        ),
        published={"law": list(PRINTED_LAW)} if config.game == "lasry-lions-chain" else {},
        warnings=notes,
        certificate=certificate,
        arrays={"history": _history(found), "profile": _arrays(profile)},
        profile=profile,
    )


def _solve(config: BenchmarkConfig, game: DiscreteMeanFieldGame, method: Method) -> MeanFieldSolution:
    rate = config.rate or RATES.get(config.game, 1.0)
    return solve_mean_field(game, method, tolerance=config.tolerance, iterations=config.iterations, rate=rate)


def verify(config: BenchmarkConfig, profile: Any, context: RunContext) -> Certificate:
    """Law by eigenvector, value by linear solve, best response by linear programming."""
    with jax.enable_x64(True):
        return certify_mean_field(game_of(config), profile["policy"], profile["law"])


def _history(found: dict[str, list[MeanFieldSolution]]) -> xr.Dataset:
    rows = np.stack([np.asarray(row[0].history) for row in found.values()])
    words = {"long_name": "exploitability", "units": "reward"}
    return xr.Dataset(
        {"exploitability": (("solver", "iteration"), rows, words)},
        coords={"solver": list(found), "iteration": np.arange(rows.shape[1])},
    )


def _arrays(profile: dict[str, np.ndarray]) -> xr.Dataset:
    axes = ("time", "state", "action")
    return xr.Dataset({"policy": (axes, profile["policy"]), "law": (axes[:2], profile["law"])})


def _descent(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Exploitability against iterations, both logarithmic; what rounding leaves below 1e-16 is not drawn."""
    ax = axes_or_new(ax)
    for colour, method in zip(COLOURS, data.solver.values, strict=False):
        series = data.exploitability.sel(solver=method)
        ax.loglog(data.iteration + 1, series.where(series > 1e-16), color=colour, label=str(method))
    return label(ax, x=("iterations + 1", ""), y=("exploitability", "reward"))


def _crowd(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The law at the first and the last time (one if stationary)."""
    ax = axes_or_new(ax)
    for place in sorted({0, len(data.time) - 1}):
        ax.plot(data.state, data.law[place], ".-", color=COLOURS[min(place, 1)], label=f"time {place}")
    return label(ax, x=("state", ""), y=("share of the crowd", ""))


def memory(config: BenchmarkConfig) -> dict[str, float]:
    """Kernels and tilts of the Garnets, what methods remember of every iteration."""
    garnets = config.draws * (config.states + 1) * config.states**2 * config.actions if config.game == "garnet" else 0
    return {"states, actions, draws": 8.0 * 3 * garnets, "iterations": 8.0 * 3 * config.iterations}


STUDY = Study(
    name="mean-field-benchmark",
    source="games of Bench-MFG and MFGLib; Perrin et al. 2020, Pérolat et al. 2021, Cui & Koeppl 2021",
    shows="how fast three methods come to an equilibrium of a discrete mean-field game, exploitability exact",
    config=BenchmarkConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"game": "garnet", "draws": 100, "iterations": 2000}},
    minutes={"quick": 0.5, "paper": 2.0},
    headline=BenchmarkHeadline,
    example="diffgames run mean-field-benchmark --set game=beach-bar --set tolerance=0.01",
    published="none; beside the law of the chain stands a reference solution to eight digits",
    figures={
        "descent": Drawing(
            "Newton's method is there within dozens of iterations, mirror descent falls steadily, fictitious slowly",
            "history",
            _descent,
        ),
        "law": Drawing("the law that the least exploitable policy makes", "profile", _crowd),
    },
)
