"""A linear-quadratic game of the user's own as a study (`diffgames run FILE.py:GAME`): solve, simulate, certify.

A game without end is certified and simulated on [0, `horizon`] with its stationary values as terminal costs: who could
gain there by deviating could gain in the game itself. Rates that the values modulate are those of the solution.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from diffgames.errors import InvalidInput
from diffgames.games.differential import GaussianLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.numerics.precision import in_double
from diffgames.plotting import COLOURS, band, label, legends, new_figure
from diffgames.simulation import simulate_extrapolated
from diffgames.solvers import LinearQuadraticSolution, solve
from diffgames.solvers.base import Status
from diffgames.solvers.feedback import Track
from diffgames.studies.context import RunContext
from diffgames.studies.linear_quadratic_words import escaped, over_time
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.verification.linear_response import matrix_gaps
from diffgames.verification.path_deviator import PathSearch
from diffgames.verification.verify import verify


@dataclass(frozen=True)
class OwnQuadraticConfig:
    """Where the game starts, and how it is simulated and certified."""

    x0: Annotated[tuple[float, ...], Parameter("state at time 0; empty: ones", shape="n")] = ()
    deviation: Annotated[float, Parameter("standard deviation of each component of it", minimum=0.0)] = 0.0
    regime: Annotated[int, Parameter("regime at time 0", minimum=0)] = 0
    horizon: Annotated[float, Parameter("where a game without end is cut to be simulated", "time", minimum=1e-9)] = 10.0
    paths: Annotated[int, Parameter("simulated paths", "paths", minimum=2)] = 4096
    steps: Annotated[int, Parameter("Euler steps of a path (continuous time)", "steps", minimum=1)] = 500
    deviator_updates: Annotated[
        int, Parameter("training of a deviator beside the exact one; 0: none", "updates", minimum=0)
    ] = 0


class FrozenRates(eqx.Module):
    """μ(t) of a game whose generator its values modulate, along its solution."""

    generator: Any
    values: Track

    def __call__(self, t: Any, values: Any) -> Float[Array, "m m"]:
        """The rates at time t, whatever values are tried."""
        return self.generator(t, self.values(t))


def study_of_quadratic_game(game: LinearQuadraticGame, name: str) -> Study:
    """The study that solves, simulates and certifies `game`."""
    players = ", ".join(player.name for player in game.players)
    kind = "discrete" if game.discrete else "continuous"
    return Study(
        name=name,
        source="a linear-quadratic game of the user's own",
        shows=f"the equilibrium of {players} in {kind} time, {game.regime_count} regime(s), {game.size - 1} states",
        config=OwnQuadraticConfig,
        run=lambda config, context: _run(game, config, context),
        verify=lambda config, profile, context: _certify(game, solve(game), profile, config, context),
        presets={"quick": {}, "paper": {"paths": 100_000, "steps": 2000, "deviator_updates": 300}},
        headline={
            "cost": Headline(
                "expected cost from the start", "cost", shape="{player: number}", normalisation="x'Px (no ½)"
            ),
            "average_cost": Headline(
                "where neither end nor discount is", "cost/time", shape="{player: number}", optional=True
            ),
            "growth": Headline(
                "of second moments in the closed loop without end: it is unstable where this is positive",
                "1/time",
                optional=True,
            ),
            "equilibria": Headline(
                meaning="how many stabilising stationary equilibria there are, all listed on a scalar state; "
                "null: others may exist than this one, which finite horizons lead to from the terminal cost",
                optional=True,
            ),
            "gain0": Headline("gains on (x, 1) at t = 0", shape="{player: regimes × k × (n + 1)}"),
            "simulated_cost": Headline(
                "mean over simulated paths up to the end, the step's error extrapolated",
                "cost",
                shape="{player: number}",
                optional=True,
            ),
            "simulated_cost_error": Headline(
                "standard error of that mean", "cost", shape="{player: number}", optional=True
            ),
            "escape_time": Headline("first time-to-go at which values escape", "time", optional=True),
        },
        example="diffgames run FILE.py:GAME --set x0=[1,0] paths=20000 deviator_updates=100",
    )


@in_double
def _run(game: LinearQuadraticGame, config: OwnQuadraticConfig, context: RunContext) -> StudyResult:
    law = _start(game, config)
    context.progress.update("solving", 0.0)
    solution = solve(game, throw=False)
    if solution.outcome.status == Status.ESCAPED:
        time, series = (np.asarray(part) for part in (solution.profile.gain.time, solution.profile.gain.value))
        exist = np.isfinite(series).all(axis=(1, 2, 3))
        figure = gains_figure(game, time[exist], series[exist])
        return escaped(float(solution.outcome.escape_time), float(game.horizon), figures={"gains": figure})
    if (failure := solution.outcome.failure) is not None:
        raise failure
    context.log(repr(solution))
    second = _second(game, law, config.regime)
    names = [player.name for player in game.players]
    cost = np.einsum("iab,piab->p", second, np.asarray(solution.value(0.0)))
    gains = np.asarray(solution.profile.gain(0.0))
    headline: dict[str, Any] = {
        "cost": dict(zip(names, cost.tolist(), strict=True)),
        "gain0": {name: gains[:, place].tolist() for name, place in zip(names, game.control_slices, strict=True)},
        "growth": solution.growth,
        "equilibria": None if solution.equilibria is None else len(solution.equilibria),
        **dict.fromkeys(("average_cost", "simulated_cost", "simulated_cost_error", "escape_time")),
    }
    if solution.average_cost is not None and not np.any(np.asarray(game.discount)):
        headline["average_cost"] = dict(zip(names, np.asarray(solution.average_cost).tolist(), strict=True))
    finite = _finite(game, solution, config)
    context.progress.update("simulating", 0.3)
    moments, simulated = _moments(finite, solution, config, law, context)
    headline |= simulated
    time = np.asarray(solution.profile.gain.time)
    series = np.asarray(solution.profile.gain.value)
    arrays = {"gains": over_time({"gain": series}, time)}
    figures: dict[str, Any] = {}
    if time.size > 1:
        figures["gains"] = lambda: gains_figure(game, time, series)
    if moments is not None:
        arrays["states"] = over_time({"mean": moments[1], "deviation": moments[2]}, moments[0])
        figures["states"] = lambda: states_figure(game, *moments)
    return StudyResult(
        headline=headline,
        certificate=_certify(game, solution, solution.profile, config, context),
        arrays=arrays,
        profile=solution.profile,
        figures=figures,
    )


def _start(game: LinearQuadraticGame, config: OwnQuadraticConfig) -> GaussianLaw:
    n = game.size - 1
    if config.x0 and len(config.x0) != n:
        blocks = ", ".join(f"{name}[{size}]" for name, size in game.blocks[:-1])
        raise InvalidInput("x0", config.x0, f"{n} numbers: {blocks}")
    if config.regime >= game.regime_count:
        raise InvalidInput("regime", config.regime, f"an index below {game.regime_count}")
    mean = jnp.asarray(config.x0, jnp.float64) if config.x0 else jnp.ones(n)
    return GaussianLaw(mean, config.deviation * jnp.eye(n), config.regime)


def _second(game: LinearQuadraticGame, law: GaussianLaw, regime: int) -> Float[np.ndarray, "m n n"]:
    """E[zzᵀ; I = i] at the start."""
    z = np.append(np.asarray(law.mean), 1.0)
    second = np.zeros((game.regime_count, game.size, game.size))
    second[regime] = np.outer(z, z)
    second[regime, :-1, :-1] += np.asarray(law.factor @ law.factor.T)
    return second


def _finite(
    game: LinearQuadraticGame, solution: LinearQuadraticSolution, config: OwnQuadraticConfig
) -> LinearQuadraticGame:
    """The game with an end, and with rates that depend on time alone."""
    if callable(game.generator):
        game = dataclasses.replace(game, generator=FrozenRates(game.generator, solution.value))
    if not game.endless:
        return game
    players = tuple(
        dataclasses.replace(player, terminal_cost=value)
        for player, value in zip(game.players, solution.value(0.0), strict=True)
    )
    horizon = max(round(config.horizon), 1) if game.discrete else config.horizon
    return dataclasses.replace(game, horizon=horizon, players=players)


def _certify(
    game: LinearQuadraticGame,
    solution: LinearQuadraticSolution,
    profile: Any,
    config: OwnQuadraticConfig,
    context: RunContext,
) -> Any:
    """Exact best responses: read off the game's functions where it has a differential form, else off its matrices."""
    with jax.enable_x64(True):
        finite, law = _finite(game, solution, config), _start(game, config)
        if game.discrete or callable(game.generator):
            return matrix_gaps(finite, profile, jnp.asarray(_second(game, law, config.regime)))
        updates = config.deviator_updates
        return verify(
            finite.as_differential(law),
            profile,
            jax.random.fold_in(context.key, 1),
            how="both" if updates else "exact",
            search=PathSearch(updates=max(updates, 1), steps=64),
            progress=lambda player, done, figures: context.progress.update(
                f"certificate: {player} deviates", done / max(updates, 1), **figures
            ),
        )


