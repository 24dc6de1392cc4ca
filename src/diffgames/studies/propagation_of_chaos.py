"""Propagation of chaos in a mean-field game: which quantities of N players approach the limit at which rate.

N players in ℝ^d play the equilibrium strategies of the mean-field limit of inter-bank lending, each coordinate by
itself and without common noise (`games.interbank`):

    dX^n = κ(t) (X̄ − X^n) dt + σ dW^n,    κ = a + q + η(t),    X^n_0 ~ N(0, s² I).

Three errors are measured on independent replications and fitted as N^b:

- coupling, E[(1/N) Σ |X^n_T − Y^n_T|²]^{1/2} against copies of the limit on the same noise: b = −1/2 for every d;
- the crowd's mean, E[|X̄_T − m_T|²]^{1/2}: b = −1/2 in every dimension, as any smooth statistic;
- W₁ between the players and an independent sample of the limit as large: b = −1/2 for d = 1, N^{-1/2} up to √log N for
  d = 2, and −1/d for d ≥ 3 (Ajtai, Komlós & Tusnády 1984; Fournier & Guillin 2015): what the sampling of the law alone
  costs, whatever the players do.

The first two are also computed exactly: the differences solve linear equations, of which the Euler scheme's own second
moments are taken, so that simulation and theory differ by sampling alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray
from matplotlib.ticker import NullLocator
from scipy.special import stdtrit

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.interbank import InterBankGame
from diffgames.numerics.wasserstein import wasserstein
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.simulation.coupling import Coupled, couple
from diffgames.simulation.population import Population
from diffgames.studies.context import RunContext
from diffgames.studies.rates import fitted_exponent
from diffgames.studies.study import Headline, Parameter, Study, StudyResult, with_defaults
from diffgames.studies.systemic_risk import LendingParameters
from diffgames.verification.certificate import Certificate
from diffgames.verification.linear_quadratic_response import exact_gaps

KINDS = ("coupling", "crowd", "wasserstein")


@dataclass(frozen=True)
@with_defaults(initial_deviation=0.5)
class PropagationConfig(LendingParameters):
    """The game, the sizes, and how often each is simulated."""

    dimensions: Annotated[tuple[int, ...], Parameter("dimensions d", shape="dimensions", minimum=1)] = (1, 2, 3)
    players: Annotated[tuple[int, ...], Parameter("N of coupling and crowd", "players", shape="sizes", minimum=2)] = (
        10,
        100,
        1_000,
        10_000,
        100_000,
    )
    law_players: Annotated[
        tuple[int, ...], Parameter("N of the Wasserstein distance", "players", shape="law sizes", minimum=2)
    ] = (16, 64, 256, 1024)
    replications: Annotated[int, Parameter("independent replications of every size", minimum=2)] = 48
    law_replications: Annotated[int, Parameter("replications of the Wasserstein distance", minimum=2)] = 16
    steps: Annotated[int, Parameter("time steps", "steps", minimum=1)] = 25


def run(config: PropagationConfig, context: RunContext) -> StudyResult:
    """Simulate every size in every dimension; the errors of a finished dimension are not computed again on resuming."""
    for name in ("dimensions", "players", "law_players"):
        if len(getattr(config, name)) < (1 if name == "dimensions" else 2):
            raise InvalidInput(name, getattr(config, name), "at least two sizes (one dimension)")
    config.game()  # what is wrong in the parameters is told before anything is computed
    found: dict[int, dict[str, np.ndarray]] = {}
    for number, d in enumerate(config.dimensions):
        key = jax.random.fold_in(context.key, d)
        found[d] = context.stage(f"dimension {d}", lambda d=d, key=key: errors(config, d, key))
        context.progress.update("simulating", (number + 1) / len(config.dimensions), dimension=d)
    certificate = certify(config)
    return _result(config, found, certificate)


def recompute(config: PropagationConfig, profile: Any, context: RunContext) -> Certificate:
    """The certificate again."""
    return certify(config)


def errors(config: PropagationConfig, d: int, key: PRNGKeyArray) -> dict[str, np.ndarray]:
    """Errors per kind, [sizes, replications]: the replications' root mean squares, and W₁."""
    coupling, crowd = [], []
    key, law_key = jax.random.split(key)
    for size in config.players:
        run = _coupled(config, d, jax.random.fold_in(key, size), size, config.replications)
        coupling.append(np.sqrt(np.asarray(run.coupling, float)))
        crowd.append(np.sqrt(np.asarray(run.crowd, float)))
    distances = []
    for size in config.law_players:
        own_key, other_key = jax.random.split(jax.random.fold_in(law_key, size))
        players = np.asarray(_coupled(config, d, own_key, size, config.law_replications).state)
        limit = np.asarray(_coupled(config, d, other_key, size, config.law_replications).limit_state)
        distances.append([wasserstein(x.T, y.T) for x, y in zip(players, limit, strict=True)])
    return {"coupling": np.stack(coupling), "crowd": np.stack(crowd), "wasserstein": np.asarray(distances)}


