"""Linear-quadratic games without end: the stationary solution, found by iteration, polished by Newton's method.

The value equations run from the terminal cost until nothing changes; Newton's method, its Jacobian held where they
ended (so close to the root one is enough), then solves rate(S) = 0 to the last digits, through which gradients pass by
the implicit function theorem. The entry of S at the constant 1 enters no other equation: with c_i its rate,
(ρ − μ) r = c where ρ > 0. Where ρ = 0 it is left at zero and the *average cost*, the stationary law of the regimes
times c, says what accrues per unit of time.

The closed loop is mean-square stable where the second moments of the state shrink, that is where the spectral abscissa
(in discrete time the logarithm of the spectral radius) of their linear flow is negative.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.solvers.base import Outcome, Status
from diffgames.solvers.feedback import LinearFeedback, Track
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.recursion import continuation, step_back
from diffgames.solvers.riccati import judged, value_rate
from diffgames.solvers.stage import solve_small, stage_games


class Stationary(eqx.Module):
    """Iterate at most `longest` units of time (steps) until the values change by less than `tolerance`, then Newton."""

    tolerance: float = eqx.field(static=True, default=1e-6)
    longest: float = eqx.field(static=True, default=1e5)
    newton: float = eqx.field(static=True, default=1e-12)

    def __call__(self, game: LinearQuadraticGame) -> LinearQuadraticSolution:
        """Solve a game with an infinite horizon and constant coefficients."""
        return _solve(self, game)


def residual(game: LinearQuadraticGame, values: Array) -> Float[Array, "players m n n"]:
    """What a stationary S makes zero, but for its corner."""
    zero = jnp.zeros((), values.dtype)
    return step_back(game, zero, values)[0] - values if game.discrete else value_rate(game, zero, values)


@eqx.filter_jit
def _solve(solver: Stationary, game: LinearQuadraticGame) -> LinearQuadraticSolution:
    n, dtype = game.size, game.terminal.dtype
    upper = np.triu_indices(n)
    free = np.ones((n, n), dtype=bool)
    free[-1, -1] = False

    def unpack(flat: Array) -> Array:
        blank = jnp.zeros((len(game.players), game.regime_count, n, n), dtype)
        half = blank.at[:, :, upper[0], upper[1]].set(flat)
        return half + jnp.swapaxes(half, -1, -2) - half * jnp.broadcast_to(jnp.eye(n, dtype=dtype), half.shape)

    def pack(values: Array) -> Array:
        return values[:, :, upper[0], upper[1]]

    inner = jnp.broadcast_to(
        jnp.asarray(free[upper].astype(float), dtype), (len(game.players), game.regime_count, upper[0].size)
    )
    mask = jnp.broadcast_to(jnp.asarray(free.astype(float), dtype), game.terminal.shape)
    numbers, words = eqx.partition(game, eqx.is_array)

    def equation(flat: Array, numbers: Any) -> Array:
        own = residual(eqx.combine(numbers, words), unpack(flat * inner))
        return jnp.where(inner > 0, pack(own), flat)

    start, settled = _iterate(solver, jax.lax.stop_gradient(numbers), words, residual, mask)
    root = optimistix.root_find(
        equation,
        optimistix.Chord(rtol=solver.newton, atol=solver.newton),
        pack(start),
        args=numbers,
        max_steps=64,
        throw=False,
    )
    exact = jnp.max(jnp.abs(equation(root.value, numbers))) < 1e-7 * (1 + jnp.max(jnp.abs(root.value)))
    exact &= jnp.max(jnp.abs(root.value - pack(start)) * inner) < 1e-2 * (1 + jnp.max(jnp.abs(root.value)))
    values = unpack(root.value * inner)
    good = settled & exact & jnp.all(jnp.isfinite(values))
    values = jnp.where(good, values, game.terminal * mask)
    accrued = residual(game, values)[:, :, -1, -1]
    discount = jnp.asarray(game.discount, dtype)
    corner, average = _corner(game, values, accrued, discount)
    values = values.at[:, :, -1, -1].set(corner)
    return _package(game, values, average, good)


def _iterate(solver: Stationary, numbers: Any, words: Any, rate: Any, free: Array) -> tuple[Array, Array]:
    """Values after which nothing changes any more, and whether that point was reached."""
    game = eqx.combine(numbers, words)
    start = game.terminal * free

    def change(values: Array) -> Array:
        return rate(game, values) * free

    if game.discrete:

        def going(carry):
            values, step, difference = carry
            small = difference < solver.tolerance * (1 + jnp.max(jnp.abs(values)))
            return ~small & (step < solver.longest) & (jnp.max(jnp.abs(values)) < 1e100)

        def once(carry):
            values, step, _ = carry
            difference = change(values)
            return values + difference, step + 1, jnp.max(jnp.abs(difference))

        zero = jnp.zeros((), start.dtype)
        values, _, difference = jax.lax.while_loop(going, once, (start, zero, zero + jnp.inf))
        return values, difference < solver.tolerance * (1 + jnp.max(jnp.abs(values)))

    def still(values: Array) -> Array:
        return jnp.max(jnp.abs(change(values))) < solver.tolerance * (1 + jnp.max(jnp.abs(values)))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda tau, y, args: change(y)),
        diffrax.Tsit5(),
        t0=0.0,
        t1=solver.longest,
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(t1=True),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
        event=diffrax.Event(lambda t, y, args, **_: still(y) | ~(jnp.max(jnp.abs(y)) < 1e100)),
        max_steps=65_536,
        throw=False,
    )
    assert solution.ys is not None
    values = solution.ys[-1]
    return values, still(values)


def _corner(game: LinearQuadraticGame, values: Array, accrued: Array, discount: Array) -> tuple[Array, Array]:
    """The entry at the constant 1 [players, m], and the average cost per unit of time [players]."""
    m = game.regime_count
    rates = jnp.asarray(game.rates(jnp.zeros((), values.dtype), values), values.dtype)
    eye = jnp.eye(m, dtype=values.dtype)
    moves = jnp.exp(-discount) * (eye + rates) if game.discrete else None
    system = eye - moves if moves is not None else discount * eye - rates
    counts = discount > 0
    corner = solve_small(jnp.where(counts, system, eye), accrued.T).T
    law = jnp.ones(1, values.dtype)
    if m > 1:
        law = jnp.linalg.lstsq(
            jnp.concatenate([rates.T, jnp.ones((1, m), values.dtype)]),
            jnp.zeros(m + 1, values.dtype).at[-1].set(1.0),
        )[0]
    return jnp.where(counts, corner, jnp.zeros_like(corner)), accrued @ law


def _package(game: LinearQuadraticGame, values: Array, average: Array, good: Array) -> LinearQuadraticSolution:
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
        code=jnp.where(good, int(Status.SOLVED), int(Status.NOT_STATIONARY)),
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
