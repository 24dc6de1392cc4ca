"""GMRES against a dense solve."""

import numpy as np

from diffgames.solvers.krylov import krylov


def test_the_solution_is_that_of_a_dense_solve():
    rng = np.random.default_rng(3)
    matrix, right = np.eye(30) + 0.1 * rng.normal(size=(30, 30)), rng.normal(size=(5, 6))
    found = krylov(lambda y: (matrix @ y.reshape(-1)).reshape(y.shape), right, 1e-12)
    np.testing.assert_allclose(found.reshape(-1), np.linalg.solve(matrix, right.reshape(-1)), rtol=1e-10, atol=1e-12)


def test_nothing_asked_nothing_done():
    assert not krylov(lambda y: y, np.zeros(4), 1e-9).any()
