"""Steps on two timescales and the dynamic regret of what they track, against a plain loop, moments and growth rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffgames.errors import InvalidInput
from diffgames.learning.two_timescales import (
    DRIFTS,
    TwoTimescales,
    constant_step,
    sorted_distance,
    targets,
    track,
    wasserstein_floor,
)
from diffgames.numerics.wasserstein import wasserstein
from diffgames.studies.rates import fitted_exponent

REPLICATIONS = 32


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=7, max_size=7), st.floats(-3, 3))
def test_the_distance_of_samples_is_the_assignment_problems(values, shift):
    x = np.asarray(values)
    y = x[::-1] ** 2 + shift
    with jax.enable_x64(True):  # where learning is tested in single precision, too
        found = float(sorted_distance(jnp.asarray(x), jnp.asarray(y)))
    assert found == pytest.approx(wasserstein(x[:, None], y[:, None]), abs=1e-12)


def test_two_samples_of_one_law_lie_as_far_apart_as_the_floor_says():
    rng = np.random.default_rng(0)
    for agents in (50, 400):
        x, y = np.sort(rng.standard_normal((2, 600, agents)), axis=-1)
        seen = np.abs(x - y).mean(axis=1)
        error = seen.std() / np.sqrt(len(seen))
        assert wasserstein_floor(agents) == pytest.approx(seen.mean(), abs=4 * error + 0.02 * seen.mean())


def test_steps_are_the_printed_ones():
    steps = TwoTimescales(actor=0.5, rounds=20.0, modulation=5.0, critic_decay=0.6)
    at = [float(steps.actor_step(jnp.asarray(t), jnp.asarray(0.2))) for t in (5.0, 20.0, 200.0)]
    assert at == pytest.approx([0.25, 0.25, 0.025])
    early, late = (steps.actor_step(t, jnp.zeros(())) / steps.critic_step(t) for t in jnp.asarray([1e3, 1e6]))
    assert late < 0.1 * early  # α/η → 0
    assert float(constant_step(0.1).actor_step(jnp.asarray(1e6), jnp.asarray(9.0))) == pytest.approx(0.1)
    held = TwoTimescales(floor=0.187)
    assert float(held.actor_step(jnp.asarray(1.0), jnp.asarray(0.1))) == 0.5


def test_without_noise_and_modulation_regret_is_that_of_a_plain_loop():
    steps = TwoTimescales(modulation=0.0, critic=0.8, critic_decay=0.3)
    found = track(np.stack([targets(d, 60) for d in DRIFTS]), [steps], jax.random.key(0), noise=0.0, replications=2)
    for j, drift in enumerate(DRIFTS):
        theta = v = regret = 0.0
        for t, aim in enumerate(targets(drift, 60), start=1):
            regret += 0.5 * (theta - aim) ** 2
            v += 0.8 * t**-0.3 * (aim - v)
            theta -= 0.5 * min(1.0, 20.0 / t) * (theta - v)
        np.testing.assert_allclose(found.regret[0, j], regret, rtol=1e-12)
        np.testing.assert_allclose(found.expected[0, j], regret, rtol=1e-12)


def test_sampled_regret_has_the_mean_that_the_moments_give():
    learners = [TwoTimescales(), TwoTimescales(critic_decay=0.6), constant_step(0.1)]
    target = np.stack([targets(d, 300) for d in DRIFTS])
    found = track(target, learners, jax.random.key(1), replications=REPLICATIONS)
    apart = np.asarray(found.regret - found.expected)
    error = apart.std(axis=2, ddof=1) / np.sqrt(REPLICATIONS)
    assert np.all(np.abs(apart.mean(axis=2)) < 4.0 * error)


def test_the_printed_step_freezes_and_its_regret_outgrows_the_square_root():
    """Exact exponents 2, 3 and 1 of a step like 1/t; the lemma says ½."""
    rounds = np.asarray([250, 500, 1000])
    found = [
        track(np.stack([targets(d, int(n)) for d in DRIFTS]), [TwoTimescales()], jax.random.key(2), replications=4)
        for n in rounds
    ]
    table = np.stack([np.asarray(one.expected[0]) for one in found], axis=1)
    table[3] -= table[0]  # what the start costs, with jumps or without
    slopes = [fitted_exponent(rounds.astype(float), row)[0] for row in table]
    assert slopes == pytest.approx([0.06, 2.0, 3.0, 1.0], abs=0.06)


def test_wrong_input_is_told():
    with pytest.raises(InvalidInput, match="drift"):
        targets("cubic", 10)
    with pytest.raises(InvalidInput, match="agents"):
        track(np.ones((1, 3)), [TwoTimescales()], jax.random.key(0), agents=0)
