"""Nash equilibrium in feedback strategies.

A profile u is an ε-equilibrium if no player gains more than ε by deviating alone,

    gap_p = sign_p · [ J_p(u) − opt_v J_p(v, u_{−p}) ] ≥ 0,   opt = min where sign_p = +1, max where −1,

others keeping their feedback strategies; all gaps are zero exactly at equilibrium.

A mean-field equilibrium is the same statement about a representative player who is too small to move the crowd: the
crowd is then a player without objective (sign 0), frozen like everybody else, and the representative player's gap is
the exploitability.
"""

import equinox as eqx

from diffgames.equilibria.deviation import Frozen, one_player_problem, seat_of
from diffgames.games.differential import DifferentialGame, Profile


class Nash(eqx.Module):
    """No player gains by deviating alone."""

    name = "Nash equilibrium"

    def problem(self, game: DifferentialGame, profile: Profile, player: int) -> DifferentialGame:
        """What the player solves when it deviates: the others' strategies are frozen."""
        return one_player_problem(game, player, Frozen(profile, seat_of(game, player)))
