"""Linear-quadratic games in discrete time: the backward recursion, one scan.

With transition probabilities π = 1 + μ and the continuation value S⁺_pi = e^{−ρ} Σ_j π_ij J_ijᵀ S_pj(t+1) J_ij, the
stage game (`solvers.stage`) gives u = U z, ū = Ū z, 𝒜 = A + B U + B̄ Ū and

    S_pi = Q_pi + UᵀR_pi U + N_pi U + UᵀN_piᵀ + 𝒜_iᵀ S⁺_pi 𝒜_i + Σ_k C_ikᵀ S⁺_pi C_ik,     S_pi(T) = G_pi.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame, symmetric
from diffgames.solvers.base import Outcome, Status
from diffgames.solvers.feedback import LinearFeedback, Track
from diffgames.solvers.linear_quadratic_solution import LinearQuadraticSolution
from diffgames.solvers.riccati import judged
from diffgames.solvers.stage import Stage, stage_games


class Recursion(eqx.Module):
    """Backward recursion over `game.horizon` steps."""

    def __call__(self, game: LinearQuadraticGame) -> LinearQuadraticSolution:
        """Solve a game in discrete time with a finite number of steps."""
        return _solve(game, int(game.horizon))


def continuation(game: LinearQuadraticGame, t: Any, values: Array) -> Float[Array, "players m n n"]:
    """S⁺ from the values at the next step."""
    factor = jnp.exp(-jnp.asarray(game.discount, values.dtype))
    if game.generator is None:
        return factor * values
    moves = jnp.eye(game.regime_count, dtype=values.dtype) + jnp.asarray(game.rates(t, values), values.dtype)
    if game.switch is None:
        return factor * jnp.einsum("ij,pjab->piab", moves, values)
    return factor * jnp.einsum("ij,ijba,pjbc,ijcd->piad", moves, game.switch, values, game.switch)


def step_back(game: LinearQuadraticGame, t: Any, values: Array) -> tuple[Float[Array, "players m n n"], Stage]:
    """The values one step earlier, and the stage game played there."""
    c, ahead = game.coefficients(t), continuation(game, t, values)
    stage = stage_games(game, c, ahead)
    return evaluate_step(game, t, values, stage.gain, stage.crowd_gain), stage


def evaluate_step(
    game: LinearQuadraticGame, t: Any, values: Array, gain: Array, crowd_gain: Array
) -> Float[Array, "players m n n"]:
    """The values one step earlier when all play the given gains, whatever these are."""
    c, ahead = game.coefficients(t), continuation(game, t, values)
    closed = c.drift + c.input @ gain + c.crowd_input @ crowd_gain
    crossed = jnp.einsum("piak,ikb->piab", c.cross_cost, gain)
    cost = c.state_cost + jnp.einsum("ika,pikl,ilb->piab", gain, c.control_cost, gain)
    earlier = cost + crossed + jnp.swapaxes(crossed, -1, -2)
    earlier = earlier + jnp.einsum("iba,pibc,icd->piad", closed, ahead, closed)
    earlier = earlier + jnp.einsum("ikba,pibc,ikcd->piad", c.diffusion, ahead, c.diffusion)
    return symmetric(earlier)


@eqx.filter_jit
def _solve(game: LinearQuadraticGame, steps: int) -> LinearQuadraticSolution:
    terminal = game.terminal
    dtype = terminal.dtype

    def back(values: Array, t: Array) -> tuple[Array, tuple[Array, Stage]]:
        earlier, stage = step_back(game, t, values)
        return earlier, (earlier, stage)

    time = jnp.arange(steps + 1, dtype=dtype)
    _, (values, stage) = jax.lax.scan(back, terminal, time[:-1], reverse=True)
    values = jnp.concatenate([values, terminal[None]])
    still = jnp.zeros((), dtype)

    def track(value: Array, times: Array) -> Track:
        return Track(times, value, jnp.broadcast_to(still, value.shape), discrete=True)

    profile = LinearFeedback(
        gain=track(stage.gain, time[:-1]),
        crowd_gain=track(stage.crowd_gain, time[:-1]),
        reaction=track(stage.reaction, time[:-1]),
        crowd_reaction=track(stage.crowd_reaction, time[:-1]),
        sizes=game.control_sizes,
        crowd=game.has_crowd,
    )
    fine = jnp.all(jnp.isfinite(values))
    outcome = Outcome(
        code=jnp.where(fine, int(Status.SOLVED), int(Status.UNBOUNDED)),
        escape_time=jnp.asarray(jnp.inf, dtype),
        time=still,
        player=jnp.zeros((), jnp.int32),
        names=tuple(player.name for player in game.players),
    )
    outcome = judged(game, stage, time[:-1], jnp.isfinite(values[1:]).all(axis=(1, 2, 3, 4)), outcome)
    return LinearQuadraticSolution(game=game, profile=profile, value=track(values, time), outcome=outcome)
