"""Linear-quadratic mean-field games of several types, in four readings, by two routes.

Agents of type τ: dx = (a x + b u + κ x̄) dt + σ dW with x̄ the mean over all agents, cost ½ q x² + ½ r u² + s x x̄ and
terminal ½ q_T x² (see `games.mean_field` for vectors and readings). u = −(b/r)(P x + ξ). The engine solves the game in
feedback form; the two-point boundary value problem solved directly is the second route, and its escape time (the first
zero of det Ψ22) the second opinion on the first one's. The certificate solves each decision maker's own problem.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.mean_field import (
    Reading,
    TypedGame,
    costate_map,
    private_game,
    typed_game,
    typed_linear_quadratic,
)
from diffgames.numerics.step_size import Sized
from diffgames.solvers import LinearQuadraticSolution, escape_time, solve
from diffgames.solvers.boundary_value import boundary_costates, boundary_escape
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing, lines
from diffgames.studies.linear_quadratic_figures import escaping, theory_and_dots, theory_and_simulation
from diffgames.studies.linear_quadratic_words import escaped, numbers_by, searched
from diffgames.studies.study import Headline, Parameter, Study, StudyResult
from diffgames.studies.typed_simulation import simulate_types
from diffgames.verification.certificate import Certificate
from diffgames.verification.linear_response import matrix_gaps

PerType = tuple[float | tuple[tuple[float, ...], ...], ...]
States = tuple[float | tuple[float, ...], ...]
SEARCH = 10.0


@dataclass(frozen=True, kw_only=True)
class TypedConfig:
    """One entry per type: a number, or a matrix where agents have several states."""

    share: Annotated[tuple[float, ...], Parameter("shares of the types, sum one", shape="types", minimum=0.0)] = (
        0.6,
        0.4,
    )
    a: Annotated[PerType, Parameter("drift", "1/time", shape="types (× n × n)")] = (0.1, -0.2)
    b: Annotated[PerType, Parameter("input", shape="types (× n × k)")] = (1.0, 0.8)
    kappa: Annotated[PerType, Parameter("pull κ of x̄", "1/time", shape="types (× n × n)")] = (0.3, 0.2)
    sigma: Annotated[PerType, Parameter("own noise", "1/√time", shape="types (× n × w)")] = (0.3, 0.2)
    q: Annotated[PerType, Parameter("weight of ½ x²", shape="types (× n × n)")] = (1.0, 0.8)
    r: Annotated[PerType, Parameter("weight of ½ u²", shape="types (× k × k)")] = (0.5, 1.0)
    s: Annotated[PerType, Parameter("weight of x x̄", shape="types (× n × n)")] = (0.4, 0.2)
    q_T: Annotated[PerType, Parameter("terminal weight of ½ x²", shape="types (× n × n)")] = (0.5, 1.0)
    m0: Annotated[States, Parameter("mean states at the start", shape="types (× n)")] = (1.0, -0.5)
    var0: Annotated[PerType, Parameter("covariances at the start", shape="types (× n × n)")] = (0.04, 0.09)
    T: Annotated[float, Parameter("horizon", "time", minimum=1e-9)] = 1.0
    reading: Annotated[
        Reading, Parameter("who decides: every agent, a maker per type (open, feedback), one planner")
    ] = "mfg"
    agents: Annotated[int, Parameter("agents of each type in a crowd", "agents", minimum=2)] = 1000
    crowds: Annotated[int, Parameter("independent crowds simulated", "crowds", minimum=2)] = 16
    steps: Annotated[int, Parameter("time steps of the simulation", "steps", minimum=2)] = 200


@dataclass(frozen=True, kw_only=True)
class TypedHeadline:
    """The feedback at t = 0, the laws of the types, and what the second routes say."""

    P0: Annotated[list, Headline("P at t = 0", shape="types (× n × n)", normalisation="½ x'Px")]
    xi0: Annotated[list, Headline("ξ at t = 0 on the equilibrium path", shape="types (× n)")]
    mean_T: Annotated[list, Headline("mean of every type at T", shape="types (× n)")]
    xbar_T: Annotated[float | list, Headline("mean over all agents at T", shape="scalar or n")]
    cost: Annotated[Any, Headline("expected cost of an agent of every type", "cost", shape="types")]
    escape_time: Annotated[
        float | None,
        Headline(
            "first time-to-go at which P, or det Ψ22, breaks down, searched up to 10 T; null: none",
            "time",
            optional=True,
        ),
    ]
    mean_cost: Annotated[float, Headline("the same over all agents, Σ λ_τ J_τ", "cost")]
    simulated_mean_cost: Annotated[float, Headline("mean_cost of the simulated agents", "cost")]
    simulated_mean_cost_error: Annotated[float, Headline("its standard error, over independent crowds", "cost")]
    route_error: Annotated[
        float | None,
        Headline("largest difference of ξ(0) to the boundary value problem; null for feedback Nash", optional=True),
    ]


def game_of(config: TypedConfig, horizon: float | None = None) -> TypedGame:
    """The typed game of a configuration."""
    names = ("a", "b", "kappa", "sigma", "q", "r", "s", "q_T")
    return typed_game(
        share=config.share, horizon=horizon or config.T, **{name: getattr(config, name) for name in names}
    )


def run(config: TypedConfig, context: RunContext) -> StudyResult:
    """Solve by both routes, follow the law of every type, certify."""
    with jax.enable_x64(True):
        game = game_of(config)
        mean, covariance = start_law(config, game)
        context.progress.update("solving", 0.0)
        (escape, other), unsearched = searched(partial(escapes, game, config.reading), config.T, SEARCH * config.T)
        context.log(f"escape time: engine and private equations {escape}, det Psi22 {other}")
        if escape is not None and escape <= config.T:
            return _failed(config, escape)
        solution = solve(typed_linear_quadratic(game, config.reading))
        private = solve(private_game(game))
        certificate = verify(config, solution.profile, context)
        series = follow(game, config.reading, solution, private, mean, covariance)
        context.progress.update("simulating", 0.7)
        crowd = simulate_types(
            game,
            config.reading,
            (solution, private),
            (mean, covariance),
            context.key,
            crowds=config.crowds,
            agents=config.agents,
            steps=config.steps,
        )
        expected = float(np.asarray(config.share) @ series["cost"][-1])
        context.log(f"mean cost of an agent {expected:.6g}, simulated {crowd['cost'][0]:.6g} ± {crowd['cost'][1]:.2g}")
    first, last = series["xi"][0], series["mean"][-1]
    headline = TypedHeadline(
        P0=numbers_by(series["P"][0]),
        xi0=numbers_by(first),
        mean_T=numbers_by(last),
        xbar_T=series["xbar"][-1].item() if game.states == 1 else series["xbar"][-1].tolist(),
        cost=series["cost"][-1],
        escape_time=escape,
        route_error=_route_error(config, game, mean, first, series["P"][0]),
        mean_cost=expected,
        simulated_mean_cost=float(crowd["cost"][0]),
        simulated_mean_cost_error=float(crowd["cost"][1]),
    )
    arrays = {"law": _law(series), "paths": _paths(game, series, crowd)}
    return StudyResult(headline, certificate, warnings=unsearched, arrays=arrays, profile=solution.profile)


def verify(config: TypedConfig, profile: Any, context: RunContext) -> Certificate:
    """The certificate of the stored profile."""
    with jax.enable_x64(True):
        game = game_of(config)
        mean, covariance = start_law(config, game)
        return matrix_gaps(
            typed_linear_quadratic(game, config.reading), profile, _second(game, config.reading, mean, covariance)
        )


def escapes(game: TypedGame, reading: Reading, limit: float) -> tuple[float | None, float | None]:
    """Escape times up to `limit`: the first of both routes, private equations included, and the one by det Ψ22."""
    found = [escape_time(private_game(game), limit), escape_time(typed_linear_quadratic(game, reading), limit)]
    by_boundary = None if reading == "nash" else boundary_escape(game, reading, limit)
    times = [time for time in (*found, by_boundary) if time is not None]
    return (min(times) if times else None), by_boundary


def start_law(config: TypedConfig, game: TypedGame) -> tuple[Any, Any]:
    """Means [K, n] and covariances [K, n, n] at the start."""
    means = [np.atleast_1d(np.asarray(row, float)) for row in config.m0]
    covariances = [np.atleast_2d(np.asarray(rows, float)) for rows in config.var0]
    if len(means) != game.types or any(row.shape != (game.states,) for row in means):
        raise InvalidInput("m0", config.m0, f"{game.types} numbers or vectors of {game.states}")
    if len(covariances) != game.types or any(rows.shape != (game.states, game.states) for rows in covariances):
        raise InvalidInput("var0", config.var0, f"{game.types} variances or {game.states} × {game.states} matrices")
    mean, covariance = jnp.asarray(means), jnp.asarray(covariances)
    if np.linalg.eigvalsh(np.asarray(covariance)).min() < 0:
        raise InvalidInput("var0", config.var0, "variances ≥ 0")
    return mean, covariance


def follow(
    game: TypedGame,
    reading: Reading,
    solution: LinearQuadraticSolution,
    private: LinearQuadraticSolution,
    mean: Any,
    covariance: Any,
) -> dict[str, np.ndarray]:
    """P, ξ, means, covariances and the costs so far of every type over time, by the moment equations."""
    count, n = game.types, game.states
    places = [game.place(t) for t in range(count)]
    respond = -jnp.linalg.solve(game.r, jnp.swapaxes(game.b, 1, 2))
    spread = jnp.einsum("taw,tbw->tab", game.sigma, game.sigma)

    def own(t: Any) -> Any:
        values = private.value(t)
        return jnp.stack([2 * values[k, 0][places[k], places[k]] for k in range(count)])

    def costates(t: Any, m: Any) -> Any:
        return (costate_map(game, reading, solution.value(t)) @ m.reshape(-1)).reshape(count, n)

    def flow(t: Any, state: Any, _: Any) -> Any:
        m, law, _cost = state
        p, xbar = own(t), game.share @ m
        closed = game.a + jnp.einsum("tak,tkn,tnm->tam", game.b, respond, p)
        control = jnp.einsum("tkn,tn->tk", respond, costates(t, m))
        gain = jnp.einsum("tkn,tnm->tkm", respond, p)
        moved = jnp.einsum("tab,tb->ta", game.a, m) + jnp.einsum("tak,tk->ta", game.b, control)
        grown = closed @ law
        second = law + m[:, :, None] * m[:, None, :]
        effort = gain @ law @ jnp.swapaxes(gain, 1, 2) + control[:, :, None] * control[:, None, :]
        cost = 0.5 * jnp.sum(game.q * second, (1, 2)) + 0.5 * jnp.sum(game.r * effort, (1, 2))
        cost = cost + jnp.einsum("ta,tab,b->t", m, game.s, xbar)
        return moved + game.kappa @ xbar, grown + jnp.swapaxes(grown, 1, 2) + spread, cost

    time, span = solution.time, solution.time[-1]
    path = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda s, state, _: jax.tree.map(lambda rate: span * rate, flow(s * span, state, _))),
        diffrax.Dopri8(),
        t0=0.0,
        t1=1.0,
        dt0=1e-4,
        y0=(mean, covariance, jnp.zeros(count)),
        saveat=diffrax.SaveAt(ts=time / span),
        stepsize_controller=Sized(1e-10, 1e-12),
        max_steps=16_384,
    )
    assert path.ys is not None
    m, law, cost = path.ys
    p = jax.vmap(own)(time)
    xi = jax.vmap(costates)(time, m) - jnp.einsum("ktab,ktb->kta", p, m)
    second = law[-1] + m[-1][:, :, None] * m[-1][:, None, :]
    final = 0.5 * jnp.sum(game.q_T * second, (1, 2))
    series = {"P": p, "xi": xi, "mean": m, "covariance": law, "cost": cost.at[-1].add(final)}
    series["xbar"] = jnp.einsum("t,kta->ka", game.share, m)
    return {"time": np.asarray(time)} | {key: np.asarray(value) for key, value in series.items()}


def _law(series: dict[str, np.ndarray]) -> xr.Dataset:
    """P, ξ, the laws and the costs of the types over time."""
    axes = {"P": ("type", "row", "column"), "covariance": ("type", "row", "column"), "xbar": ("row",)}
    axes |= {"xi": ("type", "row"), "mean": ("type", "row"), "cost": ("type",)}
    data = {name: (("time", *dims), series[name]) for name, dims in axes.items()}
    found = xr.Dataset(data, coords={"time": series["time"]})
    found.xi.attrs["long_name"] = "ξ"
    return found


def _paths(game: TypedGame, series: dict[str, np.ndarray], crowd: dict[str, np.ndarray]) -> xr.Dataset:
    """Means and deviations of every type, of theory and of the simulated agents, and x̄."""
    count, n = game.types, game.states
    names = [f"type {t}" + (f", state {k + 1}" if n > 1 else "") for t in range(count) for k in range(n)]
    spread = np.sqrt(np.einsum("ktaa->kta", series["covariance"]))
    theory = (series["time"], series["mean"].reshape(-1, count * n), spread.reshape(-1, count * n))
    seen = (crowd["time"], crowd["mean"].reshape(-1, count * n), crowd["deviation"].reshape(-1, count * n))
    data = theory_and_simulation(names, theory, seen)
    return data.assign(xbar=(("time", "row"), series["xbar"]))


def _means(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The types, and x̄ dashed."""
    ax = theory_and_dots(data, ax)
    ax.plot(data.time, data.xbar[:, 0], "--", color="black", label="x̄")
    return ax


