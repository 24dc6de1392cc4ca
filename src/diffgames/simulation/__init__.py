"""Simulating games: paths of a profile, large populations, and exact moments of linear closed loops."""

from diffgames.simulation.paths import Paths as Paths
from diffgames.simulation.paths import simulate as simulate
from diffgames.simulation.rollout import Scheme as Scheme
