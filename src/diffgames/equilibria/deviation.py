"""The one-player problem a deviating player faces, whatever the concept.

An equilibrium concept says what the others do when player p plays v in place of its own u_p: an *answer*

    (t, x, i, v) ↦ u = (u_1, …, v, …, u_N).

Everything else follows from the game: p faces the control problem with dynamics b(t, x, u; i), σ(t, x, u; i), … and the
cost c_p, g_p times the player's sign (so that it is minimised). Any means of solving that problem is a best-response
oracle; what it gains over the player's own control is the player's gap.
"""

from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls, DifferentialGame, Profile
from diffgames.games.jumps import JumpLaw

Answer = Callable[..., Controls]


class Frozen(eqx.Module):
    """The others keep their feedback strategies: u = profile(t, x, i) with v in the place of u_p."""

    profile: Profile
    player: int = eqx.field(static=True)

    def __call__(self, t: Array, x: Array, i: Array, v: Float[Array, " controls"]) -> Controls:
        """All controls when the player plays v."""
        controls = tuple(self.profile(t, x, i))
        return (*controls[: self.player], v, *controls[self.player + 1 :])


class OwnPolicy(eqx.Module):
    """What the player does in the profile, as the profile of its one-player problem."""

    profile: Profile
    player: int = eqx.field(static=True)

    def __call__(self, t: Array, x: Array, i: Array) -> Controls:
        """The player's control, alone."""
        return (self.profile(t, x, i)[self.player],)


class _Answered(eqx.Module):
    """A function of (t, x, u, …, i) with the controls that answer v."""

    function: Callable
    answer: Answer

    def __call__(self, t: Array, x: Array, u: Controls, *rest: Array) -> Array:
        return self.function(t, x, self.answer(t, x, rest[-1], u[0]), *rest)


class _OwnCost(eqx.Module):
    """The player's component of a cost, to be minimised."""

    function: Callable
    player: int = eqx.field(static=True)
    sign: int = eqx.field(static=True)

    def __call__(self, *arguments: Array | Controls) -> Array:
        return self.sign * self.function(*arguments)[self.player : self.player + 1]


def one_player_problem(game: DifferentialGame, player: int, answer: Answer) -> DifferentialGame:
    """The control problem of `player` when the others answer it so: a game of one player, which minimises."""
    sign = game.signs[player]
    if sign == 0:
        raise InvalidInput("player", game.players[player], "a player with an objective (sign +1 or -1)")
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
        players=(game.players[player],),
        control_sizes=(game.control_sizes[player],),
        drift=_Answered(game.drift, answer),
        diffusion=_Answered(game.diffusion, answer),
        running_cost=_OwnCost(_Answered(game.running_cost, answer), player, sign),
        terminal_cost=_OwnCost(game.terminal_cost, player, sign),
        initial=game.initial,
        horizon=game.horizon,
        discount=game.discount,
        jumps=jumps,
        generator=generator,
        switch=game.switch,
        bounds=(game.bounds[player],),
        state_names=game.state_names,
    )