def _second(game: TypedGame, reading: Reading, mean: Any, covariance: Any) -> Any:
    """E[zzᵀ] at the start of the reading's state."""
    means = mean.reshape(-1)
    parts = (means, means) if reading in ("mfg", "mftg") else (means,)
    z = jnp.concatenate([*parts, jnp.ones(1)])
    moment = jnp.outer(z, z)
    if reading == "mfg":
        for t in range(game.types):
            moment = moment.at[game.place(t), game.place(t)].add(covariance[t])
    return moment[None]


def _route_error(config: TypedConfig, game: TypedGame, mean: Any, xi: np.ndarray, own: np.ndarray) -> float | None:
    """Largest difference of ξ(0) between the two routes."""
    if config.reading == "nash":
        return None
    with jax.enable_x64(True):
        costates = boundary_costates(game, config.reading, mean, config.T)
        return float(np.abs(np.asarray(costates) - np.einsum("tab,tb->ta", own, np.asarray(mean)) - xi).max())


def _failed(config: TypedConfig, escape: float) -> StudyResult:
    """Past the escape time: the feedback on the means up to shortly before it."""
    game = game_of(config, 0.99 * escape)
    try:
        solution = solve(typed_linear_quadratic(game, config.reading))
    except RunFailed:
        return escaped(escape, config.T)
    maps = np.asarray(jax.vmap(lambda value: costate_map(game, config.reading, value))(solution.values))
    own = np.einsum("taa->ta", maps)[:, :: game.states]
    data = xr.Dataset(
        {
            "map": (("to_go", "costate", "mean"), maps),
            "own": (("to_go", "type"), own, {"long_name": "costate per own mean, P + Π"}),
        },
        coords={"to_go": ("to_go", 0.99 * escape - np.asarray(solution.time), {"long_name": "time to go"})},
        attrs={"escape_time": escape},
    )
    return escaped(escape, config.T, arrays={"escape": data})


