"""The N-player mean–variance portfolio game: equilibrium in closed form, its condition, and what deviators gain.

Guo, Li & Zhang (arXiv 2508.01929), Section 7. C_ij = M_ij = −theta_i phi_j for j ≠ i, C_ii = own, M_ii = mean_own.
Self-excluded benchmark: own = mean_own = 1, phi = 1/(N−1); self-included: own = 1 − theta/N, phi = 1/N. The market is
given (b, Sigma, jumps) or calibrated from a CSV of prices.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.portfolio import AssetJump, Market, PortfolioEquilibrium, PortfolioGame, Table
from diffgames.games.price_calibration import Prices, calibrate, condition_note, read_prices
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.studies.context import RunContext
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.portfolio_deviator import PortfolioBudget, certify_portfolio

Numbers = tuple[float, ...]
PerPlayer = float | tuple[float, ...]
OVER_TIME = "one more list: its values at equal intervals from 0 to T, linear in between"


@dataclass(frozen=True, kw_only=True)
class PortfolioConfig:
    """Players and market; a number stands for the same for all."""

    theta: Annotated[PerPlayer, Parameter("weight of the others in a player's eyes", shape="scalar or players")] = (
        0.3,
        0.5,
        0.7,
    )
    phi: Annotated[PerPlayer, Parameter("weight of a player in the others' eyes", shape="scalar or players")] = 0.5
    gamma: Annotated[PerPlayer, Parameter("risk aversion", "1/wealth", shape="scalar or players")] = (1.0, 2.0, 3.0)
    own: Annotated[PerPlayer, Parameter("c_i = C_ii, own wealth in the variance", shape="scalar or players")] = 1.0
    mean_own: Annotated[PerPlayer, Parameter("M_ii, own wealth in the mean", shape="scalar or players")] = 1.0
    b: Annotated[
        Numbers | tuple[Numbers, ...],
        Parameter(f"excess return over r; {OVER_TIME}", "1/year", shape="assets, or times x assets"),
    ] = (0.06, 0.04)
    Sigma: Annotated[
        tuple[Numbers, ...] | tuple[tuple[Numbers, ...], ...],
        Parameter(
            f"covariance of the diffusion; {OVER_TIME}", "1/year", shape="assets x assets, or times x assets x assets"
        ),
    ] = ((0.04, 0.01), (0.01, 0.09))
    jumps: Annotated[
        tuple[dict[str, float | tuple[float, ...]], ...],
        Parameter('{"rate": per year, "size": relative jump of each asset} each', shape="jumps"),
    ] = ({"rate": 0.5, "size": (-0.1, -0.05)},)
    r: Annotated[
        float | Numbers,
        Parameter(f"risk-free rate; {OVER_TIME}", "1/year", shape="scalar, or times", plausible=(-0.05, 0.5)),
    ] = 0.02
    T: Annotated[float, Parameter("horizon", "years", minimum=1e-6)] = 1.0
    x0: Annotated[PerPlayer, Parameter("initial wealth", "wealth", shape="scalar or players")] = 1.0
    prices: Annotated[str | None, Parameter("CSV of prices that replaces b, Sigma and jumps")] = None
    periods_per_year: Annotated[float, Parameter("rows of `prices` per year", "1/year", minimum=1e-6)] = 252.0
    jump_threshold: Annotated[float, Parameter("returns beyond are jumps", "robust deviations", minimum=1e-6)] = 5.0
    sweeps: Annotated[int, Parameter("best responses in turn", "sweeps", minimum=1)] = 40
    deviator_updates: Annotated[int, Parameter("of each of two deviators", "updates", minimum=1)] = 200
    certificate_paths: Annotated[int, Parameter("held-out paths per interval", "paths", minimum=10)] = 40_000
    steps: Annotated[int, Parameter("Euler steps of the simulated market", "steps", minimum=2)] = 100


def _prices(config: PortfolioConfig) -> Prices | None:
    """The file of prices, where there is one."""
    if config.prices is None:
        return None
    return read_prices(Path(config.prices), periods_per_year=config.periods_per_year)


def market_of(config: PortfolioConfig) -> Market:
    """The market given, or calibrated."""
    if (prices := _prices(config)) is not None:
        return calibrate(
            prices.table,
            names=prices.names,
            periods_per_year=config.periods_per_year,
            rate=_mean_rate(config, config.T),
            threshold=config.jump_threshold,
        )
    laws = []
    for jump in config.jumps:
        if set(jump) != {"rate", "size"} or isinstance(jump["rate"], tuple) or not isinstance(jump["size"], tuple):
            raise InvalidInput("jumps", jump, '{"rate": number, "size": [one number per asset]}')
        laws.append(AssetJump(float(jump["rate"]), np.asarray(jump["size"], float)))
    return Market(_timed(config, "b", 1), _timed(config, "Sigma", 2), tuple(laws))


def _timed(config: PortfolioConfig, key: str, axes: int) -> np.ndarray | Table:
    """A coefficient of so many axes, or its table over time."""
    given = getattr(config, key)
    try:
        values = np.asarray(given, float)
    except ValueError as error:
        raise InvalidInput(key, given, "rows of one length") from error
    if values.ndim not in (axes, axes + 1) or not values.size:
        raise InvalidInput(key, given, f"{axes} levels of lists, none empty, or {OVER_TIME}")
    return values if values.ndim == axes else Table(values, config.T)


def _mean_rate(config: PortfolioConfig, t: float) -> float:
    """r on average from 0 to t."""
    rate = _timed(config, "r", 0)
    if not isinstance(rate, Table):
        return float(rate)
    times = np.unique(np.append(rate.times[rate.times < t], [0.0, t]))
    return float(np.trapezoid([rate(one) for one in times], times) / t) if t > 0 else float(rate(0.0))


def game_of(config: PortfolioConfig) -> PortfolioGame:
    """The game; numbers are broadcast over the players, whose number is that of the longest list."""
    given = {key: np.atleast_1d(np.asarray(getattr(config, key), float)) for key in
             ("theta", "phi", "gamma", "own", "mean_own", "x0")}  # fmt: skip
    n = max(value.size for value in given.values())
    for key, value in given.items():
        if value.size not in (1, n):
            raise InvalidInput(key, value.tolist(), f"one number, or one for each of {n} players")
    full = {key: np.broadcast_to(value, n).copy() for key, value in given.items()}
    _mean_rate(config, config.T)  # refuses a table that is none before anything is computed
    return PortfolioGame(market=market_of(config), start=full.pop("x0"), horizon=config.T, **full)


def run(config: PortfolioConfig, context: RunContext) -> StudyResult:
    """Solve, iterate best responses, certify by trained deviators."""
    game = game_of(config)
    total = game.existence_sum()
    failure = None
    if not total < 1.0:
        failure = RunFailed(
            f"Theorem 7.1's condition fails: the sum of theta phi/(own + theta phi) is {total:.6g}, not below 1: "
            "the potential is not concave",
            "lower theta or phi, or raise own",
        )
        return StudyResult(headline={"existence_sum": total}, failure=failure)
    equilibrium = game.equilibrium()
    context.progress.update("certificate", 0.0)
    certificate = _certify(config, equilibrium, context)
    history = game.best_responses(config.sweeps)
    return StudyResult(
        headline={
            "z": equilibrium.z,
            "existence_sum": total,
            "value": equilibrium.value(),
            "gap_per_player": [entry.gap for entry in certificate.entries],
        },
        certificate=certificate,
        warnings=[*_price_warnings(config, equilibrium), *_warnings(equilibrium, certificate, history)],
        arrays={"equilibrium": _dataset(config, equilibrium, history)},
        profile={"z": equilibrium.z},
        figures={"strategies": lambda: _figure(_dataset(config, equilibrium, history), equilibrium, history)},
    )


def verify(config: PortfolioConfig, profile: dict[str, Any], context: RunContext) -> Certificate:
    """The certificate of the stored z, recomputed."""
    return _certify(config, PortfolioEquilibrium(game_of(config), np.asarray(profile["z"], float)), context)


def _certify(config: PortfolioConfig, equilibrium: PortfolioEquilibrium, context: RunContext) -> Certificate:
    budget = PortfolioBudget(updates=config.deviator_updates, evaluation=config.certificate_paths, steps=config.steps)
    return certify_portfolio(equilibrium, jax.random.fold_in(context.key, 1), budget)


def _price_warnings(config: PortfolioConfig, equilibrium: PortfolioEquilibrium) -> list[str]:
    """What is to be known of the file of prices."""
    if (prices := _prices(config)) is None:
        return []
    return [*prices.notes, *condition_note(equilibrium.game.market.total_at(0.0), prices.names)]


def _warnings(equilibrium: PortfolioEquilibrium, certificate: Certificate, history: np.ndarray) -> list[str]:
    notes = []
    values = equilibrium.value()
    for entry, value in zip(certificate.entries, values, strict=True):
        if abs(entry.value - value) > 0.02 * float(np.abs(values).max()):
            notes.append(f"{entry.label}: simulated value {entry.value:.5g}, closed form {value:.5g}; use more steps")
    left = float(np.abs(history[-1] - equilibrium.z).max())
    if left > 1e-6 * float(np.abs(equilibrium.z).max()):
        notes.append(f"best responses in turn are still {left:.2g} away from z after {len(history) - 1} sweeps")
    return notes


def _dataset(config: PortfolioConfig, equilibrium: PortfolioEquilibrium, history: np.ndarray) -> xr.Dataset:
    game = equilibrium.game
    times = np.linspace(0.0, game.horizon, 101)
    mean = np.stack([game.start + equilibrium.z * _mean_zeta(equilibrium, t) for t in times])
    held = np.stack([equilibrium.holdings(t, wealth) for t, wealth in zip(times, mean, strict=True)])
    prices = _prices(config)
    assets = prices.names if prices else tuple(f"asset {n + 1}" for n in range(held.shape[2]))
    money = np.exp([_mean_rate(config, t) * t for t in times])[:, None, None]
    return xr.Dataset(
        {
            "mean_wealth": (("time", "player"), mean, {"units": "discounted wealth"}),
            "mean_holdings": (("time", "player", "asset"), held, {"units": "discounted wealth"}),
            "mean_holdings_undiscounted": (("time", "player", "asset"), held * money, {"units": "wealth"}),
            "best_response_z": (("sweep", "player"), history, {"units": "wealth"}),
        },
        coords={"time": times, "asset": list(assets)},
    )


def _mean_zeta(equilibrium: PortfolioEquilibrium, t: float) -> float:
    """E ζ(t) = e^{∫₀ᵀϑ} (1 − e^{−∫₀ᵗϑ})."""
    if t == 0.0:
        return 0.0
    return (1.0 + equilibrium.growth()) * -float(np.expm1(-equilibrium.game.market.slope(0.0, t)))


def _figure(data: xr.Dataset, equilibrium: PortfolioEquilibrium, history: np.ndarray) -> Figure:
    figure, axes = new_figure(columns=3, width=4.6, height=3.8)
    alone = equilibrium.game.needs() / equilibrium.game.own
    for i in range(equilibrium.game.player_count):
        colour = COLOURS[i % len(COLOURS)]
        axes[0].plot(data["time"], data["mean_wealth"][:, i], color=colour, label=f"player {i + 1}")
        axes[1].plot(data["time"], data["mean_holdings"][:, i].sum("asset"), color=colour)
        axes[2].plot(history[:, i], ".-", color=colour, ms=4)
        axes[2].axhline(equilibrium.z[i], color=colour, ls="--", lw=0.9)
        axes[2].plot(len(history) - 1, alone[i], "x", color=colour)
    label(axes[0], x=("time", "years"), y=("mean wealth", "discounted"), title="Equilibrium wealth")
    label(
        axes[1], x=("time", "years"), y=("mean risky holdings, all assets", "discounted"), title="Equilibrium holdings"
    )
    label(
        axes[2], x=("sweep of best responses", ""), y=("z", "wealth"), title="Best responses; dashed: z, cross: alone"
    )
    legends(axes[0])
    return figure


def memory(config: PortfolioConfig) -> dict[str, float]:
    """Held-out values of every path, and every sweep's exposures."""
    return {"certificate_paths": 4.0 * 4 * config.certificate_paths, "sweeps": 8.0 * 2 * config.sweeps}


