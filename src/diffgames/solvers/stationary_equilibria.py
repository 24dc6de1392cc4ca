"""All stationary feedback Nash equilibria of small games: one player's best replies, sought from many starts.

On a scalar state in continuous time, dx = (a x + Σ_p b_p u_p) dt with costs q_p x² + r_p u_p², a = A − ρ/2, let
s_p = b_p²/r_p and c = a − Σ_p s_p P_p be the closed loop. The stationary equations say s_p P_p² − 2 (c + s_p P_p) P_p −
q_p = 0, that is

    s_p P_p = −c ± √(c² − s_p q_p),      c = a − Σ_p s_p P_p,

so that every choice of the signs leaves one equation in c alone; its stabilising roots are c < 0. All roots of all
choices are all equilibria (Engwerda, LQ Dynamic Optimization and Differential Games, 2005, section 8.4).
"""

import itertools

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.numerics.precision import in_double

MOST_PLAYERS = 10


@in_double
def stationary_equilibria(game: LinearQuadraticGame, points: int = 4001) -> Float[np.ndarray, "equilibria players"]:
    """P of every stabilising feedback Nash equilibrium, V_p = P_p x², by increasing closed-loop rate.

    For games without end in continuous time on a scalar state, one control each, all playing at once; `InvalidInput`
    says what does not fit. Roots closer to each other than the search's `points` resolve may be missed.
    """
    a, s, q = _scalars(game)
    q_s = s * q
    unit = max(abs(a), float(np.sqrt(np.abs(q_s).max())))
    if unit == 0:
        return np.zeros((0, s.size))
    least = float(np.sqrt(max(q_s.max(), 0.0)))
    largest = 2 * s.size * (abs(a) + float(np.sqrt(np.abs(q_s)).sum())) + unit
    away = np.concatenate([[0.0], np.geomspace(1e-12, 1.0, points)]) * (largest - least)
    found: list[np.ndarray] = []
    for signs in itertools.product((-1.0, 1.0), repeat=s.size):
        sign = np.asarray(signs)

        def weighed(c: float, sign: np.ndarray = sign) -> np.ndarray:
            return -c + sign * np.sqrt(np.maximum(c * c - q_s, 0.0))

        def missing(c: float) -> float:
            return a - float(weighed(c).sum()) - c

        values = np.asarray([missing(-(least + one)) for one in away])
        for left, right, low, high in zip(away[:-1], away[1:], values[:-1], values[1:], strict=True):
            if low == 0.0 or low * high < 0:
                c = -(least + left)
                if low != 0.0:
                    c = brentq(missing, -(least + right), c, xtol=1e-300, full_output=False)
                assert isinstance(c, float)
                pulls = weighed(c)
                if c < 0 and not any(np.allclose(pulls, one, rtol=1e-9, atol=1e-12 * unit) for one in found):
                    found.append(pulls)
    return np.asarray(sorted(found, key=lambda pulls: -float(pulls.sum()))).reshape(-1, s.size) / s


def _scalars(game: LinearQuadraticGame) -> tuple[float, np.ndarray, np.ndarray]:
    """a, s and q."""
    fits = {
        "horizon": game.endless,
        "discrete": not game.discrete,
        "state": game.size == 2,
        "regimes": game.regime_count == 1,
        "crowd_input": not game.has_crowd,
        "tiers": len(game.tiers) == 1,
        "controls": set(game.control_sizes) == {1},
        "players": len(game.players) <= MOST_PLAYERS,
        "jump_scale": game.jump_scale is None,
        "sign": all(player.sign == 1 for player in game.players),
        "drift": not any(callable(one) for one in (game.drift, *(p.own_input for p in game.players))),
    }
    for key, fine in fits.items():
        if not fine:
            allowed = f"a scalar state without end in continuous time, one regime, at most {MOST_PLAYERS} minimisers"
            raise InvalidInput(key, "another kind of game", allowed)
    c = game.coefficients(0.0)
    own = np.asarray(c.control_cost)[:, 0]
    cost, drift, reach = np.asarray(c.state_cost)[:, 0, 0, 0], np.asarray(c.drift)[0, 0], np.asarray(c.input)[0, 0]
    affine = [drift[1], np.asarray(c.state_cost)[:, 0, 0, 1], np.asarray(c.cross_cost), np.asarray(c.diffusion)[..., 0]]
    weights = np.diagonal(np.diagonal(own, axis1=1, axis2=2)).copy()
    if any(np.any(one) for one in affine) or any(np.any(np.delete(own[p], p, 0)[:, p]) for p in range(len(weights))):
        raise InvalidInput("game", "shifts, targets, cross costs or state noise", "the plain costs q x² + r u²")
    if not np.all(reach != 0):
        raise InvalidInput("B", reach.tolist(), "players who can move the state")
    for p, one in enumerate(own):
        if np.any(one - np.diag(np.eye(len(weights))[p] * weights[p])):
            raise InvalidInput(f"R[{p}]", one.tolist(), "costs of one's own control alone")
    return float(drift[0]) - float(game.discount) / 2, reach**2 / weights, cost
