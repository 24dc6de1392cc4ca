"""Linear-quadratic games in continuous time over a finite horizon: one matrix equation per player and regime.

With the feedback u = U z, ū = Ū z of the stage game (`solvers.stage`) and 𝒜 = A + B U + B̄ Ū the value of player p in
regime i is V_p = zᵀS_pi z,

    −Ṡ_pi = −ρ S_pi + Q_pi + UᵀR_pi U + N_pi U + UᵀN_piᵀ + S_pi 𝒜_i + 𝒜_iᵀ S_pi
            + Σ_k C_ikᵀS_pi C_ik + Σ_l λ_il E_ilᵀS_pi E_il + Σ_{j≠i} μ_ij (J_ijᵀS_pj J_ij − S_pi),     S_pi(T) = G_pi.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.numerics.equilibration import equilibrated, least_eigenvalue
from diffgames.numerics.precision import solving_in_double
from diffgames.solvers.backward import Accuracy, integrate_to_go
from diffgames.solvers.base import Outcome, Status
from diffgames.solvers.feedback import LinearFeedback, Track
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.stage import Stage, stage_games
from diffgames.solvers.units import units_of

TIGHT = Accuracy()
LONGEST = 1 / 512  # of the horizon: an event of a coefficient that names no breaks is seen from this width on


class Riccati(eqx.Module):
    """Adaptive eighth-order integration of the value equations; values are kept at `nodes` equidistant times."""

    accuracy: Accuracy = TIGHT
    nodes: int = eqx.field(static=True, default=257)

    def __call__(self, game: LinearQuadraticGame) -> LinearQuadraticSolution:
        """Solve a game in continuous time with a finite horizon."""
        return _solve(self, game)


def value_rate(
    game: LinearQuadraticGame, t: Float[Array, ""], values: Float[Array, "players m n n"]
) -> Float[Array, "players m n n"]:
    """dS/dτ = −Ṡ at time t when all play the stage game's equilibrium."""
    stage = stage_games(game, game.coefficients(t), values)
    return evaluation_rate(game, t, values, stage.gain, stage.crowd_gain)


def evaluation_rate(
    game: LinearQuadraticGame, t: Any, values: Array, gain: Array, crowd_gain: Array
) -> Float[Array, "players m n n"]:
    """dS/dτ when all play the given gains [m, K, n], whatever these are."""
    c = game.coefficients(t)
    closed = c.drift + c.input @ gain + c.crowd_input @ crowd_gain
    pulled = jnp.einsum("iba,pibc->piac", closed, values)
    crossed = jnp.einsum("piak,ikb->piab", c.cross_cost, gain)
    cost = c.state_cost + jnp.einsum("ika,pikl,ilb->piab", gain, c.control_cost, gain)
    rate = cost + crossed + jnp.swapaxes(crossed, -1, -2) + pulled + jnp.swapaxes(pulled, -1, -2)
    if c.diffusion.shape[1]:
        rate = rate + jnp.einsum("ikba,pibc,ikcd->piad", c.diffusion, values, c.diffusion)
    if c.jump_rate.shape[1]:
        rate = rate + jnp.einsum("il,ilba,pibc,ilcd->piad", c.jump_rate, c.jump_scale, values, c.jump_scale)
    return rate - jnp.asarray(game.discount, values.dtype) * values + switched(game, t, values)


def switched(game: LinearQuadraticGame, t: Any, values: Array) -> Float[Array, "players m n n"]:
    """Σ_{j≠i} μ_ij (J_ijᵀ S_pj J_ij − S_pi)."""
    if game.generator is None:
        return jnp.zeros_like(values)
    rates = jnp.asarray(game.rates(t, values), values.dtype)
    if game.switch is None:
        return jnp.einsum("ij,pjab->piab", rates, values)
    away = rates - jnp.diag(jnp.diagonal(rates))
    moved = jnp.einsum("ij,ijba,pjbc,ijcd->piad", away, game.switch, values, game.switch)
    return moved + jnp.diagonal(rates)[None, :, None, None] * values


@eqx.filter_jit
def values_to_go(
    game: LinearQuadraticGame, to_go: Float[Array, " times"], accuracy: Accuracy = TIGHT
) -> tuple[Float[Array, "times players m n n"], Outcome]:
    """S at the increasing times to go τ = T − t, infinite from an escape on; the last τ need not be the horizon.

    Searching further than the horizon is how an escape time beyond it is found (coefficients must then exist there).
    """
    terminal = game.terminal
    horizon = jnp.asarray(game.horizon, terminal.dtype)
    found = integrate_to_go(
        lambda tau, s: value_rate(game, horizon - tau, s),
        terminal,
        to_go,
        accuracy,
        **course(game, units_of(game).value),
    )
    outcome = Outcome(
        code=found.code,
        escape_time=found.escape_time,
        time=horizon - to_go[-1],
        player=jnp.zeros((), jnp.int32),
        names=tuple(player.name for player in game.players),
    )
    return found.values, outcome


