"""Generators and their transposes on cells: exact duality, conservation, and sparse against dense algebra."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.numerics.cells import CellAxis, Cells, Resolvent

WALLS = st.sampled_from(["reflecting", "line", "periodic"])


def random_chain(cells, types, seed):
    rng = np.random.default_rng(seed)
    above, below = cells.open_faces()
    shape = (types, len(cells.axes), cells.size)
    return rng.exponential(size=shape) * above, rng.exponential(size=shape) * below, rng


@settings(deadline=None, max_examples=20)
@given(WALLS, WALLS, st.booleans(), st.integers(0, 99))
def test_transport_is_the_exact_transpose_of_the_generator(wall, other, flat, seed):
    axes = (CellAxis("x", -1.0, 2.0, 5, wall), CellAxis("y", 0.0, 1.0, 4, other))[: 1 if flat else 2]
    cells = Cells(axes)
    up, down, rng = random_chain(cells, 1, seed)
    values, mass = rng.normal(size=cells.size), rng.uniform(size=cells.size)
    matrix = cells.matrix(up[0], down[0]).toarray()
    moved = np.asarray(cells.transported(jnp.asarray(up[0]), jnp.asarray(down[0]), jnp.asarray(mass)))
    np.testing.assert_allclose(moved, matrix.T @ mass, atol=1e-13)
    assert abs(moved.sum()) < 1e-13
    h = np.asarray([axis.spacing for axis in cells.axes])[:, None]
    ahead, behind = (np.asarray(part) for part in cells.slopes(jnp.asarray(values)))
    np.testing.assert_allclose(matrix @ values, (h * (up[0] * ahead - down[0] * behind)).sum(axis=0), atol=1e-12)


@pytest.mark.parametrize("wall", ["reflecting", "periodic"])
def test_resolvents_of_several_types_keep_mass_and_sign(wall):
    cells = Cells((CellAxis("x", 0.0, 1.0, 30, wall),))
    up, down, rng = random_chain(cells, 3, 5)
    mass = rng.uniform(size=(3, cells.size)) * (rng.uniform(size=(3, cells.size)) < 0.3)
    resolvent = Resolvent(cells, up, down, 0.7)
    found = resolvent(mass, transpose=True)
    assert found.min() >= 0
    np.testing.assert_allclose(0.7 * found.sum(axis=1), mass.sum(axis=1), rtol=1e-13)
    for k in range(3):
        dense = 0.7 * np.eye(30) - cells.matrix(up[k], down[k]).toarray()
        np.testing.assert_allclose(found[k], np.linalg.solve(dense.T, mass[k]), atol=1e-12)
        np.testing.assert_allclose(resolvent(mass)[k], np.linalg.solve(dense, mass[k]), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "key"), [({"low": 2.0}, "axis x"), ({"size": 2}, "axis x: size"), ({"wall": "sticky"}, "axis x: wall")]
)
def test_axes_that_are_none_are_named(change, key):
    with pytest.raises(InvalidInput) as slip:
        CellAxis(**({"name": "x", "low": 0.0, "high": 1.0, "size": 8} | change))
    assert slip.value.key == key
