"""The α-potential on random games: several players, states and controls, everything varying in time, all noise at once.

Random smooth costs come in two kinds. *Symmetric* ones, shared(t, X, U) + private(x_i, u_i) + what others do alone,
satisfy condition 3.14 and have an exact potential, path by path. *Quadratic* ones with unlike weights do not; their
mixed second derivatives are constant, so that the bound of equation 3.7 is sampled exactly. Every comparison is one
function of a random key, compiled once per shape (players, d, k).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games.distributed import DistributedGame, JumpNoise
from diffgames.games.potential import JointCosts, asymmetry, closed_density, closed_end
from diffgames.games.small_jumps import truncate
from diffgames.solvers.distributed_paths import (
    Grid,
    Noise,
    costs_of_paths,
    draw_noise,
    graded_grid,
    initial_states,
    potential_of_paths,
)
from diffgames.verification.potential_bound import general_alpha, input_bound, quadratic_curvature, search_alpha

shapes = pytest.mark.parametrize("shape", [(2, 3, 1), (3, 2, 2)], ids=lambda shape: "N{}-d{}-k{}".format(*shape))
HORIZON = 0.7


class Draws:
    """Normal arrays, one after another, from a key."""

    def __init__(self, key):
        self.key = key

    def __call__(self, *shape, scale=1.0):
        self.key, key = jax.random.split(self.key)
        return scale * jax.random.normal(key, shape)

    def in_time(self, *shape, scale=1.0):
        level, slope = self(*shape, scale=scale), self(*shape, scale=scale)
        return lambda t: level + slope * jnp.sin(3.0 * t)


def noisy_game(costs, shape, draws):
    """Linear drift, input, own and common Brownian and Poisson noise, all depending on time."""
    players, d, k = shape
    return DistributedGame(
        costs=costs,
        initial=draws(players, d, scale=0.5),
        horizon=HORIZON,
        input=draws.in_time(players, d, k),
        drift=draws.in_time(players, d, d, scale=0.5),
        diffusion=draws.in_time(players, d, 2, scale=0.3),
        common_diffusion=draws.in_time(players, d, 1, scale=0.3),
        jumps=(
            JumpNoise(jnp.abs(draws(players, 2)), draws.in_time(players, d, 2, scale=0.4), draws(2, 3)),
            JumpNoise(jnp.abs(draws(1)), draws.in_time(players, d, 1, scale=0.4), draws(1, 1)),
        ),
    )


def symmetric_costs(shape, draws):
    players, d, k = shape
    mix, steer, own = draws(players, d, scale=0.7), draws(players, k, scale=0.7), draws(players, d)
    foreign = draws(players, players, d) * (1.0 - jnp.eye(players))[:, :, None]

    def running(t, x, u):
        together = jnp.sin(jnp.sum(mix * x) + t) + jnp.cos(jnp.sum(mix * x**2) - jnp.sum(steer * u))
        private = jnp.sum(jnp.cos(own * x), axis=1) + (1.0 + t) * jnp.sum(u**2, axis=1)
        private = private + jnp.sum(steer * u, axis=1) ** 3
        return together + private + jnp.einsum("ijd,jd->i", foreign, jnp.tanh(x))

    def terminal(x):
        return jnp.exp(0.3 * jnp.sum(jnp.sin(mix * x))) + jnp.sum(own * x**3, axis=1)

    return JointCosts(running, terminal, nodes=24)


def quadratic_costs(shape, draws):
    players, d, k = shape
    q, r = draws(players, players * d, players * d, scale=0.5), draws(players, players * k, players * k, scale=0.5)
    cross, end = (
        draws(players, players * d, players * k, scale=0.5),
        draws(players, players * d, players * d, scale=0.5),
    )

    def running(t, x, u):
        x, u = x.reshape(-1), u.reshape(-1)
        parts = (("a,iab,b->i", x, q, x), ("a,iab,b->i", u, r, u), ("a,iab,b->i", x, cross, u))
        return sum(jnp.einsum(*part) for part in parts)

    def terminal(x):
        return jnp.einsum("a,iab,b->i", x.reshape(-1), end, x.reshape(-1))

    return JointCosts(running, terminal, nodes=4)


def playing(controls):
    """Open loop: controls [k, players], swinging in time."""
    return lambda t, x, y: jnp.broadcast_to((controls * jnp.cos(2.0 * t))[:, :, None], (*controls.shape, x.shape[2]))


def deviations(u, changed):
    """u, and u with one player's control changed, for every player in turn: [1 + players, k, players]."""
    players = u.shape[1]
    mine = jnp.eye(players, dtype=bool)[:, None]
    return jnp.concatenate([u[None], jnp.where(mine, changed[None], u[None])])


