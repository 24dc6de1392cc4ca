"""The structured program against the sparse matrices of another hand: rows, costs, bound, normal equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.energy import linear_program as program
from diffgames.energy.exact_clearing import sparse_program
from diffgames.energy.market import draw_market
from diffgames.energy.plan import Plan


@pytest.fixture(scope="module")
def market():
    return jax.tree.map(jnp.asarray, draw_market(7, seed=3))


def random_plan(market, seed, low=0.0, high=1.0):
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda part: jnp.asarray(draw.uniform(low, high, part.shape)), program.nothing(market))


def columns(plan):
    return np.concatenate([np.ravel(part) for part in plan])


def test_rows_and_cost_are_those_of_the_sparse_matrices(market):
    x = random_plan(market, 0)
    sparse, quantities = sparse_program(market), columns(program.quantities(market, x))
    off = program.rows(market, x)
    ours = np.concatenate([np.ravel(off.stored * market.capacity[None]), off.start, off.price])
    assert ours == pytest.approx(sparse.equal @ quantities - sparse.right, abs=1e-12)
    assert program.cost(market, x) == pytest.approx(sparse.cost @ quantities)


def test_push_and_pull_are_transposed(market):
    x, y = random_plan(market, 1), jax.tree.map(jnp.cos, program.rows(market, random_plan(market, 2)))
    forward = sum(jnp.vdot(a, b) for a, b in zip(y, program.push(market, x), strict=True))
    backward = sum(jnp.vdot(a, b) for a, b in zip(program.pull(market, y), x, strict=True))
    assert forward == pytest.approx(float(backward))


def test_the_normal_equations_are_solved_on_any_metric(market):
    weight = random_plan(market, 4, 0.5, 2.0)
    metric = program.Metric(weight, 0.3 * jnp.minimum(weight.charge, weight.discharge))
    y = jax.tree.map(jnp.sin, program.rows(market, random_plan(market, 5)))
    right = program.push(market, metric(program.pull(market, y)))
    found = program.normal(market, metric).solve(right)
    has = np.asarray(market.has_appliance) > 0
    np.testing.assert_allclose(found.price, y.price, atol=1e-9)
    np.testing.assert_allclose(found.stored, y.stored, atol=1e-9)
    np.testing.assert_allclose(np.asarray(found.start)[has], np.asarray(y.start)[has], atol=1e-9)


def test_the_bound_is_the_least_of_the_lagrangian_over_the_corners(market):
    """Every corner of C costs at least the bound, and the corner picked by the signs of the slopes attains it."""
    y = jax.tree.map(lambda part: 20.0 * jnp.sin(3.0 * part), program.rows(market, random_plan(market, 6)))

    def lagrangian(x):
        rows = program.rows(market, x)
        return program.cost(market, x) + sum(jnp.vdot(a, b) for a, b in zip(y, rows, strict=True))

    bound = float(program.bound(market, y))
    for seed in range(20):
        assert lagrangian(program.nearest(market, random_plan(market, seed, -3.0, 4.0))) >= bound
    slopes = program.slopes(market, y)
    charges = slopes.charge < slopes.discharge
    corner = jax.tree.map(lambda slope: jnp.where(slope < 0, 1.0, 0.0), slopes)
    corner = corner._replace(
        charge=jnp.where(charges, corner.charge, 0.0),
        discharge=jnp.where(charges, 0.0, corner.discharge),
        starts=jnp.where(market.startable > 0, corner.starts, 0.0),
    )
    assert lagrangian(corner) == pytest.approx(bound)


def test_the_projection_is_the_nearest_point(market):
    """(x − P x)·(z − P x) ≤ 0 for all z in C."""
    x = random_plan(market, 7, -1.0, 2.0)
    near = program.nearest(market, x)
    assert float((near.charge + near.discharge).max()) <= 1 + 1e-12
    allowed = market.startable > 0
    for seed in range(10):
        z = program.nearest(market, random_plan(market, 10 + seed))
        inner = Plan(*((a - b) * (c - b) for a, b, c in zip(x, near, z, strict=True)))
        inner = inner._replace(starts=jnp.where(allowed, inner.starts, 0.0))
        assert float((inner.charge + inner.discharge).max()) <= 1e-12
        assert all(float(part.max()) <= 1e-12 for part in (inner.stored, inner.elastic, inner.solar, inner.starts))
