"""What a desk sees of random play: facts beside the record, the tape, costs, and their figures."""

import jax
import numpy as np

from diffgames.markets.synthetic import synthetic_level2
from diffgames.studies.drawing import figures_from
from diffgames.studies.market_desk import DRAWINGS, look
from toy_market import random_play


def test_a_look_measures_stores_and_draws(build_market):
    market = build_market(exchanges=2, probability=0.6, steps=25)  # as in the test of the tape: compiled once
    _, (_, record, _) = random_play(market, jax.random.key(2), episodes=3)
    record = jax.tree.map(lambda leaf: np.asarray(leaf).swapaxes(0, 1), record)
    data = synthetic_level2(seconds=1500, seed=3)
    seen = look(record, market, data)
    assert set(seen.arrays) == {"facts", "tape", "costs"}
    recorded, simulated = seen.facts["mid_deviation"]
    assert recorded == np.diff(data.double_mid[:1500].reshape(-1, 25), axis=1).std() / 2
    mid = (np.asarray(record.best_bid) + np.asarray(record.best_ask))[:, :, 0] / 2
    assert np.isclose(simulated, np.diff(mid.astype(np.float64), axis=0).std())
    assert np.isnan(seen.facts["best_volume_autocorrelation_60"]).all()  # 25 steps have no lag of 60
    first = seen.arrays["costs"]
    taken = first.effective.sel(counterparty="takers 0 at exchanges")
    assert float(taken) > 0.25  # who takes at an exchange pays at least half a tick of spread, in a mean of many
    figures = figures_from(DRAWINGS, seen.arrays)
    assert set(figures) == {"facts", "costs"} and all(draw().axes for draw in figures.values())
