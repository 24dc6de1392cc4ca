"""Quadratic programs against projections that are known, linear programs by HiGHS, and a program without a plan."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from diffgames.errors import RunFailed
from diffgames.numerics.quadratic_program import quadratic_optimum


def solve(c, h, A, b, upper, free=False):
    return quadratic_optimum(c, h, sp.csr_array(A), b, upper, np.broadcast_to(free, np.shape(c)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12))
def test_the_projection_onto_the_simplex(point):
    point = np.array(point)
    found = solve(-point, np.ones(len(point)), np.ones((1, len(point))), np.ones(1), np.full(len(point), np.inf))
    ordered = np.sort(point)[::-1]
    level = (np.cumsum(ordered) - 1.0) / np.arange(1, len(point) + 1)
    known = np.maximum(point - level[np.flatnonzero(ordered > level)[-1]], 0.0)
    np.testing.assert_allclose(found, known, atol=1e-6)


def test_linear_costs_within_bounds_are_those_of_highs():
    draw = np.random.default_rng(0)
    A, upper, c = draw.normal(size=(4, 12)), draw.uniform(0.5, 2.0, 12), draw.normal(size=12)
    b = A @ (0.5 * upper)
    known = linprog(c, A_eq=A, b_eq=b, bounds=np.stack([np.zeros(12), upper], 1), method="highs")
    np.testing.assert_allclose(solve(c, np.zeros(12), A, b, upper), known.x, atol=1e-7)


def test_a_free_entry_has_no_bounds():
    found = solve(
        np.array([1.0, 3.0]), np.array([2.0, 1.0]), np.array([[1.0, 1.0]]), np.array([-4.0]), np.full(2, np.inf), True
    )
    np.testing.assert_allclose(found, [-2.0 / 3.0, -10.0 / 3.0], atol=1e-8)  # 2 x + 1 = y + 3, x + y = −4


def test_where_nothing_is_feasible_it_says_so():
    with pytest.raises(RunFailed, match="not solved"):
        solve(np.ones(1), np.ones(1), np.ones((1, 1)), np.array([3.0]), np.ones(1))
