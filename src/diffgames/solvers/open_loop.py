"""Open-loop Nash equilibria: every player commits to a control as a function of time, others' controls taken as given.

For dx = A x + Σ B_p u_p, cost of p ∫ xᵀQ_p x + u_pᵀR_pp u_p dt + x_TᵀG_p x_T (no ½, no noise, one regime), the costates
λ_p = ∂/∂x of half the cost obey

    ẋ = A x − Σ_p B_p R_pp⁻¹ B_pᵀ λ_p,   λ̇_p = −Q_p x − Aᵀλ_p,   λ_p(T) = G_p x(T),
    u_p = −R_pp⁻¹ B_pᵀ λ_p,

a linear two-point problem in (x, λ_1 … λ_N) solved by an exponential: λ(t) = M(t) x(t) exists where Φ22 − G Φ12 is
regular on the whole horizon. Feedback Nash differs from it as soon as two players meet on one state.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.linear_quadratic import LinearQuadraticGame


def open_loop_nash(
    game: LinearQuadraticGame, times: int = 257
) -> tuple[Float[Array, " times"], Float[Array, "times N n n"]]:
    """Times and the matrices M_p(t) with λ_p = M_p z along the equilibrium (z with its constant 1).

    `InvalidInput` for regimes, crowds, tiers, cross costs, a discount or discrete time; `RunFailed` where the two-point
    problem becomes singular before the horizon. u_p = −R_pp⁻¹ B_pᵀ M_p z as long as all keep to it.
    """
    for wrong, name in (
        (game.regime_count > 1, "generator"),
        (game.discrete, "discrete"),
        (game.endless, "horizon"),
        (game.has_crowd, "crowd_input"),
        (len(game.tiers) > 1, "tiers"),
        (not isinstance(game.discount, float) or game.discount != 0.0, "discount"),
        (any(player.cross_cost is not None for player in game.players), "cross_cost"),
    ):
        if wrong:
            raise InvalidInput(name, "set", "a plain Nash game in continuous time, finite horizon, undiscounted")
    with jax.enable_x64(True):
        c, n, count = game.coefficients(0.0), game.size, len(game.players)
        drift, eye = c.drift[0], jnp.eye(n)
        weights = []
        for p, place in enumerate(game.control_slices):
            own = c.input[0][:, place]
            weights.append(own @ jnp.linalg.solve(c.control_cost[p, 0][place, place], own.T))
        forward = jnp.concatenate([drift, *(-weight for weight in weights)], axis=1)
        backward = [
            jnp.concatenate([-c.state_cost[p, 0], *(-drift.T if q == p else 0 * eye for q in range(count))], axis=1)
            for p in range(count)
        ]
        system = jnp.concatenate([forward, *backward])
        final = jnp.concatenate(list(game.terminal[:, 0]))
        time = jnp.linspace(0.0, 1.0, times) * game.horizon

        def at(t: Array) -> tuple[Array, Array]:
            flow = jax.scipy.linalg.expm(system * (game.horizon - t), max_squarings=48)
            psi = flow[n:, n:] - final @ flow[:n, n:]
            costates = -jnp.linalg.solve(psi, flow[n:, :n] - final @ flow[:n, :n])
            return costates.reshape(count, n, n), jnp.linalg.slogdet(psi)[0]

        matrices, signs = jax.jit(jax.vmap(at))(time)
        if bool(jnp.any(signs <= 0)):
            last = float(game.horizon - jnp.max(jnp.where(signs <= 0, time, -jnp.inf)))
            raise RunFailed(
                f"the open-loop two-point problem is singular by time-to-go {last:.4g}", "shorten the horizon"
            )
        return time, matrices
