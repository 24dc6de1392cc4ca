"""Single agents against a frozen law: their means are the law's and their costs the solver's, within chance."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffgames
from congestion import congestion, unit_interval
from diffgames.errors import InvalidInput
from diffgames.games.mean_field_benchmarks import GAMES
from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame, PlayedPolicy
from diffgames.solvers.mean_field_newton import solve_mean_field
from diffgames.verification.mean_field_response import CrowdSearch

DISTANCE = "distance of the law from its policies, W1"


@pytest.fixture(scope="module")
def crowd():
    solver = partial(solve_mean_field, cells=unit_interval(40), steps=80, differences="central")
    return diffgames.solve(congestion(), solver)


@pytest.fixture(scope="module")
def rooms():
    def transition(t, law):
        stay, change = jnp.eye(2), jnp.asarray([[0.1, 0.9], [0.9, 0.1]])
        return jnp.stack([stay, change], axis=1)

    def reward(t, law):
        return (jnp.asarray([0.0, 1.0]) - 2.0 * law)[:, None] - jnp.asarray([[0.0, 0.1]])

    with jax.enable_x64(True):
        return diffgames.solve(DiscreteMeanFieldGame(transition, reward, jnp.asarray([0.5, 0.5]), 0.9, horizon=4))


def test_agents_of_a_crowd_end_where_it_does_and_pay_what_it_pays(crowd):
    paths = diffgames.simulate(crowd, key=jax.random.key(0), paths=8000, steps=80, keep=40)
    mean, variance = crowd.moments()
    assert paths.state.shape == (8000, 3, 2) and paths.control[1].shape == (8000, 2, 1)
    assert paths.state.min() >= 0 and paths.state.max() <= 1
    wide = 4.0 * np.sqrt(variance[-1] / 8000)
    assert (np.abs(paths.mean[-1] - mean[-1]) < wide + 2e-3).all()
    np.testing.assert_allclose(paths.deviation[-1] ** 2, variance[-1], rtol=0.1)
    assert (np.abs(paths.cost - crowd.cost) < 4.0 * paths.standard_error + 0.01 * crowd.cost).all()


def test_the_door_certifies_a_crowd_and_catches_a_control_that_is_a_tenth_off(crowd):
    honest = diffgames.verify(congestion(), crowd)
    assert honest.exact is not None and honest.gap < 1e-3 and honest.exact.checks[DISTANCE] < 1e-2
    wrong = diffgames.verify(dataclasses.replace(crowd, control=1.1 * crowd.control))
    assert wrong.gap > 3.0 * honest.gap
    moved = dataclasses.replace(crowd, mass=np.roll(crowd.mass, 4, axis=-1))
    assert diffgames.verify(moved).exact.checks[DISTANCE] > 0.09  # a tenth of the axis
    other = diffgames.verify(congestion(0.6), crowd)
    assert other.gap > 3.0 * honest.gap  # the game that is asked about, not the one that was solved


def test_a_policy_that_is_a_tenth_off_and_a_law_it_does_not_make_are_caught(rooms):
    honest = diffgames.verify(rooms)
    assert honest.gap < 1e-9 and honest.exact.checks["law_error"] < 1e-12
    with jax.enable_x64(True):
        wrong = PlayedPolicy(0.9 * rooms.policy + 0.1 * jnp.flip(rooms.policy, -1), rooms.law)
        assert diffgames.verify(rooms.game, wrong).exact.checks["law_error"] > 1e-3
        assert diffgames.verify(rooms.game, wrong.policy).gap > 1e-2
        assert diffgames.verify(rooms.game, wrong.policy).exact.checks["law_error"] < 1e-12


@pytest.mark.parametrize("name", ["rooms", "chain"])
def test_players_on_states_are_where_the_law_says_and_earn_what_they_are_worth(name, rooms):
    solution = rooms if name == "rooms" else diffgames.solve(GAMES["lasry-lions-chain"]())
    horizon = None if name == "rooms" else 120
    paths = diffgames.simulate(solution, key=jax.random.key(1), paths=4000, keep=0, horizon=horizon)
    law = np.asarray(solution.law[:: max(len(solution.law) - 1, 1)])
    seen = np.asarray(paths.occupation[:: 4 if name == "rooms" else 120][: len(law)])
    np.testing.assert_allclose(seen, law, atol=5.0 * np.sqrt(0.25 / 4000))
    value = diffgames.verify(solution).certificate.entries[0].value
    assert abs(float(paths.cost[0]) - value) < 4.0 * float(paths.standard_error[0]) + 1e-4


@pytest.mark.parametrize(
    ("factor", "named"),
    [(0.5, "policy"), (-1.0, "policy"), (float("nan"), "policy"), ("cut", "policy"), ("law", "law")],
)
def test_what_is_no_policy_or_no_law_gets_no_certificate(rooms, factor, named):
    """Half of every probability would earn half the costs and seem to leave nothing to gain."""
    with jax.enable_x64(True):
        if factor == "law":
            wrong = PlayedPolicy(rooms.policy, -rooms.law)
        else:
            wrong = rooms.policy[0] if factor == "cut" else factor * rooms.policy
        with pytest.raises(InvalidInput) as slip:
            diffgames.verify(rooms.game, wrong)
    assert slip.value.key == named


def test_slips_at_the_doors_are_named(crowd, rooms):
    endless = dataclasses.replace(congestion(), horizon=float("inf"))
    for game, words in ((congestion(), "mean_field_newton"), (endless, "mean_field_ergodic")):
        with pytest.raises(InvalidInput, match=words) as slip:
            diffgames.solve(game)
        assert slip.value.key == "solver"
    key = jax.random.key(0)
    chances = [
        ("profile", lambda: diffgames.verify(congestion(), jnp.zeros(3))),
        ("steps", lambda: diffgames.simulate(crowd, key=key, paths=10)),
        ("keep", lambda: diffgames.simulate(crowd, key=key, paths=10, steps=5, keep=2)),
        ("steps", lambda: diffgames.simulate(rooms, key=key, paths=10, steps=3)),
        ("paths", lambda: diffgames.simulate(rooms, key=key, paths=0)),
        ("antithetic, initial", lambda: diffgames.simulate(rooms, key=key, paths=10, antithetic=True)),
        ("search", lambda: diffgames.verify(rooms, search=CrowdSearch())),
        ("how", lambda: diffgames.verify(rooms, how="trained")),
    ]
    for named, call in chances[:6] + chances[7:]:
        with pytest.raises(InvalidInput) as slip:
            call()
        assert slip.value.key == named
