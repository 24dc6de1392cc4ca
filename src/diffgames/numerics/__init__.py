"""Grids and monotone finite differences."""

from diffgames.numerics.grid import Axis as Axis
from diffgames.numerics.grid import Grid as Grid
