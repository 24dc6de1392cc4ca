"""A thousand market-making games at once against a SciPy loop over the same equations.

Three regimes, exogenous switching, inventories −10…10; γ, ξ, σ and A vary. The peer integrates each game's equations,
written out in NumPy, by `solve_ivp` (DOP853) at the same tolerances, on a sample of the sets; both on this machine.
"""

from typing import Any

import numpy as np

from diffgames.benchmarks.timing import best_of, seconds_of
from diffgames.games.market_making import MarketMakingGame, stack_games
from diffgames.games.market_making_input import market_making_game
from diffgames.solvers.market_making import solve_many

SETS = 1000
SAMPLE = 20
TOLERANCE = 1e-8
GENERATOR = ((-0.5, 0.4, 0.1), (0.6, -0.9, 0.3), (0.2, 0.8, -1.0))


def run(sets: int = SETS, sample: int = SAMPLE) -> dict[str, Any]:
    """Seconds of both, their ratio per set, and how far they disagree."""
    games = parameter_sets(sets)
    batch = stack_games(games)
    seconds, _, first, solution = best_of(1, lambda: solve_many(batch, tolerance=TOLERANCE))
    spent, _, peer = seconds_of(lambda: np.stack([scipy_theta(game) for game in games[:sample]]))
    peer_seconds = spent / sample
    return {
        "sets": sets,
        "batch_seconds": seconds,
        "first_call_seconds": first,
        "sets_per_second": sets / seconds,
        "scipy_sets_per_second": 1.0 / peer_seconds,
        "ratio": peer_seconds * sets / seconds,
        "ratio_with_compilation": peer_seconds * sets / first,
        "finished": int(np.sum(np.asarray(solution.finished))),
        "largest_difference": float(np.abs(np.asarray(solution.theta)[:sample, 0] - peer).max()),
    }


def parameter_sets(count: int, seed: int = 0) -> list[MarketMakingGame]:
    """Games around the reference case, every parameter up to half or double."""
    factors = np.exp(np.random.default_rng(seed).uniform(-np.log(2), np.log(2), (count, 4)))
    return [
        market_making_game(
            gamma=0.1 * g,
            xi=0.5 * x,
            sigma=tuple((np.array([1.0, 2.0, 4.0]) * s).tolist()),
            A=tuple((np.array([140.0, 120.0, 80.0]) * a).tolist()),
            generator=GENERATOR,
        )
        for g, x, s, a in factors.tolist()
    ]


def scipy_theta(game: MarketMakingGame) -> np.ndarray:
    """θ(0) [N, K] of one game by SciPy."""
    from scipy.integrate import solve_ivp

    gamma, k, xi = float(game.gamma), np.asarray(game.k)[:, None], float(game.xi)
    A, variance = np.asarray(game.ask_flow), np.asarray(game.sigma)[:, None] ** 2 + xi
    rates = np.asarray(game.generator) * (1 - np.eye(game.regimes))
    shape = (game.regimes, game.inventory.size)
    risk = 0.5 * gamma * variance * game.inventory[None, :] ** 2
    height = A / (k + gamma) * (1 + gamma / k) ** (-k / gamma)

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        theta = flat.reshape(shape)
        out = -risk.copy()
        up = np.exp(k * (theta[:, :-1] - theta[:, 1:]))
        out[:, 1:] += height * up
        out[:, :-1] += height / up
        out += (rates[:, :, None] * (1 - np.exp(-gamma * (theta[None] - theta[:, None])))).sum(1) / gamma
        return out.ravel()

    found = solve_ivp(
        field, (0.0, float(game.horizon)), np.zeros(risk.size), method="DOP853", rtol=TOLERANCE, atol=TOLERANCE
    )
    return found.y[:, -1].reshape(shape)
