"""Users who never heard of JAX's flag get float64 where it is promised, without a warning, and float32 elsewhere."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames import simulate, solve, verify
from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.exponential_affine import ExponentialAffineGame
from diffgames.games.mean_field import typed_game, typed_linear_quadratic
from diffgames.games.plain import regulator
from diffgames.games.stackelberg import stackelberg_game
from diffgames.numerics.precision import in_double, keeping_double
from diffgames.simulation import as_markov_game


@pytest.fixture(autouse=True)
def no_flag():
    """As JAX starts: 32 bits. Warnings are errors in every test."""
    with jax.enable_x64(False):
        yield


def lqr(weight=0.1):
    return regulator(A=[[0.1]], B=[[1.0]], Q=[[weight]], R=[[0.5]], noise=[[0.3]], horizon=2.0)


def test_matrices_keep_all_their_digits_and_the_gain_is_exact():
    """P' = 2aP + q − P²/r from zero; in single precision the tenth alone would cost nine digits."""
    root = np.sqrt(0.1**2 + 0.1 / 0.5)
    exact = 0.1 / (root / np.tanh(2.0 * root) - 0.1) / 0.5
    solution = solve(lqr())
    assert abs(float(solution.gain("controller", "x")[0, 0]) + exact) < 1e-10
    assert "solved" in repr(solution)


def test_what_is_solved_is_verified_and_simulated():
    solution = solve(lqr())
    assert verify(solution).gap < 1e-9
    paths = simulate(lqr(), solution.profile, jax.random.key(0), paths=200, steps=50)
    cost = float(solution.cost("controller", jnp.zeros(1)))
    assert abs(float(paths.cost[0]) - cost) < 6 * float(paths.standard_error[0]) + 0.05 * cost
    assert paths.costs.dtype == jnp.float64


def test_types_and_leaders_too():
    data = {"a": [0.1, -0.2], "b": [1.0, 0.8], "kappa": [0.3, 0.2], "sigma": [0.3, 0.2], "q": [1.0, 0.8]}
    data |= {"r": [0.5, 1.0], "s": [0.4, 0.2], "q_T": [0.5, 1.0]}
    game = typed_game(share=[0.6, 0.4], horizon=1.0, **data)
    assert solve(typed_linear_quadratic(game, "nash")).values.dtype == jnp.float64
    ones = {name: [[0.5]] for name in ("A0", "B0", "F0", "A", "B", "D", "F", "G", "Gamma0", "Gamma1", "Gamma2")}
    weights = {name: [[1.0]] for name in ("Q0", "Q", "R0", "R", "R1", "R2")}
    leader = stackelberg_game(**ones, **weights, sigma0=[[0.1]], sigma=[[0.1]], horizon=0.5, discount=0.0)
    assert solve(leader).values.dtype == jnp.float64


def test_single_precision_stays_single():
    game = DifferentialGame(
        players=("one",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: u[0],
        diffusion=lambda t, x, u, i: 0.1 * jnp.eye(1),
        running_cost=lambda t, x, u, i: x**2 + u[0] ** 2,
        terminal_cost=lambda x, i: x**2,
        initial=PointLaw(jnp.ones(1)),
        horizon=1.0,
    )
    paths = simulate(game, lambda t, x, i: (-x,), jax.random.key(0), paths=10, steps=10)
    assert paths.costs.dtype == jnp.float32


def test_a_double_game_is_learned_in_single_precision():
    """`as_markov_game` hands learners what they work in."""
    view = as_markov_game(lqr().as_differential(), 0.5, bounds={"controller": (-1.0, 1.0)})
    state = view.reset(jax.random.key(0))
    actions = {"controller": jnp.zeros((1, 1), jnp.float32)}
    _, rewards, _ = eqx.filter_jit(lambda game, *moved: game.step(*moved))(view, state, actions, jax.random.key(1))
    assert rewards["controller"].dtype == jnp.float32


def test_the_flag_is_left_as_it_was():
    assert in_double(lambda: jnp.asarray(1.0).dtype)() == jnp.float64
    assert keeping_double(lambda x: x.dtype)(np.zeros(1)) == np.float64  # arrays of NumPy ask for nothing
    assert not jax.config.read("jax_enable_x64")


@pytest.mark.parametrize(
    "change", [jax.jit, jax.grad, jax.jacrev, lambda f: jax.jit(jax.vmap(f, axis_size=1, in_axes=None))]
)
def test_what_jax_compiles_or_reverses_in_single_precision_is_told(change):
    """Its own words are of lax and of types."""

    def value(a):
        return solve(regulator(A=a, B=1.0, Q=1.0, R=1.0, horizon=1.0)).value(0.0)[0, 0, 0, 0]

    def equivalent(a):
        one = {"weight": 1, "generator": 2, "jump_rate": 2, "b": 2, "B": 3, "D": 3, "R": 3, "S": 3}
        one |= {"noise": 3, "jump_size": 3}
        data = {key: jnp.ones((1,) * axes) for key, axes in one.items()} | {"generator": jnp.zeros((1, 1))}
        return ExponentialAffineGame(gamma=a, **data).certainty_equivalent(1.0)[0]

    for told in (value, equivalent):
        with pytest.raises(InvalidInput, match="jax_enable_x64"):
            change(told)(jnp.asarray(0.3))


def test_a_batch_is_solved_without_the_flag():
    """dx = (a x + u) dt, ∫ x² + u²: S(0) = 1/(r coth r − a), r² = a² + 1."""
    a = np.float32([0.1, 0.3])
    batch = jax.vmap(lambda a: solve(regulator(A=a, B=1.0, Q=1.0, R=1.0, horizon=1.0)).value(0.0)[0, 0, 0, 0])
    root = np.sqrt(a.astype(float) ** 2 + 1)
    np.testing.assert_allclose(batch(jnp.asarray(a)), 1 / (root / np.tanh(root) - a), rtol=1e-9)
