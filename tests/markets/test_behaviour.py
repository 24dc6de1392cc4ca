"""Measurements on recorded episodes against hand-made records with known answers."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games.fixed_agents import fix_agents
from diffgames.learning.policy import FixedProbabilities
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile
from diffgames.markets.behaviour import (
    average_price,
    by_inventory,
    clustered_quadratic,
    clustered_regression,
    flow_per_taker,
    flow_variance_ratio,
    holding_times,
    skew_regression,
    skew_slopes,
    statistics,
)
from diffgames.markets.market_state import StepRecord


def test_regression_recovers_a_planted_slope_with_an_honest_standard_error():
    """Over many data sets with within-episode correlation the clustered error covers at its stated rate."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        inventory = np.cumsum(rng.normal(size=(40, 30)), axis=0)
        common = rng.normal(size=30)[None, :] * inventory * 0.05  # an error shared by the steps of an episode
        fit = clustered_regression(inventory, -0.2 * inventory + 1.0 + common + rng.normal(size=(40, 30)))
        covered += abs(fit.slope + 0.2) <= 1.96 * fit.standard_error
    # Binomial(300, .95): 270 is over three standard deviations below; clustering with 30 episodes costs a little.
    assert covered >= 265


def test_regression_equals_least_squares():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    fit = clustered_regression(x, y)
    slope, intercept = np.polyfit(x.ravel(), y.ravel(), 1)
    assert fit.slope == pytest.approx(slope) and fit.intercept == pytest.approx(intercept)


def test_constant_inventory_has_no_slope():
    assert np.isnan(clustered_regression(np.ones((3, 2)), np.ones((3, 2))).slope)


def test_holding_times_of_a_known_path():
    inventory = np.array([0.0, 2.0, 1.0, -1.0, -2.0, 0.0, 3.0])[:, None]
    expected = np.array([np.nan, 2.0, 1.0, 2.0, 1.0, np.nan, 1.0])[:, None]
    np.testing.assert_array_equal(holding_times(inventory), expected)


def test_holding_times_against_a_double_loop():
    rng = np.random.default_rng(2)
    inventory = rng.integers(-2, 3, size=(25, 6)).astype(float)
    times = holding_times(inventory)
    for t in range(25):
        for b in range(6):
            if inventory[t, b] == 0:
                assert np.isnan(times[t, b])
                continue
            after = [s for s in range(t + 1, 25) if np.sign(inventory[s, b]) != np.sign(inventory[t, b])]
            assert times[t, b] == (after[0] if after else 25) - t


def test_the_quadratic_fit_finds_a_parabola_and_its_standard_error_covers():
    """Clustered noise: the truth lies within 1.96 standard errors about 95 times in 100."""
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        x = generator.uniform(-1, 1, (20, 30, 2))
        y = 1.0 - 2.0 * x + 3.0 * x**2 + generator.normal(size=(1, 30, 1)) * x**2 + generator.normal(size=x.shape)
        fit = clustered_quadratic(x, y, np.abs(x) <= 0.9)
        hits += abs(fit.coefficients[2] - 3.0) <= 1.96 * fit.standard_error
    assert 180 <= hits <= 200


def test_flow_variance_of_a_herd_and_of_coin_tosses():
    """All by one shared clock: the number of takers, exactly. Independent: 1 within the interval, sizes or not."""
    rng = np.random.default_rng(0)
    steps, episodes, takers = 100, 60, 12
    clock = np.where(np.arange(steps) < 50, 1.0, -1.0)
    herd = np.broadcast_to(clock[:, None, None], (steps, episodes, takers))
    assert flow_variance_ratio(herd) == (pytest.approx(12.0), pytest.approx(0.0, abs=1e-9))
    inside = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        alone = rng.choice([-1.0, 0.0, 1.0], (steps, episodes, takers), p=[0.2, 0.3, 0.5]) * np.arange(1, takers + 1)
        ratio, half = flow_variance_ratio(alone)
        inside += abs(ratio - 1.0) < half
        assert half < 0.1
    assert inside >= 16  # of 20 intervals of 95%: fewer has probability 0.003
    mixed = np.where(rng.random((steps, episodes, 1)) < 0.5, herd, rng.choice([-1.0, 1.0], herd.shape))
    ratio, half = flow_variance_ratio(mixed)
    assert abs(ratio - (0.5 * 12 + 0.5)) < 2 * half
    assert np.isnan(flow_variance_ratio(np.zeros((5, 4, 2)))[0])


def test_a_slow_common_order_shows_over_ten_steps():
    """Coin tosses of deviation s and a tide ±a shared for ten steps: (s² + b n a²)/(s² + b a²) over b ≤ 10 steps."""
    rng, a, n = np.random.default_rng(1), 0.4, 12
    tide = np.repeat(rng.choice([-a, a], (10, 400, 1)), 10, axis=0)
    flow = rng.choice([-1.0, 1.0], (100, 400, n)) + tide
    for block in (1, 5, 10):
        ratio, half = flow_variance_ratio(flow, block)
        assert abs(ratio - (1 + block * n * a**2) / (1 + block * a**2)) < 1.5 * half, block
    assert np.isnan(flow_variance_ratio(flow[:7], 10)).all()  # no whole block


