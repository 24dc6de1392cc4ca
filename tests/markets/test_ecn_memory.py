"""The exchange agent with memory: the recorded law kept and stationary, agents' pushes linear and fading."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.fixed_agents import fix_agents
from diffgames.learning.rollout import evaluate
from diffgames.learning.train import initial_profile
from diffgames.markets import executors, facts
from diffgames.markets.depth_book import DepthBook, best_ask, best_bid, market_spread, mid_price, top_levels
from diffgames.markets.ecn_memory_fit import fit_memory, free_lunch, simulate_memory
from diffgames.markets.ecn_scores import simulated_statistics
from diffgames.markets.exchange import stack_exchanges
from diffgames.markets.level2 import Level2, read_level2
from diffgames.markets.planted_order import response_to_orders
from diffgames.markets.round_trips import lone_taker
from diffgames.markets.synthetic import synthetic_level2
from diffgames.studies.market_parameters import check_walls
from toy_market import random_play

GRID = 192


def wandering_spread(seconds: int, gap: int = 1) -> Level2:
    """Synthetic snapshots whose spread is a chain of lag-one autocorrelation near 0.7, levels `gap` ticks apart."""
    data, rng = synthetic_level2(seconds=seconds, seed=5), np.random.default_rng(6)
    spread = np.empty(seconds, int)
    spread[0] = 2
    for n in range(1, seconds):
        stays = rng.random() < 0.7
        spread[n] = spread[n - 1] if stays else rng.choice([1, 2, 3, 4], p=[0.4, 0.3, 0.2, 0.1])
    bid = data.bid_price[:, :1] - data.tick * gap * np.arange(10)
    ask = bid[:, :1] + data.tick * (spread[:, None] + gap * np.arange(10))
    return dataclasses.replace(data, bid_price=bid, ask_price=ask)


@pytest.fixture(scope="module")
def fitted():
    return fit_memory(wandering_spread(2400), levels=3, seed=0)


@pytest.fixture(scope="module")
def pushed(fitted):
    """The fitted agent with a push of its own: 0.016 ticks a lot, of which 0.006 stay."""
    weights = jnp.asarray([0.0, 0.01, 0.0, 0.006], jnp.float32)
    return eqx.tree_at(lambda m: m.impact, fitted[0], weights)


def test_a_wandering_spread_and_the_rest_of_the_record_are_kept(fitted):
    _, report = fitted
    recorded, simulated = report.recorded, report.simulated
    assert 0.6 < recorded["spread_autocorrelation"] < 0.8
    assert simulated["spread_autocorrelation"] == pytest.approx(recorded["spread_autocorrelation"], abs=0.1)
    assert simulated["mid_deviation"] == pytest.approx(recorded["mid_deviation"], rel=0.1)
    assert simulated["mid_unchanged"] == pytest.approx(recorded["mid_unchanged"], abs=0.03)
    assert simulated["kurtosis"] == pytest.approx(recorded["kurtosis"], rel=0.15)
    np.testing.assert_allclose(simulated["sd_volume"], recorded["sd_volume"], rtol=0.25)
    np.testing.assert_allclose(simulated["mean_volume"], recorded["mean_volume"], rtol=0.1)
    assert set(report.energy_score) == {"train", "validation", "test"} and "cells" in str(report)


@pytest.fixture(scope="module")
def foretold():
    """A record whose mid follows the imbalance at the best three times in ten besides, and the agent fitted to it."""
    data, rng = synthetic_level2(seconds=2400, seed=5), np.random.default_rng(8)
    bid, ask = data.bid_size[:, 0], data.ask_size[:, 0]
    sign = np.where(rng.random(len(data)) < 0.3, np.sign(bid - ask), 0).astype(int)
    shift = data.tick * np.concatenate([[0], np.cumsum(sign[:-1])])[:, None]
    told = dataclasses.replace(data, bid_price=data.bid_price + shift, ask_price=data.ask_price + shift)
    return told, fit_memory(told, levels=3)[0]


def test_a_full_queue_goes_on_foretelling_the_price(foretold):
    """Half of the planted correlation is kept."""
    told, model = foretold
    paths = simulate_memory(model, jax.random.key(0), 64, 300)
    recorded, simulated = (
        facts.statistics(series)["imbalance_correlation"]
        for series in (facts.of_level2(told, 3, 200), facts.of_paths(paths, 100))
    )
    assert recorded > 0.3 and simulated > recorded / 2


def test_an_informed_taker_knows_what_comes_and_a_coin_does_not(foretold):
    """What the mid does in the five steps after a trade, in its direction, ticks: means over episodes, 4 deviations."""
    market, found = lone_taker(foretold[1], steps=60), {}
    for name, taker in (("informed", executors.informed(market)), ("coin", executors.coin_toss(market))):
        game = fix_agents(market, {("taker", 0): taker}, {("taker", 0): name})
        _, record = evaluate(game, initial_profile(market, jax.random.key(0), 8), jax.random.key(1), 64)
        price, side = np.asarray(record.price, float), np.asarray(record.taker_direction, float)[..., 0]
        after = ((price[5:] - price[:-5]) * side[:-5]).sum(axis=0) / np.maximum(np.abs(side[:-5]).sum(axis=0), 1)
        found[name] = after.mean(), after.std() / 8
    assert found["informed"][0] - found["coin"][0] > 4 * found["informed"][1]
    assert abs(found["coin"][0]) < 4 * found["coin"][1] + 0.05  # 0.05: the push of its own orders


def test_the_uniform_law_on_recorded_transitions_is_stationary(fitted):
    """Every transition is drawn as often as any other: the columns of the chain's matrix sum to one, exactly."""
    model, _ = fitted
    first, count, members = (np.asarray(table) for table in (model.first, model.count, model.members))
    inflow = np.zeros(int(model.rows))
    for begin, size in zip(first, count, strict=True):
        inflow[members[begin : begin + size]] += 1.0 / size
    np.testing.assert_allclose(inflow, 1.0, rtol=1e-12)
    assert count.min() >= 80
    assert float(np.sum(np.asarray(model.mid_change))) == 0.0  # and its mean change is zero: bid and ask are mirrored


