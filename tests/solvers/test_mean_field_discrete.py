"""Discrete mean-field games: reference solutions, other packages' iteration counts, brute-force twins, invariances."""

from itertools import product

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_benchmarks import (
    Congestion,
    Moves,
    beach_bar,
    crowd_motion,
    garnet,
    lasry_lions_chain,
    susceptible_infected,
)
from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame, exploitability, law_of
from diffgames.solvers.mean_field_discrete import solve_mean_field
from diffgames.verification.mean_field_discrete import certify_mean_field

HALF = [0.00111787, 0.04952394, 0.27750186, 0.34371267]


@pytest.fixture(scope="module")
def chain():
    return solve_mean_field(lasry_lions_chain())


def test_the_chain_has_the_reference_law_and_mixing(chain):
    assert chain.converged and int(chain.iterations) <= 60 and "equilibrium" in repr(chain)
    np.testing.assert_allclose(chain.law[0], HALF + HALF[-2::-1], atol=6e-9)
    policy = np.asarray(chain.policy)[0]
    np.testing.assert_allclose([policy[1, 2], policy[2, 2]], [0.11968202, 0.00587127], atol=6e-9)
    np.testing.assert_allclose(policy, policy[::-1, ::-1], atol=1e-8)


def test_a_linear_program_and_an_eigenvector_agree(chain):
    certificate = certify_mean_field(chain.game, np.asarray(chain.policy), np.asarray(chain.law))
    assert certificate.gap < 2e-10 and certificate.checks["law_error"] < 1e-10 and not certificate.significant
    uniform = np.full((1, 7, 3), 1 / 3)
    law = np.asarray(law_of(chain.game, jnp.asarray(uniform)))
    found = certify_mean_field(chain.game, uniform, law).entries[0]
    assert found.gain == pytest.approx(float(exploitability(chain.game, jnp.asarray(uniform))), rel=1e-11)


def test_iterations_are_those_of_mfglib_on_the_beach():
    """MFGLib 0.3 with its defaults: 24 and 61 to an exploitability of 1e-2, at .009081 and .009665."""
    for method, count, last in (("mirror", 24, 0.009081216), ("fictitious", 61, 0.009665425)):
        solution = solve_mean_field(beach_bar(), method, tolerance=1e-2)
        assert int(solution.iterations) == count and float(solution.exploitability) == pytest.approx(last, abs=1e-8)


@pytest.mark.slow
def test_iterations_are_those_of_mfglib_in_the_moving_crowd():
    """MFGLib 0.3 in double precision: 32 and 116 (in its default single precision ties break into 113)."""
    for method, count in (("mirror", 32), ("fictitious", 116)):
        found = int(solve_mean_field(crowd_motion(), method, tolerance=1e-2).iterations)
        assert abs(found - count) <= (0 if method == "mirror" else 4)  # ties are broken by rounding


def test_newton_solves_the_beach_and_every_policy_is_worse_against_its_law():
    solution = solve_mean_field(beach_bar())
    assert solution.converged
    game, law = solution.game, np.asarray(solution.law)
    kernel, reward = (np.asarray(x) for x in game.at(solution.law))
    policy = np.asarray(solution.policy)

    def worth(chosen) -> float:
        value = np.zeros(4)
        for t in (2, 1, 0):
            value = np.sum(chosen[t] * (reward[t] + kernel[t] @ value), axis=-1)
        return float(law[0] @ value)

    rng = np.random.default_rng(0)
    pure = [np.eye(3)[rng.integers(0, 3, (3, 4))] for _ in range(300)]
    own = worth(policy)
    assert max(worth(one) for one in pure) <= own + 1e-9
    made = law[0]
    for t in range(2):
        made = np.einsum("s,sa,sax->x", made, policy[t], kernel[t])
    np.testing.assert_allclose(made, law[2], atol=1e-14)


