"""Linear-quadratic games without end: the stationary solution, found by iteration, polished by Newton's method.

The value equations run from the terminal cost until nothing changes (`solvers.stationary_search`); Newton's method then
solves rate(S) = 0 to the last digits, through which gradients pass by the implicit function theorem. All is done in the
game's own units (`solvers.units`). The entry of S at the constant 1 enters no other equation: with c_i its rate,
(ρ − μ) r = c where ρ > 0. Where ρ = 0 it is left at zero and the *average cost*, the limiting law of the regimes times
c, says what accrues per unit of time; a chain with several recurrent classes has one for every regime it starts in.

The closed loop is mean-square stable where the second moments of the state shrink, that is where the spectral abscissa
(in discrete time the logarithm of the spectral radius) of their linear flow is negative.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.numerics.equilibration import least_eigenvalue
from diffgames.solvers.base import Outcome, Status
from diffgames.solvers.feedback import LinearFeedback, Track
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.recursion import continuation
from diffgames.solvers.riccati import judged
from diffgames.solvers.stage import solve_small, stage_games
from diffgames.solvers.stationary_search import (
    LEAST,
    NOTHING,
    Search,
    doubled,
    doubles,
    polished,
    residual,
    settled,
)
from diffgames.solvers.units import sizes, units_of


class Stationary(eqx.Module):
    """Iterate at most `longest` units of time (steps) until the values change by less than `tolerance`, then Newton.

    The unit of time is the game's own (`solvers.units`), changes are relative to the entries.
    """

    tolerance: float = eqx.field(static=True, default=1e-6)
    longest: float = eqx.field(static=True, default=1e5)
    newton: float = eqx.field(static=True, default=1e-12)

    def __call__(self, game: LinearQuadraticGame) -> LinearQuadraticSolution:
        """Solve a game with an infinite horizon and constant coefficients."""
        return _solve(self, game, doubles(game))


@eqx.filter_jit
def _solve(solver: Stationary, game: LinearQuadraticGame, alone: bool) -> LinearQuadraticSolution:
    n, dtype = game.size, game.terminal.dtype
    units = units_of(game)
    free = jnp.ones((n, n), dtype).at[-1, -1].set(0.0)
    upper = np.triu_indices(n)
    chosen = (slice(None), slice(None), upper[0][:-1], upper[1][:-1])

    def unpack(flat: Array) -> Array:
        half = jnp.zeros(game.terminal.shape, dtype).at[chosen].set(flat.reshape(*game.terminal.shape[:2], -1))
        return half + jnp.swapaxes(half, -1, -2) - half * jnp.broadcast_to(jnp.eye(n, dtype=dtype), half.shape)

    def equation(flat: Array) -> Array:
        return (residual(game, unpack(flat) * units.value) / units.value / units.pace)[chosen].reshape(-1)

    def measure(flat: Array) -> Array:
        values = unpack(flat)
        return jnp.maximum(sizes(values, LEAST), NOTHING)[chosen].reshape(-1)

    search = Search(solver.tolerance, solver.longest, solver.newton)
    start, code = doubled(game, units) if alone else settled(search, game, units)
    root, code = polished(search, equation, measure, jax.lax.stop_gradient(start)[chosen].reshape(-1), code)
    values = unpack(root) * units.value
    code = jnp.where((code == Status.SOLVED) & ~_signed(game, values), int(Status.NOT_STATIONARY), code)
    values = jnp.where(code == Status.SOLVED, values, game.terminal * jnp.broadcast_to(free, values.shape))
    accrued = residual(game, values)[:, :, -1, -1]
    corner, average = _corner(game, values, accrued, jnp.asarray(game.discount, dtype))
    values = values.at[:, :, -1, -1].set(corner)
    return _package(game, values, average, code)


def _signed(game: LinearQuadraticGame, values: Array) -> Array:
    """Whether values are non-negative wherever running and terminal costs are (of x; with their sign)."""
    c, fine = game.coefficients(jnp.zeros((), values.dtype)), jnp.asarray(True)
    for p, player in enumerate(game.players):
        cross = c.cross_cost[p, :, :-1]
        rows = (
            jnp.concatenate([c.state_cost[p, :, :-1, :-1], cross], axis=-1),
            jnp.concatenate([jnp.swapaxes(cross, -1, -2), c.control_cost[p]], axis=-1),
        )
        data = (jnp.concatenate(rows, axis=-2), game.terminal[p, :, :-1, :-1])
        given = [jnp.min(least_eigenvalue(player.sign * matrix)) >= -1e-10 for matrix in data]
        found = jnp.min(least_eigenvalue(player.sign * values[p, :, :-1, :-1])) >= -1e-6
        fine &= found | ~(given[0] & given[1])
    return fine


def _corner(game: LinearQuadraticGame, values: Array, accrued: Array, discount: Array) -> tuple[Array, Array]:
    """The entry at the constant 1 [players, m], and the average cost per unit of time, by the regime at the start."""
    m = game.regime_count
    rates = jnp.asarray(game.rates(jnp.zeros((), values.dtype), values), values.dtype)
    eye = jnp.eye(m, dtype=values.dtype)
    moves = jnp.exp(-discount) * (eye + rates) if game.discrete else None
    system = eye - moves if moves is not None else discount * eye - rates
    counts = discount > 0
    corner = solve_small(jnp.where(counts, system, eye), accrued.T).T
    average = accrued @ limiting_law(rates).T
    return jnp.where(counts, corner, jnp.zeros_like(corner)), average[:, 0] if m == 1 else average


def limiting_law(rates: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """Row i: the share of time a chain that starts in regime i spends in each regime, one row per recurrent class.

    Differentiable at a fixed set of classes: dΠ = Π dP Z + Z dP Π with Z = (I − P + Π)⁻¹ − Π.
    """
    eye = jnp.eye(rates.shape[0], dtype=rates.dtype)
    fastest = jnp.max(jnp.abs(rates))
    moves = eye + rates / (2 * jnp.where(fastest > 0, jax.lax.stop_gradient(fastest), 1.0))

    def squared(_: Any, power: Array) -> Array:
        power = power @ power
        return power / jnp.sum(power, axis=1, keepdims=True)

    held = jax.lax.stop_gradient(moves)
    law = jax.lax.fori_loop(0, 60, squared, held)
    deviation = jnp.linalg.inv(eye - held + law) - law
    return law + law @ (moves - held) @ deviation + deviation @ (moves - held) @ law


def _package(game: LinearQuadraticGame, values: Array, average: Array, code: Array) -> LinearQuadraticSolution:
    zero = jnp.zeros((), values.dtype)
    ahead = continuation(game, zero, values) if game.discrete else values
    stage = jax.tree.map(lambda leaf: leaf[None], stage_games(game, game.coefficients(zero), ahead))

    def track(value: Array) -> Track:
        return Track(zero[None], value, jnp.zeros_like(value), discrete=game.discrete)

    profile = LinearFeedback(
        gain=track(stage.gain),
        crowd_gain=track(stage.crowd_gain),
        reaction=track(stage.reaction),
        crowd_reaction=track(stage.crowd_reaction),
        sizes=game.control_sizes,
        crowd=game.has_crowd,
    )
    outcome = Outcome(
        code=code,
        escape_time=zero + jnp.inf,
        time=zero,
        player=jnp.zeros((), jnp.int32),
        names=tuple(player.name for player in game.players),
    )
    outcome = judged(game, stage, zero[None], jnp.ones(1, bool), outcome)
    return LinearQuadraticSolution(
        game=game, profile=profile, value=track(values[None]), outcome=outcome, average_cost=average
    )


def mean_square_abscissa(solution: LinearQuadraticSolution, t: float = 0.0) -> float:
    """Growth rate of the second moments of the state in the closed loop; negative: mean-square stable."""
    game = solution.game
    c = game.coefficients(t)
    closed = c.drift + c.input @ solution.profile.gain(t) + c.crowd_input @ solution.profile.crowd_gain(t)
    a, noise = np.asarray(closed)[:, :-1, :-1], np.asarray(c.diffusion)[:, :, :-1, :-1]
    m, n = a.shape[:2]
    rates = np.asarray(game.rates(t, solution.value(t)))
    moved = np.eye(n) if game.switch is None else np.asarray(game.switch)[:, :, :-1, :-1]
    moved = np.broadcast_to(moved, (m, m, n, n))
    flow = np.zeros((m, n * n, m, n * n))
    for i in range(m):
        spread = sum((np.kron(one, one) for one in noise[i]), np.zeros((n * n, n * n)))
        if game.discrete:
            within = np.kron(a[i], a[i]) + spread
        else:
            jumps = zip(np.asarray(c.jump_rate)[i], np.asarray(c.jump_scale)[i, :, :-1, :-1], strict=True)
            within = np.kron(a[i], np.eye(n)) + np.kron(np.eye(n), a[i]) + spread
            within = within + sum((rate * np.kron(e, e) for rate, e in jumps), np.zeros((n * n, n * n)))
        for j in range(m):
            switch = np.kron(moved[i, j], moved[i, j])
            if game.discrete:
                flow[j, :, i] += (rates[i, j] + (i == j)) * switch @ within
            else:
                flow[j, :, i] += within + rates[i, i] * np.eye(n * n) if i == j else rates[i, j] * switch
    values = np.linalg.eigvals(flow.reshape(m * n * n, m * n * n))
    return float(np.log(np.abs(values).max())) if game.discrete else float(values.real.max())