STUDY = Study(
    name="portfolio",
    source="Guo, Li & Zhang, arXiv 2508.01929, Section 7, Theorem 7.1",
    shows="investors who compare themselves with one another hold more risk than alone, as long as the condition holds",
    config=PortfolioConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"deviator_updates": 600, "certificate_paths": 200_000, "steps": 250}},
    minutes={"quick": 0.5, "paper": 3.0},
    headline={
        "z": Headline("equilibrium exposure: X_i(T) = x_i + z_i ζ(T)", "wealth", shape="players"),
        "existence_sum": Headline("sum of theta phi/(own + theta phi); below 1 there is an equilibrium"),
        "value": Headline(
            "every player's objective at the equilibrium, maximised",
            "discounted wealth",
            shape="players",
            normalisation="E[Σ M_ij X_j] − ½ gamma_i Var(Σ C_ij X_j), not rescaled",
        ),
        "gap_per_player": Headline(
            "what a trained deviator gains, at least zero", "discounted wealth", shape="players"
        ),
    },
    example="diffgames run portfolio --set theta=[0.3,0.6] --set gamma=[1,2] --set phi=1",
    published="the equilibrium as equations (7.14)–(7.15) and its condition, existence_sum below 1, no numbers",
    figures={
        "strategies": "holdings exceed those of investors alone, the more so the nearer the condition's bound",
    },
)