def test_books_keep_their_levels_where_they_are_recorded():
    """With levels three ticks apart the book has volume there and none between, and the levels are read there."""
    model, _ = fit_memory(wandering_spread(1500, gap=3), levels=3, seed=0)
    book, _ = model.open(jax.random.key(0), GRID)
    ask, bid = int(best_ask(book)), int(best_bid(book))
    held = np.flatnonzero(np.asarray(book.ask) > 0)[:3] - ask
    np.testing.assert_array_equal(held, [0, 3, 6])
    np.testing.assert_array_equal(bid - np.flatnonzero(np.asarray(book.bid) > 0)[::-1][:3], [0, 3, 6])
    np.testing.assert_array_equal(top_levels(book, 3)[3:], book.ask[ask + held])
    assert model.depth() == 9.0


@pytest.mark.parametrize("lots", [2.0, 20.0, 90.0])
def test_a_push_is_linear_in_the_lots_and_fades_as_planted(pushed, lots):
    orders = jnp.zeros((31,), jnp.float32).at[0].set(lots)
    moved = np.asarray(response_to_orders(pushed, orders, jax.random.key(1), 1000, GRID)[0], float)
    error = moved.std(axis=0) / np.sqrt(len(moved)) + 1e-9
    truth = lots * (0.01 * np.exp(-np.arange(31) / 5) + 0.006)
    assert (np.abs(moved.mean(axis=0) - truth)[[0, 1, 5, 30]] < 4.5 * error[[0, 1, 5, 30]]).all()


@pytest.mark.parametrize("lots", [1.0, 10.0, 90.0])
@pytest.mark.parametrize("shape", ["buy then sell", "buy slowly, sell at once", "sell first"])
def test_no_round_trip_earns_on_average(pushed, shape, lots):
    schedule = {
        "buy then sell": [1.0] * 5 + [-1.0] * 5,
        "buy slowly, sell at once": [0.2] * 10 + [-2.0],
        "sell first": [-1.0, 0.0, 0.0, 0.0, 1.0],
    }[shape]
    orders = jnp.asarray(schedule, jnp.float32) * lots
    moved, cash = (np.asarray(a, float) for a in response_to_orders(pushed, orders, jax.random.key(2), 400, GRID))
    undisturbed = cash.sum(axis=1)  # against the mid without the orders, whose mean change is zero
    assert undisturbed.mean() + 3 * undisturbed.std() / np.sqrt(len(cash)) < 0.0
    assert abs(moved[:, -1].mean()) <= abs(moved).mean(axis=0).max()


def test_a_push_that_outruns_the_book_is_told(fitted):
    """A lot that moves the mid by more than a tick's depth resists would pay: the note says from how many lots on."""
    model, report = fitted
    assert free_lunch(model) is None and not any("round trips pay" in note for note in report.notes)
    steep = eqx.tree_at(lambda m: m.impact, model, jnp.asarray([0.0, 0.06, 0.0, 0.04], jnp.float32))
    size = free_lunch(steep)
    assert size is not None and 20 < size < 90


def test_a_schedule_of_one_direction_pushes_and_its_push_fades(pushed):
    orders = jnp.asarray([5.0] * 20 + [0.0] * 40, jnp.float32)
    moved = np.asarray(response_to_orders(pushed, orders, jax.random.key(3), 600, GRID)[0], float).mean(axis=0)
    stays = 100 * 0.006
    peak = 5 * sum(0.01 * np.exp(-lag / 5) + 0.006 for lag in range(20))
    assert moved[19] == pytest.approx(peak, abs=0.08) and moved[-1] == pytest.approx(stays, abs=0.08)
    assert (np.diff(moved[19:]) <= 1e-6).all()