def planted(slope=-0.3, steps=6, episodes=4) -> Any:
    """Records of two providers: the second skews by `slope` times its inventory, plus a constant of its episode."""
    rng = np.random.default_rng(7)
    inventory = rng.integers(-3, 4, size=(steps, episodes, 2)).astype(float)
    flow = rng.integers(0, 3, size=(steps, episodes, 2, 2, 2)).astype(float)
    fraction = np.broadcast_to(np.array([[0.25, 0.0], [0.5, 1.0]]), (steps, episodes, 2, 2))
    parts = {
        "inventory": inventory,
        "skew_tweak": slope * inventory + rng.normal(size=(1, episodes, 1)),
        "spread_tweak": rng.normal(size=(steps, episodes, 2)),
        "hedge_fraction": rng.uniform(size=(steps, episodes, 2)),
        "flow": flow,
        "network": SimpleNamespace(provider_fraction=fraction),
        "running_share": rng.uniform(size=(steps, episodes, 2)),
        "pnl_spread": rng.normal(size=(steps, episodes, 2)),
        "pnl_inventory": rng.normal(size=(steps, episodes, 2)),
    }
    record = object.__new__(StepRecord)
    for name, value in parts.items():
        object.__setattr__(record, name, value)
    return record


def test_a_planted_skew_is_found_in_every_episode():
    record = planted()
    np.testing.assert_allclose(skew_slopes(record, 1), -0.3)
    record.inventory[:, 2, 1] = 1.0
    assert np.isnan(skew_slopes(record, 1)[2]) and np.isfinite(skew_slopes(record, 1)).sum() == 3


def test_statistics_by_hand():
    record = planted()
    found = statistics(record, (8, 2), provider=1)
    volume = record.flow[:, :, 1].sum(axis=(0, 1, 2)) / 24  # lots a step; 4 flow takers and 2 PnL takers are reached
    assert found["flow_taker_flow"] == pytest.approx(volume[0] / 4)
    assert found["pnl_taker_flow"] == pytest.approx(volume[1] / 2)
    assert found["flow_difference"] == pytest.approx(volume[1] / 2 - volume[0] / 4)
    assert found["flow_ratio"] == pytest.approx(2 * volume[1] / volume[0])
    sides = [record.spread_tweak / 2 + sign * record.skew_tweak for sign in (1, -1)]
    assert found["average_price"] == pytest.approx(np.mean(sides, axis=0)[:, :, 1].mean())
    assert found["inventory"] == pytest.approx(np.abs(record.inventory[:, :, 1]).mean())
    assert found["market_share"] == pytest.approx(record.running_share[-1, :, 1].mean())
    pnl = (record.pnl_spread + record.pnl_inventory)[:, :, 1].sum(axis=0).mean()
    assert found["pnl"] == pytest.approx(pnl)
    held = record.inventory[:, :, 1] != 0
    assert found["hedge_fraction"] == pytest.approx(record.hedge_fraction[:, :, 1][held].mean())
    assert found["holding_time"] == pytest.approx(np.nanmean(holding_times(record.inventory[:, :, 1])))


def test_nobody_connected_is_no_flow_and_not_a_flow_of_zero():
    flow = flow_per_taker(planted(), (8, 2), provider=0)
    assert np.isnan(flow[1]) and flow[0] > 0


def test_means_by_inventory():
    record = planted()
    values = np.where(record.inventory[:, :, 1] > 0, np.nan, record.inventory[:, :, 1])
    found = by_inventory(record, values, np.array([-3.5, -2.5, -0.5, 0.5, 3.5]), 1)
    inside = values[(values > -2.5) & (values < -0.5)]
    np.testing.assert_allclose(found, [-3.0, inside.mean(), 0.0, np.nan])


def test_a_fixed_quoter_in_a_market_is_measured_as_it_quotes(build_market):
    """ε_skew = −0.02 q and ε_spread = −½ by construction, in ticks of the market spread that it sees."""
    market = build_market(takers=(4, 2), probability=1.0)

    def quoter(seen, key):
        spread = seen["market_spread"]
        return jnp.stack([0.5 * spread, -0.02 * seen["inventory"] * spread, 0.0 * spread])

    profile = initial_profile(market, jax.random.key(0), 8) | {"taker": FixedProbabilities.of([0.2, 0.4, 0.4])}
    game = fix_agents(market, {("provider", 0): quoter})
    record = jax.tree.map(np.asarray, evaluate(game, profile, jax.random.key(1), 20)[1])
    found = statistics(record, (4, 2))
    assert found["skew_intensity"] == pytest.approx(-0.02, abs=1e-6)
    assert found["average_price"] == average_price(record) == pytest.approx(-0.25, abs=1e-6)
    assert skew_regression(record).standard_error < 1e-6 < found["inventory"]
    assert found["hedge_fraction"] == 0.0
    lots = np.asarray(record.flow)[:, :, 0].sum(axis=(0, 1, 2)) / (30 * 20)
    assert found["flow_taker_flow"] == pytest.approx(lots[0] / 4) and found["market_share"] > 0.3
