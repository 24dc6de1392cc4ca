"""Which player of a linear-quadratic game is looked at, as arrays: one compiled program serves players of one size."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffgames.games.linear_quadratic import LinearQuadraticGame


class PlayerIndices(NamedTuple):
    """A player's index, where the components of its control stand in u, and its sign."""

    player: Int[Array, ""]
    place: Int[Array, " k"]
    sign: Float[Array, ""]


def player_indices(game: LinearQuadraticGame, player: int) -> PlayerIndices:
    """Those of a player."""
    place = game.control_slices[player]
    sign = jnp.asarray(game.players[player].sign, game.terminal.dtype)
    return PlayerIndices(jnp.asarray(player, jnp.int32), jnp.arange(place.start, place.stop, dtype=jnp.int32), sign)