Moments = tuple[np.ndarray, np.ndarray, np.ndarray]


def _moments(
    game: LinearQuadraticGame,
    solution: LinearQuadraticSolution,
    config: OwnQuadraticConfig,
    law: GaussianLaw,
    context: RunContext,
) -> tuple[Moments | None, dict[str, Any]]:
    """Times, means and standard deviations of the state (simulated; exact in discrete time), and simulated costs."""
    if game.discrete:
        return _recursion(game, solution, _second(game, law, config.regime)), {}
    if callable(game.generator):
        return None, {}
    paths = simulate_extrapolated(
        game.as_differential(law), solution.profile, context.key, paths=config.paths, steps=config.steps
    )
    names = [player.name for player in game.players]
    figures = {"simulated_cost": paths.cost, "simulated_cost_error": paths.standard_error}
    costs = {key: dict(zip(names, np.asarray(value).tolist(), strict=False)) for key, value in figures.items()}
    return (np.asarray(paths.time), np.asarray(paths.mean), np.asarray(paths.deviation)), costs


def _recursion(game: LinearQuadraticGame, solution: LinearQuadraticSolution, second: np.ndarray) -> Moments:
    """M_j⁺ = Σ_i π_ij J_ij (𝒜_i M_i 𝒜_iᵀ + Σ_k C_ik M_i C_ikᵀ) J_ijᵀ, π = 1 + μ."""
    count, m, n = int(game.horizon), game.regime_count, game.size
    switch = np.broadcast_to(np.eye(n), (m, m, n, n)) if game.switch is None else np.asarray(game.switch)
    seen = [second]
    for t in range(count):
        c, profile = game.coefficients(float(t)), solution.profile
        closed = c.drift + c.input @ profile.gain(float(t)) + c.crowd_input @ profile.crowd_gain(float(t))
        moved = np.einsum("iab,ibc,idc->iad", closed, seen[-1], closed)
        moved = moved + np.einsum("ikab,ibc,ikdc->iad", c.diffusion, seen[-1], c.diffusion)
        stays = np.eye(m) + np.asarray(game.rates(float(t), solution.value(float(t))))
        seen.append(np.einsum("ij,ijab,ibc,ijdc->jad", stays, switch, moved, switch))
    total = np.stack(seen).sum(axis=1)
    mean = total[:, :-1, -1]
    variance = np.diagonal(total, axis1=1, axis2=2)[:, :-1] - mean**2
    return np.arange(count + 1.0), mean, np.sqrt(np.maximum(variance, 0.0))


