"""Costs and impact of hand-made tapes whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from diffgames.markets.costs import HORIZONS, costs, ratio


def trade(episode, step, side, lots, price, kind="taker", venue="provider_0", supertype=0):
    row = {"episode": episode, "step": step, "kind": kind, "agent": "a", "supertype": supertype, "venue": venue}
    return {**row, "side": side, "lots": lots, "price": price}


def measured(rows, mid):
    return costs(pd.DataFrame(rows), np.asarray(mid, float))


def test_the_spread_is_what_the_mark_out_keeps_and_the_impact_takes():
    """A buy at +0.5 after which the mid rises by 0.2 at once and 0.1 stays; a sell with the same mirrored."""
    mid = np.zeros((41, 2))
    mid[4, 0], mid[5:, 0] = 0.2, 0.1
    mid[4, 1], mid[5:, 1] = -0.2, -0.1
    found = measured([trade(0, 3, 1, 2.0, 0.5), trade(1, 3, -1, 1.0, -0.5)], mid).sel(
        counterparty="takers 0 with providers"
    )
    assert float(found.effective) == pytest.approx(0.5) and float(found.effective_error) == pytest.approx(0.0)
    np.testing.assert_allclose(found.markout, [0.3, 0.4, 0.4])
    np.testing.assert_allclose(found.effective - found.markout, [0.2, 0.1, 0.1])  # the impact


def test_counterparties_are_kept_apart_and_hedges_pay_their_own():
    rows = [
        trade(0, 0, 1, 1.0, 0.4),
        trade(0, 1, 1, 1.0, 0.6, venue="exchange_0"),
        trade(0, 1, -1, 3.0, -0.8, supertype=1),
        trade(0, 2, -1, 2.0, -1.0, kind="hedge", venue="exchange_0"),
    ]
    found = measured(rows, np.zeros((5, 1)))
    by = dict(zip(found.counterparty.values, found.effective.values, strict=True))
    assert by["takers 0 with providers"] == 0.4 and by["takers 0 at exchanges"] == 0.6
    assert (
        by["takers 1 with providers"] == pytest.approx(0.8)
        and by["hedges"] == 1.0
        and np.isnan(by["takers 1 at exchanges"])
    )
    assert np.isnan(found.markout.sel(horizon=30)).all() and np.isfinite(found.markout.sel(horizon=1)).sum() == 4


def test_shortfall_against_arrival_and_vwap():
    """Two buys at 1 and 3 (2 lots each) from arrival 0, a third taker's 4 lots at 2: VWAP 2."""
    mid = np.linspace(0, 4, 5)[:, None]
    rows = [trade(0, 0, 1, 2.0, 1.0), trade(0, 2, 1, 2.0, 3.0), trade(0, 1, -1, 4.0, 2.0, supertype=1)]
    found = measured(rows, mid).shortfall
    np.testing.assert_allclose(found.sel(supertype=0), [2.0, 0.0])
    np.testing.assert_allclose(found.sel(supertype=1), [-2.0, 0.0])
    dearer = [trade(0, 0, 1, 2.0, 1.0), trade(0, 2, 1, 6.0, 3.0)]
    np.testing.assert_allclose(measured(dearer, mid).shortfall.sel(supertype=0), [2.5, 0.0])


def test_a_planted_impact_grows_with_size_and_decays_as_planted():
    """P moves by 0.1 a lot for a step, of which 0.04 stays; one trade every 40 steps, so that none overlaps."""
    noise = np.random.default_rng(0)
    mid, rows = np.zeros((400, 30)), []
    for episode in range(30):
        for step in range(0, 360, 40):
            lots, side = float(noise.integers(1, 9)), int(noise.choice([-1, 1]))
            rows.append(trade(episode, step, side, lots, 0.0, venue="exchange_0"))
            mid[step + 1 :, episode] += side * 0.04 * lots
            mid[step + 1, episode] += side * 0.06 * lots
    found = measured(rows, mid)
    np.testing.assert_allclose(found.impact.sel(horizon=1), 0.1 * found["size"])
    for horizon in HORIZONS[1:]:
        np.testing.assert_allclose(found.impact.sel(horizon=horizon), 0.04 * found["size"])
    assert len(found["size"]) == 4 and (np.diff(found["size"]) > 0).all()


def test_the_error_over_episodes_covers_where_trades_of_one_are_alike():
    noise, hits = np.random.default_rng(1), 0
    episode = np.repeat(np.arange(40), 25)
    for _ in range(400):
        values = noise.normal(size=40)[episode] + noise.normal(size=1000)
        weights = noise.integers(1, 5, 1000).astype(float)
        mean, error = ratio(values, weights, episode, 40)
        hits += abs(mean) <= 1.96 * error
    assert 360 <= hits <= 396  # 380 expected; three binomial deviations below, and a little for 40 episodes


def test_no_trades_no_costs():
    found = measured([trade(0, 0, 1, 1.0, 0.5)], np.zeros((3, 1)))
    assert found.sizes["size"] == 0 and np.isnan(found.effective.sel(counterparty="hedges"))
    assert np.isnan(ratio(np.zeros(0), np.zeros(0), np.zeros(0, int), 3).value)
