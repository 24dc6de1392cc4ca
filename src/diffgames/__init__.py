"""Stochastic dynamic games: described once, solved or learned, simulated, certified.

    game ── solve ──▶ solution ── simulate ──▶ paths        verify(solution) ──▶ certificate
    Markov game ── train ──▶ profile ── evaluate ──▶ returns    exploitability(game, profile, …) ──▶ certificate

Games are in the subpackages `games` and `markets`, what the six verbs above are made of in `solvers`, `simulation`,
`learning` and `verification`, studies in `studies`, run folders in `records`. The verbs are imported when first used:
the command line imports this module before it knows whether JAX is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffgames.errors import InvalidInput, RunFailed

if TYPE_CHECKING:
    from diffgames.learning.rollout import evaluate
    from diffgames.learning.train import train
    from diffgames.simulation.paths import simulate
    from diffgames.solvers.solve import solve
    from diffgames.verification.best_response import exploitability
    from diffgames.verification.verify import verify

__version__ = "0.1.0"
__all__ = [
    "InvalidInput",
    "RunFailed",
    "__version__",
    "evaluate",
    "exploitability",
    "simulate",
    "solve",
    "train",
    "verify",
]

_VERBS = {
    "evaluate": "diffgames.learning.rollout",
    "exploitability": "diffgames.verification.best_response",
    "simulate": "diffgames.simulation.paths",
    "solve": "diffgames.solvers.solve",
    "train": "diffgames.learning.train",
    "verify": "diffgames.verification.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _VERBS:
        raise AttributeError(f"module 'diffgames' has no attribute '{name}'")
    return getattr(import_module(_VERBS[name]), name)