def _unit(game: LinearQuadraticGame) -> str:
    return "steps" if game.discrete else ""


def gains_figure(
    game: LinearQuadraticGame, time: np.ndarray, gains: Float[np.ndarray, "times m K n"], shown: int = 12
) -> Figure:
    """Gains over time, a panel for each player: colours for states, lines for controls and regimes; `shown` curves."""
    figure, axes = new_figure(columns=len(game.players))
    styles = ("-", "--", ":", "-.")
    states = [name if size == 1 else f"{name}[{j}]" for name, size in game.blocks for j in range(size)]
    for ax, player, place in zip(axes, game.players, game.control_slices, strict=True):
        drawn = 0
        for column, state in enumerate(states):
            for row in range(place.start, place.stop):
                for regime in range(game.regime_count):
                    series = gains[:, regime, row, column]
                    if drawn == shown or not np.any(np.abs(series) > 1e-12):
                        continue
                    text = f"on {state}" if place.stop - place.start == 1 else f"u[{row - place.start}] on {state}"
                    text += f", regime {regime}" if game.regime_count > 1 else ""
                    style = styles[((row - place.start) * game.regime_count + regime) % len(styles)]
                    ax.plot(time, series, style, color=COLOURS[column % len(COLOURS)], label=text)
                    drawn += 1
        label(ax, x=("time", _unit(game)), y=("gain", ""), title=player.name)
    legends(*axes)
    return figure


def states_figure(game: LinearQuadraticGame, time: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> Figure:
    """Means of the state, with a band of one standard deviation, a panel for each block."""
    figure, axes = new_figure(columns=len(game.blocks) - 1)
    start = 0
    for ax, (name, size) in zip(axes, game.blocks[:-1], strict=True):
        for j in range(size):
            colour, middle, width = COLOURS[j % len(COLOURS)], mean[:, start + j], deviation[:, start + j]
            ax.plot(time, middle, color=colour, label=name if size == 1 else f"{name}[{j}]")
            band(ax, time, middle - width, middle + width, colour=colour)
        label(ax, x=("time", _unit(game)), y=("state", ""), title=f"{name}: mean ± standard deviation")
        start += size
    legends(*axes)
    return figure
