"""The markets of Figure 6: what is known of them without learning, and how trainings are averaged."""

import jax
import numpy as np
import pytest

from diffgames.learning.train import initial_profile
from diffgames.studies.market_components import FIRST, SITUATIONS, TAKER, MarketTraining, market_dataset, small_market
from diffgames.verification.decomposition import hamiltonian_weight
from diffgames.verification.game_weights import WeightEstimate, scored_weight

SIZES = MarketTraining(
    trainings=2,
    market_updates=4,
    checkpoints=1,
    market_episodes=320,
    groups=5,
    market_steps=3,
    width=4,
    risk_aversion=0.0,
    learning_rate=1e-3,
)


@pytest.mark.slow
def test_without_risk_aversion_a_provider_and_a_profit_taker_play_a_zero_sum_game(exchange):
    market = small_market(SIZES, exchange, 1, 1.0)
    profile = initial_profile(market, jax.random.key(0), SIZES.width)
    found = scored_weight(market, profile, (FIRST, TAKER), jax.random.key(1), episodes=320, groups=5)
    assert found.squares[1] < 1e-9 * max(abs(found.squares[0]), found.errors[0])  # S G is rounding


@pytest.mark.parametrize("block", [0.3, -2.0])
def test_where_one_value_does_not_depend_on_the_other_player_the_weight_is_one_half(block):
    assert hamiltonian_weight([0.7, -0.4], [[1.0, block], [0.0, 2.0]], (1, 1)) == pytest.approx(0.5)


def test_trainings_are_averaged_where_a_weight_is_known():
    def of(weight, lower, upper):
        return WeightEstimate(weight, lower, upper, (0.0, 0.0), (0.0, 0.0))

    runs = [[of(0.2, 0.1, 0.3), of(np.nan, 0.0, 1.0)], [of(0.4, 0.2, 0.8), of(0.6, 0.5, 0.9)]]
    data = market_dataset(SIZES, dict.fromkeys(SITUATIONS, runs))
    np.testing.assert_allclose(data.weight[0], [0.3, 0.6])
    np.testing.assert_allclose(data.lower[0], [0.15, 0.25])
    np.testing.assert_allclose(data.upper[0], [0.55, 0.95])
    assert data["update"].values.tolist() == [0, 4] and data.published.values.tolist() == [0.6, 0.2, 0.6, 1.0]
