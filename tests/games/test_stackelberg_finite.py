"""A leader and N followers: the reduction to three blocks against all N + 1 players written out, and simulated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games.plain import nash_game
from diffgames.games.stackelberg import stackelberg_game
from diffgames.games.stackelberg_finite import finite_stackelberg_game, limit_strategies
from diffgames.simulation.leader_followers import Start, follower_costs
from diffgames.solvers import solve
from diffgames.verification.linear_response import best_reply

DATA = {"A0": 0.4, "B0": 1.5, "F0": 0.5, "A": 0.3, "B": 1.0, "D": 0.7, "F": 0.2, "G": 0.4, "Gamma0": 0.8}
DATA |= {"Gamma1": 0.3, "Gamma2": 0.5, "Q0": 1.0, "Q": 2.0, "R0": 0.5, "R": 1.0, "R1": 1.0, "R2": 0.3}
DATA |= {"sigma0": 0.1, "sigma": 0.2}


def written_out(followers: int, **time):
    """All N + 1 players, each with its own state, for the engine's tiers."""
    size = followers + 1
    d, unit, mean = DATA, np.eye(size), np.append(0.0, np.full(followers, 1.0 / followers))
    drift = d["G"] * np.outer(1 - unit[0], unit[0])
    drift[0] = d["A0"] * unit[0] + d["F0"] * mean
    drift[1:, 1:] = d["A"] * np.eye(followers) + d["F"] / followers
    inputs = [d["B0"] * unit[:, :1] + d["D"] * (1 - unit[:, :1])] + [d["B"] * unit[:, [j]] for j in range(1, size)]
    miss = unit[0] - d["Gamma0"] * mean
    states, controls = [d["Q0"] * np.outer(miss, miss)], [d["R0"] * np.outer(unit[0], unit[0])]
    for j in range(1, size):
        miss = unit[j] - d["Gamma1"] * unit[0] - d["Gamma2"] * mean
        states.append(d["Q"] * np.outer(miss, miss))
        cost = d["R1"] * np.outer(unit[0], unit[0]) + d["R"] * np.outer(unit[j], unit[j])
        controls.append(cost + d["R2"] * (np.outer(unit[0], unit[j]) + np.outer(unit[j], unit[0])))
    noise = np.diag([d["sigma0"]] + [d["sigma"]] * followers)
    tiers = ((0,), tuple(range(1, size)))
    return nash_game(A=drift, B=inputs, Q=states, R=controls, noise=noise, tiers=tiers, **time)


CONTINUOUS = pytest.param({"horizon": 2.0}, id="continuous", marks=pytest.mark.slow)


@pytest.mark.parametrize("time", [CONTINUOUS, pytest.param({"horizon": 4, "discrete": True}, id="discrete")])
def test_the_reduction_loses_nothing(time):
    followers, time = 3, time | {"discount": 0.1}
    whole, short = solve(written_out(followers, **time)), solve(finite_stackelberg_game(followers, **time, **DATA))
    x = np.asarray([0.9, 0.7, -0.4, 1.1])
    seen = jnp.asarray([x[0], x[1], x[2:].mean()])
    for number, name in ((0, "leader"), (1, "follower")):
        assert float(whole.cost(number, jnp.asarray(x))) == pytest.approx(float(short.cost(name, seen)), rel=1e-8)


def test_simulated_players_agree_with_both_exact_costs():
    """In discrete time, where nothing is lost between steps; gains and costs by three routes."""
    followers, time = 4, {"horizon": 4, "discount": 0.1, "discrete": True}
    game, limit = finite_stackelberg_game(followers, **time, **DATA), solve(stackelberg_game(**time, **DATA))
    own, play = solve(game), limit_strategies(limit.profile, followers, 1, 1)
    paths = 40_000
    found = follower_costs(
        DATA,
        (play, own.profile),
        Start(np.ones(1), np.full(1, 0.5), 0.3),
        jax.random.key(5),
        followers=followers,
        paths=paths,
        steps=4,
        **time,
    )
    z = jnp.asarray([1.0, 0.5, 0.5, 1.0])
    second = jnp.outer(z, z).at[1, 1].add(0.09).at[2, 2].add(0.09 / (followers - 1))
    for player in (0, 1):
        reply = best_reply(game, play, player)
        under_limit = float(jnp.sum(second * (reply.best + reply.gain)[0]))
        at_equilibrium = float(jnp.sum(second * own.value(0.0)[player, 0]))
        for place, exact in ((0, under_limit), (1, at_equilibrium)):
            costs = np.asarray(found[place, :, player])
            assert abs(costs.mean() - exact) < 4.5 * costs.std() / paths**0.5
        change = np.asarray(found[0, :, player] - found[1, :, player])
        assert abs(change.mean() - (under_limit - at_equilibrium)) < 4.5 * change.std() / paths**0.5


@pytest.mark.slow
def test_the_limit_is_an_equilibrium_up_to_one_over_n_squared():
    limit = solve(stackelberg_game(horizon=1.0, **DATA))

    def gaps(followers):
        game = finite_stackelberg_game(followers, horizon=1.0, **DATA)
        play = limit_strategies(limit.profile, followers, 1, 1)
        z = jnp.asarray([1.0, 0.5, 0.5, 1.0])
        return jnp.stack([z @ best_reply(game, play, player).gain[0] @ z for player in (0, 1)])

    leader, follower = np.asarray(jax.vmap(gaps)(jnp.asarray([50.0, 100.0]))).T
    assert np.abs(leader).max() < 1e-12
    assert follower[0] / follower[1] == pytest.approx(4.0, rel=0.1) and follower[1] > 0
