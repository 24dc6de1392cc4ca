"""Fitting the exchange agent: mixtures against scikit-learn, known synthetic laws recovered, scores, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from sklearn.mixture import GaussianMixture as Estimator

from diffgames.errors import InvalidInput
from diffgames.markets.ecn_fit import DataWarning, fit_exchange
from diffgames.markets.ecn_samples import transitions
from diffgames.markets.ecn_theory import VolumeLaw, long_run_mean
from diffgames.markets.level2 import read_level2
from diffgames.markets.mixture_fit import fit_mixture
from diffgames.markets.synthetic import SyntheticParameters, synthetic_level2


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    generator = np.random.default_rng(0)
    parts = [generator.normal([0, 5, 1], [1, 0.5, 2], (700, 3)), generator.normal([3, -5, 0], [0.3, 2, 1], (300, 3))]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def fitted():
    """A model and its report on forty minutes of synthetic data."""
    return fit_exchange(synthetic_level2(seconds=2400, seed=1), levels=3, components=2, seed=0)


def test_the_mixture_is_scikit_learns(samples):
    fit = fit_mixture(samples, 2, 1e-3, 0)
    standard = (samples - samples.mean(axis=0)) / samples.std(axis=0)
    twin = Estimator(2, reg_covar=1e-3, random_state=0, max_iter=300).fit(standard)
    np.testing.assert_allclose(fit.log_likelihood(samples), twin.score_samples(standard), rtol=1e-6, atol=1e-8)


def test_the_compiled_mixture_draws_from_the_fitted_law(samples):
    """Mean and covariance of 40,000 draws within five standard errors of the mixture's own."""
    fit = fit_mixture(samples, 2, 1e-3, 0)
    mixture = fit.mixture()
    drawn = np.asarray(jax.vmap(mixture.sample)(jax.random.split(jax.random.key(0), 40_000)), float)
    mean, factor = np.asarray(mixture.means, float), np.asarray(mixture.cholesky, float)
    weights = np.asarray(mixture.weights, float)
    centre = weights @ mean
    covariance = sum(
        w * (f @ f.T + np.outer(m - centre, m - centre)) for w, m, f in zip(weights, mean, factor, strict=True)
    )
    error = np.sqrt(np.diag(covariance) / len(drawn))
    assert (np.abs(drawn.mean(axis=0) - centre) < 5 * error).all()
    products = (drawn - centre)[:, :, None] * (drawn - centre)[:, None, :]
    assert (np.abs(products.mean(axis=0) - covariance) < 5 * products.std(axis=0) / len(drawn) ** 0.5).all()


def test_expected_excess_is_the_integral(samples):
    fit = fit_mixture(samples, 2, 1e-3, 0)
    for sign, level in ((1.0, 0.0), (-1.0, 0.5)):
        exact = fit.mean_above(level, sign)
        for i in range(3):
            scale = fit.scale[i] * np.sqrt((fit.cholesky[:, i] ** 2).sum(axis=1))
            mean = fit.centre[i] + fit.scale[i] * fit.means[:, i]
            density = lambda x, mean=mean, scale=scale: fit.weights @ stats.norm.pdf(x, mean, scale)  # noqa: E731
            value = integrate.quad(lambda x, d=density: max(sign * x - level, 0) * d(x), -25, 25, limit=300)[0]
            assert exact[i] == pytest.approx(value, rel=1e-4, abs=1e-6)


def test_a_known_law_is_recovered(fitted):
    """Long-run mean volumes and falls of the synthetic generator, from data alone."""
    model, report = fitted
    truth = SyntheticParameters()
    law = VolumeLaw.of_exchange(model, jax.random.key(0), 50_000)
    recorded = np.asarray(report.recorded["mean_volume"])
    np.testing.assert_allclose(np.asarray(report.simulated["mean_volume"]), recorded, rtol=0.08)
    np.testing.assert_allclose(long_run_mean(law), recorded, rtol=0.08)
    np.testing.assert_allclose(recorded, np.tile(truth.mean_volume[:3], 2), rtol=0.12)
    assert report.simulated["mid_deviation"] == pytest.approx(report.recorded["mid_deviation"], rel=0.3)
    assert report.simulated["spread_share"][0] == pytest.approx(report.recorded["spread_share"][0], abs=0.03)


def test_the_report_states_its_parts_and_floor(fitted):
    _, report = fitted
    counts = report.transitions
    total = sum(counts.values())
    assert counts["train"] == pytest.approx(0.70 * total, abs=1) and counts["test"] == pytest.approx(
        0.15 * total, abs=1
    )
    assert report.variance_floor == 1e-3 and "variance floor 0.001" in str(report)
    for score in (report.log_likelihood, report.dequantised_log_likelihood, report.energy_score):
        assert set(score) == {"train", "validation", "test"} and np.isfinite(list(score.values())).all()


def test_the_energy_score_prefers_the_right_volumes():
    """A model whose rises are three times too large scores worse on the same transitions."""
    import equinox as eqx

    from diffgames.markets.ecn_scores import energy_scores

    data = synthetic_level2(seconds=1500, seed=2)
    model, _ = fit_exchange(data, levels=2, components=2, seed=0)
    pairs = transitions(data, 2)
    scale = np.ones(6)
    wrong = eqx.tree_at(lambda m: m.unit, model, 3.0 * model.unit)
    good, bad = (energy_scores(m, pairs, scale, jax.random.key(0)) for m in (model, wrong))
    difference = bad - good
    assert difference.mean() > 3 * difference.std() / len(difference) ** 0.5


def test_a_mirrored_fit_has_no_drift(fitted):
    model, _ = fitted
    assert float(model.mirror) == 0.5
    drawn = jax.vmap(lambda key: model.sample_levels(key, model.mean_volume, jnp.float32(1.0)))(
        jax.random.split(jax.random.key(4), 40_000)
    )
    change = 2.0 * np.asarray(drawn[2], float) - (np.asarray(drawn[1], float) - 1.0)
    assert abs(change.mean()) < 4 * change.std() / len(change) ** 0.5


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"components": 0}, "components"), ({"variance_floor": 2.0}, "variance_floor"), ({"step": 0.0}, "step")],
)
def test_settings_without_sense_are_named(changes, key):
    with pytest.raises(InvalidInput, match=f"^{key}"):
        fit_exchange(synthetic_level2(seconds=200, seed=0), **changes)


def test_more_components_than_samples_are_refused():
    with pytest.raises(InvalidInput, match=r"^components: 6 .*from 1 to 5"):
        fit_mixture(np.zeros((5, 2)), 6, 1e-3, 0)


def test_too_few_rows_and_too_few_levels_are_named():
    with pytest.raises(InvalidInput, match=r"^data"):
        fit_exchange(synthetic_level2(seconds=60, seed=0))
    with pytest.raises(InvalidInput, match=r"level"):
        fit_exchange(synthetic_level2(seconds=900, seed=0), levels=11)


@pytest.mark.slow
def test_recorded_days_fit(shared_data):
    """An index future fits with its mean depth kept; a small-tick stock draws the warning that it does not."""
    es = next((shared_data / "es").glob("*l2_10_1s.csv.gz"))
    _, report = fit_exchange(read_level2(es))
    assert sum(report.dropped.values()) == 5
    np.testing.assert_allclose(report.simulated["mean_volume"], report.recorded["mean_volume"], rtol=0.25)
    stock = next((shared_data / "lobster").glob("*l2_10_1s.csv.gz"))
    with pytest.warns(DataWarning, match="one tick apart"):
        fit_exchange(read_level2(stock))