def closed_potential(game, policy, grid, noise):
    """Σ F̂ h + Ĝ of every path (equation 3.15)."""
    x = initial_states(game, noise.increments.shape[3], jnp.float64)

    def step(carry, inputs):
        (x, total), (t, h, shock) = carry, inputs
        u = policy(t, x, x)
        total = total + h * closed_density(game.costs, t, x, u, 24)
        return (x + h * game.velocity(t, x, u) + shock, total), None

    times = jnp.asarray(grid.times)
    (x, total), _ = jax.lax.scan(step, (x, jnp.zeros(x.shape[2])), (times[:-1], jnp.diff(times), noise.increments))
    return total + closed_end(game.costs, x, 24)


@functools.cache
def changes_of_a_symmetric_game(shape):
    """Compiled: key -> asymmetry, changes of J_i and Φ by every player's deviation, Φ and Φ̂ − Φ̂(0) of the profile."""
    players, _, k = shape

    @jax.jit
    def compare(key):
        draws = Draws(key)
        game = noisy_game(symmetric_costs(shape, draws), shape, draws)
        grid = graded_grid(HORIZON, 4, 1.5)
        noise = draw_noise(game, grid, key, 3, dtype=jnp.float64)
        u, changed = draws(k, players), draws(k, players)

        def values(controls):
            return costs_of_paths(game, playing(controls), grid, noise), potential_of_paths(
                game, playing(controls), grid, noise
            )

        costs, phi = jax.lax.map(values, deviations(u, changed))
        each = jnp.arange(players, dtype=jnp.int32)
        closed = jax.lax.map(lambda c: closed_potential(game, playing(c), grid, noise), jnp.stack([u, 0.0 * u]))
        unlike = asymmetry(game, key, samples=2)
        return unlike, costs[1 + each, each] - costs[0], phi[1:] - phi[:1], phi[0], closed[0] - closed[1]

    return compare


