"""How α falls with the number of players on real graphs (Corollary 6.1): fitted against predicted exponents.

With weights q_ij = w_i ρ^{dist} (equation 6.8) or q_ij = w_i dist^{−β} (6.9) on a graph of bounded degree, divided by
N − 1, the bound of equation 6.6 with horizon T, control bound L and a kernel of unit curvature is

    α(N) = ½T² L² b̄² ‖∇²K‖ · max_i Σ_{j≠i} |q_ij − q_ji|/(N−1).

On balanced trees of arity κ the corollary gives N^{−1} for ρκ < 1, N^{−1} log N for ρκ = 1, N^{log_κ ρ} for ρκ > 1, and
(log N)^{−β} in the polynomial case, whose constant α (log_κ N)^β tends, very slowly, to ½T²L² (w_max − w_min)/2:
almost all players are log_κ N steps from those near the root, among whom some have an extreme w. On a lattice of
dimension m balls grow polynomially and the same sums give N^{−1} for every ρ < 1, and N^{−min(β/m, 1)} (log N at β =
m). `alpha_found` is the largest |ΔJ − ΔΦ| that a search over deviations finds at the smaller N: α lies between the two.
Both are means over the same draws of who has which w_i.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.errors import InvalidInput
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Quadratic
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.solvers.distributed_paths import graded_grid
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, Panel
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.potential_bound import search_alpha

Graph = Literal["tree", "lattice", "random regular"]


@dataclass(frozen=True, kw_only=True)
class DecayConfig:
    """Graphs, decay laws and sizes."""

    graph: Annotated[Graph, Parameter("tree of the arity, square lattice, or random graph of degree arity + 1")] = (
        "tree"
    )
    arity: Annotated[int, Parameter("κ of the tree, degree less one of the rest", "children", minimum=2)] = 2
    players: Annotated[tuple[int, ...], Parameter("numbers of players N", shape="sizes", minimum=3)] = (
        15,
        31,
        63,
        127,
        255,
        511,
        1023,
        2047,
        4095,
    )
    rates: Annotated[
        tuple[float, ...], Parameter("ρ of the exponential laws", shape="rates", minimum=1e-6, maximum=0.999999)
    ] = (0.3, 0.5, 0.8)
    exponents: Annotated[tuple[float, ...], Parameter("β of the polynomial laws", shape="exponents", minimum=1e-6)] = (
        1.0,
        2.0,
    )
    scales: Annotated[
        tuple[float, float], Parameter("range of the players' distinct w_i, spread evenly", shape="2")
    ] = (0.5, 1.5)
    bound: Annotated[float, Parameter("L, bound of the controls' norm", "length/√time", minimum=1e-9)] = 1.0
    horizon: Annotated[float, Parameter("T", "time", minimum=1e-9)] = 1.0
    draws: Annotated[int, Parameter("of who has which w_i; bounds and searches are averaged", "draws", minimum=1)] = 4
    search_up_to: Annotated[int, Parameter("largest N searched for deviations", "players")] = 31
    fit_from: Annotated[int, Parameter("so many largest sizes are fitted", "sizes", minimum=2)] = 4
    seed_of_graph: Annotated[int, Parameter("seed of random graphs and of who has which w_i")] = 0


PerLaw = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DecayHeadline:
    """Bounds, searches and exponents."""

    players: Annotated[tuple[int, ...], Headline("numbers of players N", shape="sizes")]
    alpha_bound: Annotated[PerLaw, Headline("α from above, proved by equation 6.6", "cost", shape="{law: sizes}")]
    alpha_found: Annotated[
        PerLaw, Headline("α from below: what a search found, at small N", "cost", shape="{law: sizes}", optional=True)
    ]
    exponent_fitted: Annotated[
        PerLaw,
        Headline(
            "slope of log α in log N, in log log N for polynomial laws",
            shape="{law: number}",
            published="Corollary 6.1, N to infinity",
        ),
    ]
    exponent_predicted: Annotated[
        PerLaw, Headline("the same by Corollary 6.1, logarithmic factors divided out", shape="{law: number}")
    ]
    log_limit: Annotated[
        PerLaw | None, Headline("its limit for N to infinity", "cost", shape="{law: number}", optional=True)
    ]
    log_constant: Annotated[
        PerLaw | None, Headline("α (log_κ N)^β, which tends to a constant", "cost", shape="{law: sizes}", optional=True)
    ]


def adjacency(config: DecayConfig, players: int) -> networks.Adjacency:
    """The graph of one size."""
    if config.graph == "tree":
        return networks.tree(players, config.arity)
    if config.graph == "lattice":
        return networks.lattice(players)
    return networks.random_regular(players, config.arity + 1, config.seed_of_graph)


def laws(config: DecayConfig) -> dict[str, tuple[str, float]]:
    """Name → kind of decay and its parameter."""
    found = {f"rho={rate:g}": ("exponential", rate) for rate in config.rates}
    return found | {f"beta={exponent:g}": ("polynomial", exponent) for exponent in config.exponents}


def predicted(config: DecayConfig, kind: str, parameter: float) -> tuple[float, float]:
    """(p, q) of the rate N^p (log N)^q of Corollary 6.1 for trees, of the same sums for lattices."""
    if config.graph == "lattice":
        if kind == "exponential":
            return -1.0, 0.0
        return -min(parameter / 2.0, 1.0), 1.0 if parameter == 2.0 else 0.0
    growth = config.arity
    if kind == "polynomial":
        return 0.0, -parameter
    product = parameter * growth
    if abs(product - 1.0) < 1e-12:
        return -1.0, 1.0
    return (-1.0, 0.0) if product < 1.0 else (float(np.log(parameter) / np.log(growth)), 0.0)


def weights_of(
    config: DecayConfig, kind: str, parameter: float, distance: np.ndarray, draw: int = 0
) -> networks.Weights:
    """q_ij, before the division by N − 1."""
    low, high = config.scales
    n = len(distance)
    scales = np.random.default_rng([config.seed_of_graph, draw]).permutation(np.linspace(low, high, n))
    decay = networks.exponential_decay if kind == "exponential" else networks.polynomial_decay
    return decay(distance, scales, parameter)


def run(config: DecayConfig, context: RunContext) -> StudyResult:
    """Bounds on every graph, fits, and searches at the small sizes."""
    if not 0 < config.scales[0] < config.scales[1]:
        raise InvalidInput("scales", config.scales, "two positive numbers, rising")
    if config.fit_from > len(config.players) or list(config.players) != sorted(set(config.players)):
        raise InvalidInput("players", config.players, f"at least fit_from = {config.fit_from} rising sizes")
    kinds = laws(config)
    constant = 0.5 * config.horizon**2 * config.bound**2
    bounds = {name: [] for name in kinds}
    found: dict[str, list[float | None]] = {name: [] for name in kinds}
    for index, n in enumerate(config.players):
        context.progress.update("graphs", index / len(config.players), players=n)
        distance = networks.distances(adjacency(config, n))
        for name, (kind, parameter) in kinds.items():
            drawn = [weights_of(config, kind, parameter, distance, draw) for draw in range(config.draws)]
            bounds[name].append(constant * float(np.mean([networks.imbalance(w) for w in drawn])) / (n - 1))
            searched = n <= config.search_up_to
            found[name].append(float(np.mean([_search(config, w, context) for w in drawn])) if searched else None)
    sizes = np.asarray(config.players, float)
    fits = {name: _fit(sizes, np.asarray(values), config, kinds[name]) for name, values in bounds.items()}
    limits = {
        name: list(np.asarray(values) * (np.log(sizes) / np.log(config.arity)) ** kinds[name][1])
        for name, values in bounds.items()
        if kinds[name][0] == "polynomial" and config.graph != "lattice"
    }
    return StudyResult(
        DecayHeadline(
            players=config.players,
            alpha_bound=bounds,
            alpha_found=found,
            exponent_fitted={name: fit[0] for name, fit in fits.items()},
            exponent_predicted={name: fit[1] for name, fit in fits.items()},
            log_constant=limits or None,
            log_limit=dict.fromkeys(limits, 0.5 * constant * (config.scales[1] - config.scales[0])) or None,
        ),
        published={"exponent_fitted": {name: fit[1] for name, fit in fits.items()}},
        warnings=_notes(config),
        arrays={"alpha": _dataset(config, bounds, found)},
    )


def _search(config: DecayConfig, weights: np.ndarray, context: RunContext) -> float:
    n = len(weights)
    game = crowd_game(
        Quadratic(), weights, np.zeros((n, 1)), start=np.zeros(1), noise=0.0, jump_size=0.0, horizon=config.horizon
    )
    worst = int(np.abs(weights - weights.T).sum(axis=1).argmax())
    grid = graded_grid(config.horizon, 12)
    return search_alpha(
        game, config.bound, grid, context.key, players=(worst,), restarts=1, updates=120, paths=1, learning_rate=0.1
    )


def _fit(sizes: np.ndarray, values: np.ndarray, config: DecayConfig, law: tuple[str, float]) -> tuple[float, float]:
    """Fitted and predicted slope of log α at the largest sizes: in log log N where N^p has p = 0, in log N else.

    A predicted factor (log N)^q beside N^p is divided out before the fit.
    """
    power, logs = predicted(config, *law)
    large, alpha = np.log(sizes[-config.fit_from :]), np.log(values[-config.fit_from :])
    if power == 0.0:
        return float(np.polyfit(np.log(large), alpha, 1)[0]), logs
    return float(np.polyfit(large, alpha - logs * np.log(large), 1)[0]), power


def _notes(config: DecayConfig) -> list[str]:
    if config.graph == "random regular":
        return ["on random graphs the predicted exponents are those of the covering tree, an upper bound of the decay"]
    return []


def _dataset(config: DecayConfig, bounds: dict[str, list[float]], found: dict[str, list[float | None]]) -> xr.Dataset:
    """Bounds, searches and the corollary's rates, which are set to the bound at the largest size."""
    sizes, kinds = np.asarray(config.players, float), laws(config)
    rates, texts = [], []
    for name, law in kinds.items():
        power, logs = predicted(config, *law)
        rate = sizes**power * np.log(sizes) ** logs
        rates.append(rate * bounds[name][-1] / rate[-1])
        text = rf"$N^{{{power:.3g}}}$" if power else ""
        texts.append((text + (r" $\log N$" if logs == 1.0 else rf" $(\log N)^{{{logs:g}}}$" if logs else "")).strip())
    lower = [[np.nan if value is None else value for value in found[name]] for name in kinds]
    series = {"alpha_bound": [bounds[name] for name in kinds], "alpha_found": lower, "alpha_predicted": rates}
    return xr.Dataset(
        {name: (("law", "size"), np.asarray(values), {"units": "cost"}) for name, values in series.items()},
        coords={
            "law": list(kinds),
            "size": sizes,
            "decay": ("law", [kind for kind, _ in kinds.values()]),
            "rate": ("law", texts),
        },
        attrs={"graph": config.graph},
    )


