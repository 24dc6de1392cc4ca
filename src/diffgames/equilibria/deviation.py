"""The one-player problem a deviating player faces, whatever the concept.

An equilibrium concept says what the others do when player p plays v in place of its own u_p: an *answer*

    (t, x, i, v) ↦ u = (u_1, …, v, …, u_N).

Everything else follows from the game: p faces the control problem with dynamics b(t, x, u; i), σ(t, x, u; i), … and the
cost c_p, g_p times the player's sign (so that it is minimised). Any means of solving that problem is a best-response
oracle; what it gains over the player's own control is the player's gap.

Which player it is, is an array: players whose controls have one size face problems of one structure, so that what is
compiled for one of them serves all.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls, DifferentialGame, Profile
from diffgames.games.jumps import JumpLaw

Answer = Callable[..., Controls]


DEVIATOR = "deviator"


class Seat(eqx.Module):
    """Player `alike[place]`, of those whose controls have one size."""

    place: Int[Array, ""]
    alike: tuple[int, ...] = eqx.field(static=True)

    def control(self, controls: Controls, dtype: Any) -> Float[Array, " controls"]:
        """The player's control of all; in a precision where several are compared."""
        if len(self.alike) == 1:
            return controls[self.alike[0]]
        return jnp.stack([jnp.asarray(controls[q], dtype) for q in self.alike])[self.place]

    def replaced(self, controls: Controls, v: Float[Array, " controls"]) -> Controls:
        """All controls, v in the place of the player's."""
        if len(self.alike) == 1:
            return (*controls[: self.alike[0]], v, *controls[self.alike[0] + 1 :])
        found = list(controls)
        for number, q in enumerate(self.alike):
            found[q] = jnp.where(self.place == number, v, jnp.asarray(controls[q], v.dtype))
        return tuple(found)


def seat_of(game: DifferentialGame, player: int) -> Seat:
    """Where `player` stands among those with controls of its size."""
    sizes = game.control_sizes
    alike = tuple(q for q, size in enumerate(sizes) if size == sizes[player])
    return Seat(jnp.asarray(alike.index(player), jnp.int32), alike)


class Frozen(eqx.Module):
    """The others keep their feedback strategies: u = profile(t, x, i) with v in the place of u_p."""

    profile: Profile
    seat: Seat

    def __call__(self, t: Array, x: Array, i: Array, v: Float[Array, " controls"]) -> Controls:
        """All controls when the player plays v."""
        return self.seat.replaced(tuple(self.profile(t, x, i)), v)


class OwnPolicy(eqx.Module):
    """What the player does in the profile, as the profile of its one-player problem."""

    profile: Profile
    seat: Seat

    def __call__(self, t: Array, x: Array, i: Array) -> Controls:
        """The player's control, alone."""
        return (self.seat.control(tuple(self.profile(t, x, i)), x.dtype),)


class _Answered(eqx.Module):
    """A function of (t, x, u, …, i) with the controls that answer v."""

    function: Callable
    answer: Answer

    def __call__(self, t: Array, x: Array, u: Controls, *rest: Array) -> Array:
        return self.function(t, x, self.answer(t, x, rest[-1], u[0]), *rest)


class _OwnCost(eqx.Module):
    """The player's component of a cost, to be minimised."""

    function: Callable
    player: Int[Array, ""]
    maximises: Bool[Array, ""]

    def __call__(self, *arguments: Array | Controls) -> Array:
        cost = self.function(*arguments)[self.player][None]
        return jnp.where(self.maximises, -cost, cost)


def one_player_problem(game: DifferentialGame, player: int, answer: Answer) -> DifferentialGame:
    """The control problem of `player` when the others answer it so: a game of one player, which minimises."""
    if game.signs[player] == 0:
        raise InvalidInput("player", game.players[player], "a player with an objective (sign +1 or -1)")
    number, maximises = jnp.asarray(player, jnp.int32), jnp.asarray(game.signs[player] < 0)
    jumps = tuple(
        JumpLaw(
            rate=_Answered(law.rate, answer),
            size=_Answered(law.size, answer),
            marks=law.marks,
            compensated=law.compensated,
        )
        for law in game.jumps
    )
    generator = _Answered(game.generator, answer) if callable(game.generator) else game.generator
    return DifferentialGame(
        players=(DEVIATOR,),
        control_sizes=(game.control_sizes[player],),
        drift=_Answered(game.drift, answer),
        diffusion=_Answered(game.diffusion, answer),
        running_cost=_OwnCost(_Answered(game.running_cost, answer), number, maximises),
        terminal_cost=_OwnCost(game.terminal_cost, number, maximises),
        initial=game.initial,
        horizon=game.horizon,
        discount=game.discount,
        jumps=jumps,
        generator=generator,
        switch=game.switch,
        bounds=(game.bounds[player],),
        state_names=game.state_names,
    )
