"""What either side of a game on a grid could gain against the other's stored feedback, on a finer grid.

With a profile (u, w) that is feedback on (t, x, regime), the value of playing it and the best response to it solve

    −∂_t J_i + ρJ_i = c(u, w) + L^{u,w} J_i,    −∂_t B_i + ρB_i = opt_v { c(v, w) + L^{v,w} B_i },    J(T) = B(T) = g,

a linear equation and a control problem, both by the same monotone scheme on another grid than the profile's, so that
`gain`, sign · (J − B) averaged over the initial law, in rewards, is never below zero but for rounding. What a grid
leaves open is measured on two of them: the interval is the gain on the finer one ± its change. Nothing of the profile's
own values enters. What its feedback loses by its own grid, and by standing still between kept times, is in the gap.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, Profile
from diffgames.numerics.grid import Grid
from diffgames.numerics.precision import keeping_double
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.control_search import AbstractControlSearch, Choice
from diffgames.solvers.grid_game import grid_game
from diffgames.solvers.grid_sweep import Stopping
from diffgames.solvers.isaacs import Stepping, mean_leak, solve_on_grid
from diffgames.verification.certificate import Certificate, exact_gap

HOW = (
    "exact up to the grid: one-sided best responses to the stored feedback, on this grid and on one of half the spacing"
)


@keeping_double
def grid_gaps(
    game: DifferentialGame, profile: Profile, grid: Grid, *, search: AbstractControlSearch, steps: int | None = None
) -> Certificate:
    """Gaps of `profile`, for the one or two players with an objective; `steps` on the coarser grid, four times as many
    on the finer one (None: as many as stability wants). Games in which nobody stops."""
    active = [p for p, sign in enumerate(game.signs) if sign]
    if not active:
        raise InvalidInput("signs", game.signs, "a player with an objective")
    grids = ((grid, steps), (grid.refined(), None if steps is None else 4 * steps))
    found = [[_value_and_gain(game, profile, p, one, search, count) for p in active] for one, count in grids]
    entries = []
    for p, (_, coarse), (value, gain) in zip(active, *found, strict=True):
        entries.append(exact_gap(game.players[p], value, gain, abs(gain - coarse), selected=""))
    return Certificate(tuple(entries), HOW)


def _value_and_gain(
    game: DifferentialGame, profile: Profile, p: int, grid: Grid, search: AbstractControlSearch, steps: int | None
) -> tuple[float, float]:
    """Reward of player p at the profile, and what its best response adds: both by the same scheme."""
    alone = dataclasses.replace(game, signs=tuple(s if q == p else 0 for q, s in enumerate(game.signs)))
    view = grid_game(alone, grid, profile)
    fitted = search.fitted(view) if isinstance(search, Affine) else search
    costs = []
    for one in (_Following(fitted, profile, p), fitted):
        solution = solve_on_grid(view, one, Stepping(steps=steps, keep=1), Stopping(), "upper", None)
        costs.append(float(mean_leak(game, grid, solution.value[0].reshape(view.regimes, -1))))
    sign = game.signs[p]
    return -sign * costs[0], sign * (costs[0] - costs[1])


class _Following(AbstractControlSearch):
    """No search at all: player p does what the profile says."""

    scheme: AbstractControlSearch
    profile: Profile
    player: int = eqx.field(static=True)

    def prepare(self, view, t, x):
        return self.scheme.prepare(view, t, x)

    def best(self, view, ready, t, x, i, at, wall, order, gap):
        own, nobody = jnp.asarray(self.profile(t, x, i)[self.player], x.dtype), jnp.zeros(0, x.dtype)
        u, w = (own, nobody) if view.minimiser == self.player else (nobody, own)
        cost, change = self.scheme.evaluate(view, ready, t, x, i, at, u, w)
        return Choice(value=cost + change, u=u, w=w, gap=jnp.zeros_like(cost))

    def evaluate(self, view, ready, t, x, i, at, u, w):
        return self.scheme.evaluate(view, ready, t, x, i, at, u, w)

    def fastest(self, view, t, x, i):
        return self.scheme.fastest(view, t, x, i)
