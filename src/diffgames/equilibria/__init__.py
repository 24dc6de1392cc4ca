"""Equilibrium concepts: what each player's deviation is measured against.

A concept turns (game, profile, player) into the one-player problem the player faces when it deviates; the gain of a
best response over the player's own control is its gap, and zero gaps are what the concept calls an equilibrium.
"""

from diffgames.equilibria.deviation import Frozen as Frozen
from diffgames.equilibria.deviation import OwnPolicy as OwnPolicy
from diffgames.equilibria.deviation import one_player_problem as one_player_problem
from diffgames.equilibria.deviation import seat_of as seat_of
from diffgames.equilibria.nash import Nash as Nash
from diffgames.equilibria.saddle import ValueBounds as ValueBounds
from diffgames.equilibria.saddle import value_bounds as value_bounds
from diffgames.equilibria.stackelberg import Stackelberg as Stackelberg
from diffgames.equilibria.stackelberg import natural_concept as natural_concept