def theory(config: PropagationConfig, d: int, players: np.ndarray) -> dict[str, np.ndarray]:
    """Exact root mean squares of the Euler scheme: with Z = X̄ − m and D = X − Y, D⁺ = D + hκ(Z − D), Z⁺ = Z + σ√h ξ̄."""
    h = config.T / config.steps
    time = np.arange(config.steps) * h
    with jax.enable_x64(True):
        kappa = np.asarray(config.a + config.game().rate(jnp.asarray(time)))
    zz, dz, dd = config.initial_deviation**2, 0.0, 0.0
    for k in kappa * h:
        zz, dz, dd = (
            zz + config.sigma**2 * h,
            (1 - k) * dz + k * zz,
            (1 - k) ** 2 * dd + 2 * k * (1 - k) * dz + k**2 * zz,
        )
    return {"coupling": np.sqrt(d * dd / players), "crowd": np.sqrt(d * zz / players)}


def certify(config: PropagationConfig) -> Certificate:
    """The limit's strategies are an equilibrium of the limit: a player against the crowd, which it cannot move."""
    with jax.enable_x64(True):
        game = config.game()
        representative = DifferentialGame(
            players=("player of the limit",),
            control_sizes=(1,),
            drift=lambda t, x, u, i: jnp.stack([game.a * (x[1] - x[0]) + u[0][0], 0.0 * x[1]]),
            diffusion=lambda t, x, u, i: jnp.asarray([[game.sigma], [0.0]], x.dtype),
            running_cost=lambda t, x, u, i: (
                0.5 * u[0] ** 2 - game.q * u[0] * (x[1] - x[0]) + 0.5 * game.epsilon * (x[1] - x[0]) ** 2
            ),
            terminal_cost=lambda x, i: 0.5 * game.c * (x[1:] - x[:1]) ** 2,
            initial=PointLaw(jnp.asarray([config.initial_deviation, 0.0])),
            horizon=config.T,
        )
        return exact_gaps(representative, lambda t, x, i: (game.rate(t) * (x[1:] - x[:1]),))


class _Reversion(eqx.Module):
    """u = rate(t) (M − x) in every coordinate."""

    game: InterBankGame

    def __call__(self, t, x, m):
        return self.game.rate(t).astype(x.dtype) * (m - x)


class _Still(eqx.Module):
    """The limit's mean stays at its start."""

    dimension: int = eqx.field(static=True)

    def __call__(self, t):
        return jnp.zeros(self.dimension, t.dtype)


class _Drift(eqx.Module):
    game: InterBankGame

    def __call__(self, t, x, m, u):
        return self.game.a * (m - x) + u


class _Noise(eqx.Module):
    """σ on every coordinate."""

    game: InterBankGame
    dimension: int = eqx.field(static=True)

    def __call__(self, t, x, m, u):
        return self.game.sigma * jnp.eye(self.dimension, dtype=x.dtype)


def _free(*seen):
    """No cost."""
    return jnp.zeros((), seen[-1].dtype)


def _itself(x):
    return x


class _Start(eqx.Module):
    deviation: float
    dimension: int = eqx.field(static=True)

    def __call__(self, key):
        return self.deviation * jax.random.normal(key, (self.dimension,), jnp.float32)


