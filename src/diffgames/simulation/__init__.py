"""Simulating games: paths of a profile, large populations, and exact moments of linear closed loops."""

from diffgames.simulation.as_markov import MarkovView as MarkovView
from diffgames.simulation.as_markov import as_markov_game as as_markov_game
from diffgames.simulation.extrapolation import simulate_crowds as simulate_crowds
from diffgames.simulation.extrapolation import simulate_extrapolated as simulate_extrapolated
from diffgames.simulation.paths import Paths as Paths
from diffgames.simulation.paths import simulate as simulate
from diffgames.simulation.population import Crowd as Crowd
from diffgames.simulation.population import Population as Population
from diffgames.simulation.population import simulate_population as simulate_population
from diffgames.simulation.rollout import Scheme as Scheme
