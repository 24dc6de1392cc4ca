"""Stochastic dynamic games: described once, solved or learned, simulated, certified.

This module stays light on purpose (the command line imports it before it knows whether JAX is needed): the library
lives in the subpackages `games`, `markets`, `learning`, `verification`, `studies`, and run folders in `records`.
"""

from diffgames.errors import InvalidInput, RunFailed

__version__ = "0.1.0"
__all__ = ["InvalidInput", "RunFailed", "__version__"]
