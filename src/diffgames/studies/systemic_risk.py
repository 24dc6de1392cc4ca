"""Inter-bank lending: closed form, engine, simulated banks and the limit agree; who defaults, and when all do.

The game and its closed form are in `games.interbank`. The study compares, for N banks:

- η(0), μ(0) of the closed form with those of the linear-quadratic engine, which knows the game's matrices alone;
- the expected cost of a bank with simulated banks and with a simulated population of the limit;
- the probability that the mean reserve reaches the default level (which no lending changes) with simulated paths, and
  the number of banks that reach it, with lending and without: lending makes single defaults rarer and joint ones not;
- what a bank of N gains by deviating from the strategies of the limit, exactly, against N.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.interbank import MEAN_FIELD, InterBankGame, Lending
from diffgames.simulation import Population, simulate, simulate_extrapolated, simulate_population
from diffgames.simulation.first_passage import first_passage
from diffgames.solvers.solve import solve
from diffgames.studies.context import RunContext
from diffgames.studies.rates import fitted_exponent
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.studies.systemic_risk_figures import defaults_figure, gaps_figure, lending_figure, paths_figure
from diffgames.verification.certificate import Certificate
from diffgames.verification.linear_quadratic_response import exact_gaps
from diffgames.verification.path_deviator import PathSearch
from diffgames.verification.verify import Verification, verify

BLOCK = 4096
LIMIT = "mean field"


@dataclass(frozen=True)
class LendingParameters:
    """The letters of `games.interbank`; the loading ρ of the common noise is the study's own."""

    a: Annotated[float, Parameter("rate of mean reversion between banks", "1/year", minimum=0.0)] = 0.1
    q: Annotated[float, Parameter("incentive to borrow when below the mean, q² ≤ epsilon", minimum=0.0)] = 0.1
    c: Annotated[float, Parameter("terminal weight of the distance to the mean", minimum=0.0)] = 0.5
    epsilon: Annotated[float, Parameter("running weight of the distance to the mean", minimum=0.0)] = 0.5
    sigma: Annotated[float, Parameter("volatility of log-reserves", "1/√year", minimum=0.0)] = 1.0
    T: Annotated[float, Parameter("horizon", "years", minimum=1e-9)] = 1.0
    initial_deviation: Annotated[float, Parameter("deviation of reserves at the start", minimum=0.0)] = 0.0

    def game(self, banks: int = MEAN_FIELD, **changes: Any) -> InterBankGame:
        """The game of `banks` banks, the limit by default; `changes` are other letters, as `rho`."""
        names = ("a", "q", "c", "epsilon", "sigma", "initial_deviation")
        given = {name: getattr(self, name) for name in names} | {"horizon": self.T, "rho": 0.0}
        return InterBankGame(banks=banks, **(given | changes))


@dataclass(frozen=True)
class SystemicRiskConfig(LendingParameters):
    """The banks, the default level, and how much is simulated."""

    rho: Annotated[float, Parameter("loading of the common noise", minimum=-1.0, maximum=1.0)] = 0.2
    banks: Annotated[int, Parameter("banks simulated and certified", "banks", minimum=2)] = 10
    banks_compared: Annotated[
        tuple[int, ...], Parameter("N of the closed form", "banks", shape="compared sizes", minimum=2)
    ] = (2, 5, 10, 24, 50)
    gap_banks: Annotated[
        tuple[int, ...], Parameter("N at which the limit's strategies are tried", "banks", shape="gap sizes", minimum=2)
    ] = (2, 4, 8, 16)
    default_level: Annotated[float, Parameter("log-reserve at which a bank defaults, below 0", maximum=0.0)] = -0.7
    paths: Annotated[int, Parameter("simulated paths of all banks", "paths", minimum=2)] = 16_384
    steps: Annotated[int, Parameter("time steps of a path", "steps", minimum=1)] = 100
    population: Annotated[int, Parameter("banks of the simulated limit", "banks", minimum=1)] = 100_000
    deviator_updates: Annotated[
        int, Parameter("updates of the trained deviator; 0 for the exact certificate alone", "updates")
    ] = 150
    deviator_paths: Annotated[int, Parameter("paths of an update, even", "paths", minimum=2)] = 256


def run(config: SystemicRiskConfig, context: RunContext) -> StudyResult:
    """Everything in float64."""
    if config.deviator_updates < 0:
        raise InvalidInput("deviator_updates", config.deviator_updates, "an integer ≥ 0")
    with jax.enable_x64(True):
        interbank(config, config.banks)  # what is wrong in the parameters is told before anything is computed
        context.progress.update("closed forms", 0.0)
        keys = jax.random.split(context.key, 4)
        closed, engine = _closed_forms(config), _engine(config)
        context.progress.update("simulating", 0.0)
        simulated = context.stage("paths", lambda: simulate_banks(config, keys[0], context))
        context.progress.update("simulating the limit", 0.0)
        limit = context.stage("limit", lambda: _limit(config, keys[1]))
        context.progress.update("gaps of the limit's strategies", 0.0)
        gaps = context.stage("gaps", lambda: limit_gaps(config))
        found = _verify(config, keys[2], context)
    return _result(config, closed, engine, simulated, limit, gaps, found)


