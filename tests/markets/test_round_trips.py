"""Nobody is paid for pushing the price: no schedule earns once it has to sell out, and marked to the mid some do."""

import jax
import numpy as np
import pytest

from diffgames.markets.ecn_memory_fit import fit_memory
from diffgames.markets.level2 import read_level2
from diffgames.markets.round_trips import earned, lone_taker, schedules
from diffgames.markets.synthetic import synthetic_level2

ES = "es/ESH4_2023-12-25_82800000_86400000_l2_10_1s.csv.gz"
AAPL = "lobster/AAPL_2012-06-21_34200000_37800000_l2_10_1s.csv.gz"


def _no_schedule_earns(book, sizes, episodes, grid=None):
    """One-sided 99.9% intervals of eight schedules at every size; returns the most that the mid pays at each."""
    plans = schedules(100)
    market, pump = lone_taker(fit_memory(book)[0], grid=grid), []
    for size in sizes:
        found = earned(market, list(plans.values()), size, jax.random.key(0), episodes)
        assert (found.book + 3.1 * found.book_error < 0).all(), dict(zip(plans, found.book, strict=True))
        trips = [name for name, plan in plans.items() if plan.sum() == 0]
        at = [list(plans).index(name) for name in trips]
        np.testing.assert_allclose(found.book[at], found.mid[at], rtol=0.1)  # nothing is left to be marked
        pump.append((found.mid - 3.1 * found.mid_error).max())
    return pump


def test_no_schedule_earns_on_synthetic_books():
    """At three sizes. Marked to the mid, a buyer of ten lots a step earns thousands of ticks."""
    pump = _no_schedule_earns(synthetic_level2(seconds=1500, seed=3), (1.0, 10.0, 30.0), 16)
    assert pump[1] > 1000 and pump[2] > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(("file", "sizes"), [(ES, (1.0, 10.0, 30.0)), (AAPL, (1.0, 30.0, 100.0))])
def test_no_schedule_earns_on_recorded_books(file, sizes, shared_data):
    assert _no_schedule_earns(read_level2(str(shared_data / file)), sizes, 32)[-1] > 10_000
