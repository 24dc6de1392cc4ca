"""The hub: shapes are read off the game, and every slip in describing one is named."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, GaussianLaw, PointLaw
from diffgames.games.jumps import DiscreteMarks, FixedMark, JumpLaw, NormalMarks

CHAIN = jnp.array([[-0.5, 0.5], [0.2, -0.2]])


def duel(**changes) -> DifferentialGame:
    """Two players on a plane state, two regimes, one kind of jump."""
    described = {
        "players": ("one", "two"),
        "control_sizes": (1, 2),
        "drift": lambda t, x, u, i: -x + jnp.concatenate([u[0], u[1][:1]]),
        "diffusion": lambda t, x, u, i: 0.1 * jnp.ones((2, 3)),
        "running_cost": lambda t, x, u, i: jnp.stack([x @ x, u[0] @ u[0]]),
        "terminal_cost": lambda x, i: jnp.zeros(2),
        "initial": GaussianLaw(jnp.zeros(2), jnp.eye(2)),
        "horizon": 1.0,
        "generator": CHAIN,
        "jumps": (JumpLaw(lambda t, x, u, i: jnp.asarray(2.0), lambda t, x, u, z, i: z, FixedMark(jnp.ones(2))),),
    } | changes
    return DifferentialGame(**described)


def test_sizes_are_read_off_the_functions():
    game = duel()
    assert (game.state_size, game.noise_size, game.regime_count) == (2, 3, 2)
    assert duel(generator=None).regime_count == 1
    assert duel(generator=lambda t, x, u, i: CHAIN[i] * u[0][0]).regime_count == 2
    assert game.signs == (1, 1) and game.tiers == ((0, 1),) and game.bounds == (None, None)
    assert game.player_index("two") == game.player_index(1) == 1
    game.check()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"control_sizes": (1,)}, "control_sizes"),
        ({"signs": (1, 2)}, "signs"),
        ({"tiers": ((0,),)}, "tiers"),
        ({"horizon": -1.0}, "horizon"),
        ({"generator": jnp.array([[0.0, 0.5], [0.2, 0.0]])}, "diagonal is zero"),
        ({"generator": jnp.array([[0.5, 0.5], [0.2, 0.8]])}, "probabilities"),
        ({"generator": jnp.array([[0.5, -0.5], [0.2, -0.2]])}, "off the diagonal"),
        ({"generator": jnp.array([[-0.5, 0.6], [0.2, -0.2]])}, "row 0 sums to 0.1"),
        ({"generator": jnp.array([[-0.5, jnp.nan], [0.2, -0.2]])}, "finite rates"),
        ({"generator": jnp.array([[-jnp.inf, jnp.inf], [0.2, -0.2]])}, "finite rates"),
        ({"generator": jnp.array([[-1e6, 1e6], [0.2, -0.1]])}, "row 1 sums to 0.1"),
        ({"generator": jnp.array([[-1e-9, 2e-9], [0.0, 0.0]])}, "row 0 sums to 1e-09"),
    ],
)
def test_a_slip_in_the_data_is_named(changes, key):
    with pytest.raises(InvalidInput, match=key):
        duel(**changes)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"drift": lambda t, x, u, i: jnp.zeros(3)}, "drift"),
        ({"diffusion": lambda t, x, u, i: x}, "diffusion"),
        ({"running_cost": lambda t, x, u, i: x @ x}, "running_cost"),
        ({"terminal_cost": lambda x, i: jnp.zeros(3)}, "terminal_cost"),
        ({"switch": lambda t, x, i, j: x[:1]}, "switch"),
        ({"generator": lambda t, x, u, i: CHAIN}, "generator"),
    ],
)
def test_a_function_of_the_wrong_shape_is_named(changes, key):
    with pytest.raises(InvalidInput, match=key):
        duel(**changes).check()


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (lambda: DiscreteMarks(jnp.zeros((2, 1)), jnp.array([1.5, -0.5])), "probabilities"),
        (lambda: DiscreteMarks(jnp.zeros((2, 1)), jnp.array([jnp.nan, 1.0])), "probabilities"),
        (lambda: DiscreteMarks(jnp.zeros((2, 1)), jnp.array([0.5, 0.4])), "probabilities"),
        (lambda: NormalMarks(jnp.array(0.0), jnp.array(-1.0)), "deviation"),
        (lambda: NormalMarks(jnp.array(jnp.inf), jnp.array(1.0)), "mean"),
    ],
)
def test_laws_of_marks_that_are_none_are_named(build, key):
    with pytest.raises(InvalidInput, match=key):
        build()


def test_unknown_player():
    with pytest.raises(InvalidInput, match="one of one, two"):
        duel().player_index("three")


@pytest.mark.parametrize(
    ("marks", "moments"),
    [
        (FixedMark(jnp.array([0.3])), (0.3, 0.09)),
        (DiscreteMarks(jnp.array([[1.0], [-2.0]]), jnp.array([0.25, 0.75])), (-1.25, 3.25)),
        (NormalMarks(jnp.array(0.2), jnp.array(0.5)), (0.2, 0.29)),
    ],
)
def test_marks_and_their_quadrature_agree(marks, moments):
    nodes, weights = marks.quadrature()
    exact = [float(weights @ nodes[:, 0] ** power) for power in (1, 2)]
    np.testing.assert_allclose(exact, moments, rtol=1e-12)
    draws = jax.vmap(marks.sample)(jax.random.split(jax.random.key(1), 40_000))[:, 0]
    for power in (1, 2):
        error = float(jnp.std(draws**power)) / 200.0
        assert abs(float(jnp.mean(draws**power)) - moments[power - 1]) <= 4 * error + 1e-12


def test_mean_size_of_a_lognormal_jump():
    law = JumpLaw(
        rate=lambda t, x, u, i: jnp.asarray(1.0),
        size=lambda t, x, u, z, i: x * jnp.expm1(z),
        marks=NormalMarks(jnp.array(-0.9), jnp.array(0.45)),
    )
    mean = law.mean_size(jnp.asarray(0.0), jnp.array([2.0]), (), jnp.int32(0))
    np.testing.assert_allclose(mean, [2.0 * np.expm1(-0.9 + 0.45**2 / 2)], rtol=1e-12)


def test_a_game_can_be_mapped_over_its_parameters():
    games = eqx.filter_vmap(lambda scale: duel(initial=PointLaw(scale * jnp.ones(2)), horizon=scale))(
        jnp.arange(1.0, 4.0)
    )
    starts = eqx.filter_vmap(lambda game: game.initial(jax.random.key(0))[0][0] + game.horizon)(games)
    np.testing.assert_array_equal(starts, [2.0, 4.0, 6.0])