def memory(config: TypedConfig) -> dict[str, float]:
    """The agents of all types, and of every step the sums over them, their means and deviations."""
    types = len(config.share)
    return {"agents": 8.0 * (2 * types + 2) * config.agents, "steps": 8.0 * 6 * types * config.steps}


STUDY = Study(
    name="typed-lq",
    source="tutorial on mean-field-type games, linear-quadratic example with types; readings derived anew",
    shows="the same data read as mean-field game, game of types, team and feedback Nash; where no equilibrium exists",
    config=TypedConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {}},
    minutes={"quick": 1, "paper": 1},
    headline=TypedHeadline,
    example='diffgames run typed-lq --set reading=team T=2 share="[0.5,0.5]"',
    published="the model and equations, no numbers",
    figures={
        "means": Drawing(
            "dots (agents one by one) lie on the lines of theory, and within their bands", "paths", _means
        ),
        "feedback": Drawing(
            "P differs by type but not by reading; ξ carries what the types expect of one another",
            "law",
            lines("P", by="type", title="u = −(b/r)(P x + ξ): P"),
            lines("xi", by="type", title="u = −(b/r)(P x + ξ): ξ"),
        ),
        "escape": Drawing("costates grow without bound towards the escape", "escape", escaping("own", "type")),
    },
)
