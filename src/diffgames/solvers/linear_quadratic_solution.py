"""What a solved linear-quadratic game hands back: profile, values and outcome; it prints itself."""

import operator
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.matrices import numbers, shown
from diffgames.numerics.precision import keeping_double
from diffgames.solvers.base import Outcome
from diffgames.solvers.feedback import LinearFeedback, Track
from diffgames.solvers.stationary_equilibria import stationary_equilibria


class LinearQuadraticSolution(eqx.Module):
    """Feedback profile and values zᵀS_p z (no ½) of a linear-quadratic game.

    `value(t)` is S[players, m, n, n]; infinite times stand where the solution does not exist (see `outcome`).
    `matrix`, `gain` and `cost` refuse what the game does not have (`InvalidInput`): a player, block, regime or time.
    Without end, `growth`, `equilibria`, `remarks` say whether its closed loop is stable and what else solves the game.
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
    def matrix(self, player: str | int, row: str, column: str, t: Any = 0.0, regime: Any = 0) -> Float[Array, "a b"]:
        """Block (row, column) of a player's S at time t."""
        index, t, regime = self.game.player_index(player), self._time(t), self._regime(regime)
        return self.value(t)[index, regime][self.game.block(row), self.game.block(column)]

    @keeping_double
    def gain(self, player: str | int, block: str, t: Any = 0.0, regime: Any = 0) -> Float[Array, "k b"]:
        """A player's gain on one block of the state at time t."""
        index, t, regime = self.game.player_index(player), self._time(t), self._regime(regime)
        rows = self.game.control_slices[index]
        return self.profile.gain(t)[regime, rows, self.game.block(block)]

    @keeping_double
    def cost(self, player: str | int, x: Any, t: Any = 0.0, regime: Any = 0) -> Float[Array, ""]:
        """V_p(t, x): expected cost to go of a player from state x [n] (z without its 1), a list or an array."""
        matrix = self.value(self._time(t))[self.game.player_index(player), self._regime(regime)]
        state = jnp.atleast_1d(numbers("x", x, f"{self.game.size - 1} numbers")).astype(matrix.dtype)
        if state.shape != (self.game.size - 1,):
            raise InvalidInput("x", shown(x), f"{self.game.size - 1} numbers, one for each component of the state")
        z = jnp.append(state, jnp.ones((), matrix.dtype))
        return z @ matrix @ z

    def _regime(self, regime: Any) -> Any:
        """The index of a regime of the game."""
        if isinstance(regime, Tracer):
            return regime
        count, allowed = self.game.regime_count, "an index below {}, the number of regimes"
        try:
            index = operator.index(regime)
        except TypeError as error:
            raise InvalidInput("regime", regime, allowed.format(count)) from error
        if not 0 <= index < count:
            raise InvalidInput("regime", index, allowed.format(count))
        return index

    def _time(self, t: Any) -> Any:
        """A time of the game, a whole step in discrete time."""
        horizon = self.game.horizon
        if isinstance(t, Tracer) or isinstance(horizon, Tracer):
            return t
        last = float(np.max(np.asarray(horizon)))
        allowed = f"{'a step' if self.game.discrete else 'a time'} from 0 to the horizon {last:g}"
        try:
            time = np.asarray(t, float)
        except (ValueError, TypeError) as error:
            raise InvalidInput("t", shown(t), allowed) from error
        whole = not self.game.discrete or np.all(time == np.round(time))
        if not (whole and np.all(time >= 0) and np.all(time <= last * (1 + 1e-12))):
            raise InvalidInput("t", shown(t), allowed)
        return t

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
            lines += [f"  {one}" for one in self.remarks]
        return "\n".join(lines)

    @property
    @keeping_double
    def growth(self) -> float | None:
        """Rate at which second moments grow in the closed loop of a game without end (positive: it is unstable)."""
        if not self.game.endless:
            return None
        from diffgames.solvers.stationary import mean_square_abscissa  # which imports this module

        return mean_square_abscissa(self)

    @property
    def equilibria(self) -> Float[np.ndarray, "equilibria players"] | None:
        """P of all stabilising stationary equilibria, V_p = P_p x², where these can be listed: a scalar state (see
        `stationary_equilibria`). None elsewhere: with several players others than the one at hand may exist."""
        try:
            return stationary_equilibria(self.game)
        except InvalidInput:
            return None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a stationary solution must say of itself: a closed loop that grows, and other equilibria."""
        found, rate = [], self.growth
        if rate is None:
            return ()
        if rate > 0:
            found.append(
                f"its closed loop is UNSTABLE: second moments grow at the rate {rate:.6g}; a terminal cost Q_T > 0 "
                "leads to the stabilising solution where there is one"
            )
        if len(self.game.players) > 1:
            known = self.equilibria
            which = "this is the stationary equilibrium that finite horizons lead to from the terminal cost; "
            if known is None:
                found.append(which + "others may exist")
            elif len(known) > 1:
                listed = "; ".join(", ".join(f"{one:.6g}" for one in row) for row in known)
                found.append(f"{which}there are {len(known)} stabilising ones, x² times {listed}")
        return tuple(found)
