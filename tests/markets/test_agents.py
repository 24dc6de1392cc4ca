"""Type distributions, price curves, and bad supertypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, norm

from diffgames.errors import InvalidInput
from diffgames.markets.agents import ProviderSupertypes, clipped_normal, constant, laws, price_curves, uniform


def _draws(distribution, count=4000):
    return np.asarray(jax.vmap(distribution.sample)(jax.random.split(jax.random.key(0), count)))


def test_one_family_holds_constant_uniform_and_clipped_normal():
    assert np.all(_draws(constant([3.0])) == 3.0)
    assert kstest(_draws(uniform([1.0], [3.0]))[:, 0], "uniform", args=(1.0, 2.0)).pvalue > 1e-3
    clipped = _draws(clipped_normal([0.0], 1.0, -1.0, 10.0))[:, 0]
    assert clipped.min() == -1.0
    # The atom at the bound has the normal's tail mass; four standard errors of a binomial.
    tail = norm.cdf(-1.0)
    assert abs(np.mean(clipped == -1.0) - tail) < 4 * np.sqrt(tail * (1 - tail) / clipped.size)


def test_agents_of_a_supertype_draw_independently():
    supertypes = ProviderSupertypes(uniform([0, 5], [1, 5]), constant([0, 1]), constant([1, 1]), constant([1, 1]))
    index = jnp.asarray([0, 0, 1, 1], jnp.int32)
    types = jax.vmap(lambda key: supertypes.draw(index, key))(jax.random.split(jax.random.key(1), 3000))
    drawn = np.asarray(types.risk_aversion)
    assert np.all(drawn[:, 2:] == 5.0) and np.all(np.asarray(types.pnl_weight) == [0, 0, 1, 1])
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 4 / np.sqrt(3000)


def test_price_curves_are_equation_5():
    mid, half, market = jnp.float32(2.0), jnp.asarray([0.5, 0.8], jnp.float32), jnp.float32(1.0)
    spread, skew = jnp.asarray([0.2, -1.0], jnp.float32), jnp.asarray([-0.4, 0.2], jnp.float32)
    ask, bid = price_curves(mid, half, market, spread, skew, 0.1)
    for i in range(2):
        for j in range(2):
            np.testing.assert_allclose(ask[i, j], 2.0 + half[j] + 0.5 * spread[i] + skew[i], atol=0.051)
            np.testing.assert_allclose(bid[i, j], 2.0 - half[j] - 0.5 * spread[i] + skew[i], atol=0.051)


def test_the_tightest_quote_is_not_crossed():
    """ε_spread ≥ −1 keeps ask ≥ bid at every size (up to rounding to the grid)."""
    ask, bid = price_curves(
        jnp.float32(0.0),
        jnp.asarray([0.5, 1.5], jnp.float32),
        jnp.float32(1.0),
        jnp.asarray([-1.0], jnp.float32),
        jnp.asarray([0.33], jnp.float32),
        0.2,
    )
    assert bool(jnp.all(ask >= bid))


def test_a_law_is_a_number_a_range_or_a_clipped_normal():
    law = laws("provider_risk_aversion", [0.5, (0.0, 2.0), (0.0, 1.0, 0.9, 0.4)], 3, 0.0, 100.0)
    drawn = np.asarray(jax.vmap(law.sample)(jax.random.split(jax.random.key(0), 20_000)), float)
    assert (drawn[:, 0] == 0.5).all()
    assert abs(drawn[:, 1].mean() - 1.0) < 4.5 * np.sqrt(1 / 3 / 20_000)
    assert drawn[:, 2].min() >= 0.0 and drawn[:, 2].max() == 1.0
    expected = 0.5987  # P(z > 0.25) is clipped to one: the rest lies below
    assert abs((drawn[:, 2] < 1.0).mean() - expected) < 4.5 * 0.5 / np.sqrt(20_000)


@pytest.mark.parametrize(
    "values",
    [[1.0], [1.0, 2.0, 3.0], [[2.0, 1.0], 1.0], [-0.1, 0.5], [[0.1, 0.2, 0.3], 1.0], [[0.0, 1.0, 2.0, 0.1], 1]],
)
def test_bad_supertypes_are_named(values):
    with pytest.raises(InvalidInput, match="provider_pnl_weight"):
        laws("provider_pnl_weight", values, 2, 0.0, 1.5)
