"""Best price, fair ties, unreachable venues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from diffgames.markets.market_state import BUY, HOLD, SELL, Quotes
from diffgames.markets.routing import UNREACHABLE, per_taker, route, tie_breakers


@pytest.mark.parametrize("tied", [(0, 1), (1, 4), (0, 2, 5), (0, 1, 2, 3, 4, 5)])
def test_ties_are_broken_with_equal_probability(tied):
    ask = np.full((6, 1), 3.0, np.float32)
    ask[list(tied)] = 1.0
    takers = 60_000
    quotes = Quotes(ask=jnp.asarray(ask), bid=jnp.zeros((6, 1), jnp.float32))
    routes = route(
        quotes,
        (0,) * takers,
        jnp.ones((takers,), jnp.float32),
        jnp.ones((6, takers), bool),
        jnp.full((takers,), BUY, jnp.int32),
        jax.random.key(0),
    )
    counts = np.asarray(jnp.sum(routes.venue, axis=1))
    assert counts.sum() == takers and counts[[v for v in range(6) if v not in tied]].sum() == 0
    assert chisquare(counts[list(tied)]).pvalue > 1e-3


def test_tie_orders_are_independent_between_takers():
    """Winning venues of neighbouring takers are uncorrelated."""
    winner = np.asarray(jnp.argmax(tie_breakers(jax.random.key(1), 2, 40_000), axis=0))
    assert abs(np.corrcoef(winner[:-1], winner[1:])[0, 1]) < 0.02


def test_route_against_a_loop():
    rng = np.random.default_rng(0)
    ask, bid = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    row, connected = (0, 0, 1, 1, 1, 2, 2, 2), rng.random((4, 8)) < 0.6
    connected[:, 7] = False
    decision = np.array([BUY, SELL, HOLD, BUY, SELL, BUY, SELL, BUY], np.int32)
    routes = route(
        Quotes(ask=jnp.asarray(ask), bid=jnp.asarray(bid)),
        row,
        jnp.arange(1, 9, dtype=jnp.float32),
        jnp.asarray(connected),
        jnp.asarray(decision),
        jax.random.key(0),
    )
    for taker in range(8):
        venues = np.flatnonzero(connected[:, taker])
        if decision[taker] == HOLD or len(venues) == 0:
            assert routes.quantity[taker] == 0 and float(jnp.sum(routes.venue[:, taker])) == 0
            continue
        table = ask if decision[taker] == BUY else -bid
        best = venues[np.argmin(table[venues, row[taker]])]
        assert routes.venue[best, taker] == 1 and float(jnp.sum(routes.venue[:, taker])) == 1
        assert float(routes.price[taker]) == pytest.approx((ask if decision[taker] == BUY else bid)[best, row[taker]])


def test_per_taker_equals_indexing():
    values = jnp.arange(12.0, dtype=jnp.float32).reshape(3, 4)
    for row in [(0, 0, 1, 3, 3, 2), (0, 1, 2, 3), (2,)]:
        np.testing.assert_array_equal(per_taker(values, row), values[:, jnp.asarray(row)])
    assert UNREACHABLE > 1e6
