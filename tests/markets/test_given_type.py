"""A known type: nothing else of the market changes, and the grid of types covers what is random."""

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.markets.agents import clipped_normal, constant
from diffgames.markets.given_type import GivenType, complete, type_grid


def test_only_the_named_attributes_of_one_agent_are_set(build_market):
    market = build_market()
    values = complete(market.providers, 1, {"risk_aversion": 1.5, "pnl_weight": 0.25})
    given = GivenType(market, "provider", jnp.asarray(1, jnp.int32), values)
    drawn, known = market.reset(jax.random.key(0)), given.reset(jax.random.key(0))
    assert float(known.provider_type.risk_aversion[1]) == 1.5 and float(known.provider_type.pnl_weight[1]) == 0.25
    others = np.asarray([0, 2])
    for name, value in vars(drawn.provider_type).items():
        np.testing.assert_array_equal(value[others], getattr(known.provider_type, name)[others])
    np.testing.assert_array_equal(drawn.provider_type.share_target, known.provider_type.share_target)
    np.testing.assert_array_equal(drawn.taker_type.pnl_weight, known.taker_type.pnl_weight)
    np.testing.assert_array_equal(drawn.network.provider_taker, known.network.provider_taker)


def test_the_grid_holds_corners_and_middle(build_market):
    providers = build_market().providers
    grid = type_grid(providers, 0)
    assert {(one["risk_aversion"], one["pnl_weight"]) for one in grid} == {(0, 0), (0, 1), (2, 0), (2, 1), (1, 0.5)}
    assert all(set(one) == {"risk_aversion", "pnl_weight"} for one in grid)


def test_a_normal_attribute_is_seen_two_deviations_away_and_a_constant_type_once(build_market):
    law = build_market().takers
    law = type(law)(
        **{name: constant([0.5, 0.5]) for name in vars(law)}
        | {"quantity": clipped_normal([3.0, 3.0], [1.0, 0.0], 2.0, 9.0)}
    )
    assert [one["quantity"] for one in type_grid(law, 0)] == [2.0, 5.0, 3.5]
    assert type_grid(law, 1) == [{}]
