"""The Stackelberg studies' finite game: the limit's strategies among N followers, against its own equilibrium.

Exact, for every N: what leader and follower gain by deviating from the limit's strategies (their *gap*), what both cost
there, and what both cost at the feedback equilibrium of the N + 1 players. By simulation: the difference of these
costs, N + 1 players one by one, both profiles on the same noise.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

from diffgames.games.stackelberg_finite import finite_stackelberg_game, limit_strategies
from diffgames.plotting import COLOURS, label, legends, new_figure
from diffgames.simulation.leader_followers import Start, follower_costs
from diffgames.solvers import LinearQuadraticSolution, solve
from diffgames.studies.context import RunContext
from diffgames.studies.linear_quadratic_words import over_time
from diffgames.studies.rates import fitted_exponent
from diffgames.studies.stackelberg_parameters import StackelbergMatrices, checked_sizes, second_moment, start_of
from diffgames.studies.study import Headline
from diffgames.verification.linear_response import best_reply

MOST_FOLLOWERS = 32_768  # of all paths of one N together, so that large N does not take more memory or time
ROLES = ("leader", "follower")

FINITE_HEADLINE = {
    "finite_n_gap": Headline(
        "most that leader or follower gains by deviating from the limit's strategies among N followers, exact",
        "cost",
        shape="finite_n",
    ),
    "finite_n_rate": Headline(
        "exponent b of gap ∝ N^b, fitted to the upper half of finite_n; null below two sizes", optional=True
    ),
    "finite_n_cost": Headline(
        "costs under the limit's strategies, exact", "cost", shape="finite_n × (leader, follower)"
    ),
    "finite_n_equilibrium": Headline(
        "costs at the feedback equilibrium of the N + 1 players, exact; null where it does not exist",
        "cost",
        shape="finite_n × (leader, follower)",
        optional=True,
    ),
    "finite_n_excess_rate": Headline(
        "exponent b of the largest |difference of these costs| ∝ N^b, fitted like finite_n_rate", optional=True
    ),
    "finite_n_simulated": Headline(
        "the difference of these costs, N + 1 players simulated one by one under both profiles",
        "cost",
        shape="finite_n × (leader, follower)",
        optional=True,
    ),
    "finite_n_simulated_error": Headline(
        "standard errors of finite_n_simulated", "cost", shape="finite_n × (leader, follower)", optional=True
    ),
}
"""The words of what the finite game reports."""


def finite_game(
    config: StackelbergMatrices,
    solution: LinearQuadraticSolution,
    context: RunContext,
    *,
    paths: int,
    steps: int,
    **time: Any,
) -> dict[str, np.ndarray]:
    """Gaps, costs and simulated differences for every N of `finite_n`; NaN where the N + 1 players have no equilibrium.

    `time` are horizon, discount and whether it is discrete.
    """
    found, profiles = exact_costs(config, solution, **time)
    found["simulated"], found["error"] = np.full((2, found["N"].size, 2), np.nan)
    for place, followers in enumerate(found["N"].tolist()):
        context.progress.update(f"simulating {followers} followers", 0.5 + 0.3 * place / found["N"].size)
        if not np.isfinite(found["equilibrium"][place]).all():
            continue
        both = jax.tree.map(lambda leaf, place=place: leaf[place], profiles)
        sizes = {"followers": followers, "paths": max(min(paths, MOST_FOLLOWERS // followers), 32), "steps": steps}
        key = jax.random.fold_in(context.key, followers)
        found["simulated"][place], found["error"][place] = simulated_excess(config, solution, both, key, sizes, **time)
    return found


def exact_costs(
    config: StackelbergMatrices, solution: LinearQuadraticSolution, **time: Any
) -> tuple[dict[str, np.ndarray], tuple[Any, Any]]:
    """Sizes N, gaps, costs and those at equilibrium; and the two profiles, the limit's and the N + 1 players', by N."""
    states = _states(solution)
    sizes = checked_sizes(config.finite_n)

    def exact(followers: Any) -> Any:
        game = finite_stackelberg_game(followers, **time, **config.matrices())
        play = limit_strategies(solution.profile, followers, *states)
        second = second_moment(config, *states, followers=followers)
        replies = [best_reply(game, play, player) for player in (0, 1)]
        own = solve(game)
        gaps = jnp.stack([jnp.sum(second * reply.gain) for reply in replies])
        costs = gaps + jnp.stack([jnp.sum(second * reply.best) for reply in replies])
        best = jnp.sum(second[None] * own.value.value[0], axis=(1, 2, 3))
        return gaps, costs, jnp.where(own.outcome.code == 0, best, jnp.nan), play, own.profile

    gaps, costs, best, plays, own = jax.jit(jax.vmap(exact))(jnp.asarray(sizes, jnp.float64))
    found = {
        "N": np.asarray(sizes),
        "gap": np.asarray(gaps),
        "cost": np.asarray(costs),
        "equilibrium": np.asarray(best),
    }
    return found, (plays, own)


def simulated_excess(
    config: StackelbergMatrices,
    solution: LinearQuadraticSolution,
    profiles: tuple[Any, Any],
    key: PRNGKeyArray,
    sizes: dict[str, int],
    **time: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """What leader and followers cost more under the first profile than under the second, and the standard errors.

    `sizes` are followers, paths and steps. Both profiles meet the same noise; paths are independent.
    """
    start = Start(*start_of(config, *_states(solution)), config.spread)
    each = follower_costs(config.matrices(), profiles, start, key, **sizes, **time)
    difference = np.asarray(each[0] - each[1])
    return difference.mean(axis=0), difference.std(axis=0, ddof=1) / math.sqrt(difference.shape[0])


def _states(solution: LinearQuadraticSolution) -> tuple[int, int]:
    """Numbers of states of the leader and of a follower."""
    blocks = dict(solution.game.blocks)
    return blocks["x0"], blocks["x1"]


def finite_headline(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """What stands in `result.json`."""
    gap = np.maximum(found["gap"].max(axis=1), 0.0)
    excess = np.abs(found["cost"] - found["equilibrium"]).max(axis=1)
    half = found["N"].size // 2
    numbers = found["N"][half:].astype(float)
    return {
        "finite_n_gap": gap.tolist(),
        "finite_n_rate": fitted_exponent(numbers, gap[half:, None])[0],
        "finite_n_cost": found["cost"].tolist(),
        "finite_n_equilibrium": _numbers(found["equilibrium"]),
        "finite_n_excess_rate": fitted_exponent(numbers, excess[half:, None])[0],
        "finite_n_simulated": _numbers(found["simulated"]),
        "finite_n_simulated_error": _numbers(found["error"]),
    }


def finite_array(found: dict[str, np.ndarray]) -> Any:
    """The dataset behind the figure."""
    return over_time({key: value for key, value in found.items() if key != "N"}, found["N"], "followers")


def finite_figure(found: dict[str, np.ndarray], headline: dict[str, Any]) -> Figure:
    """Gap and difference of costs against the number of followers, on log axes."""
    figure, axes = new_figure(columns=2)
    numbers = found["N"].astype(float)
    for role, name in enumerate(ROLES):
        series = found["gap"][:, role]
        if (series > 1e-12).all():
            axes[0].loglog(numbers, series, "o-", color=COLOURS[role], label=name)
        else:
            axes[0].plot([], [], " ", label=f"{name}: below 1e-12")
        excess = np.abs(found["cost"] - found["equilibrium"])[:, role]
        axes[1].loglog(numbers, excess, "-", color=COLOURS[role], label=f"{name}, exact")
        simulated, error = np.abs(found["simulated"][:, role]), 1.96 * found["error"][:, role]
        axes[1].errorbar(numbers, simulated, error, fmt="o", markersize=4, color=COLOURS[role], label="simulated, 95%")
    _slope(axes[0], numbers, found["gap"].max(axis=1), headline["finite_n_rate"])
    excess = np.abs(found["cost"] - found["equilibrium"]).max(axis=1)
    _slope(axes[1], numbers, 1.5 * excess, headline["finite_n_excess_rate"])
    label(axes[0], x=("followers N", ""), y=("gain by deviating", "cost"), title="The limit's strategies among N")
    label(
        axes[1], x=("followers N", ""), y=("|cost − cost at equilibrium|", ""), title="against the N + 1 players' own"
    )
    legends(*axes)
    return figure


def _slope(ax: Any, numbers: np.ndarray, series: np.ndarray, rate: float | None) -> None:
    if rate is not None:
        ax.loglog(
            numbers,
            series[-1] * (numbers / numbers[-1]) ** rate,
            "--",
            color="black",
            label=f"fit, larger N: N^{rate:.2f}",
        )


def _numbers(values: np.ndarray) -> list:
    """Nested lists, null where there is no number."""
    return [[float(value) if np.isfinite(value) else None for value in row] for row in values]