def test_exploitability_of_a_small_game_is_that_of_all_policies():
    """Three states, two actions, stationary: the best of all 8 pure policies, each valued by a linear solve."""
    game = garnet(5, states=3, actions=2, branching=2)
    policy = jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(2), size=(1, 3)))
    law = np.asarray(law_of(game, policy))
    kernel, reward = (np.asarray(x)[0] for x in game.at(jnp.asarray(law)))
    np.testing.assert_allclose(np.einsum("s,sa,sax->x", law[0], np.asarray(policy)[0], kernel), law[0], atol=1e-13)

    def worth(chosen) -> float:
        moves = np.einsum("sa,sax->sx", chosen, kernel)
        return law[0] @ np.linalg.solve(np.eye(3) - 0.9 * moves, np.sum(chosen * reward, axis=-1))

    best = max(worth(np.eye(2)[list(one)]) for one in product(range(2), repeat=3))
    assert float(exploitability(game, policy)) == pytest.approx(best - worth(np.asarray(policy)[0]), rel=1e-10)


@pytest.mark.parametrize("structure", ["monotone", "cyclic", "potential"])
def test_random_games_are_solved_and_certified(structure):
    for seed in range(4):
        solution = solve_mean_field(garnet(seed, structure=structure, crowding=0.3))
        assert solution.converged, (structure, seed)
        certificate = certify_mean_field(solution.game, np.asarray(solution.policy), np.asarray(solution.law))
        assert certificate.gap < 1e-9 and certificate.checks["mass_error"] < 1e-12


def test_an_epidemic_is_said_not_to_be_in_equilibrium():
    """Susceptible–infected converges by neither method; MFGLib's users see .6 to .8 for ever."""
    for method in ("mirror", "fictitious"):
        solution = solve_mean_field(susceptible_infected(), method, iterations=500)
        assert not solution.converged and float(solution.exploitability) > 0.1
        assert "not an equilibrium (tolerance 1e-10)" in repr(solution)


def test_a_crowd_of_several_classes_stays_where_it_began():
    """Nobody can leave its state: the invariant law is the first one."""
    stay = Moves(jnp.asarray(np.repeat(np.eye(3)[:, None], 2, axis=1)))
    initial = jnp.asarray([0.2, 0.3, 0.5])
    game = DiscreteMeanFieldGame(stay, Congestion(jnp.ones((1, 3, 2)), jnp.zeros((3, 3))), initial, 0.9)
    law = law_of(game, jnp.full((1, 3, 2), 0.5))
    np.testing.assert_allclose(law[0], initial, atol=1e-2)  # by the restarts alone, which are of the size of rounding


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"initial": jnp.asarray([0.5, 0.6, 0.0, 0.0])}, "non-negative and of sum one"),
        ({"initial": jnp.asarray([jnp.nan, 1.0, 0.0, 0.0])}, "non-negative and of sum one"),
        ({"horizon": -1}, "an integer at least 0"),
        ({"discount": float("nan")}, r"a number in"),
        ({"transition": Moves(jnp.full((4, 3, 4), jnp.nan))}, "rows of sum one"),
        ({"discount": 1.5}, r"a number in \[0, 1\]"),
        ({"transition": Moves(jnp.full((4, 3, 4), 0.3))}, "rows of sum one"),
        ({"reward": Congestion(jnp.zeros((1, 4, 2)), jnp.zeros((4, 4)))}, r"P \[S, A, S\]"),
        ({"reward": Congestion(jnp.full((1, 4, 3), jnp.nan), jnp.zeros((4, 4)))}, "finite rewards"),
    ],
)
def test_games_that_are_none_are_refused_in_words(change, words):
    game = beach_bar()
    parts = {name: getattr(game, name) for name in ("transition", "reward", "initial", "discount", "horizon")}
    with pytest.raises(InvalidInput, match=words):
        solve_mean_field(DiscreteMeanFieldGame(**(parts | change)))


def test_bad_options_are_refused_in_words():
    with pytest.raises(InvalidInput, match="positive numbers"):
        solve_mean_field(beach_bar(), iterations=0)
    with pytest.raises(InvalidInput, match="between 1 and the number of states"):
        garnet(branching=11)
    with pytest.raises(InvalidInput, match=r"below 1 without end"):
        solve_mean_field(eqx.tree_at(lambda game: game.discount, lasry_lions_chain(), 1.0))
