"""What a solved linear-quadratic game hands back: profile, values and outcome; it prints itself."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.numerics.precision import keeping_double
from diffgames.solvers.base import Outcome
from diffgames.solvers.feedback import LinearFeedback, Track


class LinearQuadraticSolution(eqx.Module):
    """Feedback profile and values zᵀS_p z (no ½) of a linear-quadratic game.

    `value(t)` is S[players, m, n, n]; infinite times stand where the solution does not exist (see `outcome`).
    `average_cost` is what accrues per unit of time (step) without end and undiscounted: [players], with several regimes
    [players, m] by the regime at the start.
    """

    game: LinearQuadraticGame
    profile: LinearFeedback
    value: Track
    outcome: Outcome
    average_cost: Float[Array, "players *m"] | None = None

    @property
    def time(self) -> Float[Array, " times"]:
        """The times at which values and gains are kept."""
        return self.value.time

    @property
    def values(self) -> Float[Array, "times players m n n"]:
        """S at every time of `time`."""
        return self.value.value

    @keeping_double
    def matrix(self, player: str | int, row: str, column: str, t: float = 0.0, regime: int = 0) -> Float[Array, "a b"]:
        """Block (row, column) of a player's S at time t."""
        index = self.game.player_index(player)
        return self.value(t)[index, regime][self.game.block(row), self.game.block(column)]

    @keeping_double
    def gain(self, player: str | int, block: str, t: float = 0.0, regime: int = 0) -> Float[Array, "k b"]:
        """A player's gain on one block of the state at time t."""
        index = self.game.player_index(player)
        rows = self.game.control_slices[index]
        return self.profile.gain(t)[regime, rows, self.game.block(block)]

    @keeping_double
    def cost(self, player: str | int, x: Float[Array, " n"], t: float = 0.0, regime: int = 0) -> Float[Array, ""]:
        """V_p(t, x): expected cost to go of a player from state x (z without its 1)."""
        matrix = self.value(t)[self.game.player_index(player), regime]
        z = jnp.append(jnp.asarray(x, matrix.dtype), jnp.ones((), matrix.dtype))
        return z @ matrix @ z

    @keeping_double
    def __repr__(self) -> str:
        game = self.game
        kind = "discrete" if game.discrete else "continuous"
        order = " < ".join("{" + ", ".join(game.players[p].name for p in tier) + "}" for tier in game.tiers)
        lines = [
            f"linear-quadratic game in {kind} time: state "
            + ", ".join(f"{name}[{size}]" for name, size in game.blocks[:-1])
            + f"; regimes: {game.regime_count}; order of play: {order}",
            repr(self.outcome),
        ]
        if self.outcome.known and int(self.outcome.code) == 0:
            gains = np.asarray(self.profile.gain(self.time[0]))
            for player, place in zip(game.players, game.control_slices, strict=True):
                rows = np.array2string(gains[:, place].squeeze(), precision=6, suppress_small=True)
                lines.append(f"  gain of {player.name} at t = 0: {rows}")
            lines += self._remarks()
        return "\n".join(lines)

    def _remarks(self) -> list[str]:
        """What a stationary solution must say of itself: a closed loop that grows, and that others may exist."""
        if not self.game.endless:
            return []
        from diffgames.solvers.stationary import mean_square_abscissa  # which imports this module

        rate, remarks = mean_square_abscissa(self), []
        if rate > 0:
            remarks.append(
                f"  its closed loop is UNSTABLE: second moments grow at the rate {rate:.6g}; a terminal cost Q_T > 0 "
                "leads to the stabilising solution where there is one"
            )
        if len(self.game.players) > 1:
            remarks.append(
                "  this is the stationary equilibrium that finite horizons lead to from the terminal cost; "
                "others may exist (stationary_equilibria lists all on a scalar state)"
            )
        return remarks