def course(game: LinearQuadraticGame, units: Any) -> dict[str, Any]:
    """What an integration over the horizon must know of a game besides its rate: units, breaks and the longest step."""
    varying = [one for one in _coefficients(game) if callable(one)]
    named = [jnp.ravel(jnp.asarray(one.breaks)) for one in varying if getattr(one, "breaks", None) is not None]
    to_go = jnp.asarray(game.horizon, game.terminal.dtype) - jnp.concatenate(named) if named else None
    return {"units": units, "breaks": to_go, "longest": LONGEST if len(varying) > len(named) else None}


def _coefficients(game: LinearQuadraticGame) -> list[Any]:
    own = [getattr(game, name) for name in ("drift", "diffusion", "jump_scale", "jump_rate", "generator")]
    names = ("own_input", "crowd_input", "state_cost", "control_cost", "cross_cost")
    return own + [getattr(player, name) for player in game.players for name in names]


@solving_in_double
def escape_time(game: LinearQuadraticGame, limit: float, accuracy: Accuracy = TIGHT) -> float | None:
    """First time-to-go at which the values escape, searched up to `limit`; None where there is none.

    `RunFailed` where the search ends before `limit` for another reason. At a pole of higher order rounding leaves fewer
    digits; the time is then rounded to those that hold.
    """
    _, outcome = values_to_go(float64(game), jnp.asarray([limit], jnp.float64), accuracy)
    return escaped_or_none(outcome)


def escaped_or_none(outcome: Outcome) -> float | None:
    """The escape time, None where the whole span was searched; any other failure is raised."""
    if outcome.status == Status.ESCAPED:
        return float(outcome.escape_time)
    if (failure := outcome.failure) is not None:
        raise failure
    return None


@eqx.filter_jit
def _solve(solver: Riccati, game: LinearQuadraticGame) -> LinearQuadraticSolution:
    dtype = game.terminal.dtype
    time = jnp.linspace(0.0, 1.0, solver.nodes, dtype=dtype) * jnp.asarray(game.horizon, dtype)
    backward, outcome = values_to_go(game, time, solver.accuracy)
    return package(game, time, backward[::-1], outcome)


def package(game: LinearQuadraticGame, time: Array, values: Array, outcome: Outcome) -> LinearQuadraticSolution:
    """The solution whose values [times, players, m, n, n] are known, infinite where they do not exist."""
    reached = jnp.isfinite(values).all(axis=(1, 2, 3, 4))
    safe = jnp.where(reached[:, None, None, None, None], values, game.terminal[None])
    slope = -jax.vmap(lambda t, s: value_rate(game, t, s))(time, safe)

    def feedback(t: Array, s: Array) -> Stage:
        return stage_games(game, game.coefficients(t), s)

    ones = jnp.ones_like(time)
    stage, change = jax.vmap(lambda t, s, dt, ds: jax.jvp(feedback, (t, s), (dt, ds)))(time, safe, ones, slope)

    def track(value: Array, rate: Array) -> Track:
        return Track(time, masked(value, reached), masked(rate, reached))

    profile = LinearFeedback(
        gain=track(stage.gain, change.gain),
        crowd_gain=track(stage.crowd_gain, change.crowd_gain),
        reaction=track(stage.reaction, change.reaction),
        crowd_reaction=track(stage.crowd_reaction, change.crowd_reaction),
        sizes=game.control_sizes,
        crowd=game.has_crowd,
    )
    outcome = judged(game, stage, time, reached.at[-1].set(True), outcome)
    return LinearQuadraticSolution(game=game, profile=profile, value=track(values, slope), outcome=outcome)


def masked(value: Array, reached: Array) -> Array:
    """Infinite where the solution does not exist."""
    return jnp.where(reached.reshape((-1,) + (1,) * (value.ndim - 1)), value, jnp.inf)


def judged(game: LinearQuadraticGame, stage: Stage, time: Array, reached: Array, outcome: Outcome) -> Outcome:
    """The outcome, or the first player whose stage game is not convex or has a singular system."""
    infinite = jnp.asarray(jnp.inf, time.dtype)
    code, when, who = outcome.code, outcome.time, outcome.player
    tests = []
    for p, bend in enumerate(stage.curvature):
        tests.append((Status.NOT_CONVEX, p, ~(least_eigenvalue(bend).min(axis=-1) > 1e-13)))
    order = [tier[0] for tier in reversed(game.tiers)]
    for p, system in zip(order, stage.systems[-len(order) :], strict=True):
        spread = jnp.linalg.svd(equilibrated(system), compute_uv=False)
        tests.append((Status.SINGULAR, p, ~(spread.min(axis=(-2, -1)) > 1e-13 * spread.max(axis=(-2, -1)))))
    for status, p, bad in reversed(tests):
        at_fault = jnp.any(bad & reached)
        code = jnp.where(at_fault, jnp.asarray(int(status), code.dtype), code)
        when = jnp.where(at_fault, jnp.max(jnp.where(bad & reached, time, -infinite)), when)
        who = jnp.where(at_fault, jnp.asarray(p, who.dtype), who)
    return Outcome(code=code, escape_time=outcome.escape_time, time=when, player=who, names=outcome.names)


def float64(tree: Any) -> Any:
    """Every floating-point array of a pytree in float64."""

    def wide(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiu":
            return jnp.asarray(leaf, jnp.float64)
        return leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(wide, tree)
