"""Distributed games: the potential built by differentiation, its symmetry test, the hub, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.distributed import DistributedGame, JumpNoise
from diffgames.games.interaction import Pairs
from diffgames.games.kernels import CuckerSmale, Gaussian, Quadratic, SmoothedIndicator
from diffgames.games.potential import JointCosts, asymmetry, closed_density, closed_end, potential_density
from diffgames.simulation.paths import simulate
from diffgames.solvers.distributed_paths import costs_of_paths, draw_noise, graded_grid, jumped

TARGETS = np.array([[0.25, 0.0], [0.0, 0.5], [-0.75, 0.0], [0.0, -1.0]])
UNEVEN = np.array([[0, 1, 0.5, 0], [0.2, 0, 1, 1], [1, 0, 0, 0.3], [0, 2.0, 0, 0]])


def draws(seed, *shapes):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize("weights", [networks.complete(4), UNEVEN], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize(
    "kernel", [Gaussian(2.0, 1.5), Quadratic(0.7), CuckerSmale(0.4)], ids=lambda k: type(k).__name__
)
def test_the_crowds_potential_is_the_automatic_one_up_to_what_no_control_moves(kernel, weights):
    """F_crowd − F is the symmetric interaction at the uncontrolled states x − y, plus nothing."""
    pairs = Pairs(kernel, jnp.asarray(weights), True, nodes=24)
    game = crowd_game(kernel, weights, TARGETS, rates=0.2, interaction=pairs)
    x, y, u = draws(1, (2, 4, 3), (2, 4, 3), (2, 4, 3))
    t = jnp.zeros(())
    automatic = potential_density(game.costs, t, x, y, u, nodes=24)
    own = game.costs.potential_running(t, x, y, u)
    still = game.costs.potential_running(t, x - y, 0.0 * y, 0.0 * u)
    np.testing.assert_allclose(own - still, automatic, rtol=1e-10)


def test_closed_potential_and_symmetry_condition():
    key = jax.random.key(0)
    even, uneven = (crowd_game(Gaussian(1.0), w, TARGETS, normalise=False) for w in (networks.complete(4), UNEVEN))
    assert float(asymmetry(even, key, samples=4).max()) < 1e-12
    found = np.asarray(asymmetry(uneven, key, samples=16))
    assert (found > 1e-3).sum() == (np.abs(UNEVEN - UNEVEN.T) > 0).sum()
    x, u = draws(2, (2, 4, 3), (2, 4, 3))
    t = jnp.zeros(())
    np.testing.assert_allclose(
        closed_density(even.costs, t, x, u, 24) + closed_density(even.costs, t, 0 * x, 0 * u, 24),
        even.costs.potential_running(t, x, x, u) - even.costs.potential_running(t, 0 * x, 0 * x, 0 * u),
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        closed_end(even.costs, x),
        even.costs.potential_terminal(x, x) - even.costs.potential_terminal(0 * x, 0 * x),
        rtol=1e-9,
    )


def test_arbitrary_joint_costs_have_an_exact_potential_where_they_are_symmetric():
    """J_i(u′) − J_i(u) = Φ(u′) − Φ(u) for a symmetric game of three players with unlike dynamics, path by path."""

    def running(t, x, u):
        pull = jnp.cos(x[:, None] - x[None]).sum(axis=(1, 2)) * (1.0 + t)
        return pull + 0.5 * jnp.sum(u**2, axis=1) + jnp.sin(x[:, 0]) + x[0, 0] * x[1, 0] * x[2, 0]

    def terminal(x):
        return jnp.sum(x, axis=1) ** 2 + jnp.prod(x) * jnp.ones(3)

    game = DistributedGame(
        costs=JointCosts(running, terminal, nodes=16),
        initial=jnp.array([[0.3], [-0.2], [0.5]]),
        horizon=0.8,
        input=lambda t: jnp.array([[[1.0]], [[0.5]], [[2.0]]]) * (1.0 + t),
        drift=jnp.array([[[0.2]], [[-0.3]], [[0.0]]]),
        diffusion=jnp.full((3, 1, 1), 0.3),
        jumps=(JumpNoise(jnp.array([0.5]), jnp.ones((3, 1, 1)), jnp.array([[-0.2, 0.4]])),),
    )
    from diffgames.solvers.distributed_paths import potential_of_paths

    grid = graded_grid(0.8, 5)
    noise = draw_noise(game, grid, jax.random.key(0), 4, dtype=jnp.float64)
    controls = jax.random.normal(jax.random.key(1), (2, 3, 1))

    def play(first):
        return lambda t, x, y: jnp.broadcast_to(controls[first].at[0].set(controls[1, 0]).T[:, :, None], x.shape)

    def base(t, x, y):
        return jnp.broadcast_to(controls[0].T[:, :, None], x.shape)

    change = [f(game, play(0), grid, noise) - f(game, base, grid, noise) for f in (costs_of_paths, potential_of_paths)]
    np.testing.assert_allclose(change[0][0], change[1], rtol=1e-10)


def test_the_hub_simulates_the_same_game():
    game = crowd_game(Quadratic(), networks.complete(2), TARGETS[:2], rates=np.array([0.6, 0.4]), common_rate=0.5,
                      common_jump_size=0.3, terminal_weight=4.0)  # fmt: skip
    hub = game.as_differential()
    hub.check()
    paths = simulate(hub, lambda t, x, i: (-x[:2] + 0.2, 0.5 - x[2:]), jax.random.key(0), paths=4000, steps=20, keep=0)
    shift = jnp.array([[0.2, 0.5], [0.2, 0.5]])[:, :, None]
    grid = graded_grid(1.0, 20)
    noise = draw_noise(game, grid, jax.random.key(1), 8000, dtype=jnp.float64)
    own = np.asarray(costs_of_paths(game, lambda t, x, y: jnp.broadcast_to(shift, x.shape) - x, grid, noise))
    spread = np.sqrt(own.var(axis=1) / own.shape[1] + np.asarray(paths.standard_error) ** 2)
    assert np.all(np.abs(own.mean(axis=1) - np.asarray(paths.cost)) < 4.0 * spread)


def test_the_steps_of_jumps_are_those_of_the_noise_drawn():
    """Without Brownian noise a step's increment is the compensator's alone exactly where nobody jumps."""
    rates, size, common_rate, common_size = np.array([3.0, 1.0]), 0.4, 2.0, 0.7
    game = crowd_game(Quadratic(), networks.complete(2), TARGETS[:2], noise=0.0, jump_size=size, rates=rates,
                      common_rate=common_rate, common_jump_size=common_size)  # fmt: skip
    grid, key = graded_grid(1.0, 6, 2.0), jax.random.key(5)
    drawn = np.asarray(draw_noise(game, grid, key, 50, dtype=jnp.float64).increments)
    still = -np.diff(grid.times)[:, None, None, None] * (rates * size + common_rate * common_size)[:, None]
    found = np.asarray(jumped(game, grid, key, 50, dtype=jnp.float64))
    np.testing.assert_array_equal(found, np.any(np.abs(drawn - still) > 1e-9, axis=1))
    assert found.any() and not found.all()


def test_weighted_marks_are_drawn_as_often_as_they_should():
    """Two sources of unlike weights, several jumps a step: mean zero (compensated), variance λ E z² T."""
    marks, weights = jnp.array([[1.0, -0.5, 0.2], [0.3, 2.0, -1.0]]), jnp.array([[0.1, 0.3, 0.6], [0.5, 0.25, 0.25]])
    noise = JumpNoise(jnp.array([[12.0, 5.0]]), jnp.ones((1, 1, 2)), marks, weights)
    lone = crowd_game(Quadratic(), np.zeros((1, 1)), np.zeros((1, 1)), start=np.zeros(1), noise=0.0)
    game = DistributedGame(lone.costs, lone.initial, 1.0, jumps=(noise,))
    drawn = draw_noise(game, graded_grid(1.0, 2), jax.random.key(0), 40_000, dtype=jnp.float64).increments.sum(axis=0)
    variance = float(noise.rate[0] @ noise.moment(2))
    fourth = float(noise.rate[0] @ noise.moment(4)) + 3.0 * variance**2
    assert abs(float(drawn.mean())) < 4.0 * np.sqrt(variance / drawn.size)
    assert float(drawn.var()) == pytest.approx(variance, abs=4.0 * np.sqrt((fourth - variance**2) / drawn.size))


def test_curvatures_bound_sampled_hessians():
    kernels = [Gaussian(3.0, 2.0), Quadratic(1.7), SmoothedIndicator(0.4, 0.2, 1.3)]
    z = jax.random.uniform(jax.random.key(0), (4000, 2), minval=-0.8, maxval=0.8)
    for kernel in kernels:
        norms = jnp.linalg.norm(jax.vmap(jax.hessian(kernel))(z), 2, axis=(1, 2))
        assert 0.95 * kernel.curvature() < float(norms.max()) <= kernel.curvature() * (1 + 1e-9), type(kernel).__name__
    v = jax.random.uniform(jax.random.key(1), (4000, 4), minval=-0.9, maxval=0.9)
    kernel = CuckerSmale(0.7, 1.2, speed=1.3)
    assert float(jnp.linalg.norm(jax.vmap(jax.hessian(kernel))(v), 2, axis=(1, 2)).max()) <= kernel.curvature()


def test_the_soft_indicator_is_a_mollified_ball():
    kernel = SmoothedIndicator(0.5, 0.2)
    points = jnp.array([[0.0, 0.29, 0.5, 0.6, 0.71], [0.0, 0.0, 0.0, 0.0, 0.0]])
    rng = np.random.default_rng(0)
    near = rng.uniform(-0.2, 0.2, (400_000, 2))
    square = (near**2).sum(axis=1) / 0.04
    mass = np.where(square < 1, np.exp(-1 / np.maximum(1 - square, 1e-9)), 0.0)
    for point, value in zip(np.asarray(points).T, np.asarray(kernel(points)), strict=True):
        inside = ((point - near) ** 2).sum(axis=1) < 0.25
        assert value == pytest.approx((mass * inside).sum() / mass.sum(), abs=6e-3)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: crowd_game(Quadratic(), networks.complete(4), TARGETS, rates=-0.1), "rates"),
        (lambda: crowd_game(Quadratic(), networks.complete(4), TARGETS[:, 0]), "targets"),
        (lambda: crowd_game(Quadratic(), networks.complete(3), TARGETS), "weights"),
        (lambda: JumpNoise(jnp.array([-0.5]), jnp.ones((3, 1, 1)), jnp.ones((1, 1))), "rate"),
        (lambda: JumpNoise(jnp.ones(1), jnp.ones((3, 1, 1)), jnp.ones((1, 2)), jnp.array([[0.5, 0.6]])), "weights"),
        (lambda: networks.checked_weights(UNEVEN, 4, symmetric=True), "weights"),
        (lambda: networks.groups(((1, 2), (2, 3)), 3), "groups"),
        (lambda: CuckerSmale().curvature(), "kernel"),
        (lambda: SmoothedIndicator(0.1, 0.2), "smoothing"),
        (lambda: crowd_game(Quadratic(), networks.complete(4), TARGETS, horizon=-1.0), "horizon"),
    ],
)
def test_bad_input_is_named_in_one_line(make, key):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.key == key and "\n" not in str(caught.value)
