"""A crowd frozen: controls and laws of a profile between cells and times, for one agent that plays against it.

The profile is the stored control, linear between cells and times, and the law is frozen with the features it is felt
by. Simulation and certificates read the same one; neither knows the solver's equations. One state per agent.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import TypedMeanFieldGame, with_numbers
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.numerics.precision import in_double


class FrozenCrowd(eqx.Module):
    """A profile with the law it is played against: control [n + 1, K, N] and features [n + 1, N] on cells and times."""

    game: TypedMeanFieldGame
    cells: Cells = eqx.field(static=True)
    control: Float[Array, "n1 K N"]
    felt: dict[str, Float[Array, "n1 N"]]
    mass: Float[Array, "n1 K N"]
    price: Float[Array, " n1"]

    def within(self, game: TypedMeanFieldGame) -> "FrozenCrowd":
        """The same controls and laws in another game."""
        return frozen(game, self.cells, np.asarray(self.control[:-1, :, None]), np.asarray(self.mass))

    @property
    def axis(self) -> CellAxis:
        """The one axis."""
        return self.cells.axes[0]

    @property
    def horizon(self) -> Array:
        """Length of the game."""
        return jnp.asarray(self.game.horizon, float)

    def at(self, table: Float[Array, "n1 N"], t: Float[Array, ""], x: Float[Array, " points"]) -> Array:
        """A table at time t and points x, linear in both."""
        place = jnp.clip(t / self.horizon, 0.0, 1.0) * (len(table) - 1.0)
        early = jnp.minimum(place.astype(jnp.int32), len(table) - 2)
        late = place - early.astype(place.dtype)
        row = (1.0 - late) * table[early] + late * table[early + 1]
        axis = self.axis
        period = axis.high - axis.low if axis.wall == "periodic" else None
        return jnp.interp(x, jnp.asarray(axis.centres()), row, period=period)

    def played(self, k: int, t: Float[Array, ""], x: Float[Array, " points"]) -> Float[Array, " points"]:
        """The control of type k."""
        return self.at(self.control[:, k], t, x)

    def allowed(self, k: int, x: Float[Array, " points"], u: Float[Array, " points"], dt: Array) -> Array:
        """u within its bounds and, where it is a purchase, no further in one step than storage reaches."""
        one, axis = self.game.types[k], self.axis
        u = jnp.clip(u, one.control_low, one.control_high)
        if self.game.market is None or axis.wall == "periodic":
            return u
        return jnp.clip(u, (axis.low - x) / dt, (axis.high - x) / dt)

    def folded(self, x: Float[Array, " points"]) -> Float[Array, " points"]:
        """Points back on the axis: reflected at its walls, or around."""
        low, width = self.axis.low, self.axis.high - self.axis.low
        if self.axis.wall == "periodic":
            return low + jnp.mod(x - low, width)
        return low + width - jnp.abs(jnp.mod(x - low, 2.0 * width) - width)

    def running(self, k: int, t: Float[Array, ""], x: Float[Array, " points"], u: Float[Array, " points"]) -> Array:
        """Running cost and drift of type k that plays u."""
        one = self.game.types[k]
        felt = {name: self.at(table, t, x) for name, table in self.felt.items()}
        cost = jax.vmap(one.running_cost)(x[:, None], felt) + jax.vmap(one.control_cost)(u[:, None], x[:, None])
        if self.game.market is not None:
            price = jnp.interp(t, jnp.linspace(0.0, self.horizon, len(self.price)), self.price)
            cost = cost + price * (self.game.market.size[k] * u + self.game.market.load(t)[k])
        return jnp.stack([cost, jax.vmap(one.drift)(x[:, None], felt)[:, 0] + u])

    def final(self, k: int, x: Float[Array, " points"]) -> Float[Array, " points"]:
        """Terminal cost of type k."""
        felt = {name: self.at(table, self.horizon, x) for name, table in self.felt.items()}
        cost = jax.vmap(self.game.types[k].terminal_cost)(x[:, None], felt)
        return jnp.broadcast_to(cost, x.shape)


@in_double
def frozen(
    game: TypedMeanFieldGame, cells: Cells, control: Float[np.ndarray, "n K d N"], mass: Float[np.ndarray, "n1 K N"]
) -> FrozenCrowd:
    """The crowd that plays stored controls at stored masses. `InvalidInput` where agents have more than one state."""
    if len(cells.axes) != 1:
        raise InvalidInput("axes", len(cells.axes), "one axis: certificates are for agents with one state")
    n, shape = len(control), (len(game.types), cells.size)
    if control.shape != (n, shape[0], 1, shape[1]) or n < 1 or not np.all(np.isfinite(control)):
        raise InvalidInput("control", list(control.shape), f"finite numbers [n, {shape[0]}, 1, {shape[1]}]")
    if mass.shape != (n + 1, *shape) or not mass.min() >= -1e-9:
        allowed = f"finite masses {[n + 1, *shape]}, nowhere negative"
        raise InvalidInput("mass", float(mass.min()) if mass.shape[1:] == shape else list(mass.shape), allowed)
    control = np.concatenate([control, control[-1:]])
    game, held, played = with_numbers(game), jnp.asarray(mass), jnp.asarray(control)
    times = jnp.linspace(0.0, float(game.horizon), len(mass))
    felt = jax.vmap(lambda m, u, t: game.felt(cells, m, u, t))(held, played, times)
    return FrozenCrowd(game, cells, played[:, :, 0], felt, held, _price(game, held, played, times))


def _price(game: TypedMeanFieldGame, mass: Array, control: Array, times: Array) -> Float[Array, " n1"]:
    """The price at every time, from what the controls buy; zero without a market."""
    market = game.market
    if market is None:
        return jnp.zeros_like(times)
    return jax.vmap(lambda m, u, t: market.price(game.share @ market.purchases(m, u, t), t))(mass, control, times)