def recompute(config: SystemicRiskConfig, profile: Lending, context: RunContext) -> Verification:
    """The certificate of the stored profile, recomputed."""
    with jax.enable_x64(True):
        return _verify(config, jax.random.split(context.key, 4)[2], context, profile)


def interbank(config: SystemicRiskConfig, banks: int) -> InterBankGame:
    """The game of `banks` banks; 0 is the limit."""
    return config.game(banks, rho=config.rho)


def limit_population(game: InterBankGame) -> Population:
    """The mean-field limit as a population with common noise."""
    rho = game.rho
    return Population(
        drift=lambda t, x, m, u: game.a * (m - x) + u,
        diffusion=lambda t, x, m, u: jnp.full((1, 1), game.sigma * np.sqrt(1.0 - rho**2), x.dtype),
        common=lambda t, x, m, u: jnp.full((1, 1), game.sigma * rho, x.dtype),
        running_cost=lambda t, x, m, u: (0.5 * u**2 - game.q * u * (m - x) + 0.5 * game.epsilon * (m - x) ** 2)[0],
        terminal_cost=lambda x, m: 0.5 * game.c * ((m - x) ** 2)[0],
        statistic=lambda x: x,
        initial=lambda key: game.initial_deviation * jax.random.normal(key, (1,), jnp.result_type(float)),
        horizon=game.horizon,
    )


class LimitLending(eqx.Module):
    """α = rate(t) (M − x)."""

    game: InterBankGame

    def __call__(self, t, x, m):
        """The rate at which one bank of the limit borrows."""
        return self.game.rate(t).astype(x.dtype) * (m - x)


def simulate_banks(config: SystemicRiskConfig, key: PRNGKeyArray, context: RunContext) -> dict[str, Any]:
    """Costs, defaults and a few paths of N banks, with lending (index 0) and alone (index 1), on the same noise."""
    lending = interbank(config, config.banks)
    alone = replace(config, a=0.0, q=0.0, epsilon=0.0, c=0.0)
    games = [(lending, Lending(lending)), (interbank(alone, config.banks), _NoLending())]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    blocks = [min(BLOCK, config.paths - start) for start in range(0, config.paths, BLOCK)]
    blocks = [block for block in blocks if block >= 2] or [config.paths]
    steps = config.steps + config.steps % 2  # costs are extrapolated from steps of twice the length
    costs, counts, systemic, single, sample = [], [], [], [], []
    for number, block in enumerate(blocks):
        runs = [
            run(game.as_differential(), play, jax.random.fold_in(key, number), paths=block, steps=steps, keep=1)
            for run, (game, play) in zip((simulate_extrapolated, simulate), games, strict=True)
        ]
        states = [np.asarray(run.state) for run in runs]
        step = config.T / steps
        defaults = [first_passage(x, config.default_level, config.sigma, step, rng) for x in states]
        spread = config.sigma * np.sqrt(config.rho**2 + (1 - config.rho**2) / config.banks)
        systemic.append(first_passage(states[0].mean(axis=2), config.default_level, spread, step, rng))
        counts.append(np.stack([default.sum(axis=1) for default in defaults]))
        single.append(np.stack([default.mean(axis=1) for default in defaults]))
        costs.append(np.asarray(runs[0].costs).mean(axis=1))
        sample = sample or [x[0] for x in states]
        context.progress.update("simulating", (number + 1) / len(blocks))
    number = np.concatenate(counts, axis=1)
    share = np.stack([np.bincount(row, minlength=config.banks + 1) / row.size for row in number])
    cost, joint, one = np.concatenate(costs), np.concatenate(systemic), np.concatenate(single, axis=1)
    return {
        "cost": _mean(cost),
        "systemic": _mean(joint.astype(float)),
        "default": [_mean(row) for row in one],
        "count": share,
        "sample": np.stack(sample),
    }


def limit_gaps(config: SystemicRiskConfig) -> np.ndarray:
    """Per N of `gap_banks`, what one bank gains by deviating when all play the limit's strategies: exact."""
    limit = Lending(interbank(config, MEAN_FIELD))
    games = [interbank(config, banks).as_differential() for banks in config.gap_banks]
    return np.asarray([exact_gaps(game, limit, players=[0]).gap for game in games])


