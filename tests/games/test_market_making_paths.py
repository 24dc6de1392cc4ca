"""The market-making game on the hub: what its paths cost is what the inventory grid says, and deviators agree."""

import dataclasses

import jax
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.market_making_input import market_making_game
from diffgames.games.market_making_paths import certainty_equivalent
from diffgames.simulation.paths import simulate
from diffgames.solvers.market_making import solve_market_maker
from diffgames.studies.market_maker import profile_of
from diffgames.verification.market_maker import certify_market_maker
from diffgames.verification.path_deviator import PathSearch
from diffgames.verification.verify import verify

GENERATOR = [[-0.5, 0.4, 0.1], [0.6, -0.9, 0.3], [0.2, 0.8, -1.0]]
ATTACK = [[0.0, 2.0, 0.5], [0.0, 0.0, 1.5], [0.0, 0.0, 0.0]]
STABILIZE = [[0.0, 0.3, 0.05], [0.0, 0.0, 0.2], [0.0, 0.0, 0.0]]
START = {"inventory": 2, "regime": 1}


def everything(predator="ce", stress="inventory"):
    """Three regimes, both outer players, price jumps, two trade sizes, uneven flow and both penalties at once."""
    return market_making_game(
        gamma=0.2,
        A=(6.0, 5.0, 4.0),
        sigma=(0.5, 0.8, 1.2),
        xi=0.3,
        predator=predator,
        inventory_max=4,
        generator=GENERATOR,
        attack=ATTACK,
        stabilize=STABILIZE,
        effort_attack=2.0,
        effort_stabilize=2.0,
        switching="strategic",
        stress=stress,
        flow_imbalance=0.2,
        sizes=(1, 2),
        size_shares=(0.7, 0.3),
        jump_rate=(1.0, 2.0, 1.0),
        jump_mean=-0.2,
        jump_deviation=0.3,
        running_penalty=0.01,
        terminal_penalty=0.05,
    )


def in_continuous_time(hub, profile, paths):
    """Costs and standard errors, extrapolated from 50 and 100 steps."""
    coarse, fine = (
        simulate(hub, profile, jax.random.key(steps), paths=paths, steps=steps, keep=0) for steps in (50, 100)
    )
    error = np.hypot(2 * np.asarray(fine.standard_error), np.asarray(coarse.standard_error))
    return 2 * np.asarray(fine.cost) - np.asarray(coarse.cost), error


@pytest.mark.parametrize(
    ("predator", "stress"),
    [("ce", "inventory"), pytest.param("utility", "certainty_equivalent", marks=pytest.mark.slow)],
)
def test_paths_cost_what_the_inventory_grid_says(predator, stress):
    game = everything(predator, stress)
    solution = solve_market_maker(game)
    hub = game.as_differential(solution.theta, **START)
    assert hub.players == ("market maker", "predator", "attacker", "stabilizer")
    cost, error = in_continuous_time(hub, solution.profile(game), paths=40_000)
    theta, stress_value = (float(table[0, 1, 4 + 2]) for table in (solution.theta, solution.stress))
    assert cost[0] == cost[1] and cost[2] == cost[3]
    slope = 1 + 0.2 * cost[0]  # d cost / d certainty equivalent
    assert abs(certainty_equivalent(game, cost[0]) - theta) < 4 * error[0] / slope
    assert abs(cost[2] - stress_value) < 4 * error[2]
    assert error[0] / slope < 0.05 and error[2] < 0.01


def test_risk_neutral_and_alone():
    """One regime, γ = 0, no predator: cost is minus the mean wealth, which Cartea and Jaimungal's equation gives."""
    game = market_making_game(
        gamma=0.0, A=5.0, sigma=0.5, xi=0.0, inventory_max=3, switching="none", running_penalty=0.1
    )
    solution = solve_market_maker(game)
    cost, error = in_continuous_time(game.as_differential(), solution.profile(game), paths=20_000)
    assert abs(certainty_equivalent(game, cost[0]) - float(solution.theta[0, 0, 3])) < 4 * error[0]


def small():
    return market_making_game(
        gamma=0.3,
        A=(4.0, 3.0),
        sigma=(0.6, 1.2),
        xi=0.4,
        inventory_max=3,
        generator=[[-0.5, 0.5], [0.5, -0.5]],
        attack=[[0.0, 2.0], [0.0, 0.0]],
        stabilize=[[0.0, 0.4], [0.0, 0.0]],
        effort_attack=1.0,
        effort_stabilize=1.0,
        switching="strategic",
        stress="inventory",
    )


SEARCH = PathSearch(updates=80, paths=1024, steps=30, knots=3, validation_paths=8192, test_paths=16384)

WRONG = {
    "market maker": {"ask": lambda ask: ask + 0.8},
    "predator": {},  # pushes the other way
    "attacker": {"attack_effort": lambda effort: 0 * effort + 0.05},  # inside its bounds, where it has a gradient
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("player", "share"),
    # an affine correction cannot say that attacks pay on both sides of zero inventory
    [("market maker", 0.9), ("predator", 0.75), ("attacker", 0.3)],
)
def test_a_trained_deviator_finds_what_the_inventory_grid_finds(player, share):
    """The general deviator on paths and the exact response on the inventory grid agree on who errs and by how much."""
    game = small()
    solution = solve_market_maker(game)
    exchange = {name: change(getattr(solution, name)) for name, change in WRONG[player].items()}
    played = dataclasses.replace(solution, **exchange).profile(game)
    pushes = profile_of(game, solution)["predator"]

    def profile(t, x, i):
        u = played(t, x, i)
        return (u[0], -u[1], *u[2:]) if player == "predator" else u

    table = profile_of(game, solution) | exchange
    exact = certify_market_maker(game, table | {"predator": -pushes} if player == "predator" else table)[player]
    # the exact gap is the largest over starting states: start where it stands
    regime, inventory = (int(part.split()[-1]) for part in exact.selected.split(":")[1].split(","))
    hub = game.as_differential(inventory=inventory, regime=regime)
    found = verify(hub, profile, jax.random.key(1), players=[player], search=SEARCH).certificate[player]
    gain, error = found.gain, found.standard_error
    if player != "attacker":  # from costs to certainty equivalents
        sign = -1.0 if player == "market maker" else 1.0
        before, after = (certainty_equivalent(game, sign * v) for v in (found.value, found.deviation_value))
        gain, error = sign * (before - after), error / (1 + float(game.gamma) * sign * found.deviation_value)
    assert found.interval[0] > 0
    assert share * exact.gain - 4 * error < gain < exact.gain + 4 * error


def test_bad_input_is_named():
    game = everything("utility", "certainty_equivalent")
    with pytest.raises(InvalidInput, match="theta"):
        game.as_differential()
    with pytest.raises(InvalidInput, match="inventory"):
        small().as_differential(inventory=4)
    with pytest.raises(InvalidInput, match="regime"):
        small().as_differential(regime=2)
