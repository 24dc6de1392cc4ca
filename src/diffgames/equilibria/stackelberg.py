"""Feedback Stackelberg equilibrium: players of later tiers know the controls of earlier ones, at every instant.

With tiers of play 1, 2, …, a profile holds for every player of a later tier a *reaction* to what the earlier tiers
play. When p deviates, players of its own and of earlier tiers keep their feedback strategies, those of later tiers
react:

    gap_p = sign_p · [ J_p(u) − opt_v J_p(v, u_{≤ tier of p}, reactions to v) ] ≥ 0.

For the last tier this is the Nash gap. A profile tells the reactions by

    profile.respond(t, x, i, player, v) -> (u_1, …, u_N)

all controls at the instant when `player` plays v, with u_player = v; at the player's own control it is the profile.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float

from diffgames.equilibria.deviation import Frozen, one_player_problem, seat_of
from diffgames.equilibria.nash import Nash
from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls, DifferentialGame, Profile


@runtime_checkable
class Reactive(Protocol):
    """A profile that tells the reactions of later tiers."""

    def __call__(self, t: Array, x: Array, i: Array) -> Controls:
        """All controls."""
        ...

    def respond(self, t: Array, x: Array, i: Array, player: int, v: Array) -> Controls:
        """All controls when `player` plays v and later tiers react."""
        ...


class Reacting(eqx.Module):
    """Later tiers react to v, the others keep their feedback strategies."""

    profile: Any
    player: int = eqx.field(static=True)

    def __call__(self, t: Array, x: Array, i: Array, v: Float[Array, " controls"]) -> Controls:
        """All controls when the player plays v."""
        return tuple(self.profile.respond(t, x, i, self.player, v))


class Stackelberg(eqx.Module):
    """No player gains by deviating alone, given how later tiers react."""

    name = "Stackelberg equilibrium"

    def problem(self, game: DifferentialGame, profile: Profile | Reactive, player: int) -> DifferentialGame:
        """What the player solves when it deviates: later tiers react, the others' strategies are frozen."""
        if player in game.tiers[-1]:
            return one_player_problem(game, player, Frozen(profile, seat_of(game, player)))
        if not hasattr(profile, "respond"):
            raise InvalidInput(
                "profile",
                type(profile).__name__,
                "a profile that offers respond(t, x, i, player, control), since "
                f"{game.players[player]} leads and later tiers react to it",
            )
        return one_player_problem(game, player, Reacting(profile, player))


def natural_concept(game: DifferentialGame) -> Nash | Stackelberg:
    """Stackelberg where there are several tiers of play, else Nash."""
    return Stackelberg() if len(game.tiers) > 1 else Nash()
