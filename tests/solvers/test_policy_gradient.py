"""Learning the potential of the flocking game against its exact optimum; the comparisons against the same."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Gaussian, Quadratic
from diffgames.solvers.distributed_paths import draw_noise, graded_grid, potential_of_paths
from diffgames.solvers.policies import Sum, centred, linear_gains, local_gains, residual_networks, settled
from diffgames.solvers.policy_gradient import Schedule, gradient_step, learn_potential
from diffgames.solvers.potential_lq import exact, exact_on_grid

TARGETS = np.array([[0.25, 0.0], [0.0, 0.5], [-0.75, 0.0], [0.0, -1.0]])
RATES = np.array([0.3, 0.2, 0.2, 0.2])
STEPS, GRADE, PATIENCE = 50, 1.5, 0.005


def flocking(weights, **changes):
    settings = {"terminal_weight": 40.0, "rates": RATES, "normalise": False} | changes
    return crowd_game(Quadratic(), weights, TARGETS, **settings)


@pytest.mark.parametrize(
    ("weights", "value"),
    [(networks.complete(4), 0.8470033861), (networks.groups(((2, 3), (1, 4)), 4), 0.4446376458)],
    ids=["uniform", "groups"],
)
def test_the_exact_optimum_is_the_reference_and_euler_converges_to_it(weights, value):
    game = flocking(weights)
    assert exact(game).potential == pytest.approx(value, abs=5e-10)
    on_grids = [exact_on_grid(game, graded_grid(1.0, steps, 1.5)).potential for steps in (400, 800, 1600)]
    errors = np.abs(np.asarray(on_grids) - value)
    ahead = abs(2 * on_grids[2] - on_grids[1] - value)
    assert ahead < 0.1 * errors[2] or ahead < 2e-6
    assert errors[2] < 1e-3


def test_fifty_uniform_steps_miss_the_two_group_optimum_by_four_percent():
    game = flocking(networks.groups(((2, 3), (1, 4)), 4))
    ratio = exact_on_grid(game, graded_grid(1.0, 50)).potential / exact(game).potential
    assert ratio == pytest.approx(1.043, abs=1e-3)


@pytest.fixture(scope="module")
def learned():
    game, grid = flocking(networks.complete(4)), graded_grid(1.0, STEPS, GRADE)
    start = centred(linear_gains(game, patience=PATIENCE, grade=GRADE), game, STEPS, GRADE)
    schedule = Schedule(epochs=16, steps=50, paths=150, learning_rate=0.05, decay=0.8)
    found = learn_potential(game, start, grid, schedule, jax.random.key(0))
    return game, grid, settled(found.policy, game, grid), found


def test_linear_gains_reach_the_optimum_of_their_steps(learned):
    game, grid, policy, found = learned
    noise = draw_noise(game, grid, jax.random.key(5), 6000)
    value = np.asarray(eqx.filter_jit(potential_of_paths)(game, policy, grid, noise), float)
    best = exact_on_grid(game, grid).potential
    error = value.std(ddof=1) / np.sqrt(value.size)
    assert value.mean() - best > -3.0 * error, "nothing is below the optimum"
    assert value.mean() - 3.0 * error < 1.01 * best, "within one percent"
    assert np.isfinite(found.losses).all() and found.seconds_per_step > 0


def test_learning_goes_on_from_a_checkpoint_bit_for_bit():
    game, grid = flocking(networks.complete(4)), graded_grid(1.0, STEPS, GRADE)
    policy = linear_gains(game, patience=PATIENCE, grade=GRADE)
    schedule = Schedule(epochs=2, steps=3, paths=8, learning_rate=0.05)

    saved = []

    class Slot:
        def load(self, like):
            return saved[0] if saved else None

        def save(self, tree):
            saved.append(tree)

    through = learn_potential(game, policy, grid, schedule, jax.random.key(1), checkpoint=Slot())
    again = learn_potential(game, policy, grid, schedule, jax.random.key(1), checkpoint=Slot())  # from after epoch one
    assert np.array_equal(through.losses, again.losses)
    assert eqx.tree_equal(through.policy, again.policy)


class Shared(eqx.Module):
    """A stranger's policy: one multilayer perceptron that everybody shares."""

    net: eqx.nn.MLP

    def __call__(self, t, x, y):
        one = jax.vmap(jax.vmap(self.net, in_axes=-1, out_axes=-1), in_axes=-1, out_axes=-1)
        return one(jnp.concatenate([jnp.broadcast_to(t, (1, *x.shape[1:])), x, y]))


def test_any_equinox_module_is_a_policy_and_its_rate_falls_on_plateaus():
    """The rate of every epoch is that of the rule, walked through anew on the losses that were met."""
    game = crowd_game(Quadratic(), networks.complete(4), np.full((4, 2), 0.5), terminal_weight=4.0, rates=RATES)
    policy = Shared(eqx.nn.MLP(5, 2, 8, 1, activation=jnp.tanh, key=jax.random.key(0), dtype=jnp.float32))
    schedule = Schedule(epochs=40, steps=4, paths=8, learning_rate=0.1, patience=1, factor=0.5, average=0.0)
    met = []

    class Slot:
        def load(self, like):
            return None

        def save(self, learner):
            met.append(float(learner.rate))

    found = learn_potential(game, policy, graded_grid(1.0, 6), schedule, jax.random.key(2), checkpoint=Slot())
    means = found.losses.mean(axis=1)
    assert means[-1] < 0.8 * means[0] and isinstance(found.policy, Shared)
    rate, best, waited = 0.1, np.inf, 0
    for loss, after in zip(means, met, strict=True):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited > 1:
            rate, waited = 0.5 * rate, 0
        assert after == pytest.approx(rate, rel=1e-5)
    assert met[-1] < 0.1


def test_networks_and_local_gains_descend():
    game = crowd_game(Gaussian(10.0), networks.complete(4), np.full((4, 2), 0.5), rates=RATES, normalise=False)
    grid = graded_grid(1.0, 10)
    nets = residual_networks(game, jax.random.key(1), blocks=2)
    for policy in (Sum(local_gains(game, patience=0.2), nets),):
        found = learn_potential(game, policy, grid, Schedule(3, 20, 64, learning_rate=0.01), jax.random.key(2))
        assert found.losses[-1].mean() < 0.8 * found.losses[0, 0]


def test_the_gradient_is_the_derivative_of_the_loss():
    game, grid = flocking(networks.complete(4)), graded_grid(1.0, 8)
    policy = linear_gains(game, patience=PATIENCE, key=jax.random.key(3), spread=1.0)
    key = jax.random.key(4)
    _, gradient = gradient_step(game, policy, grid, key, 16)
    shift = 1e-2
    moved = [eqx.tree_at(lambda p: p.offset, policy, policy.offset.at[7, 3].add(side * shift)) for side in (1.0, -1.0)]
    up, down = (float(gradient_step(game, m, grid, key, 16)[0]) for m in moved)
    assert float(gradient.offset[7, 3]) == pytest.approx((up - down) / (2 * shift), rel=2e-2, abs=1e-4)
