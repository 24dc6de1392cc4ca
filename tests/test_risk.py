"""Conditional value at risk: printed values, the definition as a twin, coherence, gradients, measured coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import expon, norm, t

from diffgames.errors import InvalidInput
from diffgames.risk import cvar, cvar_exponential, cvar_normal, cvar_student_t, estimate, mean_cvar

PRINTED = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0])
costs = st.lists(st.floats(-50, 50), min_size=1, max_size=30).map(np.array)
masses = st.floats(0.01, 1.0)


@pytest.mark.parametrize(("mass", "value"), [(0.25, 7.0), (0.5, 5.8), (1.0, 3.9), (0.05, 9.0)])
def test_the_printed_sample(mass, value):
    assert float(cvar(PRINTED, mass)) == pytest.approx(value, abs=1e-14)


@pytest.mark.parametrize(
    ("closed", "law", "mass", "printed"),
    [
        (cvar_normal(0.05), norm, 0.05, 2.0627128075),
        (cvar_normal(0.1), norm, 0.1, 1.7549833193),
        (cvar_normal(0.5), norm, 0.5, 0.7978845608),
        (cvar_student_t(0.1, 4), t(4), 0.1, 2.4993402983),
        (cvar_exponential(0.05), expon, 0.05, 3.9957322736),
    ],
)
def test_closed_forms_are_the_printed_ones_and_the_integral_of_the_tail(closed, law, mass, printed):
    assert closed == pytest.approx(printed, abs=5e-11)
    tail = quad(lambda x: x * law.pdf(x), law.isf(mass), np.inf, epsabs=1e-12)[0] / mass
    assert closed == pytest.approx(tail, abs=1e-8)


def test_closed_forms_move_and_scale_with_the_law_and_end_at_the_mean():
    assert cvar_normal(0.1, 3.0, 2.0) == pytest.approx(3 + 2 * cvar_normal(0.1))
    assert cvar_student_t(0.1, 4, 3.0, 2.0) == pytest.approx(3 + 2 * cvar_student_t(0.1, 4))
    assert (cvar_normal(1.0, 3.0), cvar_student_t(1.0, 4, 3.0), cvar_exponential(1.0, 3.0)) == (3.0, 3.0, 3.0)


@settings(deadline=None, max_examples=25)
@given(costs, masses)
def test_it_is_the_minimum_of_its_definition(samples, mass):
    def definition(z: float) -> float:
        return z + np.maximum(samples - z, 0).mean() / mass

    least = min(definition(z) for z in samples)  # piecewise linear: a minimum lies at a sample
    assert float(cvar(samples, mass)) == pytest.approx(least, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), masses, masses, st.integers(0, 10**6))
def test_it_is_coherent_and_falls_in_the_tail_mass(n, mass, other, seed):
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    a, b = (np.asarray(cvar(np.stack([x, y, x + y, 2 * x + 1]), m)) for m in sorted((mass, other)))
    assert a[2] <= a[0] + a[1] + 1e-12 and a[3] == pytest.approx(2 * a[0] + 1)
    assert (b <= a + 1e-12).all() and (a >= np.stack([x, y, x + y, 2 * x + 1]).mean(axis=1) - 1e-12).all()


def test_it_is_differentiable_batched_and_compiled():
    samples = jnp.asarray(np.random.default_rng(0).normal(size=(3, 40)))
    slopes = jax.jit(jax.grad(lambda x: jnp.sum(mean_cvar(x, 0.13, 0.3))))(samples)
    step = 1e-6 * np.random.default_rng(1).normal(size=samples.shape)
    ends = [np.asarray(mean_cvar(samples + sign * step, 0.13, 0.3)).sum() for sign in (1, -1)]
    assert float(jnp.sum(slopes * step)) == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-6)
    each = [float(mean_cvar(row, 0.13, 0.3)) for row in samples]
    np.testing.assert_allclose(mean_cvar(samples, 0.13, 0.3), each, rtol=1e-14)


def test_single_precision_stays_and_lists_of_numbers_are_double():
    assert float(cvar([3, 1, 2], 0.5)) == float(cvar(jnp.asarray([3, 1, 2]), 0.5)) == pytest.approx(8 / 3)
    with jax.enable_x64(False):
        assert cvar(jnp.ones(4, jnp.float32), 0.5).dtype == jnp.float32
        assert cvar(np.ones(4), 0.5).dtype == jnp.float64 and estimate(np.arange(9.0), 0.5).upper.dtype == jnp.float64


@pytest.mark.parametrize(("weight", "tail", "least"), [(1.0, 50, 0.92), (0.5, 50, 0.92), (1.0, 10, 0.88)])
def test_intervals_hold_the_truth(weight, tail, least):
    rng = np.random.default_rng(0)
    seen = estimate(rng.normal(size=(1000, 10 * tail)), 0.1, weight)
    truth = weight * cvar_normal(0.1)
    assert float(jnp.mean((seen.lower <= truth) & (truth <= seen.upper))) > least


def test_a_risk_averse_exposure_is_the_gaussian_closed_form_on_samples():
    """Hedge u of a position x against xW, W ~ N(0, 1): ½ru² + γκ|x + u| has u = −min(γκ/r, x)."""
    x, r, weight = 2.0, 1.0, 0.5
    noise = jnp.asarray(norm.ppf((np.arange(20_000) + 0.5) / 20_000))  # quantiles: the sample's κ is that of N(0, 1)
    found = minimize_scalar(
        lambda u: float(0.5 * r * u**2 + mean_cvar((x + u) * noise, 0.1, weight)), bounds=(-x, x), method="bounded"
    )
    assert found.x == pytest.approx(-weight * cvar_normal(0.1) / r, abs=2e-3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cvar(PRINTED, 0.0), "tail_mass: 0.0"),
        (lambda: cvar(PRINTED, 1.5), r"a number in \(0, 1\]"),
        (lambda: mean_cvar(PRINTED, 0.5, 2.0), r"weight: 2.0 .* \[0, 1\]"),
        (lambda: cvar(np.zeros(0), 0.5), "at least one sample"),
        (lambda: cvar(np.array([1.0, np.nan]), 0.5), "finite costs"),
        (lambda: estimate(PRINTED, 0.05), "at least 40: two in the tail"),
        (lambda: cvar_student_t(0.1, 1.0), "more than one degree of freedom"),
    ],
)
def test_bad_input_is_told_in_words(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()
