"""Simulated paths against closed forms: order of convergence, martingales, regimes, costs and their errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, GaussianLaw, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw, NormalMarks
from diffgames.simulation.paths import simulate
from diffgames.simulation.rollout import Scheme, run_batch

CHAIN = jnp.array([[-0.9, 0.7, 0.2], [0.6, -0.8, 0.2], [0.5, 1.0, -1.5]])


def decay(t, x, u, i):
    return -0.5 * x


def proportional(t, x, u, i):
    return 0.8 * x[:, None]


def nothing(t, x, u, i):
    return jnp.zeros(1)


def end(x, i):
    return x


def one_player(**changes) -> DifferentialGame:
    """A scalar diffusion dX = −aX dt + bX dW that nobody steers, with cost X_T."""
    described = {
        "players": ("only",),
        "control_sizes": (1,),
        "drift": decay,
        "diffusion": proportional,
        "running_cost": nothing,
        "terminal_cost": end,
        "initial": PointLaw(jnp.ones(1)),
        "horizon": 1.0,
    } | changes
    return DifferentialGame(**described)


def idle(t, x, i):
    return (jnp.zeros(1),)


@pytest.mark.parametrize(
    ("diffusion", "order"),
    [(lambda t, x, u, i: 0.8 * x[:, None], 0.5), (lambda t, x, u, i: jnp.full((1, 1), 0.8), 1.0)],
)
def test_strong_order(diffusion, order):
    game, fine = one_player(diffusion=diffusion), 1024
    ends = {}
    for steps in (16, 32, 64, 128, fine):
        scheme = Scheme(refine=fine // steps)
        found = simulate(game, idle, jax.random.key(3), paths=2000, steps=steps, keep=steps, scheme=scheme)
        ends[steps] = found.state[:, -1, 0]
    errors = [float(jnp.mean(jnp.abs(ends[steps] - ends[fine]))) for steps in (16, 32, 64, 128)]
    observed = -np.polyfit(np.log([16, 32, 64, 128]), np.log(errors), 1)[0]
    assert abs(observed - order) < 0.15


def test_weak_order_and_the_exact_moments_of_the_scheme():
    game, fine = one_player(terminal_cost=lambda x, i: x**2), 512
    costs = {}
    for steps in (8, 16, 32, fine):
        scheme = Scheme(refine=fine // steps)
        found = simulate(game, idle, jax.random.key(5), paths=20_000, steps=steps, keep=0, scheme=scheme)
        costs[steps] = found.costs[:, 0]
        h = 1.0 / steps
        exact = ((1 - 0.5 * h) ** 2 + 0.64 * h) ** steps
        assert abs(float(found.cost[0]) - exact) < 4 * float(found.standard_error[0])
    errors = [abs(float(jnp.mean(costs[steps] - costs[fine]))) for steps in (8, 16, 32)]
    observed = -np.polyfit(np.log([8, 16, 32]), np.log(errors), 1)[0]
    assert abs(observed - 1.0) < 0.3


def test_running_and_terminal_cost_are_discounted():
    game = one_player(
        drift=lambda t, x, u, i: 0 * x,
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        running_cost=lambda t, x, u, i: x + u[0],
        discount=0.3,
        horizon=2.0,
    )
    found = simulate(game, lambda t, x, i: (t[None],), jax.random.key(0), paths=2, steps=4000, keep=0)
    rho, horizon = 0.3, 2.0
    decay = np.exp(-rho * horizon)
    exact = (1 - decay) / rho + (1 - decay * (1 + rho * horizon)) / rho**2 + decay
    np.testing.assert_allclose(found.cost, [exact], rtol=1e-3)
    np.testing.assert_allclose(found.standard_error, [0.0], atol=1e-12)


def test_compensated_jumps_are_martingales_of_the_right_variance():
    """Two laws of jumps, several in a step: E X_T = x₀, Var = Σ λ E γ² T; uncompensated ones drift by λ E γ T."""
    still = {"drift": lambda t, x, u, i: 0 * x, "diffusion": lambda t, x, u, i: jnp.zeros((1, 1))}
    normal = NormalMarks(jnp.array(0.3), jnp.array(0.4))

    def law(rate, size, compensated=True):
        marks = FixedMark(jnp.array([-0.2])) if size is None else normal
        return JumpLaw(lambda t, x, u, i: jnp.asarray(rate), lambda t, x, u, z, i: z, marks, compensated)

    game = one_player(**still, jumps=(law(30.0, None), law(40.0, "normal")))
    found = simulate(game, idle, jax.random.key(1), paths=40_000, steps=5)
    variance = 30.0 * 0.04 + 40.0 * (0.09 + 0.16)
    assert abs(float(found.cost[0]) - 1.0) < 4 * float(found.standard_error[0])
    np.testing.assert_allclose(found.deviation[-1, 0] ** 2, variance, rtol=0.03)
    drifting = one_player(**still, jumps=(law(50.0, None, compensated=False), law(40.0, "normal", compensated=False)))
    found = simulate(drifting, idle, jax.random.key(2), paths=40_000, steps=5, antithetic=True)
    assert abs(float(found.cost[0]) - (1.0 - 50.0 * 0.2 + 40.0 * 0.3)) < 4 * float(found.standard_error[0])
    np.testing.assert_allclose(found.deviation[-1, 0] ** 2, 50.0 * 0.04 + 40.0 * 0.25, rtol=0.03)


def test_sums_of_many_jumps_are_differentiated():
    """Costs linear in θ, the size of some twenty jumps a step: ∂J = J/θ, path by path, whatever closes over θ."""
    marks = NormalMarks(jnp.array(0.3), jnp.array(0.4))

    def cost(theta):
        law = JumpLaw(lambda t, x, u, i: jnp.asarray(40.0), lambda t, x, u, z, i: theta * z**2 + u[0], marks, False)
        game = one_player(drift=lambda t, x, u, i: 0 * x, diffusion=lambda t, x, u, i: jnp.zeros((1, 1)), jumps=(law,))
        profile = lambda t, x, i: (theta[None],)  # noqa: E731 - a profile is a function
        return jnp.mean(run_batch(game, profile, jax.random.key(0), 2000, 2, Scheme(refine=2)).costs[0]) - 1.0

    value, slope = jax.jit(jax.value_and_grad(cost))(jnp.asarray(1.5))
    np.testing.assert_allclose(value, 1.5 * slope, rtol=1e-10)
    np.testing.assert_allclose(slope, 40.0 * (1 + 0.09 + 0.16), rtol=0.02)


def test_units_of_cost_time_and_state_do_not_matter():
    """Costs × c, times × s, prices × p: the same paths in these units, jumps and a moved chain included."""

    def costs(c: float, s: float, p: float):
        law = JumpLaw(
            lambda t, x, u, i: (20.0 + u[0][0] * s / p) / s,
            lambda t, x, u, z, i: z + 0.1 * x,
            NormalMarks(jnp.array(0.3 * p), jnp.array(0.4 * p)),
        )
        game = one_player(
            drift=lambda t, x, u, i: -0.5 * x / s + u[0],
            diffusion=lambda t, x, u, i: jnp.full((1, 1), 0.8 * p / np.sqrt(s)),
            running_cost=lambda t, x, u, i: c / s * ((x / p) ** 2 + (u[0] * s / p) ** 2),
            terminal_cost=lambda x, i: c * (x / p) ** 2,
            initial=PointLaw(jnp.full(1, p)),
            horizon=s,
            discount=0.2 / s,
            jumps=(law,),
            generator=lambda t, x, u, i: CHAIN[i] / s,
        )
        profile = lambda t, x, i: (-0.5 * x / s,)  # noqa: E731 - a profile is a function
        found = simulate(game, profile, jax.random.key(0), paths=100, steps=4)
        return np.asarray(found.costs) / c, np.asarray(found.regime)

    plain = costs(1.0, 1.0, 1.0)
    scaled = costs(1e-15, 1 / 31_536_000.0, 1e-12)
    np.testing.assert_allclose(scaled[0], plain[0], rtol=1e-9)
    np.testing.assert_array_equal(scaled[1], plain[1])


@pytest.mark.parametrize("rate", [-1.0, np.nan, np.inf, 1e12])
def test_rates_that_are_none_are_told_not_simulated(rate):
    """Of a jump and of a switch, from a time on; under a transformation the paths are NaN."""

    def late(t):
        return jnp.where(t > 0.4, rate, 1.0)

    jumps = (JumpLaw(lambda t, x, u, i: late(t), lambda t, x, u, z, i: z, FixedMark(jnp.ones(1))),)
    with pytest.raises(InvalidInput, match=r"jumps\[0\].rate"):
        simulate(one_player(jumps=jumps), idle, jax.random.key(0), paths=4, steps=4)
    cost = jax.jit(lambda key: simulate(one_player(jumps=jumps), idle, key, paths=4, steps=4).cost)
    assert np.isnan(cost(jax.random.key(0))).all()
    if not rate > 1:
        chain = one_player(generator=lambda t, x, u, i: jnp.stack([-late(t), late(t)]))
        with pytest.raises(InvalidInput, match="generator"):
            simulate(chain, idle, jax.random.key(0), paths=4, steps=4)


def test_jumps_proportional_to_the_state_stay_a_martingale():
    law = JumpLaw(
        rate=lambda t, x, u, i: 30.0 * x[0] ** 2 / (1.0 + x[0] ** 2),
        size=lambda t, x, u, z, i: x * jnp.expm1(z),
        marks=NormalMarks(jnp.array(-0.2), jnp.array(0.3)),
    )
    game = one_player(drift=lambda t, x, u, i: 0 * x, jumps=(law,))
    found = simulate(game, idle, jax.random.key(8), paths=40_000, steps=5)
    assert abs(float(found.cost[0]) - 1.0) < 4 * float(found.standard_error[0])


def test_regimes_follow_the_matrix_exponential_whatever_the_step():
    game = one_player(generator=CHAIN)
    for steps in (1, 10):
        found = simulate(game, idle, jax.random.key(4), paths=40_000, steps=steps)
        exact = expm(np.asarray(CHAIN))[0]
        np.testing.assert_allclose(found.occupation[-1], exact, atol=4 * 0.5 / 200)
        np.testing.assert_array_equal(found.occupation[0], [1.0, 0.0, 0.0])


def test_modulated_regimes_converge_at_first_order():
    """A generator that is a function steps at first order; here it is constant, so that the truth is known."""
    game = one_player(generator=lambda t, x, u, i: CHAIN[i])
    exact = expm(np.asarray(CHAIN))[0]
    errors = []
    for steps in (4, 8, 16):
        found = simulate(game, idle, jax.random.key(4), paths=200_000, steps=steps, keep=0)
        errors.append(float(jnp.sum(jnp.abs(found.occupation[-1] - exact))))
    observed = -np.polyfit(np.log([4, 8, 16]), np.log(errors), 1)[0]
    assert 0.7 < observed < 1.4


def test_the_state_jumps_at_a_switch():
    game = one_player(
        drift=lambda t, x, u, i: 0 * x,
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        generator=jnp.array([[-1.0, 1.0], [0.0, 0.0]]),
        switch=lambda t, x, i, j: 3.0 * x,
    )
    found = simulate(game, idle, jax.random.key(6), paths=10_000, steps=5)
    np.testing.assert_array_equal(found.state[..., 0], np.where(found.regime == 1, 3.0, 1.0))
    np.testing.assert_allclose(found.occupation[-1, 0], np.exp(-1.0), atol=0.02)


def test_antithetic_pairs_reduce_the_variance_and_tell_the_right_error():
    game = one_player(diffusion=lambda t, x, u, i: jnp.full((1, 1), 0.8), terminal_cost=lambda x, i: jnp.exp(0.5 * x))
    options = {"paths": 400, "steps": 10, "keep": 0}
    keys = jax.random.split(jax.random.key(9), 60)
    spread = {}
    for antithetic in (False, True):
        runs = [simulate(game, idle, key, antithetic=antithetic, **options) for key in keys]
        told = np.mean([float(run.standard_error[0]) for run in runs])
        spread[antithetic] = np.std([float(run.cost[0]) for run in runs])
        assert 0.7 < spread[antithetic] / told < 1.4
    assert spread[True] < 0.4 * spread[False]


def test_chunks_and_kept_steps_tell_one_story():
    game = one_player(generator=CHAIN, initial=GaussianLaw(jnp.ones(1), jnp.eye(1)))
    profile = lambda t, x, i: (-x,)  # noqa: E731 - a profile is a function
    found = simulate(game, profile, jax.random.key(2), paths=250, steps=12, keep=3, scheme=Scheme(chunk=100))
    assert found.state.shape == (250, 5, 1) and found.regime.shape == (250, 5)
    assert found.control[0].shape == (250, 4, 1) and found.costs.shape == (250, 1)
    np.testing.assert_allclose(found.kept_time, [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(found.mean[::3], found.state.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.deviation[::3], found.state.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(found.control[0], -found.state[:, :-1])
    np.testing.assert_allclose(found.costs[:, 0], found.state[:, -1, 0])
    assert np.unique(np.asarray(found.state[:, 0, 0])).size == 250
    streamed = simulate(game, profile, jax.random.key(2), paths=250, steps=12, keep=0, scheme=Scheme(chunk=100))
    np.testing.assert_array_equal(streamed.costs, found.costs)
    assert streamed.state is None and "250 paths" in repr(streamed)


def test_one_trace_for_all_parameters_and_keys():
    count = [0]

    def drift(t, x, u, i):
        count[0] += 1
        return -0.5 * x

    for seed in range(3):
        game = one_player(drift=drift, initial=PointLaw(jnp.array([1.0 + seed])), generator=CHAIN * (1 + seed))
        simulate(game, idle, jax.random.key(seed), paths=4, steps=4)
        traces = count[0] if seed == 0 else traces
    assert count[0] == traces <= 3  # shape check, scan body, its rematerialised form


def test_single_precision_stays_single():
    single = jnp.float32
    game = one_player(
        drift=lambda t, x, u, i: -x + u[0],
        running_cost=lambda t, x, u, i: x**2,
        initial=PointLaw(jnp.ones(1, single)),
        jumps=(
            JumpLaw(
                lambda t, x, u, i: jnp.asarray(1.0, single),
                lambda t, x, u, z, i: z * x,
                NormalMarks(jnp.asarray(0.1, single), jnp.asarray(0.1, single)),
            ),
        ),
        generator=CHAIN.astype(single),
    )
    found = simulate(game, lambda t, x, i: (-x,), jax.random.key(0), paths=16, steps=4)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(single), jnp.dtype(jnp.int32)}


def test_score_function_gradient_of_controlled_intensities():
    """J(θ) = E N_T² = θT + θ²T² for jumps of size one at intensity θ; ∂J = T + 2θT²."""
    law = JumpLaw(lambda t, x, u, i: u[0][0], lambda t, x, u, z, i: z, FixedMark(jnp.ones(1)), compensated=False)
    game = one_player(
        drift=lambda t, x, u, i: 0 * x,
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        terminal_cost=lambda x, i: x**2,
        initial=PointLaw(jnp.zeros(1)),
        jumps=(law,),
    )

    def cost(theta, key):
        batch = run_batch(game, lambda t, x, i: (theta[None],), key, 1000, 10, Scheme(), score=True)
        return jnp.mean(batch.costs[0])

    gradients = jax.vmap(jax.jit(jax.grad(cost)), in_axes=(None, 0))(
        jnp.asarray(1.5), jax.random.split(jax.random.key(1), 40)
    )
    error = float(jnp.std(gradients)) / np.sqrt(39)
    assert abs(float(jnp.mean(gradients)) - 4.0) < 4 * error < 0.4


def test_score_function_gradient_of_a_controlled_generator():
    """Time in regime 1 when 0 → 1 at rate θ and no return: ∫ (1 − e^{−θt}) dt; its derivative in closed form."""
    game = one_player(
        generator=lambda t, x, u, i: jnp.where(i == 0, jnp.concatenate([-u[0], u[0]]), 0.0),
        running_cost=lambda t, x, u, i: jnp.where(i == 1, 1.0, 0.0)[None],
        terminal_cost=lambda x, i: jnp.zeros(1),
    )

    def cost(theta, key):
        batch = run_batch(game, lambda t, x, i: (theta[None],), key, 1000, 50, Scheme(), score=True)
        return jnp.mean(batch.costs[0])

    gradients = jax.vmap(jax.jit(jax.grad(cost)), in_axes=(None, 0))(
        jnp.asarray(2.0), jax.random.split(jax.random.key(1), 40)
    )
    times = np.arange(50) / 50
    exact = np.sum(times * np.exp(-2.0 * times)) / 50
    assert abs(float(jnp.mean(gradients)) - exact) < 4 * float(jnp.std(gradients)) / np.sqrt(39) < 0.01


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"paths": 0}, "paths"),
        ({"steps": 0}, "steps"),
        ({"keep": 3}, "divisor"),
        ({"paths": 3, "antithetic": True}, "even"),
        ({"horizon": -1.0}, "positive"),
    ],
)
def test_slips_are_named(options, key):
    with pytest.raises(InvalidInput, match=key):
        simulate(one_player(), idle, jax.random.key(0), **({"paths": 4, "steps": 4} | options))


def test_a_game_without_end_needs_a_horizon():
    game = one_player(horizon=np.inf, running_cost=lambda t, x, u, i: jnp.ones(1))
    with pytest.raises(InvalidInput, match="horizon"):
        simulate(game, idle, jax.random.key(0), paths=4, steps=4)
    found = simulate(game, idle, jax.random.key(0), paths=4, steps=4, horizon=2.0)
    np.testing.assert_allclose(found.cost, [2.0])
    with pytest.raises(InvalidInput, match="as_differential"):
        simulate(3, idle, jax.random.key(0), paths=4, steps=4)
