"""Discrete-time feedback Nash without end against QuantEcon's `nnash`: unequal controls, cross terms, discount."""

import warnings

import numpy as np
import pytest

from diffgames import solve
from diffgames.games.plain import nash_game

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    from quantecon import nnash

STATES, FIRST, SECOND, DISCOUNT = 3, 2, 1, 0.95


def positive(rng: np.random.Generator, size: int, least: float) -> np.ndarray:
    root = rng.normal(size=(size, size))
    return root @ root.T / size + least * np.eye(size)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gains_are_those_of_quantecon(seed):
    """min Σ βᵗ (x'R_i x + u_i'Q_i u_i + u_j'S_i u_j + 2 x'W_i u_i + 2 u_j'M_i u_i), x' = A x + B_1 u_1 + B_2 u_2."""
    rng = np.random.default_rng(seed)
    a = 0.3 * rng.normal(size=(STATES, STATES))
    sizes = (FIRST, SECOND)
    b = [rng.normal(size=(STATES, k)) for k in sizes]
    weight = [positive(rng, STATES, 0.2) for _ in sizes]
    effort = [positive(rng, k, 1.0) for k in sizes]
    other = [0.1 * positive(rng, k, 0.0) for k in sizes[::-1]]
    mixed = [0.05 * rng.normal(size=(STATES, k)) for k in sizes]
    coupled = [0.05 * rng.normal(size=(sizes[1 - i], sizes[i])) for i in (0, 1)]
    scale = np.sqrt(DISCOUNT)
    theirs = nnash(
        *(scale * a, scale * b[0], scale * b[1], weight[0], weight[1], effort[0], effort[1], other[0], other[1]),
        *(mixed[0], mixed[1], coupled[0], coupled[1]),
        tol=1e-12,
    )[:2]
    none = np.zeros((STATES, SECOND)), np.zeros((STATES, FIRST))
    game = nash_game(
        A=a,
        B=b,
        Q=weight,
        R=[
            np.block([[effort[0], coupled[0].T], [coupled[0], other[0]]]),
            np.block([[other[1], coupled[1]], [coupled[1].T, effort[1]]]),
        ],
        N=[np.hstack([mixed[0], none[0]]), np.hstack([none[1], mixed[1]])],
        discount=-np.log(DISCOUNT),
        discrete=True,
    )
    solution = solve(game)
    for player, gain in enumerate(theirs):
        np.testing.assert_allclose(solution.gain(f"player {player}", "x"), -gain, atol=1e-9)