def _coupled(config: PropagationConfig, d: int, key: PRNGKeyArray, players: int, replications: int) -> Coupled:
    game = config.game()
    population = Population(
        drift=_Drift(game),
        diffusion=_Noise(game, d),
        running_cost=_free,
        terminal_cost=_free,
        statistic=_itself,
        initial=_Start(config.initial_deviation, d),
        horizon=config.T,
    )
    return couple(
        population, _Reversion(game), _Still(d), key, players=players, steps=config.steps, replications=replications
    )


def _result(
    config: PropagationConfig, found: Mapping[int, Mapping[str, np.ndarray]], certificate: Certificate
) -> StudyResult:
    sizes = {kind: np.asarray(config.law_players if kind == "wasserstein" else config.players, float) for kind in KINDS}
    headline: dict[str, Any] = {}
    for kind in KINDS:
        fits = {d: fitted_exponent(sizes[kind], found[d][kind]) for d in config.dimensions}
        headline[f"{kind}_exponent"] = {f"d={d}": fit[0] for d, fit in fits.items()}
        headline[f"{kind}_exponent_half_width"] = {f"d={d}": fit[1] for d, fit in fits.items()}
        sampled = {d: size_with_half_width(kind, found[d][kind]) for d in config.dimensions}
        headline[f"{kind}_error"] = {f"d={d}": pair[0] for d, pair in sampled.items()}
        headline[f"{kind}_error_half_width"] = {f"d={d}": pair[1] for d, pair in sampled.items()}
    for kind in ("coupling", "crowd"):
        exact = {d: theory(config, d, sizes[kind])[kind] for d in config.dimensions}
        headline[f"{kind}_error_exact"] = {f"d={d}": values for d, values in exact.items()}
    headline["wasserstein_exponent_limit"] = {f"d={d}": -1.0 / max(d, 2) for d in config.dimensions}
    datasets = {
        kind: xr.Dataset(
            {"error": (("dimension", "players", "replication"), np.stack([found[d][kind] for d in config.dimensions]))},
            coords={"dimension": list(config.dimensions), "players": sizes[kind]},
        )
        for kind in KINDS
    }
    return StudyResult(
        headline=headline,
        certificate=certificate,
        published={
            "coupling_exponent": {f"d={d}": -0.5 for d in config.dimensions},
            "wasserstein_exponent": headline["wasserstein_exponent_limit"],
        },
        arrays=datasets,
        profile={"note": np.zeros(0)},
        figures={"rates": rates_figure(config, datasets, headline)},
    )


def size_with_half_width(
    kind: str, values: Float[np.ndarray, "sizes replications"]
) -> tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, " sizes"]]:
    """Root mean square over the replications (the mean for W₁) and the half-width of its 95% interval, by Student's t.

    That of a root mean square r is that of the mean square over 2r.
    """
    plain = values if kind == "wasserstein" else values**2
    count, mean = values.shape[1], plain.mean(axis=1)
    half = stdtrit(count - 1, 0.975) * plain.std(axis=1, ddof=1) / np.sqrt(count)
    return (mean, half) if kind == "wasserstein" else (np.sqrt(mean), half / (2 * np.sqrt(mean)))


def rates_figure(config: PropagationConfig, datasets: Mapping[str, xr.Dataset], headline: Mapping[str, Any]):
    """The three errors against N on log axes, one colour per dimension, fitted exponents in the legend."""
    titles = {
        "coupling": ("coupling with the limit", "root mean square"),
        "crowd": ("mean of the crowd", "root mean square"),
        "wasserstein": ("empirical law", "mean W₁"),
    }
    figure, axes = new_figure(columns=3, width=4.2, height=3.8)
    for ax, kind in zip(axes, KINDS, strict=True):
        sizes = datasets[kind].players.values
        for d, colour in zip(config.dimensions, COLOURS * len(config.dimensions), strict=False):
            name = f"d={d}"
            slope, width = headline[f"{kind}_exponent"][name], headline[f"{kind}_exponent_half_width"][name]
            words = f"d = {d}" if slope is None else f"d = {d}: N^({slope:.3f} ± {width:.3f})"
            found, half = headline[f"{kind}_error"][name], headline[f"{kind}_error_half_width"][name]
            ax.errorbar(sizes, found, half, fmt="o", color=colour, label=words)
            if kind == "wasserstein":
                last = headline[f"{kind}_error"][name][-1]
                ax.loglog(sizes, last * (sizes / sizes[-1]) ** (-1.0 / max(d, 2)), "--", lw=1.0, color=colour)
            else:
                ax.loglog(sizes, headline[f"{kind}_error_exact"][name], "-", lw=1.0, color=colour)
        ax.set_xticks(sizes, [f"{size:g}" if size < 1e4 else f"1e{np.log10(size):.0f}" for size in sizes])
        ax.xaxis.set_minor_locator(NullLocator())
        title, quantity = titles[kind]
        label(ax, x=("players N", ""), y=(quantity, ""), title=title)
        line = "dashed: N^(−1/max(d, 2))" if kind == "wasserstein" else "line: exact"
        ax.text(0.03, 0.04, line, transform=ax.transAxes, fontsize=9)
    legends(*axes)
    return figure