def _decay(kind: str) -> Panel:
    """α against N on logarithmic axes for the laws of one kind."""

    def panel(data: xr.Dataset, ax: Axes | None = None) -> Axes:
        ax = axes_or_new(ax)
        for colour, name in zip(COLOURS, data.law.values, strict=False):
            law = data.sel(law=name)
            if law.decay.item() != kind:
                continue
            text = name.replace("rho", "ρ").replace("beta", "β")
            ax.loglog(law["size"], law.alpha_bound, "o-", color=colour, label=text)
            ax.loglog(law["size"], law.alpha_predicted, "--", color=colour, lw=1, label=f"predicted {law.rate.item()}")
            ax.loglog(law["size"], law.alpha_found, "v", color=colour, mfc="none")
        ax.plot([], [], "o-", color="0.4", label="from above: equation 6.6")
        if data.alpha_found.notnull().any():
            ax.plot([], [], "v", color="0.4", mfc="none", label="from below: found by search")
        return label(ax, x=("players N", ""), y=("α", "cost"), title=f"{data.graph}: {kind} decay of asymmetry")

    return panel


def memory(config: DecayConfig) -> dict[str, float]:
    """Distances and the drawn weights between all players."""
    return {"players, draws": 8.0 * (config.draws + 1) * max(config.players, default=0) ** 2}


STUDY = Study(
    name="alpha-decay",
    source="Guo, Li & Zhang, arXiv 2508.01929, Corollary 6.1",
    shows="the more players on a network whose asymmetry fades with distance, the closer to a potential game",
    config=DecayConfig,
    run=run,
    memory=memory,
    presets={
        "quick": {},
        "paper": {"players": [15, 31, 63, 127, 255, 511, 1023, 2047, 4095, 8191], "search_up_to": 63},
    },
    minutes={"quick": 1.0, "paper": 4.0},
    headline=DecayHeadline,
    example="diffgames run alpha-decay --set graph=lattice --set players=[16,64,256,1024,4096]",
    published="exponents of α in N (Corollary 6.1), no values of α",
    uncertified="no profile is played: α of the games is bounded from above and searched from below",
    figures={
        "decay": Drawing(
            "the bounds fall along the dashed lines of the corollary, and α lies between them and the triangles; "
            "a fit over few sizes still differs from the exponent for N to infinity",
            "alpha",
            _decay("exponential"),
            _decay("polynomial"),
            width=5.2,
            height=4.2,
        ),
    },
)
