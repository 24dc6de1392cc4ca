"""What every solver hands back on how it went: an enumeration with cause and remedy in words.

`throw=True` (the default of `solve`) turns a failure into `RunFailed`. Inside `jax.jit` or `jax.vmap` nothing can be
thrown: there look at `Outcome.code` and `Outcome.escape_time`.
"""

from enum import IntEnum

import equinox as eqx
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from diffgames.errors import RunFailed


class Status(IntEnum):
    """How a solve ended."""

    SOLVED = 0
    ESCAPED = 1
    UNBOUNDED = 2
    NOT_CONVEX = 3
    SINGULAR = 4
    STEPS = 5
    NOT_STATIONARY = 6
    SLOW = 7
    INEXACT = 8


WORDS = {
    Status.SOLVED: ("solved", ""),
    Status.ESCAPED: (
        "the Riccati equations escape to infinity at time-to-go {time:.9g}, before the horizon",
        "choose a horizon below {time:.6g}, dearer controls or a smaller weight of what is fought over",
    ),
    Status.UNBOUNDED: (
        "the values grow beyond all bounds without a finite escape time",
        "shorten the horizon, raise the discount or weaken what makes the state grow",
    ),
    Status.NOT_CONVEX: (
        "what {player} weighs in its stage game is not convex in its own control at time {time:.6g}",
        "raise {player}.control_cost; a maximising player has sign -1 and a negative definite cost of its own control",
    ),
    Status.SINGULAR: (
        "the stage game has a singular matrix (tier of {player}) at time {time:.6g}: no unique equilibrium in controls",
        "look at control_cost of that tier: cross terms between controls must not outweigh own ones",
    ),
    Status.STEPS: (
        "the integrator ran out of steps: the fastest rate of the game is too fast for this horizon (it is stiff)",
        "shorten the horizon, solve without end, or raise max_steps of Riccati(Accuracy()); is there one unit of time?",
    ),
    Status.NOT_STATIONARY: (
        "there is no stationary solution with finite costs: values grow for ever",
        "is every growing mode of the state controlled or discounted? raise the discount, or solve a finite horizon",
    ),
    Status.SLOW: (
        "the values still change after the longest time searched, and no stationary solution attracts them",
        "raise Stationary(longest=...), or the discount; a mode that neither grows nor decays is never settled",
    ),
    Status.INEXACT: (
        "values settle, but the stationary equations there are too ill-conditioned for nine digits",
        "measure parts of the state that differ by many orders of magnitude in other units, or drop what costs nothing",
    ),
}


class Outcome(eqx.Module):
    """Status code, the time that goes with it (infinite where none does), and the index of the player concerned."""

    code: Int[Array, ""]
    escape_time: Float[Array, ""]
    time: Float[Array, ""]
    player: Int[Array, ""]
    names: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def known(self) -> bool:
        """Whether the numbers are at hand (not while a program is traced, and for a single game)."""
        return not isinstance(self.code, Tracer) and jnp.ndim(self.code) == 0

    @property
    def status(self) -> Status:
        """The code as a word."""
        return Status(int(self.code))

    @property
    def failure(self) -> RunFailed | None:
        """The reason and the remedy, None where the solve succeeded."""
        if self.status == Status.SOLVED:
            return None
        time = self.escape_time if self.status == Status.ESCAPED else self.time
        name = self.names[int(self.player)] if self.names else "the player"
        reason, remedy = (text.format(time=float(time), player=name) for text in WORDS[self.status])
        return RunFailed(reason, remedy)

    def __repr__(self) -> str:
        if not self.known:
            return "Outcome(of several games)"
        failure = self.failure
        return "solved" if failure is None else f"failed: {failure}"
