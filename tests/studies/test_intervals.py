"""The intervals of the studies' simulated numbers hold the truth, counted over twenty seeds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import binom

from diffgames.errors import InvalidInput
from diffgames.simulation import Population, simulate_crowds
from diffgames.solvers import solve
from diffgames.studies import propagation_of_chaos, stackelberg, stackelberg_discrete, typed_lq
from diffgames.studies.rates import fitted_exponent
from diffgames.studies.stackelberg_finite import exact_costs, simulated_excess
from diffgames.studies.typed_simulation import simulate_types

SEEDS, CROWDS = 20, 16
LEAST = binom.ppf(1e-4, SEEDS, 0.95)


def test_a_typed_crowds_cost_is_within_the_error_of_independent_crowds():
    """Strong pulls of x̄: the agents of one crowd taken as independent tell two thirds of the error."""
    config = typed_lq.TypedConfig(m0=(2.0, 1.0), s=(2.0, 1.0), kappa=(0.6, 0.5))
    game = typed_lq.game_of(config)
    law = typed_lq.start_law(config, game)
    engine = solve(typed_lq.typed_linear_quadratic(game, config.reading))
    private = solve(typed_lq.private_game(game))
    cost = typed_lq.follow(game, config.reading, engine, private, *law)["cost"][-1]
    sizes = {"crowds": CROWDS, "agents": 100, "steps": 20}
    found = np.asarray([
        simulate_types(game, config.reading, (engine, private), law, jax.random.key(seed), **sizes)["cost"]
        for seed in range(SEEDS)
    ])  # fmt: skip
    off = np.abs(found[:, 0] - np.asarray(config.share) @ cost)
    assert np.sum(off <= stdtrit(CROWDS - 1, 0.975) * found[:, 1]) >= LEAST


def test_a_crowd_that_moves_as_one_tells_the_error_of_its_mean():
    """dX = dW, cost M_T: all players pay the same, so that one crowd seems to have no error; in truth it is √(T/N)."""
    population = Population(
        drift=lambda t, x, m, u: jnp.zeros(1),
        diffusion=lambda t, x, m, u: jnp.ones((1, 1)),
        running_cost=lambda t, x, m, u: jnp.zeros(()),
        terminal_cost=lambda x, m: m[0],
        statistic=lambda x: x,
        initial=lambda key: jnp.zeros(1),
        horizon=1.0,
    )
    found = simulate_crowds(population, lambda t, x, m: x, jax.random.key(0), crowds=64, players=25, steps=2)
    expected = np.sqrt((2**2 + 1) / 25 / 64)  # 2 J_h − J_2h, both on noise of their own
    assert 0.6 * expected < float(found.standard_error) < 1.4 * expected  # four standard errors of 64 numbers
    assert abs(float(found.cost)) < 4 * expected
    with pytest.raises(InvalidInput, match="crowds"):
        simulate_crowds(population, lambda t, x, m: x, jax.random.key(0), crowds=1, players=25, steps=2)


@pytest.mark.parametrize("d", [1, 3])
def test_sizes_and_exponents_of_propagation_are_within_their_half_widths(d):
    config = propagation_of_chaos.PropagationConfig(
        players=(10, 100), law_players=(2, 4), law_replications=2, replications=32, steps=20
    )
    sizes = np.asarray(config.players, float)
    exact = propagation_of_chaos.theory(config, d, sizes)
    inside = {(kind, what): 0 for kind in exact for what in ("slope", 0, 1)}
    for seed in range(SEEDS):
        found = propagation_of_chaos.errors(config, d, jax.random.key(seed))
        for kind, truth in exact.items():
            slope, width = fitted_exponent(sizes, found[kind])
            inside[kind, "slope"] += abs(slope + 0.5) <= width
            size, half = propagation_of_chaos.size_with_half_width(kind, found[kind])
            for place in range(2):
                inside[kind, place] += abs(size[place] - truth[place]) <= half[place]
    assert min(inside.values()) >= LEAST, inside


@pytest.mark.parametrize("discrete", [False, True])
def test_what_the_finite_stackelberg_game_costs_more_is_within_its_error(discrete):
    """Simulated one by one on steps as long as the preset's, against the second moments of the game of N + 1."""
    study = stackelberg_discrete if discrete else stackelberg
    kind = study.StackelbergDiscreteConfig if discrete else study.StackelbergConfig
    config = kind(finite_n=(5,), T=5 if discrete else 2.0)
    time: dict = {"horizon": config.T, "discount": 0.1, "discrete": discrete}
    solution, inside = solve(study.game_of(config)), np.zeros(2, int)
    exact, profiles = exact_costs(config, solution, **time)
    profiles = jax.tree.map(lambda leaf: leaf[0], profiles)
    sizes = {"followers": 5, "paths": 1024, "steps": 5 if discrete else 40}
    for seed in range(SEEDS):
        found, error = simulated_excess(config, solution, profiles, jax.random.key(seed), sizes, **time)
        inside += np.abs(found - (exact["cost"] - exact["equilibrium"])[0]) <= 1.96 * error
    assert inside.min() >= LEAST, inside
