"""Grids interpolate without losing mass, and finite differences are exact where they should be and monotone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.numerics.finite_difference import differences, dominance, drift_term, second_order, spare_diffusion
from diffgames.numerics.grid import Axis, Grid

PLANE = Grid((Axis("x", -1.0, 2.0, 7), Axis("angle", 0.0, 2 * np.pi, 8, "periodic")))


def test_points_and_refinement():
    points = np.asarray(PLANE.points()).reshape(2, 7, 8)
    assert points[0, :, 0].tolist() == np.linspace(-1, 2, 7).tolist()
    assert points[1, 0, -1] == pytest.approx(2 * np.pi * 7 / 8)
    fine = np.asarray(PLANE.refined().points()).reshape(2, *PLANE.refined().shape)
    np.testing.assert_allclose(PLANE.refined().coarse_part(fine), points, atol=1e-15)


@given(st.floats(-9, 9), st.floats(-20, 20))
@settings(max_examples=60, deadline=None)
def test_interpolation_loses_no_mass_wherever_a_point_lands(x, angle):
    indices, weights = PLANE.locate(jnp.array([[x], [angle]]))
    assert float(weights.min()) >= 0.0
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-14)
    assert int(indices.min()) >= 0 and int(indices.max()) < PLANE.size


def test_interpolation_is_exact_for_bilinear_functions():
    grid = Grid((Axis("x", -1.0, 2.0, 4), Axis("y", 0.0, 1.0, 5, "linear")))
    x, y = grid.points()
    at = jnp.array([[0.3, 1.9, -1.0], [0.71, 0.0, 1.0]])
    found = grid.interpolate((1 + 2 * x - y + x * y).reshape(grid.shape), at)
    np.testing.assert_allclose(found, 1 + 2 * at[0] - at[1] + at[0] * at[1], atol=1e-14)
    beyond = grid.interpolate((3 * y).reshape(grid.shape), jnp.array([[5.0], [4.0]]))
    np.testing.assert_allclose(beyond, [12.0], atol=1e-13)  # the linear axis goes on, the other one stops


def test_second_differences_of_quadratics_are_exact():
    grid = Grid((Axis("x", -1.0, 1.0, 9), Axis("y", -1.0, 1.0, 17)))
    x, y = grid.points()
    values = (x**2 - 3 * x * y + 2 * y**2)[None]
    inside = np.asarray(~grid.edge())
    for sign in (1.0, -1.0):
        a = jnp.array([[1.0, 0.4 * sign], [0.4 * sign, 1.0]])
        at = jax.tree.map(lambda leaf: leaf[0], differences(grid, values, cross=True))
        found = jax.vmap(second_order, in_axes=(None, -1))(a, at)
        exact = 0.5 * (a[0, 0] * 2 + 2 * a[0, 1] * -3 + a[1, 1] * 4)
        np.testing.assert_allclose(np.asarray(found)[inside], float(exact), atol=1e-10)


def generator(grid, b, a):
    """The matrix of L_h with constant coefficients."""

    def apply(values):
        at = jax.tree.map(lambda leaf: leaf[0], differences(grid, values[None], cross=len(grid.axes) > 1))
        spare = spare_diffusion(a, grid.spacing)

        def one(at):
            return drift_term(b, spare, at) + second_order(a, at)

        return jax.vmap(one, in_axes=-1)(at)

    return np.asarray(jax.jacfwd(apply)(jnp.zeros(grid.size)))


@given(
    st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    st.tuples(st.floats(0, 2), st.floats(0, 2)),
    st.floats(-1, 1),
    st.sampled_from(["reflecting", "periodic", "constrained"]),
)
@settings(max_examples=25, deadline=None)
def test_minus_the_generator_is_an_m_matrix(b, deviations, correlation, boundary):
    grid = Grid((Axis("x", 0.0, 1.0, 5, boundary), Axis("y", 0.0, 1.0, 5)))
    off = correlation * deviations[0] * deviations[1]
    a = jnp.array([[deviations[0] ** 2, off], [off, deviations[1] ** 2]])
    matrix = generator(grid, jnp.array(b), a)
    scale = max(1.0, np.abs(matrix).max())
    np.testing.assert_allclose(matrix.sum(axis=1), 0.0, atol=1e-12 * scale)
    away = matrix - np.diag(np.diag(matrix))
    if float(dominance(a, grid.spacing)) >= 0:
        assert away.min() >= -1e-12 * scale
    else:
        assert away.min() < 0


def test_axes_that_make_no_sense_are_refused():
    with pytest.raises(InvalidInput, match="low < high"):
        Axis("x", 1.0, 1.0, 5)
    with pytest.raises(InvalidInput, match="reflecting"):
        Axis("x", 0.0, 1.0, 5, "sticky")
    with pytest.raises(InvalidInput, match="own name"):
        Grid((Axis("x", 0.0, 1.0, 5), Axis("x", 0.0, 1.0, 5)))