@shapes
@pytest.mark.parametrize("seed", range(4))
def test_symmetric_costs_have_an_exact_potential_whatever_moves_the_players(shape, seed):
    """J_i(u′_i, u₋ᵢ) − J_i(u) = Φ(u′_i, u₋ᵢ) − Φ(u) on every path, and Φ = Φ̂ − Φ̂(0) (3.15, 3.16)."""
    unlike, of_costs, of_potential, phi, closed = changes_of_a_symmetric_game(shape)(jax.random.key(seed))
    assert float(unlike.max()) < 1e-9
    np.testing.assert_allclose(of_costs, of_potential, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(phi, closed, rtol=1e-8, atol=1e-9)
    assert np.abs(of_costs).min() > 1e-6


@pytest.mark.slow
@shapes
def test_the_bound_of_equation_3_7_holds_and_the_search_finds_less(shape):
    """Random deviations and the search stay below the bound, which the mixed derivatives of quadratic costs give."""
    players, _, k = shape
    radius, key = 0.8, jax.random.key(11)
    draws = Draws(key)
    game = noisy_game(quadratic_costs(shape, draws), shape, draws)
    assert float(jax.jit(lambda key: asymmetry(game, key, samples=1))(key).max()) > 1e-3
    bound = general_alpha(quadratic_curvature(game, key), np.full(players, radius), input_bound(game), HORIZON)
    grid = graded_grid(HORIZON, 8)
    found = search_alpha(game, radius, grid, key, restarts=1, updates=40, paths=4)
    assert 1e-3 * bound < found <= bound * (1.0 + 1e-6)
    noise = draw_noise(game, grid, key, 200, dtype=jnp.float64)
    length = np.sqrt(np.sum(np.diff(grid.times) * np.cos(2.0 * grid.times[:-1]) ** 2))

    @jax.jit
    def violations(u, changed):
        u, changed = (radius * c / length / jnp.linalg.norm(c, axis=0, keepdims=True) for c in (u, changed))

        def values(controls):
            both = (f(game, playing(controls), grid, noise) for f in (costs_of_paths, potential_of_paths))
            return tuple(jnp.mean(value, axis=-1) for value in both)

        costs, phi = jax.lax.map(values, deviations(u, changed))
        each = jnp.arange(players, dtype=jnp.int32)
        return jnp.abs((costs[1 + each, each] - costs[0]) - (phi[1:] - phi[0]))

    worst = max(float(violations(draws(k, players), draws(k, players)).max()) for _ in range(20))
    assert 0.0 < worst <= bound


@functools.cache
def distance_to_the_transformed_game(shape, steps):
    """Compiled: key -> largest difference of costs and potential between a game with drift A and X̃ = e^{−At} X."""
    players, d, k = shape

    @jax.jit
    def apart(key):
        draws = Draws(key)
        costs = symmetric_costs(shape, draws)
        loading, b, sigma = draws.in_time(players, d, 1, scale=0.3), draws.in_time(players, d, k), draws(players, d, 2)
        a, start, atoms = draws(players, d, d, scale=0.5), draws(players, d), draws(1, 3)
        rate = jnp.full((players, 1), 1.5)

        def back(matrix):
            return lambda t: jnp.einsum("pij,pjk->pik", jax.scipy.linalg.expm(-a * t), matrix(t))

        def forth(x, t):
            return jnp.einsum("pij,pj->pi", jax.scipy.linalg.expm(a * t), x)

        moved = JointCosts(
            lambda t, x, u: costs.running(t, forth(x, t), u), lambda x: costs.terminal(forth(x, HORIZON)), nodes=24
        )
        game = DistributedGame(
            costs=costs, initial=start, horizon=HORIZON, input=b, drift=a, diffusion=sigma,
            jumps=(JumpNoise(rate, loading, atoms),),
        )  # fmt: skip
        still = DistributedGame(
            costs=moved, initial=start, horizon=HORIZON, input=back(b), diffusion=back(lambda t: sigma),
            jumps=(JumpNoise(rate, back(loading), atoms),),
        )  # fmt: skip
        u, grid = playing(draws(k, players)), graded_grid(HORIZON, steps)
        values = []
        for one in (game, still):
            noise = summed_noise(one, steps, key)
            values.append([f(one, u, grid, noise) for f in (potential_of_paths, costs_of_paths)])
        return jnp.max(jnp.stack([jnp.max(jnp.abs(x - y)) for x, y in zip(*values, strict=True)]))

    return apart


def summed_noise(game, steps, key, finest=96):
    """Increments on `finest` steps, added up to `steps`: grids see the same path up to Euler's error."""
    fine = draw_noise(game, graded_grid(game.horizon, finest), key, 2, dtype=jnp.float64).increments
    return Noise(jnp.sum(fine.reshape(steps, finest // steps, *fine.shape[1:]), axis=1))


@pytest.mark.slow
def test_linear_drift_is_a_change_of_variables():
    """X̃ = Ψ⁻¹ X has no drift (Remark 2.2): for A constant, Ψ(t) = e^{At}, the two games differ by Euler's error alone.

    The transformed game has b̃ = Ψ⁻¹b, σ̃ = Ψ⁻¹σ, γ̃ = Ψ⁻¹γ and costs at ΨX̃. Four times the steps leave a quarter.
    """
    for seed in range(3):
        coarse, fine = (
            float(distance_to_the_transformed_game((2, 2, 1), steps)(jax.random.key(seed))) for steps in (24, 96)
        )
        assert fine < 0.4 * coarse, seed


@pytest.mark.parametrize("friction", [0.0, 0.8])
def test_kinetic_states_are_a_linear_drift(friction):
    """Position and velocity in the plane under constant acceleration: v = (1 − e^{−ft}) u / f, and p its integral."""
    zero, one = np.zeros((2, 2)), np.eye(2)
    drift = np.broadcast_to(np.block([[zero, one], [zero, -friction * one]]), (2, 4, 4))
    costs = symmetric_costs((2, 4, 2), Draws(jax.random.key(0)))
    game = DistributedGame(
        costs=costs,
        initial=jnp.zeros((2, 4)),
        horizon=1.0,
        drift=jnp.asarray(drift),
        input=jnp.broadcast_to(jnp.concatenate([jnp.zeros((2, 2)), jnp.eye(2)]), (2, 4, 2)),
    )
    u, h = jnp.array([[1.0, -0.5], [0.3, 2.0]]), 1e-3
    x = jax.lax.fori_loop(
        0, 1000, lambda _, x: x + h * game.velocity(jnp.zeros(()), x, u[:, :, None]), jnp.zeros((4, 2, 1))
    )
    speed = 1.0 if friction == 0.0 else (1.0 - np.exp(-friction)) / friction
    place = 0.5 if friction == 0.0 else (1.0 - speed) / friction
    np.testing.assert_allclose(x[2:, :, 0], speed * u, rtol=2e-3)
    np.testing.assert_allclose(x[:2, :, 0], place * u, rtol=2e-3)


@pytest.mark.parametrize("cut", [0.05, 0.2])
def test_truncated_jumps_keep_the_covariance_and_the_weak_error_bounds_what_is_lost(cut):
    """ν(dz) = e^{−|z|}/|z|^{2.2} dz in two dimensions: cov = T ∫z²ν γγ', and |E cos X − E cos X^ε| ≤ the bound.

    E e^{isX_T} = exp(T ∫ (cos sz − 1) ν(dz)), by quadrature, on both sides.
    """

    def density(z):
        return float(np.exp(-abs(z)) / abs(z) ** 2.2)

    horizon, players, paths = 0.6, 3, 20_000
    loading = np.array([[1.0, 0.5], [0.3, -0.8], [0.0, 1.2]])
    found = truncate(density, cut)
    sigma, jumps = found.noise(loading)
    costs = symmetric_costs((players, 2, 2), Draws(jax.random.key(1)))
    game = DistributedGame(
        costs=costs, initial=jnp.zeros((players, 2)), horizon=horizon, diffusion=sigma, jumps=(jumps,)
    )
    grid = Grid(np.array([0.0, 0.25, 0.6]))
    draw = jax.jit(lambda key: jnp.sum(draw_noise(game, grid, key, paths, dtype=jnp.float64).increments, axis=0))
    total = np.asarray(draw(jax.random.key(3)))
    z = np.geomspace(1e-9, 60.0, 400_001)
    nu = 2.0 * np.exp(-z) / z**2.2  # both sides
    second = np.trapezoid(z**2 * nu, z)
    for i in range(players):
        wanted = horizon * second * np.outer(loading[i], loading[i])
        spread = np.std(total[:, None, i] * total[None, :, i], axis=-1) / np.sqrt(paths)
        assert np.all(np.abs(np.cov(total[:, i], bias=True) - wanted) < 4.5 * spread + 1e-4 * second)
        assert np.all(np.abs(total[:, i].mean(axis=1)) < 4.5 * total[:, i].std(axis=1) / np.sqrt(paths) + 1e-12)
    exact = np.exp(horizon * np.trapezoid((np.cos(z) - 1.0) * nu, z))
    stand_in = np.exp(horizon * (-0.5 * found.variance + found.rate * found.weights @ (np.cos(found.marks) - 1.0)))
    assert 1e-8 < abs(exact - stand_in) <= found.weak_error(horizon)
