"""Simulated quotes: held to the exact chain over seeds, and to exact corner cases; Avellaneda and Stoikov's tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import binom

from diffgames.errors import InvalidInput
from diffgames.games.market_making_input import market_making_game
from diffgames.simulation.market_maker import Surroundings, predator_push, simulate_quotes, step_table
from diffgames.simulation.market_maker_exact import certainty_equivalents, inventory_survival, wealth_moments
from diffgames.solvers.market_making import solve_market_maker
from diffgames.solvers.market_making_closed import short_horizon_quotes
from diffgames.studies.market_maker_parameters import GENERATOR, MarketMakingParameters, game_of


def quiet(steps, n, count):
    zero = jnp.zeros((n, count))
    return Surroundings(rates=jnp.zeros((steps, n, n, count)), push=zero, pay=zero)


def test_avellaneda_stoikov_tables():
    """Their formula simulated their way, one fill a step: T = 1, σ = 2, dt = 0.005, k = 1.5, A = 140, γ = 0.1."""
    game = market_making_game(switching="none", sigma=2.0, A=140.0, xi=0.0, inventory_max=60)
    tau = jnp.asarray(1 - np.arange(200) / 200)
    ask, bid = (np.asarray(t)[:, 0] for t in short_horizon_quotes(game, tau, predator=False, switching=False))
    flat = np.broadcast_to(((ask + bid) / 2).mean(axis=0, keepdims=True), ask.shape)
    assert (ask + bid)[:, 60].mean() == pytest.approx(1.492, abs=5e-4)
    paths, rng = 20_000, np.random.default_rng(0)
    for quotes, printed in (((ask, bid), (64.91, 6.54, 2.93)), ((flat, flat), (68.29, 13.49, 8.40))):
        profit, deviation, spread = printed
        q, wealth = np.zeros(paths, int), np.zeros(paths)
        for step in range(200):
            for sign, table in zip((-1, 1), quotes, strict=True):
                offset = table[step, q + 60]
                filled = rng.random(paths) < 140 * np.exp(-1.5 * offset) * 0.005
                q, wealth = q + sign * filled, wealth + offset * filled
            wealth = wealth + q * 2.0 * np.sqrt(0.005) * rng.choice((-1.0, 1.0), paths)
        error = deviation / np.sqrt(paths)
        assert abs(wealth.mean() - profit) < 4 * error + 0.01
        assert abs(wealth.std() - deviation) < 4 * error
        assert abs(q.std() - spread) < 4 * spread / np.sqrt(2 * paths) + 0.01


@pytest.fixture(scope="module")
def seeds():
    """The equilibrium with jumps, two sizes and quotes kept for a tenth of the horizon: 40 seeds, and what is exact."""
    changes = {"jump_rate": 3.0, "jump_mean": -0.3, "jump_deviation": 0.2, "T": 0.25, "inventory_max": 4}
    config = MarketMakingParameters(**changes, sizes=(1, 2), size_shares=(0.6, 0.4))
    game = game_of(config, "strategic")
    solution = solve_market_maker(game, steps=20)
    push, pay = (jnp.asarray(part) for part in predator_push(game))
    around = Surroundings(rates=solution.rates[:-1:2], push=push, pay=pay)
    pair = np.asarray(solution.ask)[:-1:2], np.asarray(solution.bid)[:-1:2]
    moments = wealth_moments(game, *pair, around)
    exact = {
        "survival": inventory_survival(game, *pair, around),
        "mean": moments.mean,
        "deviation": moments.deviation,
        "equivalent": certainty_equivalents(game, *pair, around),
    }
    found = {name: [] for name in exact}
    table = step_table(game, *pair, around)[None]
    for seed in range(40):
        paths = simulate_quotes(game, table, jax.random.key(seed), paths=2000, start_regime=1, start_inventory=2)
        wealth, paid = np.asarray(paths.wealth, float)[0], np.asarray(paths.paid, float)[0]
        n, utility = wealth.size, np.exp(-0.1 * (wealth + paid))
        inside = float(np.mean(np.asarray(paths.largest_inventory) < 4))
        square = (wealth - wealth.mean()) ** 2
        rows = {
            "survival": (inside, np.sqrt(inside * (1 - inside) / n)),
            "mean": (wealth.mean(), wealth.std() / np.sqrt(n)),
            "deviation": (wealth.std(ddof=1), square.std() / (2 * wealth.std() * np.sqrt(n))),
            "equivalent": (-np.log(utility.mean()) / 0.1, utility.std() / utility.mean() / 0.1 / np.sqrt(n)),
        }
        for name, row in rows.items():
            found[name].append(row)
    return {name: float(table[1, 6]) for name, table in exact.items()}, found


@pytest.mark.parametrize("name", ["survival", "mean", "deviation", "equivalent"])
def test_the_truth_is_in_its_interval(seeds, name):
    """95% intervals of 40 seeds: fewer than the 0.01% quantile of their binomial law is no luck; nor is the mean."""
    exact, found = seeds
    value, error = np.array(found[name]).T
    inside = np.abs(value - exact[name]) <= 1.96 * error
    assert inside.sum() >= binom.ppf(1e-4, 40, 0.95)
    assert abs(value.mean() - exact[name]) < 4 * np.sqrt(np.mean(error**2) / 40)


def test_without_fills_wealth_is_the_inventory_times_the_price():
    game = market_making_game(switching="none", sigma=1.5, A=0.0, xi=0.0, drift=2.0, inventory_max=3)
    offers = np.zeros((50, 1, 7, 1))
    table = step_table(game, offers, offers, quiet(50, 1, 7), cost=np.full((1, 7), 0.25))
    found = simulate_quotes(
        game, table[None], jax.random.key(1), paths=20_000, start_inventory=3, loss_limit=float("inf")
    )
    wealth = np.asarray(found.wealth, float)[0]
    assert np.all(found.inventory == 3) and np.all(found.fills == 0) and np.all(found.ruined == 0)
    assert abs(wealth.mean() - 6.0) < 4 * 4.5 / np.sqrt(20_000)
    assert abs(wealth.std() - 4.5) < 4 * 4.5 / np.sqrt(40_000)


def test_ruin_sells_at_the_book_and_is_watched_between_steps():
    """A fall from the start, in one step: P(min ≤ −L) = 2Φ(−L/s) by reflection, whatever the step."""
    game = market_making_game(switching="none", sigma=1.0, A=0.0, xi=0.0, inventory_max=3)
    offers = np.zeros((1, 1, 7, 1))
    table = step_table(game, offers, offers, quiet(1, 1, 7), cost=np.full((1, 7), 0.25))
    found = simulate_quotes(game, table[None], jax.random.key(5), paths=20_000, start_inventory=3, loss_limit=2.0)
    ruined = np.asarray(found.ruined)[0] > 0
    assert ruined.mean() == pytest.approx(2 * 0.2524925, abs=4 * np.sqrt(0.25 / 20_000))
    assert np.allclose(np.asarray(found.ended)[0][ruined], -2.25)
    assert np.array_equal(found.ended[0][~ruined], found.wealth[0][~ruined])


def test_many_fills_in_one_step_are_all_counted():
    """A·T = 200 a side, offered at the mid for the whole horizon: as many fills as a reflected walk has."""
    game = market_making_game(switching="none", sigma=1.5, A=200.0, xi=0.0, inventory_max=1)
    offers = np.zeros((1, 1, 3, 1))
    table = step_table(game, offers, offers, quiet(1, 1, 3))
    found = simulate_quotes(game, table[None], jax.random.key(4), paths=4000)
    fills = np.asarray(found.fills, float)[0]
    expected = 200 * (1 + 1 / 3)  # 400 in the middle, 200 at either end, each a third of the time
    assert abs(fills.mean() - expected) < 4 * fills.std() / np.sqrt(4000) + 0.5


def test_regimes_are_occupied_as_the_generator_says_and_inventory_stays_on_its_grid():
    game = market_making_game(generator=GENERATOR, sizes=(1, 2), size_shares=(0.5, 0.5), inventory_max=3)
    rates, zero = np.asarray(GENERATOR) * (1 - np.eye(3)), jnp.zeros((3, 7))
    every = jnp.broadcast_to(jnp.asarray(rates)[None, :, :, None], (20, 3, 3, 7))
    around = Surroundings(rates=every, push=zero, pay=zero)
    offers = np.full((20, 3, 7, 2), 0.3)
    table = step_table(game, offers, offers, around)
    found = simulate_quotes(game, table[None], jax.random.key(2), paths=20_000)
    block = np.zeros((4, 4))
    block[:3, :3], block[:3, 3] = GENERATOR, (0, 1, 1)
    assert np.asarray(found.turbulent).mean() == pytest.approx(expm(block)[0, 3], abs=0.01)
    assert np.abs(found.inventory).max() == 3 and np.all(found.largest_inventory <= 3)
    assert np.all(found.lowest_wealth <= 0) and np.all(found.drawdown >= -found.lowest_wealth)


def test_the_random_numbers_are_shared_between_tables():
    game = market_making_game(switching="none", sigma=1.5, A=50.0, xi=0.0, inventory_max=3)
    offers = np.full((50, 1, 7, 1), 0.5)
    table = step_table(game, offers, offers, quiet(50, 1, 7))
    twice = simulate_quotes(game, np.stack([table, table]), jax.random.key(1), paths=100)
    assert np.array_equal(twice.wealth[0], twice.wealth[1])


def test_bad_input_is_named():
    game = market_making_game(switching="none", sigma=1.5, A=50.0, xi=0.0, inventory_max=3)
    offers = np.zeros((5, 1, 7, 1))
    table = step_table(game, offers, offers, quiet(5, 1, 7))[None]
    for key, words in (("paths", {"paths": 0}), ("start_inventory", {"paths": 5, "start_inventory": 4})):
        with pytest.raises(InvalidInput, match=key):
            simulate_quotes(game, table, jax.random.key(0), **words)
    with pytest.raises(InvalidInput, match="start_regime"):
        simulate_quotes(game, table, jax.random.key(0), paths=5, start_regime=1)
    with pytest.raises(InvalidInput, match="after modulation"):
        around = Surroundings(rates=-jnp.ones((5, 1, 1, 7)), push=jnp.zeros((1, 7)), pay=jnp.zeros((1, 7)))
        step_table(game, offers, offers, around)
