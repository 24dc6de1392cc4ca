"""Agents by supertype: a partition of those counted, and their means."""

import numpy as np

from diffgames.markets.supertypes import by_supertype, supertypes_of


def test_supertypes_part_the_agents_that_are_counted(build_market):
    market = build_market(providers=(1, 2), takers=(3, 2))
    for role, count in (("provider", 3), ("taker", 5)):
        parts = supertypes_of(market, role)
        np.testing.assert_array_equal(sum(part.astype(int) for part in parts.values()), np.ones(count, int))
    assert list(supertypes_of(market, "provider", np.asarray([False, True, True]))) == [1]


def test_means_are_over_the_counted_agents_of_each_supertype(build_market):
    market = build_market(providers=(1, 2), takers=(3, 2))
    values = {"provider": np.asarray([[1.0, 2.0, 4.0], [0.0, 0.0, 1.0]])}
    found = by_supertype(market, values)
    np.testing.assert_allclose(found["provider_0"], [1.0, 0.0])
    np.testing.assert_allclose(found["provider_1"], [3.0, 0.5])
    among = by_supertype(market, values, {"provider": np.asarray([True, False, True])})
    np.testing.assert_allclose(among["provider_1"], [4.0, 1.0])
