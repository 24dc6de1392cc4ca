"""Simulated quotes: Avellaneda and Stoikov's own tables, the game's certainty equivalent, and exact corner cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from diffgames.errors import InvalidInput
from diffgames.games.market_making_input import market_making_game
from diffgames.simulation.market_maker import Surroundings, simulate_quotes, step_table
from diffgames.solvers.market_making import solve_market_maker
from diffgames.solvers.market_making_closed import short_horizon_quotes
from diffgames.studies.market_maker_parameters import GENERATOR, MarketMakingParameters, game_of


def quiet(steps, n, count):
    return Surroundings(rates=jnp.zeros((steps, n, n, count)), push=jnp.zeros((n, count)))


def test_avellaneda_stoikov_tables():
    """Their formula simulated their way: s = 100, T = 1, σ = 2, dt = 0.005, k = 1.5, A = 140, γ = 0.1."""
    game = market_making_game(switching="none", sigma=2.0, A=140.0, xi=0.0, inventory_max=60)
    tau = jnp.asarray(1 - np.arange(200) / 200)
    ask, bid = short_horizon_quotes(game, tau, predator=False, switching=False)
    ask, bid = np.asarray(ask)[..., None], np.asarray(bid)[..., None]
    flat = np.broadcast_to(((ask + bid) / 2).mean(axis=0, keepdims=True), ask.shape)
    around = quiet(200, 1, 121)
    tables = np.stack([step_table(game, *pair, around, linear_fills=True) for pair in ((ask, bid), (flat, flat))])
    paths = 20_000
    found = simulate_quotes(game, tables, jax.random.key(0), paths=paths, start_regime=np.zeros(2, int))
    wealth, q = np.asarray(found.wealth, float), np.asarray(found.inventory, float)
    assert (ask + bid)[:, 0, 60].mean() == pytest.approx(1.492, abs=5e-4)
    for row, (profit, deviation, spread) in enumerate(((64.91, 6.54, 2.93), (68.29, 13.49, 8.40))):
        error = deviation / np.sqrt(paths)
        assert abs(wealth[row].mean() - profit) < 4 * error + 0.01
        assert abs(wealth[row].std() - deviation) < 4 * error
        assert abs(q[row].std() - spread) < 4 * spread / np.sqrt(2 * paths) + 0.01


def test_the_certainty_equivalent_is_that_of_the_game():
    """−ln E e^{−γ(W + paid)}/γ of the whole equilibrium, extrapolated to steps of no length, against θ(0)."""
    config = MarketMakingParameters(jump_rate=3.0, jump_mean=-0.3, jump_deviation=0.2, T=0.25, inventory_max=4)
    game, found = game_of(config, "strategic"), []
    for steps in (100, 200):
        solution = solve_market_maker(game, steps=steps)
        push = -jnp.broadcast_to(game.predator_drift * jnp.asarray(game.inventory, float), (3, 9))
        around = Surroundings(rates=solution.rates[:-1], push=push)
        table = step_table(game, np.asarray(solution.ask)[:-1], np.asarray(solution.bid)[:-1], around)
        paths = simulate_quotes(
            game, table[None], jax.random.key(3), paths=40_000, start_regime=np.array([1]), start_inventory=2
        )
        utility = np.exp(-0.1 * np.asarray(paths.wealth + paths.paid, float))[0]
        found.append((-np.log(utility.mean()) / 0.1, utility.std() / utility.mean() / 0.1 / 200))
    (coarse, _), (fine, error) = found
    assert abs(2 * fine - coarse - float(solution.theta[0, 1, 6])) < 3.5 * np.sqrt(5) * error


def test_without_fills_wealth_is_the_inventory_times_the_price():
    game = market_making_game(switching="none", sigma=1.5, A=0.0, xi=0.0, drift=2.0, inventory_max=3)
    offers = np.zeros((50, 1, 7, 1))
    table = step_table(game, offers, offers, quiet(50, 1, 7))
    found = simulate_quotes(
        game, table[None], jax.random.key(1), paths=20_000, start_regime=np.zeros(1, int), start_inventory=3
    )
    wealth = np.asarray(found.wealth, float)[0]
    assert np.all(found.inventory == 3) and np.all(found.fills == 0)
    assert abs(wealth.mean() - 6.0) < 4 * 4.5 / np.sqrt(20_000)
    assert abs(wealth.std() - 4.5) < 4 * 4.5 / np.sqrt(40_000)


def test_regimes_are_occupied_as_the_generator_says_and_inventory_stays_on_its_grid():
    game = market_making_game(generator=GENERATOR, sizes=(1, 2), size_shares=(0.5, 0.5), inventory_max=3)
    rates = np.asarray(GENERATOR) * (1 - np.eye(3))
    around = Surroundings(
        rates=jnp.broadcast_to(jnp.asarray(rates)[None, :, :, None], (400, 3, 3, 7)), push=jnp.zeros((3, 7))
    )
    offers = np.full((400, 3, 7, 2), 0.3)
    table = step_table(game, offers, offers, around)
    found = simulate_quotes(game, table[None], jax.random.key(2), paths=20_000, start_regime=np.zeros(1, int))
    block = np.zeros((4, 4))
    block[:3, :3], block[:3, 3] = GENERATOR, (0, 1, 1)
    assert np.asarray(found.turbulent).mean() == pytest.approx(expm(block)[0, 3], abs=0.01)
    assert np.abs(found.inventory).max() == 3 and np.all(found.largest_inventory <= 3)
    assert np.all(found.lowest_wealth <= 0) and np.all(found.drawdown >= 0)


def test_the_random_numbers_are_shared_between_tables():
    game = market_making_game(switching="none", sigma=1.5, A=50.0, xi=0.0, inventory_max=3)
    offers = np.full((50, 1, 7, 1), 0.5)
    table = step_table(game, offers, offers, quiet(50, 1, 7))
    twice = simulate_quotes(game, np.stack([table, table]), jax.random.key(1), paths=100, start_regime=np.zeros(2, int))
    assert np.array_equal(twice.wealth[0], twice.wealth[1])


def test_bad_input_is_named():
    game = market_making_game(switching="none", sigma=1.5, A=50.0, xi=0.0, inventory_max=3)
    offers = np.zeros((5, 1, 7, 1))
    table = step_table(game, offers, offers, quiet(5, 1, 7))[None]
    with pytest.raises(InvalidInput, match="paths"):
        simulate_quotes(game, table, jax.random.key(0), paths=0, start_regime=np.zeros(1, int))
    with pytest.raises(InvalidInput, match="start_inventory"):
        simulate_quotes(game, table, jax.random.key(0), paths=5, start_regime=np.zeros(1, int), start_inventory=4)
    with pytest.raises(InvalidInput, match="after modulation"):
        around = Surroundings(rates=-jnp.ones((5, 1, 1, 7)), push=jnp.zeros((1, 7)))
        step_table(game, offers, offers, around)
