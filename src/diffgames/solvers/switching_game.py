"""Games in games: an inner differential game, and an outer Markov game that moves its regimes.

The inner players play (u, w) in every regime. Outer players, a defender who minimises and an attacker who maximises,
play mixed actions α, β that set the switching rates μ_ij = Σ_ab α_a β_b μ_ij^ab. With inner value V, outer value U,
stress φ and effort κ^ab (Pan & Zhu 2025, equations (8) and (13); L^{u,w} the generator under the inner players'
feedback),

    −∂_t V_i = min_u max_w { c + L^{u,w} V_i } + Σ_j μ_ij(α, β) (V_j − V_i),                        V_i(T) = g_i
    −∂_t U_i = φ(t, x, i, V_i) + L^{u*,w*} U_i
               + val_{α,β} Σ_ab α_a β_b [κ^ab + Σ_j μ_ij^ab (U_j − U_i)],                           U_i(T) = g_i.

*Feedback reading*: V_i(t, x) is fixed when the stage game at (t, x, i) is played, so that the outer players act through
U_j − U_i alone: one backward sweep of (V, U), one matrix game per point, regime and step; no outer loop. Macro actions
are feedback on (t, x, regime).

*Committed reading*: `solvers.switching_committed`. What the equilibrium generator says of how risk spreads, its
spectral gap and Poincaré constant along time and state: `games.switching_graph`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, check_generator
from diffgames.games.switching_graph import poincare_constant, spectral_gap
from diffgames.numerics.grid import Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.control_search import AbstractControlSearch, Levels
from diffgames.solvers.grid_game import grid_game
from diffgames.solvers.grid_steps import timing
from diffgames.solvers.grid_sweep import Ready, Stopping, Sweep
from diffgames.solvers.isaacs import check_monotone, check_values, leaks, mean_leak, uses_time
from diffgames.solvers.matrix_game import solve_matrix_game, solve_pure


class MacroGame(eqx.Module):
    """The outer game: generators `rates[defender, attacker]` of the regimes, efforts of the actions, stress φ.

    `effort` is what the outer objective pays for an action pair. `stress(t, x, i, V_i)`; None: the inner running cost
    along the inner players' feedback (then U = V wherever the efforts vanish).
    """

    rates: Float[Array, "defender attacker regimes regimes"]
    effort: Float[Array, "defender attacker"]
    stress: Callable[..., Array] | None = None
    mixed: bool = eqx.field(static=True, default=True)


def contested_rates(
    base: Any, attack: Any, stabilize: Any, levels: Float[np.ndarray, " levels"]
) -> Float[np.ndarray, "levels levels m m"]:
    """Generators μ⁰ + f λ^att − g λ^stab for every pair of efforts [g, f] among `levels`.

    `InvalidInput` where shapes differ or a rate would be negative.
    """
    base, attack, stabilize = (np.array(rates, float) for rates in (base, attack, stabilize))
    if not base.shape == attack.shape == stabilize.shape or base.shape[0] != base.shape[1]:
        raise InvalidInput("attack, stabilize", (attack.shape, stabilize.shape), f"the shape of base, {base.shape}")
    if (base < stabilize).any():
        allowed = "rates that base has to give: negative intensity otherwise"
        raise InvalidInput("stabilize", stabilize.tolist(), allowed)
    rates = np.array([[base + f * attack - g * stabilize for f in levels] for g in levels])
    return rates - np.eye(len(base)) * rates.sum(axis=-1, keepdims=True)


class SwitchingSolution(eqx.Module):
    """Inner and outer value, macro policies and switching rates at kept times; kept times increasing.

    `gap` is the largest duality gap of a stage game, whose actions are pure where `mixed` is false; in the committed
    reading what both sides could gain to first order (`solvers.switching_committed`). `isaacs_gap`, `leak` and
    `leak_at_start` as in `grid_solution.GridSolution`: the inner players' min max − max min, and the probability that
    the state, switched as it is at equilibrium, meets an artificial end of the grid: `leak` from every regime and
    point, `leak_at_start` from the game's initial law.
    """

    grid: Grid
    time: Float[Array, " kept"]
    inner: Float[Array, "kept regimes points"]
    outer: Float[Array, "kept regimes points"]
    defender: Float[Array, "kept regimes points defender"]
    attacker: Float[Array, "kept regimes points attacker"]
    generator: Float[Array, "kept regimes points regimes2"]
    gap: Float[Array, ""]
    isaacs_gap: Float[Array, ""]
    leak: Float[Array, "regimes points"] | None
    leak_at_start: Float[Array, ""] | None

    def spectral_gap(self) -> Float[np.ndarray, "kept points"]:
        """λ₂ of the equilibrium generator at every kept time and point."""
        return self._over_generators(spectral_gap)

    def poincare_constant(self) -> Float[np.ndarray, "kept points"]:
        """λ_P of the equilibrium generator at every kept time and point; NaN where a regime has no long-run weight."""
        return self._over_generators(poincare_constant)

    def _over_generators(self, function: Callable[[np.ndarray], float | None]) -> np.ndarray:
        matrices = np.moveaxis(np.asarray(self.generator), 1, 2)  # [kept, points, regimes, regimes]
        flat = matrices.reshape(-1, *matrices.shape[2:])
        return np.array([function(matrix) for matrix in flat], float).reshape(matrices.shape[:2])  # None: NaN


def solve_switching_game(
    game: DifferentialGame,
    macro: MacroGame,
    grid: Grid,
    *,
    search: AbstractControlSearch | None = None,
    keep: int = 10,
    steps: int | None = None,
    breaks: tuple[float, ...] = (),
    leak_tolerance: float | None = 0.05,
) -> SwitchingSolution:
    """The feedback reading, in one backward sweep on `grid`; the game's own generator is replaced by the macro game's.

    Explicit steps, as many as stability wants, which end at `breaks` (`solvers.grid_steps`). `leak_tolerance` as of
    `solvers.isaacs.solve_isaacs`. Raises `InvalidInput` for rates that make no generator, an unstable number of steps
    and spacings that are not monotone, `RunFailed` where the grid is too narrow.
    """
    sweep, mesh = prepared(game, macro, grid, search, keep, steps, breaks)
    solution = sweep_both(sweep, macro, mesh, leaks(grid, leak_tolerance))
    check_values(grid, solution.inner, solution.leak_at_start, leak_tolerance)
    return solution


def prepared(
    game: DifferentialGame,
    macro: MacroGame,
    grid: Grid,
    search: AbstractControlSearch | None,
    keep: int,
    steps: int | None,
    breaks: tuple[float, ...] = (),
) -> tuple[Sweep, Float[Array, "kept times"]]:
    """The inner game ready to be swept, without its own switching, and the times of the explicit steps."""
    rates = np.asarray(macro.rates)
    for pair in np.ndindex(rates.shape[:2]):
        check_generator(rates[pair], f"rates[{pair[0]}, {pair[1]}]")
    game = dataclasses.replace(game, generator=jnp.zeros(rates.shape[2:], macro.rates.dtype))
    view = grid_game(game, grid)
    search = search or Levels()
    search = search.fitted(view) if isinstance(search, Affine) else search
    sweep = Sweep(view, search, Stopping(), "upper", not uses_time(view, Stopping()))
    leaving = float(-rates[..., np.arange(rates.shape[2]), np.arange(rates.shape[2])].min())
    if steps is not None and (steps < 1 or steps % keep):
        raise InvalidInput("steps", steps, f"a positive multiple of keep = {keep}")
    timed = timing(sweep, keep, steps, breaks, more=leaving)
    check_monotone(view, float(timed.slack))
    return sweep, timed.mesh


def stage_game(macro: MacroGame, outer: Float[Array, "regimes points"]) -> tuple[Array, Array, Array, Array]:
    """Solve the stage game everywhere: its value, α, β, and its duality gap (leading axes [regimes, points])."""
    change = outer[None, :, :] - outer[:, None, :]  # U_j − U_i at [i, j, point]
    payoff = jnp.einsum("abij,ijp->ipab", macro.rates, change)
    payoff = payoff + macro.effort[None, None]
    solved = solve_matrix_game(payoff) if macro.mixed else solve_pure(payoff)
    return solved.value, solved.row, solved.column, solved.gap


def equilibrium_rates(macro: MacroGame, defender: Array, attacker: Array) -> Array:
    """Π(α, β): [regimes, points, regimes]."""
    return jnp.einsum("ipa,ipb,abij->ipj", defender, attacker, macro.rates)


@eqx.filter_jit
def sweep_both(
    sweep: Sweep, macro: MacroGame, mesh: Float[Array, "kept times"], leaking: bool = False
) -> SwitchingSolution:
    """The feedback reading over the times of `mesh`, kept at the ends of its rows; `leaking`: its leak too."""
    dtype, x = sweep.dtype, sweep.points()
    ready = sweep.prepare(jnp.zeros((), dtype)) if sweep.autonomous else None

    def advance(carry, times):
        t, dt = 0.5 * (times[0] + times[1]), times[0] - times[1]
        here = sweep.prepare(t) if ready is None else ready
        value, alpha, beta, _ = stage_game(macro, carry[1])
        return inner_and_outer(sweep, macro, here, t, dt, carry, equilibrium_rates(macro, alpha, beta), value), None

    def block(carry, row):
        carry, _ = jax.lax.scan(advance, carry, (row[:-1], row[1:]))
        return carry, carry[:2]

    terminal = sweep.view.terminal(x)
    (_, _, leak), (inner, outer) = jax.lax.scan(block, (terminal, terminal, first_leak(sweep, leaking)), mesh)
    inner, outer = (jnp.concatenate([terminal[None], part])[::-1] for part in (inner, outer))
    _, alpha, beta, gap = jax.lax.map(lambda values: stage_game(macro, values), outer)
    return switching_solution(sweep, macro, (inner, outer, leak), (alpha, beta), jnp.max(gap))


def first_leak(sweep: Sweep, leaking: bool) -> Array | None:
    """The leak at the horizon: one on the artificial ends, zero elsewhere; None where it is not asked for."""
    shape = (sweep.view.regimes, sweep.view.grid.size)
    return jnp.broadcast_to(sweep.absorbed()[None], shape).astype(sweep.dtype) if leaking else None


def switching_solution(
    sweep: Sweep, macro: MacroGame, values: tuple[Array, Array, Array | None], policies: tuple[Array, Array], gap: Array
) -> SwitchingSolution:
    """The solution from inner and outer values at the kept times, the leak at the first, and both sides' policies."""
    (inner, outer, leak), dtype = values, sweep.dtype
    time = jnp.linspace(0.0, 1.0, inner.shape[0], dtype=dtype) * jnp.asarray(sweep.view.game.horizon, dtype)

    def order_of_play(pair: tuple[Array, Array]) -> Array:
        t, values = pair
        return jnp.max(sweep.choose(sweep.prepare(t), t, values, gap=True).gap)

    return SwitchingSolution(
        grid=sweep.view.grid,
        time=time,
        inner=inner,
        outer=outer,
        defender=policies[0],
        attacker=policies[1],
        generator=jax.lax.map(lambda pair: equilibrium_rates(macro, *pair), policies),
        gap=gap,
        isaacs_gap=jnp.max(jax.lax.map(order_of_play, (time, inner))),
        leak=leak,
        leak_at_start=None if leak is None else mean_leak(sweep.view.game, sweep.view.grid, leak),
    )


