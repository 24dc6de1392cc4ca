"""Open-loop Nash equilibria: every player commits to a control as a function of time, others' controls taken as given.

For a game of one regime (`games.linear_quadratic`) in which all commit, the state is its mean z̄ plus a deviation that
no control moves. What noise and jumps add to the cost of p is therefore a cost of the mean alone: with Π_p the cost of
deviations without control,

    −Π̇_p = Q̃_p + AᵀΠ_p + Π_p A − ρΠ_p,     Q̃_p = Q_p + Σ_k C_kᵀΠ_p C_k + Σ_l λ_l E_lᵀΠ_p E_l,     Π_p(T) = G_p.

The costates λ_p = M_p z̄ (half the gradient of p's cost along the equilibrium, others' controls fixed as functions of
time) and the controls u = U z̄ obey, for all players p together,

    R_p[p, ·] U + N_pᵀ[p, ·] + B_pᵀM_p = 0,
    −Ṁ_p = Q̃_p + N_p U + AᵀM_p + M_p (A + B U) − ρM_p,     M_p(T) = G_p.

That is a two-point boundary value problem in (z̄, λ_1 … λ_N), solved for all starts at once: M exists on the whole
horizon exactly where the problem has one solution from every time and state. Each player's own problem must be convex
besides, that is the Riccati matrix K_p of its regulator, others' controls fixed, must not escape. Feedback Nash has
(A + Σ_q B_q U_q)ᵀ, q ≠ p, where Aᵀ stands, and differs as soon as two players meet on one state.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import Coefficients, LinearQuadraticGame
from diffgames.numerics.precision import in_double, keeping_double
from diffgames.solvers.backward import integrate_to_go
from diffgames.solvers.base import Outcome
from diffgames.solvers.riccati import TIGHT, course, float64
from diffgames.solvers.stage import solve_small
from diffgames.solvers.units import units_of


@in_double
def open_loop_nash(
    game: LinearQuadraticGame, times: int = 257
) -> tuple[Float[Array, " times"], Float[Array, "times N n n"]]:
    """Times and the matrices M_p(t) with λ_p = M_p z along the equilibrium (z with its constant 1).

    `InvalidInput` for regimes, crowds, tiers, an infinite horizon or discrete time; `RunFailed` where there is no
    equilibrium on the whole horizon, with the time to go at which it ends. `open_loop_gain` makes controls of M.
    """
    for wrong, name in (
        (game.regime_count > 1, "generator"),
        (game.discrete, "discrete"),
        (game.endless, "horizon"),
        (game.has_crowd, "crowd_input"),
        (len(game.tiers) > 1, "tiers"),
    ):
        if wrong:
            raise InvalidInput(name, "set", "a Nash game of one regime in continuous time, with a finite horizon")
    game = float64(game)
    horizon = jnp.asarray(game.horizon, jnp.float64)
    time = jnp.linspace(0.0, 1.0, times) * horizon
    terminal = game.terminal[:, 0]

    def rate(tau: Array, y: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        return _rates(game, game.coefficients(horizon - tau), *y)

    start = (terminal, terminal, terminal)
    extra = jax.jit(lambda: units_of(game).value[:, 0])()
    known = course(game, (extra, extra, extra))
    found = jax.jit(lambda to_go: integrate_to_go(rate, start, to_go, TIGHT, **known))(time)
    outcome = Outcome(
        code=found.code,
        escape_time=found.escape_time,
        time=jnp.zeros_like(horizon),
        player=jnp.zeros((), jnp.int32),
        names=tuple(player.name for player in game.players),
    )
    if (failure := outcome.failure) is not None:
        raise failure
    return time, found.values[1][::-1]


@keeping_double
def open_loop_gain(
    game: LinearQuadraticGame, t: Float[Array, ""] | float, costates: Float[Array, "N n n"]
) -> Float[Array, "K n"]:
    """U with u = U z̄ at time t from the matrices M of that time."""
    return _gain(game, game.coefficients(t), costates)


def _gain(game: LinearQuadraticGame, c: Coefficients, costates: Array) -> Array:
    system, right = [], []
    for p, place in enumerate(game.control_slices):
        system.append(c.control_cost[p, 0][place])
        right.append(c.cross_cost[p, 0][:, place].T + c.input[0][:, place].T @ costates[p])
    return -solve_small(jnp.concatenate(system), jnp.concatenate(right))


def _rates(
    game: LinearQuadraticGame, c: Coefficients, alone: Array, costates: Array, regulators: Array
) -> tuple[Array, Array, Array]:
    """dΠ/dτ, dM/dτ and dK/dτ."""
    drift, gain = c.drift[0], _gain(game, c, costates)
    discount = jnp.asarray(game.discount, drift.dtype)
    moved = c.input[0] @ gain
    noise = jnp.einsum("kba,pbc,kcd->pad", c.diffusion[0], alone, c.diffusion[0])
    noise = noise + jnp.einsum("l,lba,pbc,lcd->pad", c.jump_rate[0], c.jump_scale[0], alone, c.jump_scale[0])
    cost = c.state_cost[:, 0] + noise

    def pulled(values: Array) -> Array:
        return drift.T @ values + values @ drift - discount * values

    own = [
        _own_bend(c, p, place, value)
        for (p, place), value in zip(enumerate(game.control_slices), regulators, strict=True)
    ]
    costate_rate = cost + c.cross_cost[:, 0] @ gain + pulled(costates) + costates @ moved
    return cost + pulled(alone), costate_rate, cost + pulled(regulators) - jnp.stack(own)


def _own_bend(c: Coefficients, p: int, place: slice, value: Array) -> Array:
    """(K B_p + N_p) R_pp⁻¹ (K B_p + N_p)ᵀ."""
    reach = value @ c.input[0][:, place] + c.cross_cost[p, 0][:, place]
    return reach @ solve_small(c.control_cost[p, 0][place, place], reach.T)
