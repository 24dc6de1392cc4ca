"""Hamiltonian weights: closed forms to their digits, products against matrices, games against finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.games.crowd import crowd_game
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.games.kernels import Quadratic
from diffgames.studies.exact_components import bilinear, closed, exact_weights, quadratic_weights, two_step_blocks
from diffgames.verification.decomposition import (
    DifferentiableGame,
    LinearFeedback,
    NeuralFeedback,
    flattened,
    hamiltonian_weight,
    matrix_game,
    simulated_values,
)


@settings(deadline=None, max_examples=20)
@given(a=st.floats(-3, 3), b=st.floats(-3, 3), x=st.floats(0.1, 2), y=st.floats(-2, -0.1))
def test_two_multiples_of_one_interaction_have_the_closed_form_everywhere(a, b, x, y):
    if abs(a) + abs(b) > 0.1:
        assert hamiltonian_weight([a * y, b * x], [[0, a], [b, 0]], (1, 1)) == pytest.approx(closed(a, b), abs=1e-12)


def test_the_cases_of_the_exact_sheet():
    found = exact_weights()
    assert found["1 and 0.5 times xy"] == pytest.approx(0.25, abs=1e-12)
    assert found["zero-sum xy"] == pytest.approx(1.0) and found["matching pennies"] == pytest.approx(1.0)
    assert found["common xy"] == found["coordination"] == 0.0
    by_removal = quadratic_weights()
    assert by_removal["blocks"] == pytest.approx(0.43212728, abs=5e-9)
    assert by_removal["diagonal, as printed"] == pytest.approx(0.37701, abs=5e-6)
    assert by_removal["nothing"] == pytest.approx(0.23295, abs=5e-6)
    blocks = two_step_blocks()
    assert blocks["differentiated"] == pytest.approx(0.1504537, abs=5e-8)
    assert blocks["product of sums"] == pytest.approx(blocks["differentiated"], abs=1e-12)
    assert blocks["sum of products, as printed"] == pytest.approx(-0.0208347, abs=5e-8)


def cubic(seed: int, sizes: tuple[int, ...]) -> DifferentiableGame:
    """Random values with third derivatives."""
    rng, total = np.random.default_rng(seed), sum(sizes)
    square = jnp.asarray(rng.normal(size=(len(sizes), total, total)))
    third = jnp.asarray(rng.normal(size=(len(sizes), total, total, total)))
    return DifferentiableGame(lambda z: square @ z @ z + third @ z @ z @ z, sizes)


def test_products_are_those_of_matrices_built_by_finite_differences():
    game, rng = cubic(0, (2, 1, 3)), np.random.default_rng(1)
    point, direction = jnp.asarray(rng.normal(size=6)), jnp.asarray(rng.normal(size=6))
    h = 1e-5
    moved = [(game.gradient(point + h * e) - game.gradient(point - h * e)) / (2 * h) for e in jnp.eye(6)]
    jacobian = np.stack(moved, axis=1)
    np.testing.assert_allclose(game.jacobian(point), jacobian, rtol=1e-6, atol=1e-6)
    for low, high in ((0, 2), (2, 3), (3, 6)):
        jacobian[low:high, low:high] = 0.0
    symmetric, antisymmetric = game.interactions(point, direction)
    np.testing.assert_allclose(symmetric, 0.5 * (jacobian + jacobian.T) @ direction, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(antisymmetric, 0.5 * (jacobian.T - jacobian) @ direction, rtol=1e-6, atol=1e-6)
    matrices = hamiltonian_weight(game.gradient(point), game.jacobian(point), game.sizes)
    assert float(game.weight(point)) == pytest.approx(matrices, abs=1e-12)


def test_a_subset_of_players_is_the_game_with_the_others_held():
    game, point = cubic(3, (1, 2, 2)), jnp.asarray([0.3, -0.5, 0.8, 0.1, 0.6])
    strategies = (point[:1], {"w": point[1:3]}, point[3:])
    subset, at = flattened(lambda s: game.values(jnp.concatenate([s[0], s[1]["w"], s[2]])), strategies, (2, 0))
    order = np.asarray([3, 4, 0])
    gradient, jacobian = game.gradient(point)[order], game.jacobian(point)[np.ix_(order, order)]
    np.testing.assert_allclose(subset.gradient(at), gradient, rtol=1e-12)
    assert float(subset.weight(at)) == pytest.approx(hamiltonian_weight(gradient, jacobian, (2, 1)), abs=1e-12)


def test_matrix_games_agree_with_sums_over_all_actions():
    rng = np.random.default_rng(5)
    payoffs, logits = rng.normal(size=(3, 2, 3, 2)), rng.normal(size=7)
    game = matrix_game(payoffs)
    mixed = [np.exp(own) / np.exp(own).sum() for own in np.split(logits, (2, 5))]
    chance = np.einsum("i,j,k->ijk", *mixed)
    wanted = [sum(table[a] * chance[a] for a in np.ndindex(2, 3, 2)) for table in payoffs]
    np.testing.assert_allclose(game.values(jnp.asarray(logits)), wanted, rtol=1e-12)


def test_plain_ascent_spirals_out_and_both_adjustments_in():
    game, start = bilinear(1.0, -1.0), jnp.asarray([1.0, 1.0])
    ends = {
        how: float(jnp.linalg.norm(game.ascend(start, 0.1, 100, how)[-1]))
        for how in ("none", "consensus", "symplectic")
    }
    assert ends["none"] == pytest.approx(np.sqrt(2) * (1 + 0.1**2) ** 50, rel=1e-9)
    # (1 − h) and h as real and imaginary part of the factor
    assert ends["consensus"] == pytest.approx(np.sqrt(2) * (0.9**2 + 0.1**2) ** 50, rel=1e-9)
    assert ends["symplectic"] == pytest.approx(ends["consensus"], rel=1e-9)
    mixed, at = cubic(7, (1, 2)), jnp.asarray([0.2, 0.4, -0.3])
    jacobian, gradient = mixed.jacobian(at), mixed.gradient(at)
    np.testing.assert_allclose(
        mixed.direction(at, "consensus", 0.3), gradient - 0.3 * jacobian.T @ gradient, rtol=1e-10
    )
    turned, pulled = 0.5 * (jacobian.T - jacobian) @ gradient, jacobian.T @ gradient
    sign = np.sign(0.1 - (gradient @ pulled) * (turned @ pulled) / 3)
    np.testing.assert_allclose(mixed.direction(at, "symplectic", 0.3), gradient - 0.3 * sign * turned, rtol=1e-10)
    # from a saddle that is no equilibrium the sign turns, so that the adjustment does not lead into it
    saddle = DifferentiableGame(lambda z: jnp.stack([z[0] ** 2 + z[0] * z[1], z[1] ** 2 - z[0] * z[1]]), (1, 1))
    plain, turned = (saddle.direction(jnp.asarray([1.0, 1.0]), how) for how in ("none", "symplectic"))
    assert float(jnp.vdot(turned - plain, saddle.jacobian(jnp.asarray([1.0, 1.0])).T @ plain)) > 0


@pytest.mark.parametrize("neural", [False, True])
def test_a_simulated_crowd_has_the_closed_form_whatever_its_feedback_on_own_states(neural):
    a, b = 1.0, -0.25
    weights, targets = np.asarray([[0, a], [b, 0]]), np.asarray([[1.0], [-1.0]])
    game = crowd_game(Quadratic(), weights, targets, start=(0.3,), noise=0.3, normalise=False)
    if neural:
        keys = jax.random.split(jax.random.key(0))
        nets = [eqx.nn.MLP(2, 1, 4, 1, jnp.tanh, key=key, dtype=jnp.float64) for key in keys]
        play = tuple(NeuralFeedback(net, (p,)) for p, net in enumerate(nets))
    else:
        play = tuple(LinearFeedback(jnp.asarray([[-0.4]]), jnp.asarray([0.2]), (p,)) for p in (0, 1))
    values = simulated_values(game, paths=16, steps=4)
    flat, point = flattened(lambda own: values(own, jax.random.key(1)), play)
    assert float(eqx.filter_jit(flat.weight)(point)) == pytest.approx(closed(a, b), abs=1e-9)


def test_what_does_not_fit_is_named():
    for bad in (([1.0], [[0.0]], (1, 1)), ([1.0, 1.0], [[0.0]], (1, 1)), ([1.0], [[0.0]], (1, 0))):
        with pytest.raises(InvalidInput):
            hamiltonian_weight(*bad)
    with pytest.raises(InvalidInput, match="payoffs"):
        matrix_game(np.zeros((3, 2, 2)))
    with pytest.raises(InvalidInput, match="adjustment"):
        bilinear(1.0, 1.0).direction(jnp.ones(2), "sideways")
    moved = JumpLaw(lambda t, x, u, i: x[0] ** 2, lambda t, x, u, z, i: z, FixedMark(jnp.ones(1)))
    game = DifferentialGame(
        players=("one",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: u[0],
        diffusion=lambda t, x, u, i: jnp.eye(1),
        running_cost=lambda t, x, u, i: x**2,
        terminal_cost=lambda x, i: x,
        initial=PointLaw(jnp.ones(1)),
        horizon=1.0,
        jumps=(moved,),
    )
    with pytest.raises(InvalidInput, match="score functions"):
        simulated_values(game, paths=2, steps=2)
    assert np.isnan(hamiltonian_weight([1.0, 1.0], np.eye(2), (1, 1)))
