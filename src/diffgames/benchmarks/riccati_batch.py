"""Thousands of mean-field Stackelberg games in one call, against a loop of SciPy's `solve_ivp` at equal tolerance.

10,000 games of three blocks (leader, follower, mean), every matrix of the slides' example multiplied by its own uniform
factor between 0.9 and 1.1, T = 2. Both sides integrate the two value matrices by an explicit eighth-order pair (Dopri8,
DOP853) at rtol 1e-8, atol 1e-10. The loop's right-hand side is the stacked form of the equations in NumPy on
(x0, x1, m) and is timed on a sample of the same games; the values of the sample must agree.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from diffgames.benchmarks.timing import best_of, seconds_of
from diffgames.games.stackelberg import SHAPES, stackelberg_game
from diffgames.solvers.backward import Accuracy
from diffgames.solvers.riccati import values_to_go
from diffgames.studies.stackelberg_parameters import StackelbergMatrices

GAMES, CHUNK, SAMPLE, HORIZON, DISCOUNT = 10_000, 500, 30, 2.0, 0.1
ACCURACY = Accuracy(rtol=1e-8, atol=1e-10)


def run(games: int = GAMES, chunk: int = CHUNK, sample: int = SAMPLE) -> dict[str, float | str]:
    """Seconds for all games by each side, their ratio, and the largest difference on the sample."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        factors = rng.uniform(0.9, 1.1, (games, len(SHAPES)))
        middle = np.asarray([getattr(StackelbergMatrices(), name) for name in SHAPES], float)
        data = jnp.asarray(factors * middle)

        @jax.jit
        def batch(rows):
            return jax.lax.map(jax.vmap(_solve), rows.reshape(-1, chunk, len(SHAPES)))

        seconds, _, compiled, values = best_of(2, lambda: batch(data))
    ours, rows = np.asarray(values).reshape(games, 2, 4, 4), np.asarray(data[:sample])
    spent, _, theirs = seconds_of(lambda: np.asarray([solve_plainly(dict(zip(SHAPES, r, strict=True))) for r in rows]))
    loop = spent * games / sample
    keep = [0, 1, 2]
    difference = np.abs(ours[:sample, 1][:, keep][:, :, keep] - theirs[:, 0]).max()
    return {
        "device": jax.devices()[0].device_kind,
        "games": float(games),
        "batch_seconds": seconds,
        "batch_seconds_with_compilation": compiled,
        "scipy_loop_seconds": loop,
        "ratio": loop / seconds,
        "largest_difference": float(difference),
    }


def _solve(row):
    """Values at t = 0 of one game, [2, 4, 4]."""
    game = stackelberg_game(horizon=HORIZON, discount=DISCOUNT, **{name: row[k] for k, name in enumerate(SHAPES)})
    values, _ = values_to_go(game, jnp.asarray([HORIZON]), ACCURACY)
    return values[-1, :, 0]


def solve_plainly(m: dict[str, float]) -> np.ndarray:
    """S1 and S0 (on (x0, x1, m)) at t = 0 of the scalar game by SciPy, in the stacked form of the slides."""
    error = np.asarray([[-m["Gamma1"], 1.0, -m["Gamma2"]]])
    error0 = np.asarray([[1.0, 0.0, -m["Gamma0"]]])
    drift = np.asarray([[m["A0"], 0.0, m["F0"]], [m["G"], m["A"], m["F"]], [m["G"], 0.0, m["A"] + m["F"]]])
    leads, follows = np.asarray([[m["B0"]], [m["D"]], [m["D"]]]), np.asarray([[0.0], [m["B"]], [0.0]])
    crowd = np.asarray([[0.0], [0.0], [m["B"]]])
    reach = m["D"] - m["B"] * m["R2"] / m["R"]

    def rate(_, flat):
        s1, s0 = flat.reshape(2, 3, 3)
        u0 = -(m["B0"] * s0[0] + reach * s0[2]) / m["R0"]
        u1 = -(m["R2"] * u0 + m["B"] * s1[1]) / m["R"]
        mean = np.asarray([u1[0], 0.0, u1[1] + u1[2]])
        closed = drift + leads @ u0[None] + follows @ u1[None] + crowd @ mean[None]
        cross = m["R2"] * (np.outer(u0, u1) + np.outer(u1, u0))
        cost1 = m["Q"] * error.T @ error + m["R"] * np.outer(u1, u1) + m["R1"] * np.outer(u0, u0) + cross
        cost0 = m["Q0"] * error0.T @ error0 + m["R0"] * np.outer(u0, u0)
        rates = [-DISCOUNT * s + s @ closed + closed.T @ s + cost for s, cost in ((s1, cost1), (s0, cost0))]
        return np.stack(rates).reshape(-1)

    found = solve_ivp(rate, (0.0, HORIZON), np.zeros(18), method="DOP853", rtol=1e-8, atol=1e-10)
    return found.y[:, -1].reshape(2, 3, 3)