def test_taken_lots_come_back_and_a_swept_spread_closes(pushed):
    book, memory = pushed.open(jax.random.key(4), GRID)
    spread, volume = float(market_spread(book)), float(top_levels(book, 3)[3])
    swept = eqx.tree_at(lambda b: b.ask, book, book.ask.at[int(best_ask(book))].set(0.0))
    noticed = pushed._noticed(memory, swept)
    kept = float(pushed.volume_kept), float(pushed.spread_kept)
    assert float(noticed.missing[3]) == pytest.approx(kept[0] * volume) and float(noticed.missing[:3].sum()) == 0.0
    assert float(noticed.widening) == pytest.approx(kept[1] * (float(market_spread(swept)) - spread))
    assert float(noticed.push.sum()) == pytest.approx(0.016 * volume, rel=1e-5)
    still = pushed._noticed(noticed, book)  # nobody trades: everything fades but the last component
    assert float(still.missing[3]) == pytest.approx(kept[0] ** 2 * volume)
    assert float(still.push[-1]) == float(noticed.push[-1])


def test_it_plays_in_the_market_alone_and_beside_another_of_its_kind(pushed, build_market, exchange):
    shorter = fit_memory(wandering_spread(1200), levels=3, seed=1)[0]
    both = dataclasses.replace(build_market(exchanges=2), exchanges=stack_exchanges([pushed, shorter]), grid=GRID)
    _, (_, record, _) = random_play(both, jax.random.key(5))
    assert np.abs(np.asarray(record.imbalance)).max() < 1e-2
    assert (np.asarray(record.best_ask) > np.asarray(record.best_bid)).all()
    check_walls(both, record)
    with pytest.raises(RunFailed, match=r"grid of 8 ticks.*take grid=16"):
        check_walls(dataclasses.replace(both, grid=8), record)
    with pytest.raises(InvalidInput, match="same number of levels"):
        stack_exchanges([pushed, exchange])


def test_a_weight_of_zero_leads_the_mid_where_the_pull_says(pushed):
    @jax.jit
    @jax.vmap
    def missed(key):
        book, memory = pushed.open(key, GRID)
        (bid, ask), _ = pushed.sample(memory, key, book, jnp.float32(9.0), 0.0)
        return mid_price(DepthBook(bid=book.bid + bid, ask=book.ask + ask)) - mid_price(book) - 4.5

    assert np.abs(np.asarray(missed(jax.random.split(jax.random.key(8), 300)))).max() <= 0.5


def test_mids_lie_where_spreads_let_them_and_nothing_drifts(fitted):
    model, _ = fitted
    paths = simulate_memory(model, jax.random.key(7), 400, 200)
    moved, spread = np.asarray(paths.mid_change, float), np.asarray(paths.spread, float)
    np.testing.assert_array_equal((moved[:, 1:] - np.diff(spread, axis=1)) % 2, 0)
    total = moved.sum(axis=1)
    assert abs(total.mean()) < 4 * total.std() / np.sqrt(len(total))
    assert spread.min() >= 1.0 and np.asarray(paths.volume).min() >= 0.0


def test_the_grid_holds_the_horizon(fitted):
    model, _ = fitted
    wild = eqx.tree_at(lambda m: m.volatility, model, jnp.float32(20.0))
    assert model.price_grid(100) == 128 and model.price_grid(40_000) > 640
    assert wild.price_grid(100) % 64 == 0 and wild.price_grid(100) >= 2 * 6 * 20 * 10


@pytest.mark.parametrize(("changes", "key"), [({"least": 1}, "cell"), ({"step": 0.0}, "step"), ({"levels": 11}, "lev")])
def test_settings_without_sense_are_named(changes, key):
    with pytest.raises(InvalidInput, match=f"^{key}"):
        fit_memory(synthetic_level2(seconds=900, seed=0), **changes)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["es/*l2_10_1s.csv.gz", "lobster/*l2_10_1s.csv.gz"])
def test_recorded_hours_are_kept(shared_data, file):
    """A large-tick future and a small-tick stock: mid, spread and volumes of the exchange alone."""
    model, report = fit_memory(read_level2(next(shared_data.glob(file))))
    simulated = simulated_statistics(simulate_memory(model, jax.random.key(1), 256, 800), settling=100)
    recorded = report.recorded
    assert simulated["mid_deviation"] == pytest.approx(recorded["mid_deviation"], rel=0.1)
    assert simulated["mid_unchanged"] == pytest.approx(recorded["mid_unchanged"], abs=0.03)
    assert simulated["spread_autocorrelation"] == pytest.approx(recorded["spread_autocorrelation"], abs=0.1)
    assert simulated["kurtosis"] == pytest.approx(recorded["kurtosis"], rel=0.3)
    np.testing.assert_allclose(simulated["sd_volume"], recorded["sd_volume"], rtol=0.25)
