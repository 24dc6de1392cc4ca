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

What the equilibrium says of the risk: with L = −Π(α*, β*), the *spectral gap* λ₂ = min{Re λ : λ ∈ spec L, λ ≠ 0} is
the rate at which regime risks mix; the *Poincaré constant* λ_P, second eigenvalue of ½(D L D⁻¹ + transpose), D = diag
√π, bounds the unmixed part of U, ‖U_⊥(τ)‖_π ≤ (1 − e^{−λ_P τ})/λ_P · sup ‖φ_⊥‖_π, and λ_P ≤ λ₂ with equality if
reversible.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, check_generator
from diffgames.numerics.grid import Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.control_search import AbstractControlSearch, Levels
from diffgames.solvers.grid_game import grid_game
from diffgames.solvers.grid_sweep import Stopping, Sweep
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


class SwitchingSolution(eqx.Module):
    """Inner and outer value, macro policies and switching rates at kept times; kept times increasing.

    `gap` is the largest duality gap of a stage game, whose actions are pure where `mixed` is false.
    """

    grid: Grid
    time: Float[Array, " kept"]
    inner: Float[Array, "kept regimes points"]
    outer: Float[Array, "kept regimes points"]
    defender: Float[Array, "kept regimes points defender"]
    attacker: Float[Array, "kept regimes points attacker"]
    generator: Float[Array, "kept regimes points regimes2"]
    gap: Float[Array, ""]

    def spectral_gap(self) -> Float[np.ndarray, "kept points"]:
        """λ₂ of the equilibrium generator at every kept time and point."""
        return self._over_generators(spectral_gap)

    def poincare_constant(self) -> Float[np.ndarray, "kept points"]:
        """λ_P of the equilibrium generator at every kept time and point."""
        return self._over_generators(poincare_constant)

    def _over_generators(self, function: Callable[[np.ndarray], float]) -> np.ndarray:
        matrices = np.moveaxis(np.asarray(self.generator), 1, 2)  # [kept, points, regimes, regimes]
        flat = matrices.reshape(-1, *matrices.shape[2:])
        return np.array([function(matrix) for matrix in flat]).reshape(matrices.shape[:2])


def spectral_gap(generator: np.ndarray) -> float:
    """λ₂: the least real part of the eigenvalues of −generator, one zero apart.

    >>> import numpy as np
    >>> round(spectral_gap(np.array([[-0.5, 0.4, 0.1], [0.6, -0.9, 0.3], [0.2, 0.8, -1.0]])), 6)
    0.9
    """
    return float(np.sort(np.linalg.eigvals(-np.asarray(generator)).real)[1])


def poincare_constant(generator: np.ndarray) -> float:
    """λ_P: the second eigenvalue of the symmetric part of D L D⁻¹, D = diag √π, π the stationary law.

    A chain with transient regimes has no positive π; λ_P is NaN then.
    """
    minus = -np.asarray(generator)
    size = minus.shape[0]
    system = np.concatenate([minus.T, np.ones((1, size))])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0]
    if stationary.min() <= 1e-12:
        return float("nan")
    root = np.sqrt(stationary)
    scaled = root[:, None] * minus / root[None, :]
    return float(np.linalg.eigvalsh(0.5 * (scaled + scaled.T))[1])


def solve_switching_game(
    game: DifferentialGame,
    macro: MacroGame,
    grid: Grid,
    *,
    search: AbstractControlSearch | None = None,
    keep: int = 10,
    steps: int | None = None,
) -> SwitchingSolution:
    """The feedback reading, in one backward sweep on `grid`; the game's own generator is replaced by the macro game's.

    Explicit steps, as many as stability wants. Raises `InvalidInput` for rates that make no generator.
    """
    rates = np.asarray(macro.rates)
    for pair in np.ndindex(rates.shape[:2]):
        check_generator(rates[pair], f"rates[{pair[0]}, {pair[1]}]")
    game = dataclasses.replace(game, generator=jnp.zeros(rates.shape[2:], macro.rates.dtype))
    view = grid_game(game, grid)
    search = search or Levels()
    search = search.fitted(view) if isinstance(search, Affine) else search
    sweep = Sweep(view, search, Stopping(), "upper", False)
    fastest = float(sweep.fastest(jnp.linspace(0.0, 1.0, 5, dtype=sweep.dtype) * game.horizon)[0])
    leaving = float(-rates[..., np.arange(rates.shape[2]), np.arange(rates.shape[2])].min())
    least = (fastest + leaving + float(game.discount)) * float(game.horizon)
    if steps is None:
        steps = int(np.ceil(least / 0.9 / keep)) * keep
    if steps < least * (1 - 1e-9) or steps % keep:
        raise InvalidInput("steps", steps, f"a multiple of keep = {keep}, at least {int(np.ceil(least))} (stability)")
    return _sweep_both(sweep, macro, steps, keep)


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
def _sweep_both(sweep: Sweep, macro: MacroGame, steps: int, keep: int) -> SwitchingSolution:
    game, dtype, x = sweep.view.game, sweep.dtype, sweep.points()
    horizon = jnp.asarray(game.horizon, dtype)
    dt, rho = horizon / steps, jnp.asarray(game.discount, dtype)

    def advance(carry, k):
        inner, outer = carry
        t = horizon - k.astype(dtype) * dt
        ready = sweep.prepare(t)
        choice = sweep.choose(ready, t, inner)
        cost, drifted = sweep.linear(ready, t, outer, choice.u, choice.w)
        value, alpha, beta, _ = stage_game(macro, outer)
        rates = equilibrium_rates(macro, alpha, beta)
        stress = cost
        if macro.stress is not None:
            stress = sweep.view.everywhere(
                lambda x, i, v: jnp.asarray(macro.stress(t, x, i, v), dtype).reshape(()),  # pyright: ignore[reportOptionalCall] - not None here
                x,
                inner,
            )
        switched = jnp.einsum("ipj,jp->ip", rates, inner)  # rows sum to zero: Σ_j μ_ij (V_j − V_i)
        inner_after = inner + dt * (choice.value + switched - rho * inner)
        outer_after = outer + dt * (stress + drifted + value - rho * outer)
        return (sweep._held(inner, inner_after), sweep._held(outer, outer_after)), None

    def block(carry, ks):
        carry, _ = jax.lax.scan(advance, carry, ks)
        return carry, carry

    terminal = sweep.view.terminal(x)
    ks = jnp.arange(steps, dtype=jnp.int32).reshape(keep, steps // keep)
    _, (inner, outer) = jax.lax.scan(block, (terminal, terminal), ks)
    inner, outer = (jnp.concatenate([terminal[None], part])[::-1] for part in (inner, outer))
    _, alpha, beta, gap = jax.lax.map(lambda values: stage_game(macro, values), outer)
    return SwitchingSolution(
        grid=sweep.view.grid,
        time=jnp.linspace(0.0, 1.0, keep + 1, dtype=dtype) * horizon,
        inner=inner,
        outer=outer,
        defender=alpha,
        attacker=beta,
        generator=jax.lax.map(lambda pair: equilibrium_rates(macro, *pair), (alpha, beta)),
        gap=jnp.max(gap),
    )
