"""Iterations of discrete mean-field games against MFGLib's, and Newton's method to the end on Bench-MFG's chain.

MFGLib's two default environments beach bar and crowd motion by online mirror descent (α = 1) to an exploitability of
1e-2, on one thread; each side evaluates the exact exploitability in every iteration and must stop at the same one.
Without MFGLib (`pip install mfglib`) our side stands alone. Compilation is not counted, and is told.
"""

import importlib
from typing import Any

import jax

from diffgames.benchmarks.timing import best_of, seconds_of
from diffgames.games.mean_field_benchmarks import GAMES
from diffgames.solvers.mean_field_discrete import solve_mean_field

PEERS = {"beach-bar": "beach_bar", "crowd-motion": "crowd_motion"}


def run(games: tuple[str, ...] = tuple(PEERS)) -> dict[str, Any]:
    """Milliseconds per iteration by each side, their ratio, iterations; seconds of Newton's method on the chain."""
    found: dict[str, Any] = {"device": jax.devices()[0].device_kind}
    with jax.enable_x64(True):
        ours = {name: _timed(name, "mirror", tolerance=1e-2, iterations=100) for name in games}
        chain = _timed("lasry-lions-chain", "newton", tolerance=1e-10, iterations=100)
    found["our_ms_per_iteration"] = {name: 1e3 * one["seconds"] / one["iterations"] for name, one in ours.items()}
    found["our_iterations"] = {name: one["iterations"] for name, one in ours.items()}
    found |= {f"chain_newton_{key}": value for key, value in chain.items()}
    try:
        environment = importlib.import_module("mfglib.env").Environment
        descent = importlib.import_module("mfglib.alg").OnlineMirrorDescent(alpha=1.0)
        torch = importlib.import_module("torch")
    except ImportError:
        return found
    torch.set_num_threads(1)
    peers = {}
    for name in games:
        game = getattr(environment, PEERS[name])()
        seconds, _, scores = seconds_of(lambda game=game: descent.solve(game, max_iter=100, atol=1e-2, rtol=0.0)[1])
        peers[name] = (seconds, len(scores) - 1)
    found["mfglib_ms_per_iteration"] = {name: 1e3 * seconds / count for name, (seconds, count) in peers.items()}
    found["mfglib_iterations"] = {name: count for name, (_, count) in peers.items()}
    found["ratio"] = {
        name: found["mfglib_ms_per_iteration"][name] / found["our_ms_per_iteration"][name] for name in games
    }
    return found


def _timed(name: str, method: Any, **options: Any) -> dict[str, float]:
    """Seconds of a whole solve, the best of three, and with compilation; iterations and exploitability."""
    game = GAMES[name]()
    seconds, _, first, solution = best_of(3, lambda: solve_mean_field(game, method, **options))
    return {
        "seconds": seconds,
        "seconds_with_compilation": first,
        "iterations": int(solution.iterations),
        "exploitability": float(solution.exploitability),
    }
