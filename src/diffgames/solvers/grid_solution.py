"""What a solver on a grid returns: values and feedback at kept times, and how far to trust them."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.games.differential import Controls, Profile
from diffgames.numerics.grid import Grid, check_inside
from diffgames.numerics.precision import keeping_double


class GridFeedback(eqx.Module):
    """The feedback found on the grid, a profile: `feedback(t, x, i)` gives every player's control.

    Multilinear between the points, constant in time between kept times (the earlier one's).
    """

    grid: Grid
    time: Float[Array, " kept"]
    u: Float[Array, "kept regimes controls_u points"]
    w: Float[Array, "kept regimes controls_w points"]
    others: Profile | None
    minimiser: int | None = eqx.field(static=True)
    maximiser: int | None = eqx.field(static=True)
    control_sizes: tuple[int, ...] = eqx.field(static=True)

    @keeping_double
    def __call__(self, t: Float[Array, ""], x: Float[Array, " n"], i: Int[Array, ""]) -> Controls:
        """Controls of all players at one time, state and regime."""
        dtype = self.u.dtype
        rest = tuple(jnp.zeros(size, dtype) for size in self.control_sizes)
        rest = rest if self.others is None else self.others(t, x, i)
        slot = jnp.clip(
            jnp.searchsorted(self.time, t + 1e-12 * self.time[-1], side="right") - 1, 0, self.time.shape[0] - 1
        )
        indices, weights = self.grid.locate(x.astype(dtype)[:, None])
        play = [jnp.asarray(part, dtype) for part in rest]
        for player, table in ((self.minimiser, self.u), (self.maximiser, self.w)):
            if player is not None:
                play[player] = table[slot, i][:, indices[:, 0]] @ weights[:, 0]
        return tuple(play)


class GridSolution(eqx.Module):
    """Value and feedback of a control problem or a zero-sum game on a grid.

    - `time[kept]` increasing; `value[kept, regimes, *shape]`: expected remaining cost of the player `objective`
    - `feedback`: the controls, a profile
    - `isaacs_gap`: largest min max − max min of the discrete Hamiltonian at the kept times (0: Isaacs' condition holds)
    - `leak[regimes, *shape]`: from every regime and point, the probability under the feedback of meeting an artificial
      end of the grid before the horizon; None where not asked for. Where it is small the ends do not matter;
      `leak_at_start` is its mean over the game's initial law, one number
    - `steps` of length `dt`; `stability` = dt × the largest rate of leaving a point (≤ 1 for explicit steps)
    - `iterations`: most policy iterations a step took (0 for explicit steps), `residual` the largest that was left
    """

    grid: Grid
    time: Float[Array, " kept"]
    value: Float[Array, "..."]
    feedback: GridFeedback
    isaacs_gap: Float[Array, ""]
    leak: Float[Array, "..."] | None
    leak_at_start: Float[Array, ""] | None
    stability: Float[Array, ""]
    iterations: Int[Array, ""]
    residual: Float[Array, ""]
    players: tuple[str, ...] = eqx.field(static=True)
    objective: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    method: str = eqx.field(static=True)

    @keeping_double
    def at(self, x: Float[Array, " n"], i: int = 0, kept: int = 0) -> Float[Array, ""]:
        """Value at a state and a regime, at the kept time of that index (0: the first).

        Raises `InvalidInput` for a state beyond an end of the grid: nothing is known there.
        """
        check_inside(self.grid, jnp.asarray(x, self.value.dtype)[:, None], "x")
        return self.grid.interpolate(self.value[kept, i], jnp.asarray(x, self.value.dtype)[:, None])[0]

    @keeping_double
    def __repr__(self) -> str:
        leak = "" if self.leak_at_start is None else f", leak {float(self.leak_at_start):.2g}"
        return (
            f"GridSolution({self.grid!r}, {self.value.shape[1]} regime(s); {self.method}, {self.steps} steps, "
            f"stability {float(self.stability):.3g}, Isaacs gap {float(self.isaacs_gap):.2g}{leak})"
        )