class _NoLending(eqx.Module):
    def __call__(self, t, x, i):
        return tuple(jnp.zeros((1,), x.dtype) for _ in range(x.shape[0]))


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean of independent values and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def _closed_forms(config: SystemicRiskConfig) -> dict[str, dict[str, Any]]:
    """Per N and for the limit: η(0), μ(0), the probability of a systemic event, and η over time."""
    time = jnp.linspace(0.0, config.T, 101)
    sizes = {**{str(n): n for n in sorted({*config.banks_compared, config.banks})}, LIMIT: MEAN_FIELD}
    found: dict[str, dict[str, Any]] = {}
    for name, banks in sizes.items():
        game = interbank(config, banks)
        eta = np.asarray(game.eta(time))
        systemic = game.systemic_probability(config.default_level)
        found[name] = {"eta": eta, "mu": float(game.mu(time[0])), "systemic": systemic}
    return found


def _engine(config: SystemicRiskConfig) -> tuple[float, float]:
    """η(0) and μ(0) of N banks by the linear-quadratic engine."""
    solution = solve(interbank(config, config.banks).as_linear_quadratic())
    value = np.asarray(solution.value(0.0))[0, 0]  # ½η (x̄ − x)² + μ: the coefficient of x₁² is ½η (1 − 1/N)²
    return float(2.0 * value[0, 0] / (1.0 - 1.0 / config.banks) ** 2), float(value[-1, -1])


def _limit(config: SystemicRiskConfig, key: PRNGKeyArray) -> dict[str, Any]:
    """Mean cost of the simulated limit, extrapolated from steps h and 2h on noise of their own: 2 J_h − J_2h."""
    game = interbank(config, MEAN_FIELD)
    half = (config.steps + 1) // 2
    fine, coarse = (
        simulate_population(limit_population(game), LimitLending(game), own, players=config.population, steps=steps)
        for own, steps in zip(jax.random.split(key), (2 * half, half), strict=True)
    )
    error = np.hypot(2 * float(fine.standard_error), float(coarse.standard_error))
    return {"cost": float(2 * fine.cost - coarse.cost), "error": float(error)}