def inner_and_outer(
    sweep: Sweep,
    macro: MacroGame,
    ready: Ready,
    t: Array,
    dt: Array,
    values: tuple[Array, Array, Array | None],
    rates: Array,
    played: Array,
) -> tuple[Array, Array, Array | None]:
    """(V, U, leak) a step of dt earlier, with coefficients of its middle t, under switching rates μ(t, x, i).

    `played` is what the outer game adds to U, per time.
    """
    (inner, outer, leak), dtype = values, sweep.dtype
    rho = jnp.asarray(sweep.view.game.discount, dtype)
    choice = sweep.choose(ready, t, inner)
    stress, drifted = sweep.linear(ready, t, outer, choice.u, choice.w)
    if macro.stress is not None:
        stress = sweep.view.everywhere(
            lambda x, i, v: jnp.asarray(macro.stress(t, x, i, v), dtype).reshape(()),  # pyright: ignore[reportOptionalCall] - not None here
            sweep.points(),
            inner,
        )
    switched = jnp.einsum("ipj,jp->ip", rates, inner)  # rows sum to zero: Σ_j μ_ij (V_j − V_i)
    inner_after = inner + dt * (choice.value + switched - rho * inner)
    outer_after = outer + dt * (stress + drifted + played - rho * outer)
    if leak is not None:
        moved = sweep.linear(ready, t, leak, choice.u, choice.w)[1] + jnp.einsum("ipj,jp->ip", rates, leak)
        leak = sweep.spread(leak, leak + dt * moved)
    return sweep.held(inner, inner_after), sweep.held(outer, outer_after), leak
