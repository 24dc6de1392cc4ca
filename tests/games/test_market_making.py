"""The market-making game: what its inputs refuse, and its pieces against their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from diffgames.errors import InvalidInput
from diffgames.games.market_making import best_side, efforts, moved, risk
from diffgames.games.market_making_input import market_making_game
from diffgames.studies.market_maker_parameters import ATTACK, GENERATOR, STABILIZE

REFERENCE = {"generator": GENERATOR, "attack": ATTACK, "stabilize": STABILIZE, "switching": "strategic"}


@pytest.mark.parametrize(
    ("key", "changes", "words"),
    [
        ("stabilize", {"stabilize": ((0, 0.5, 0), (0, 0, 0), (0, 0, 0))}, "from regime 0 to 1 .* -0.1 < 0"),
        ("stabilize", {"stabilize_max": 2.0}, "after modulation"),
        ("generator", {"generator": ((0, 0.4, 0.1), (0.6, 0, 0.3), (0.2, 0.8, 0))}, "the diagonal is zero"),
        ("A", {"generator": ((-0.5, 0.5), (0.5, -0.5)), "k": (1.0, 1.0)}, "2 of them"),
        ("generator", {"generator": None}, "3 × 3"),
        ("inventory_max", {"inventory_max": 0}, "an integer ≥ 1"),
        ("attack", {"attack": ((0, -1, 0), (0, 0, 0), (0, 0, 0))}, "rates ≥ 0"),
        ("sizes", {"sizes": (1, 1)}, "different integers"),
        ("size_shares", {"sizes": (1, 2)}, "2 numbers"),
        ("sigma", {"sigma": (1.0, 2.0)}, "3 of them"),
        ("sigma", {"sigma": (1.0, -2.0, 1.0)}, "≥ 0"),
        ("k", {"k": 0.0}, "> 0"),
        ("T", {"T": 0.0}, "> 0"),
        ("A", {"A": (1.0, float("nan"), 1.0)}, "finite"),
        ("predator", {"predator": "cash"}, "'utility' or 'ce'"),
        ("flow_imbalance", {"flow_imbalance": 1.5}, "−1"),
    ],
)
def test_a_slip_is_named(key, changes, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        market_making_game(**REFERENCE | changes)
    assert caught.value.key == key


def test_row_sums_on_the_diagonal_of_attack_change_nothing():
    with_sums = ((-2.5, 2.0, 0.5), (0.0, -1.5, 1.5), (0.0, 0.0, 0.0))
    assert np.array_equal(market_making_game(**REFERENCE | {"attack": with_sums}).attack, np.asarray(ATTACK))


def test_offsets_are_the_best_and_their_value_the_supremum():
    game = market_making_game(switching="none", sizes=(1, 3), size_shares=(0.6, 0.4), flow_imbalance=0.25)
    theta = jnp.asarray(np.random.default_rng(0).normal(size=(3, 21)))
    for sign, scale in ((-1, 1.25), (1, 0.75)):
        side = best_side(game, theta, sign)
        for regime, q, index in ((0, 10, 0), (2, 4, 1), (1, 15, 1)):
            size, share = game.sizes[index], (0.6, 0.4)[index]
            change = float(moved(theta, sign * size)[regime, q] - theta[regime, q])
            flow = (140.0, 120.0, 80.0)[regime] * share * scale
            gain = lambda u: flow * np.exp(-1.5 * u) * (1 - np.exp(-0.1 * (size * u + change))) / 0.1  # noqa: E731
            best = minimize_scalar(lambda u: -gain(u), bounds=(-5, 20), method="bounded", options={"xatol": 1e-10})
            assert side.offset[regime, q, index] == pytest.approx(best.x, abs=1e-6)
            assert side.value[regime, q, index] == pytest.approx(-best.fun, rel=1e-10)
    assert np.all(np.asarray(best_side(game, theta, -1).value)[:, :3, 1] == 0), "three sold leave the grid"


def test_jumps_cost_their_exponential_moment():
    game = market_making_game(
        switching="none", sigma=0.0, xi=0.0, jump_rate=2.0, jump_mean=-0.5, jump_deviation=0.3, A=(1.0, 1.0, 1.0)
    )

    def cost(q):
        density = lambda z: np.exp(-0.5 * ((z + 0.5) / 0.3) ** 2) / (0.3 * np.sqrt(2 * np.pi))  # noqa: E731
        return quad(lambda z: density(z) * (np.exp(-0.1 * q * z) - 1 + 0.1 * q * z), -5, 4)[0] * 2.0 / 0.1

    np.testing.assert_allclose(risk(game)[0], [cost(q) for q in game.inventory], atol=1e-9)


def test_free_effort_is_bang_bang_and_costly_effort_is_cut():
    game = market_making_game(**REFERENCE | {"effort_attack": 0.0, "attack_max": 0.7, "effort_stabilize": 0.1})
    stress = jnp.asarray(np.arange(3.0)[:, None] * np.ones((3, 21)))
    found = efforts(game, stress)
    np.testing.assert_array_equal(found.attack[:, 0], [0.7, 0.7, 0.0])
    np.testing.assert_array_equal(found.stabilize[:, 0], [1.0, 1.0, 0.0])
    quiet = efforts(game, -stress)
    assert not np.any(quiet.attack) and not np.any(quiet.stabilize)
