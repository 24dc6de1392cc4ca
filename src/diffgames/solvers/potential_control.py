"""The potential of a distributed game as a control problem of the hub: equation 4.3 for grids, or any other solver.

One planner moves all players; the state is X = (X_1, …, X_N), or (X − Y, Y) where the costs are not symmetric:

    min_u E[ ∫₀ᵀ F(t, X, Y, u) dt + G(X_T, Y_T) ].

In these coordinates noise moves the first half alone and controls the second alone, X − Y being what X would be without
controls: a grid may be coarse along the first. `solvers.hjb.solve_hjb` takes it where all these are four coordinates at
most: an answer that shares nothing with learning but the game.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.games.differential import Controls, DifferentialGame, PointLaw
from diffgames.games.distributed import DistributedGame
from diffgames.games.jumps import JumpLaw


def potential_control(
    game: DistributedGame, *, sensitivity: bool = False, bound: float | None = None
) -> DifferentialGame:
    """The planner's problem; controls of every player within ±`bound` per component where one is given."""
    hub = game.as_differential()
    n, d, k = game.player_count, game.state_size, game.control_size
    size = n * d

    def positions(z: Array) -> Array:
        return z[:size] + z[size:] if sensitivity else z

    def columns(flat: Array) -> Array:
        return flat.reshape(n, d).T[:, :, None]

    def split(z: Array) -> tuple[Array, Array]:
        return columns(positions(z)), columns(z[-size:])

    def separate(u: Array) -> tuple[Array, ...]:
        return tuple(u.reshape(n, k))

    def drift(t, z, u, i):
        controls = u[0].reshape(n, k).T[:, :, None]
        moved = game.velocity(t, columns(z[-size:]), controls)[:, :, 0].T.reshape(-1)
        if not sensitivity:
            return moved
        free = game.velocity(t, columns(z[:size]), jnp.zeros_like(controls))[:, :, 0].T.reshape(-1)
        return jnp.concatenate([free, moved])

    def diffusion(t, z, u, i):
        loaded = hub.diffusion(t, positions(z), separate(u[0]), i)
        return jnp.concatenate([loaded, jnp.zeros_like(loaded)]) if sensitivity else loaded

    def running(t, z, u, i):
        x, y = split(z)
        return game.costs.potential_running(t, x, y, u[0].reshape(n, k).T[:, :, None])

    def terminal(z, i):
        return game.costs.potential_terminal(*split(z))

    start = jnp.asarray(game.initial).reshape(-1)
    return DifferentialGame(
        players=("planner",),
        control_sizes=(n * k,),
        drift=drift,
        diffusion=diffusion,
        running_cost=running,
        terminal_cost=terminal,
        initial=PointLaw(jnp.concatenate([start, jnp.zeros_like(start)]) if sensitivity else start),
        horizon=game.horizon,
        jumps=tuple(JumpLaw(law.rate, _Padded(law, sensitivity), law.marks) for law in hub.jumps),
        bounds=(None if bound is None else (-bound, bound),),
        state_names=tuple(f"x{i + 1}" for i in range(size)) if not sensitivity else (),
    )


class _Padded(eqx.Module):
    """A jump of the states, which the sensitivities do not see."""

    law: JumpLaw
    sensitivity: bool = eqx.field(static=True)

    def __call__(
        self,
        t: Float[Array, ""],
        z: Float[Array, " n"],
        u: Controls,
        mark: Float[Array, " marks"],
        i: Int[Array, ""],
    ) -> Float[Array, " n"]:
        half = z.shape[0] // 2 if self.sensitivity else z.shape[0]
        x = z[:half] + z[half:] if self.sensitivity else z
        size = self.law.size(t, x, u, mark, i)
        return jnp.concatenate([size, jnp.zeros_like(size)]) if self.sensitivity else size