def _rate_words(kind: str) -> dict[str, Headline]:
    what = {
        "coupling": "coupling error E[mean |X − Y|²]^½ at T",
        "crowd": "error of the crowd's mean E[|X̄ − m|²]^½ at T",
        "wasserstein": "W₁ between the players and an independent sample of the limit, at T",
    }[kind]
    shape = "d × law_players" if kind == "wasserstein" else "d × players"
    return {
        f"{kind}_exponent": Headline(
            f"fitted b of N^b: {what}",
            "1",
            shape="d",
            optional=True,
            published={"coupling": "Sznitman 1991, rate", "wasserstein": "Fournier & Guillin 2015, rate"}.get(kind, ""),
        ),
        f"{kind}_exponent_half_width": Headline(
            "half-width of its 95% interval: of the replications' chance at these sizes, not of N → ∞",
            "1",
            shape="d",
            optional=True,
        ),
        f"{kind}_error": Headline(what, shape=shape),
        f"{kind}_error_half_width": Headline("half-width of its 95% interval over replications", shape=shape),
    }


def memory(config: PropagationConfig) -> dict[str, float]:
    """Players and their copies of every replication, and all distances between two samples."""
    size, d = max(config.players, default=0), max(config.dimensions, default=1)
    pairs = max(config.law_players, default=0) ** 2 if d > 1 else 0
    return {
        "players, replications, dimensions": 4.0 * 2 * size * config.replications * d,
        "law_players": 8.0 * pairs,
    }


STUDY = Study(
    name="propagation-of-chaos",
    source="Carmona, Fouque & Sun (2015); Sznitman (1991), Topics in propagation of chaos; Fournier & Guillin (2015)",
    shows="coupling and statistics of N players near the limit as N^{-1/2} in every dimension, their raw law does not",
    config=PropagationConfig,
    run=run,
    memory=memory,
    verify=recompute,
    presets={
        "quick": {
            "players": (10, 100, 1_000, 10_000),
            "law_players": (16, 64, 256),
            "replications": 32,
            "law_replications": 12,
            "steps": 20,
        },
        "paper": {"law_players": (16, 64, 256, 1024, 2048)},
    },
    minutes={"quick": 1.0, "paper": 10.0},
    headline={
        **_rate_words("coupling"),
        **_rate_words("crowd"),
        **_rate_words("wasserstein"),
        "coupling_error_exact": Headline("coupling error of the scheme, exact", shape="d × players"),
        "crowd_error_exact": Headline("error of the crowd's mean of the scheme, exact", shape="d × players"),
        "wasserstein_exponent_limit": Headline(
            "b for N → ∞: −1/2 for d = 1, 2 (up to logarithms), −1/d beyond", "1", shape="d"
        ),
    },
    example="diffgames run propagation-of-chaos --set dimensions=[1,2,3,5]",
    published=(
        "rates: −1/2 for the coupling (Sznitman), −1/max(d, 2) for the empirical law "
        "(Fournier & Guillin, up to logarithms for d = 2)"
    ),
    figures={
        "rates": "left and middle: one slope, −1/2, in every dimension; right: the larger d, the slower",
    },
)