def _verify(
    config: SystemicRiskConfig, key: PRNGKeyArray, context: RunContext, profile: Lending | None = None
) -> Verification:
    """All banks are alike: the first is certified."""
    game = interbank(config, config.banks)
    search = PathSearch(
        updates=max(config.deviator_updates, 1),
        paths=config.deviator_paths,
        steps=max(config.steps // 4, 1),
        validation_paths=2048,
        test_paths=8192,
        evaluations=3,
    )
    return verify(
        game.as_differential(),
        profile if profile is not None else Lending(game),
        key,
        how="both" if config.deviator_updates else "exact",
        players=[0],
        search=search,
        progress=lambda label, done, figures: context.progress.update(
            "certificate", done / max(config.deviator_updates, 1), **figures
        ),
    )


def _result(
    config: SystemicRiskConfig,
    closed: Mapping[str, Mapping[str, Any]],
    engine: tuple[float, float],
    simulated: Mapping[str, Any],
    limit: Mapping[str, Any],
    gaps: np.ndarray,
    found: Verification,
) -> StudyResult:
    certificate: Certificate = found.certificate
    game = interbank(config, config.banks)
    exponent, _ = fitted_exponent(np.asarray(config.gap_banks, float), np.asarray(gaps)[:, None])
    datasets = {
        "eta": xr.Dataset(
            {"eta": (("banks", "time"), np.stack([row["eta"] for row in closed.values()]))},
            coords={"banks": list(closed), "time": np.linspace(0.0, config.T, 101)},
        ),
        "defaults": xr.Dataset(
            {"share": (("lending", "defaults"), np.asarray(simulated["count"]))},
            coords={"lending": ["with lending", "alone"], "defaults": np.arange(config.banks + 1)},
        ),
        "paths": xr.Dataset(
            {"reserve": (("lending", "time", "bank"), np.asarray(simulated["sample"]))},
            coords={
                "lending": ["with lending", "alone"],
                "time": np.linspace(0.0, config.T, np.asarray(simulated["sample"]).shape[1]),
            },
        ),
        "gaps": xr.Dataset({"gap": ("banks", np.asarray(gaps))}, coords={"banks": list(config.gap_banks)}),
    }
    with jax.enable_x64(True):
        value, limit_value = float(game.value()), float(interbank(config, MEAN_FIELD).value())
    (cost, cost_error), (joint, joint_error) = simulated["cost"], simulated["systemic"]
    (default, default_error), (alone, alone_error) = simulated["default"]
    return StudyResult(
        headline={
            "eta0": {name: row["eta"][0] for name, row in closed.items()},
            "mu0": {name: row["mu"] for name, row in closed.items()},
            "engine_eta0": engine[0],
            "engine_mu0": engine[1],
            "cost": value,
            "simulated_cost": cost,
            "simulated_cost_error": cost_error,
            "limit_cost": limit_value,
            "simulated_limit_cost": limit["cost"],
            "simulated_limit_cost_error": limit["error"],
            "systemic_probability": {name: row["systemic"] for name, row in closed.items()},
            "simulated_systemic_probability": joint,
            "simulated_systemic_probability_error": joint_error,
            "default_probability": default,
            "default_probability_error": default_error,
            "default_probability_alone": alone,
            "default_probability_alone_error": alone_error,
            "defaults": np.asarray(simulated["count"]),
            "limit_gap": np.asarray(gaps),
            "limit_gap_exponent": exponent,
        },
        certificate=found,
        arrays=datasets,
        profile=Lending(game),
        figures={
            "lending": lending_figure(datasets["eta"]),
            "paths": paths_figure(datasets["paths"], config.default_level),
            "defaults": defaults_figure(datasets["defaults"], closed, (joint, joint_error), config.banks),
            "limit_gap": gaps_figure(datasets["gaps"], exponent),
        },
        warnings=[] if certificate.gap < 1e-6 * abs(value) else [f"a bank can gain {certificate.gap:.3g}"],
    )


def memory(config: SystemicRiskConfig) -> dict[str, float]:
    """Two kept simulations, the values of all banks at the engine's 257 times, one bank's of the gaps, the limit."""
    block, quarter = min(BLOCK, config.paths), max(config.steps // 4, 1)
    largest = max(config.gap_banks, default=0)
    return {
        "paths, steps, banks": 8.0 * 2 * block * config.steps * config.banks,
        "banks": 8.0 * 257 * config.banks**3,
        "gap_banks": 8.0 * largest**3,
        "population": 8.0 * 3 * config.population,
        "deviator_paths, steps, banks": 8.0 * config.deviator_paths * quarter * config.banks,
    }


STUDY = Study(
    name="systemic-risk",
    source="Carmona, Fouque & Sun (2015), Mean field games and systemic risk, Commun. Math. Sci. 13(4), 911-933",
    shows="lending to the mean makes single defaults rarer, but leaves the risk that all default together as it was",
    config=SystemicRiskConfig,
    run=run,
    memory=memory,
    verify=recompute,
    presets={
        "quick": {"paths": 4096, "steps": 50, "population": 50_000, "gap_banks": (2, 4, 8), "deviator_updates": 60},
        "paper": {"paths": 100_000, "steps": 200, "population": 1_000_000, "gap_banks": (2, 4, 8, 16, 24)},
    },
    minutes={"quick": 1.0, "paper": 10.0},
    headline={
        "eta0": Headline("η(0), closed form", "1/year", shape="N and the limit", normalisation="½ η (x̄ − x)²"),
        "mu0": Headline("μ(0), closed form: the cost from equal reserves", shape="N and the limit"),
        "engine_eta0": Headline(
            "η(0) of `banks` banks by the linear-quadratic engine", "1/year", normalisation="½ η (x̄ − x)²"
        ),
        "engine_mu0": Headline("μ(0) of `banks` banks by the linear-quadratic engine"),
        "cost": Headline("expected cost of a bank at equilibrium, closed form"),
        "simulated_cost": Headline("its mean over simulated paths and banks"),
        "simulated_cost_error": Headline("standard error of that mean"),
        "limit_cost": Headline("expected cost of a bank in the mean-field limit, closed form"),
        "simulated_limit_cost": Headline("its mean over a simulated population"),
        "simulated_limit_cost_error": Headline("standard error of that mean"),
        "systemic_probability": Headline(
            "P(mean reserve reaches default_level by T), closed form", "1", shape="N and the limit"
        ),
        "simulated_systemic_probability": Headline("the same for `banks` simulated banks", "1"),
        "simulated_systemic_probability_error": Headline("its standard error", "1"),
        "default_probability": Headline("P(a bank reaches default_level by T), with lending", "1"),
        "default_probability_error": Headline("its standard error", "1"),
        "default_probability_alone": Headline("the same without any lending (a = 0, α = 0)", "1"),
        "default_probability_alone_error": Headline("its standard error", "1"),
        "defaults": Headline("P(that many banks default), with lending and without", "1", shape="2 × (banks + 1)"),
        "limit_gap": Headline(
            "gain of one bank that deviates from the limit's strategies, exact, per N", shape="gap_banks"
        ),
        "limit_gap_exponent": Headline("fitted b of limit_gap ∝ N^b", "1", optional=True),
    },
    example="diffgames run systemic-risk --set banks=20 --set rho=0.5",
    published="its loss distributions and paths as figures; their numbers are not at hand",
    figures={
        "defaults": "with lending single defaults are rarer, and that all default together is as likely",
        "paths": "with lending reserves stay together",
        "lending": "the rate at which banks lend to the mean",
        "limit_gap": "what a bank gains against the limit's strategies falls with N",
    },
)
