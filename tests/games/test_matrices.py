"""One door for matrices: every constructor tells the same slips in the letters of its user."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.mean_field import typed_game
from diffgames.games.partial_observation import partially_observed
from diffgames.games.plain import adversarial_game, regulator
from diffgames.games.regimes import regime_game
from diffgames.games.stackelberg import SHAPES, stackelberg_game
from diffgames.games.stackelberg_finite import finite_stackelberg_game

PLANT = regulator(A=0.1, B=1.0, Q=1.0, R=1.0, noise=0.3, horizon=1.0)
TYPES = {letter: [1.0, 1.0] for letter in ("a", "b", "kappa", "sigma", "q", "r", "s", "q_T")}
FOUGHT = {letter: [1.0, 1.0] for letter in ("A", "B", "D", "Q", "R", "S", "Q_T")}
RATES = [[-1.0, 1.0], [1.0, -1.0]]
DOORS = {
    "stackelberg": (stackelberg_game, {**dict.fromkeys(SHAPES, 1.0), "horizon": 1.0}),
    "finite": (finite_stackelberg_game, {**dict.fromkeys(SHAPES, 1.0), "followers": 3, "horizon": 1.0}),
    "typed": (typed_game, {**TYPES, "share": [0.4, 0.6], "horizon": 1.0}),
    "regimes": (regime_game, {**FOUGHT, "generator": RATES, "horizon": 1.0}),
    "observed": (partially_observed, {"plant": PLANT, "observation": 1.0, "observation_noise": 1.0}),
}
HIDDEN = np.ma.masked_array([[1.0]], mask=[[True]])
SLIPS = [
    *((door, key, slip) for door, key in (("stackelberg", "Q"), ("observed", "observation"), ("typed", "s"),
                                          ("regimes", "D")) for slip in (HIDDEN, [[1, 2], [3]], math.nan, "x", 1j)),
    ("stackelberg", "sigma", None),
    ("stackelberg", "F", lambda t: t),
    ("stackelberg", "B", [1.0, 2.0]),
    ("stackelberg", "R0", -1.0),
    *(("finite", "followers", slip) for slip in (2.5, 1, -3, math.nan, math.inf, "x", None, True)),
    ("finite", "Gamma0", [[1.0, 2.0]]),
    ("typed", "a", 1.0),
    ("typed", "b", [1.0] * 3),
    ("typed", "r", [1.0, -1.0]),
    ("typed", "share", [0.4, 0.4]),
    ("typed", "share", None),
    ("typed", "horizon", None),
    ("typed", "horizon", "2"),
    ("typed", "extra", [1.0, 1.0]),
    ("regimes", "A", [1.0]),
    ("regimes", "Q", [1.0] * 3),
    ("regimes", "S", [1.0, 0.0]),
    ("regimes", "Q_T", lambda t: t),
    ("regimes", "generator", [[1], [1, -1]]),
    ("regimes", "noise", [0.1]),
    ("regimes", "jump_rate", [[-1.0], [1.0]]),
    ("observed", "mean", [1.0, 2.0]),
    ("observed", "mean", math.nan),
    ("observed", "covariance", -1.0),
    ("observed", "observation_noise", 0.0),
]  # fmt: skip
NAMES = [f"{door}-{key}-{number}" for number, (door, key, _) in enumerate(SLIPS)]


@pytest.mark.parametrize(("door", "key", "slip"), SLIPS, ids=NAMES)
def test_every_constructor_tells_a_slip_in_its_own_letter(door, key, slip):
    build, good = DOORS[door]
    if key == "jump_rate":
        good = good | {"jump_scale": [[0.1], [0.1]]}
    with pytest.raises(InvalidInput) as told:
        build(**{**good, key: slip})
    assert told.value.key == key
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_right_passes(door):
    build, good = DOORS[door]
    build(**good)


def test_the_inner_game_of_regimes_is_a_controller_against_a_disturbance():
    """Its matrices on (x, 1) by hand; one matrix stands for all regimes."""
    game = regime_game(**{**FOUGHT, "S": 3.0, "Q": [2.0, 5.0]}, generator=RATES, horizon=1.0, noise=[0.5, 0.7])
    np.testing.assert_array_equal(game.players[0].control_cost, [np.diag([1.0, -3.0])] * 2)
    np.testing.assert_array_equal(game.players[1].state_cost, [np.diag([2.0, 0.0]), np.diag([5.0, 0.0])])
    np.testing.assert_array_equal(game.diffusion[:, 0, 0, 1], [0.5, 0.7])
    assert [player.sign for player in game.players] == [1, -1]


def test_a_constructor_may_be_traced():
    def cost(r):
        return adversarial_game(A=1.0, B=1.0, D=1.0, Q=1.0, R=r, S=2 * r, horizon=1.0).players[0].control_cost

    np.testing.assert_array_equal(jax.jit(cost)(jnp.asarray(1.5)), [[[1.5, 0.0], [0.0, -3.0]]])
