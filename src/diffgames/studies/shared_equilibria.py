"""Shared policies on games small enough to enumerate: bounds beside observed updates, and the cycle that has no bound.

All agents play one policy, which is updated by the gain of a single one (`equilibria.shared`, `learning.tabular`):

- `decision`: one state, reward[a]; Theorems 3.9 (projected), 3.13 (softmax, noise bounded) and 3.14 (bounded moments);
- `coordination`: u(x, y) = xᵀ diag(1, ½, ¼) y, once; Φ(x) = u(x, x), φ(z) = 2z, since the matrix is positive definite;
- `skill`: two agents, types and states; each earns its own skill less the other's, V̂(π₁, π₂) = t(π₁) − t(π₂);
- `unvisited`: printed, D of (13) looks at equilibria alone and is finite; the ascent starts where it never sees the
  better state, and stays: the bound of Theorem 3.9 is missed. With D over all policies there is no bound;
- `anti-coordination`: a potential game whose improvements cycle: no bound holds, and yet the ascent converges;
- `rock-paper-scissors`: the ascent moves away from uniform until it runs along the edge of the simplex.

`transitive` looks for a cycle of improvements among checkpoints and pure policies. The certificate tries every pure
policy against the last one played, by NumPy.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from matplotlib.axes import Axes

from diffgames.equilibria.shared import (
    IterationBound,
    exploitability,
    improvement_probability,
    iteration_bound,
    mismatch,
    mismatch_bound,
    payoff_matrix,
    pure_policies,
    shared_payoff,
)
from diffgames.equilibria.transitivity import Transitivity, extended_transitivity
from diffgames.errors import InvalidInput
from diffgames.games.tabular import TabularGame, decision, matrix_game, skill_game
from diffgames.learning.tabular import NoiseLaw, Path, Payoff, projected_ascent, softmax_ascent
from diffgames.numerics.precision import in_double
from diffgames.plotting import COLOURS, axes_or_new, label
from diffgames.studies.context import RunContext
from diffgames.studies.drawing import Drawing
from diffgames.studies.shared_equilibria_words import PerCase, SharedConfig, SharedHeadline
from diffgames.studies.study import Study, StudyResult
from diffgames.verification.certificate import Certificate
from diffgames.verification.shared_equilibrium import certify_shared

RPS, UNVISITED = "rock-paper-scissors", "unvisited"
CHECKPOINTS = 24
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])


@dataclass(frozen=True)
class Case:
    """One ascent: game, policies, and its bound; `printed` where that differs from the corrected one."""

    game: TabularGame
    path: Path
    bound: IterationBound | None = None
    printed: float | None = None


def games_of(config: SharedConfig) -> dict[str, TabularGame]:
    """The six games."""
    one = np.ones((1, 1))
    kernel = np.zeros((1, 2, 2, 2))
    kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = kernel[0, 1, :, 1] = 1.0
    own = np.array([[[1.0, 0.2], [0.0, 0.4]], [[0.3, 0.5], [0.1, 1.0]]])
    moves = np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.3, 0.7], [0.8, 0.2]]])
    zeta = config.discount
    return {
        "decision": decision(np.asarray(config.rewards), zeta),
        "coordination": matrix_game(np.diag([1.0, 0.5, 0.25]), "coordination"),
        "skill": skill_game(
            own, np.stack([moves, moves]), np.full((2, 2), 0.5), np.array([[1.0, 0.0], [0.5, 0.5]]), discount=zeta
        ),
        UNVISITED: skill_game(
            np.array([[[0.1, 0.0], [0.0, 1.0]]]), kernel, np.array([[1.0, 0.0]]), one, discount=zeta, name=UNVISITED
        ),
        "anti-coordination": matrix_game(np.array([[0.0, 1.0], [1.0, 0.0]]), "anti-coordination"),
        RPS: matrix_game(np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]), RPS),
    }


@in_double
def run(config: SharedConfig, context: RunContext) -> StudyResult:
    """Every ascent with its bound, the tests of transitivity, the certificate."""
    if len(set(config.rewards)) < 2:
        raise InvalidInput("rewards", config.rewards, "at least two different rewards")
    if len(config.start) != 3 or abs(sum(config.start) - 1) > 1e-9:
        raise InvalidInput("start", config.start, "three probabilities of sum one")
    games = games_of(config)
    cases, taken = _decision_cases(config, games["decision"], context.key)
    context.progress.update("projected ascents", 0.3)
    cases |= _projected_cases(config, games)
    gains = {name: np.asarray(exploitability(case.game, case.path)) for name, case in cases.items()}
    met = {name: np.flatnonzero(gain <= config.epsilon) for name, gain in gains.items()}
    observed = {name: int(where[0]) if where.size else None for name, where in met.items()}
    context.progress.update("transitivity", 0.8)
    found, policies = {}, {}
    for name, game in games.items():
        path = cases["decision projected" if name == "decision" else name].path
        found[name], policies[name] = _transitivity(game, path)
    bounds = {name: _number(case.bound and case.bound.corrected) for name, case in cases.items()}
    printed = {
        name: _number(case.bound.printed if case.bound and case.printed is None else case.printed)
        for name, case in cases.items()
    }
    cycle = np.asarray(policies[RPS])[list(found[RPS].cycle), 0, 0]
    away = np.linalg.norm(np.asarray(cases[RPS].path)[:, 0, 0] - 1 / 3, axis=1)
    profile = {name: np.asarray(case.path[-1]) for name, case in cases.items()}
    return StudyResult(
        SharedHeadline(
            bound=bounds["decision projected"],
            observed=observed["decision projected"],
            transitive={name: int(one.transitive) for name, one in found.items()},
            cycle_length={name: len(one.cycle) for name, one in found.items()},
            bounds_printed=printed,
            bounds=bounds,
            observations=observed,
            exploitability={name: float(gain[-1]) for name, gain in gains.items()},
            distance={str(n): float(away[n]) for n in sorted({0, 100, 500, config.updates}) if n < len(away)},
            **taken,
        ),
        warnings=["no cycle among the policies compared is evidence for transitivity, not proof; a cycle refutes it"],
        certificate=verify(config, profile, context),
        arrays={"shared": _dataset(cases, bounds, printed, observed, cycle)},
        profile=profile,
    )


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _payoff(game: TabularGame) -> Payoff:
    return lambda first, second: shared_payoff(game, first, second)


def _uniform(game: TabularGame) -> Array:
    return jnp.full((game.states, game.types, game.actions), 1 / game.actions)


def _sizes(game: TabularGame) -> dict[str, Any]:
    return {
        "actions": game.actions,
        "states": game.states,
        "types": game.types,
        "discount": game.discount,
        "horizon": game.horizon,
        "reward_bound": game.reward_bound,
    }


def _decision_cases(config: SharedConfig, game: TabularGame, key: Array) -> tuple[dict[str, Case], dict[str, float]]:
    """The decision under the three theorems, and what the rule of the third takes with and without α."""
    law = NoiseLaw((-config.noise, config.noise), (0.5, 0.5)) if config.noise else NoiseLaw()
    diameter = (max(config.rewards) - min(config.rewards)) * game.normalizer
    known: dict[str, Any] = _sizes(game) | {"epsilon": config.epsilon, "mismatch": 1.0, "diameter": diameter}
    start, payoff, half = _uniform(game), _payoff(game), config.eta / 2
    first = iteration_bound(**known)
    cases = {
        "decision projected": Case(game, projected_ascent(payoff, start, jnp.full(config.updates, first.step)), first)
    }
    exact = iteration_bound("softmax", eta=config.eta, **known)
    noisy = iteration_bound("softmax", eta=config.eta, noise=(law.least, law.largest), **known)
    moments = iteration_bound("softmax", eta=config.eta, variance=law.moment(2), eta_reached=half, **known)
    shares = {}
    for name, bound, noise, threshold in (
        ("decision softmax", exact, None, None),
        ("decision bounded noise", noisy, law, None),
        ("decision bounded moments", moments, law, moments.step * half),
        ("printed rule", moments, law, half),
    ):
        path, taken = softmax_ascent(
            payoff,
            start,
            step=bound.step,
            barrier=bound.barrier,
            updates=config.updates,
            noise=noise,
            key=key,
            threshold=threshold,
        )
        cases[name], shares[name] = Case(game, path, bound), float(jnp.mean(taken))
    del cases["printed rule"]
    slope = np.asarray(jax.grad(lambda theta: payoff(jax.nn.softmax(theta), start))(jnp.log(start)))
    least = improvement_probability(
        law.values, law.chances, slope.reshape(-1), moments.step * moments.smoothness, config.eta, half
    )
    return cases, {
        "improvement_probability": least,
        "taken": shares["decision bounded moments"],
        "taken_printed": shares["printed rule"],
    }


def _projected_cases(config: SharedConfig, games: dict[str, TabularGame]) -> dict[str, Case]:
    """The other games: those with a bound at its step, the two that cycle at the step of the configuration."""
    weights = np.array([1.0, 0.5, 0.25])
    skill, unvisited = games["skill"], games[UNVISITED]
    pure = jnp.asarray(pure_policies(skill))
    worth = np.asarray(payoff_matrix(skill, pure, pure[:1]))[:, 0]
    stuck = jnp.asarray([[[1.0, 0.0]], [[1.0, 0.0]]])
    bounds = {
        "coordination": (games["coordination"], 1.0, 1 - 1 / float(np.sum(1 / weights)), lambda gain: 2 * gain),
        "skill": (skill, mismatch_bound(skill), float(np.ptp(worth)), lambda gain: gain),
        UNVISITED: (unvisited, mismatch_bound(unvisited), _best_worth(unvisited), lambda gain: gain),
    }
    cases = {}
    for name, (game, visited, diameter, modulus) in bounds.items():
        known: dict[str, Any] = _sizes(game) | {"epsilon": config.epsilon, "diameter": diameter, "modulus": modulus}
        bound = iteration_bound(mismatch=visited, **known)
        near = _printed_mismatch(game, config.epsilon) if name == UNVISITED else visited
        start = stuck if name == UNVISITED else _uniform(game)
        path = projected_ascent(_payoff(game), start, jnp.full(config.updates, bound.step))
        cases[name] = Case(game, path, bound, iteration_bound(mismatch=near, **known).printed)
    for name, first in (("anti-coordination", (0.8, 0.2)), (RPS, config.start)):
        path = projected_ascent(
            _payoff(games[name]), jnp.asarray(first)[None, None], jnp.full(config.updates, config.step)
        )
        cases[name] = Case(games[name], path)
    return cases


def _best_worth(game: TabularGame) -> float:
    """max V̂ − min V̂ of a one-agent game over its pure policies."""
    pure = jnp.asarray(pure_policies(game))
    return float(np.ptp(np.asarray(payoff_matrix(game, pure, pure[:1]))))


def _printed_mismatch(game: TabularGame, epsilon: float) -> float:
    """D_ε of (13) for the two-state game: the largest over ε-shared equilibria on a grid of policies."""
    grid = np.linspace(0.0, 1.0, 41)
    moved, there = (part.reshape(-1) for part in np.meshgrid(grid, grid))
    policies = np.stack([np.stack([1 - moved, moved], -1), np.stack([1 - there, there], -1)], 1)[:, :, None]
    near = np.asarray(exploitability(game, jnp.asarray(policies))) <= epsilon
    return max(mismatch(game, jnp.asarray(one), types_summed=True) for one in policies[near])


def _transitivity(game: TabularGame, path: Path) -> tuple[Transitivity, Array]:
    """The test on CHECKPOINTS policies along the path, evenly spaced, and all pure ones."""
    chosen = np.unique(np.linspace(0, len(path) - 1, CHECKPOINTS).astype(int))
    policies = jnp.concatenate([path[chosen], jnp.asarray(pure_policies(game))])
    return extended_transitivity(np.asarray(payoff_matrix(game, policies, policies))), policies


@in_double
def verify(config: SharedConfig, profile: Any, context: RunContext) -> Certificate:
    """Every pure policy against the last policy of every ascent."""
    games = games_of(config)
    entries = []
    for name, policy in profile.items():
        game = games["decision" if name.startswith("decision") else name]
        entries.append(certify_shared(game, np.asarray(policy), label=name))
    return Certificate(
        tuple(entries), how="exact: every pure policy is tried, and agents move their own states or have one alone"
    )


def _dataset(
    cases: dict[str, Case], bounds: PerCase, printed: PerCase, observed: dict[str, int | None], cycle: np.ndarray
) -> xr.Dataset:
    rows = {"printed": printed, "corrected": bounds, "observed": observed}
    return xr.Dataset(
        {
            "policy": (("update", "action"), np.asarray(cases[RPS].path)[:, 0, 0]),
            "cycle": (("place", "action"), cycle.reshape(-1, 3)),
            **{
                name: ("case", [np.nan if row[case] is None else float(row[case]) for case in cases])
                for name, row in rows.items()
            },
        },
        coords={"case": list(cases), "action": ["rock", "paper", "scissors"]},
    )


def _simplex(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """The ascent of rock–paper–scissors in its simplex, and the cycle of improvements."""
    ax = axes_or_new(ax)
    path = data.policy.values @ CORNERS
    ax.plot(*np.vstack([CORNERS, CORNERS[:1]]).T, color="0.6", lw=1)
    ax.plot(*path.T, color=COLOURS[0], lw=0.8, label="shared policy")
    ax.plot(*path[0], "o", color=COLOURS[0], label="start")
    ax.plot(*CORNERS.mean(axis=0), "x", color="black", label="equilibrium")
    cycle = data.cycle.values @ CORNERS
    for place, (tail, head) in enumerate(zip(cycle, np.roll(cycle, -1, axis=0), strict=True)):
        ax.annotate("", head, tail, arrowprops={"arrowstyle": "->", "color": COLOURS[1], "lw": 1.6})
        if not place:
            ax.plot([], [], color=COLOURS[1], label="beats what everybody plays")
    for name, corner in zip(data.action.values, CORNERS, strict=True):
        ax.annotate(str(name), corner, textcoords="offset points", xytext=(0, 5 if corner[1] else -12), ha="center")
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _iterations(data: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Bounds and observed updates of every case that has one."""
    ax = axes_or_new(ax)
    shown = data.sel(case=data.observed.notnull() | data.printed.notnull())
    place = np.arange(shown.sizes["case"])
    for (name, text), mark, colour in zip(
        (("printed", "bound as printed"), ("corrected", "bound corrected"), ("observed", "observed")),
        ("s", "D", "o"),
        COLOURS,
        strict=False,
    ):
        ax.plot(shown[name].clip(min=1), place, mark, color=colour, label=text, mfc="none" if mark == "s" else colour)
    ax.set_xscale("log")
    ax.set_yticks(place, [str(one) for one in shown.case.values])
    return label(ax, x=("updates until the gain is at most ε", ""), y=("", ""))


def memory(config: SharedConfig) -> dict[str, float]:
    """All policies of all ascents, and their gains."""
    return {"updates, rewards": 8.0 * 6 * config.updates * max(len(config.rewards), 8)}


STUDY = Study(
    name="shared-equilibria",
    source="Vadori et al., arXiv 2210.07184, section 3.1: Theorems 3.9, 3.13 and 3.14 with corrections",
    shows="a policy that all share settles within corrected bounds where the game is transitive, or runs in circles",
    config=SharedConfig,
    run=run,
    memory=memory,
    verify=verify,
    presets={"quick": {}, "paper": {"updates": 20_000}},
    minutes={"quick": 0.5, "paper": 2.0},
    headline=SharedHeadline,
    example="diffgames run shared-equilibria --set epsilon=0.05 --set noise=0.9",
    published="formulas of the bounds and no values; `bounds_printed` evaluates them as printed",
    figures={
        "shared": Drawing(
            "rock beats scissors beats paper beats rock: the shared policy runs along the edge; where games are "
            "transitive, updates stay orders below the corrected bounds, and `unvisited` never gets there",
            "shared",
            _simplex,
            _iterations,
            width=4.8,
            height=4.0,
        )
    },
)
