"""Values and strategies of random games with everything at once, against the equations that define them.

Regimes, jumps, noise in the state, affine terms, cross costs, moves at switches and several tiers together; in the
fullest case also crowds, a maximising player, coefficients that oscillate and a generator that the values modulate.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.solvers.backward import Accuracy
from diffgames.solvers.riccati import values_to_go
from diffgames.solvers.stage import stage_games
from linear_quadratic_games import PlayedOut, random_game

EVERYTHING = {"crowd": True, "waves": True, "signs": (1, -1, 1, 1)}
DUEL = {"waves": True, "signs": (1, -1)}


@pytest.mark.parametrize(
    ("seed", "states", "regimes", "tiers", "sizes", "more"),
    [
        pytest.param(0, 2, 2, ((0,), (1, 2)), (1, 2, 1), {}, id="two tiers"),
        pytest.param(2, 3, 2, ((0,), (1,), (2, 3)), (1, 1, 1, 2), EVERYTHING, marks=pytest.mark.slow, id="everything"),
        pytest.param(3, 4, 1, ((0, 1),), (1, 2), DUEL, marks=pytest.mark.slow, id="a duel"),
    ],
)
def test_values_and_controls_solve_the_hamilton_jacobi_equations(seed, states, regimes, tiers, sizes, more):
    """−∂V/∂t = H at random points, and the controls in H are those of the stage game played out by hand."""
    game = random_game(seed, states, regimes, tiers, sizes, **more)
    t, h = 0.3, 2e-3
    values, outcome = values_to_go(game, 0.7 - t + h * jnp.arange(-2.0, 3.0), Accuracy(rtol=1e-13, atol=1e-14))
    assert int(outcome.code) == 0
    stage = stage_games(game, game.coefficients(t), values[2])
    c, s = {key: np.asarray(v) for key, v in game.coefficients(t)._asdict().items()}, np.asarray(values)
    rates = np.asarray(game.rates(t, values[2]))
    rng = np.random.default_rng(9)
    for i in range(regimes):
        z = np.append(rng.normal(size=states), 1.0)
        u, crowd = PlayedOut(game, c, s[2], i).controls(z)
        np.testing.assert_allclose(np.asarray(stage.gain[i]) @ z, u, rtol=1e-9, atol=1e-9)
        moves = c["crowd_input"][i]  # those without a crowd have none to answer
        np.testing.assert_allclose(moves @ np.asarray(stage.crowd_gain[i]) @ z, moves @ crowd, rtol=1e-9, atol=1e-9)
        moved = c["drift"][i] @ z + c["input"][i] @ u + moves @ crowd
        for p in range(len(sizes)):
            value = lambda x, k=i, p=p: x @ s[2, p, k] @ x  # noqa: E731 - the formula below reads as it is written
            gradient = 2 * s[2, p, i] @ z
            right = z @ c["state_cost"][p, i] @ z + u @ c["control_cost"][p, i] @ u
            right += 2 * z @ c["cross_cost"][p, i] @ u + gradient @ moved - 0.15 * value(z)
            right += sum(value(one @ z) for one in c["diffusion"][i])  # half the trace of cc' and the Hessian 2S
            for e, rate in zip(c["jump_scale"][i], c["jump_rate"][i], strict=True):
                right += rate * (value(z + e @ z) - value(z) - gradient @ (e @ z))
            for j in range(regimes):
                if j != i:
                    right += rates[i, j] * (value(np.asarray(game.switch[i, j]) @ z, j) - value(z))
            left = z @ (8 * (s[3, p, i] - s[1, p, i]) - (s[4, p, i] - s[0, p, i])) @ z / (12 * h)  # fourth order
            assert abs(left - right) <= 1e-6 * (1 + abs(right))


@pytest.mark.slow
def test_any_gain_is_differentiable_in_any_number_of_the_game():
    """One gradient of a random sum of gains, against central differences along directions and in single numbers."""
    game = random_game(0, 2, 2, ((0,), (1,)), (1, 2), crowd=True)
    game = eqx.tree_at(lambda g: (g.horizon, g.discount), game, (jnp.asarray(0.7), jnp.asarray(0.15)))
    numbers, words = eqx.partition(game, eqx.is_inexact_array)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 3)))

    @jax.jit
    def total(numbers):
        changed: LinearQuadraticGame = eqx.combine(numbers, words)
        values, _ = values_to_go(changed, changed.horizon[None], Accuracy(rtol=1e-12, atol=1e-13))
        return jnp.sum(weights * stage_games(changed, changed.coefficients(0.0), values[-1]).gain)

    slopes = jax.jit(jax.grad(total))(numbers)
    leaves, tree = jax.tree.flatten(numbers)
    rng, step = np.random.default_rng(8), 1e-5
    for trial in range(6):
        push = [jnp.asarray(rng.normal(size=leaf.shape)) for leaf in leaves]
        if trial:  # one number alone
            which = int(rng.integers(len(leaves)))
            place = int(rng.integers(leaves[which].size))
            push = [jnp.zeros_like(leaf) for leaf in leaves]
            push[which] = push[which].reshape(-1).at[place].set(1.0).reshape(leaves[which].shape)
        moved = [tree.unflatten([a + sign * step * b for a, b in zip(leaves, push, strict=True)]) for sign in (1, -1)]
        numeric = float(total(moved[0]) - total(moved[1])) / (2 * step)
        exact = sum(float(jnp.sum(a * b)) for a, b in zip(jax.tree.leaves(slopes), push, strict=True))
        assert exact == pytest.approx(numeric, rel=1e-6, abs=1e-8)
