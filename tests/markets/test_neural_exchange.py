"""The neural exchange: its mixture against SciPy's, its hurdles, its symmetry, training, and play in the market."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal

from diffgames.errors import InvalidInput
from diffgames.markets.ecn_fit import fit_exchange
from diffgames.markets.ecn_samples import transitions
from diffgames.markets.ecn_scores import simulate_books
from diffgames.markets.level2 import read_level2
from diffgames.markets.mixture_fit import fit_mixture
from diffgames.markets.neural_exchange import LATENT, MixtureDensityNetwork
from diffgames.markets.neural_fit import fit_neural_exchange
from diffgames.markets.synthetic import synthetic_level2
from toy_market import market_builder, random_play

LEVELS, P = 2, 6


@pytest.fixture(scope="module")
def data():
    return synthetic_level2(seconds=2400, seed=1)


@pytest.fixture(scope="module")
def base(data):
    return fit_exchange(data, levels=LEVELS, components=2, seed=0)[0]


@pytest.fixture(scope="module")
def trained(data, base):
    """One epoch: what it knows does not matter here."""
    return fit_neural_exchange(data, base, components=2, epochs=1)


def network(correlation="full", components=3, p=P, seed=0) -> MixtureDensityNetwork:
    rng = np.random.default_rng(seed)
    fit = fit_mixture(rng.standard_normal((400, p)) @ rng.standard_normal((p, p)), components, 1e-2, seed)
    found = MixtureDensityNetwork.start(fit, np.full(p, 0.4), 1e-2, correlation, jax.random.key(seed))
    noise = 0.5 * rng.standard_normal(found.head.out_features)
    bias = jnp.asarray(np.asarray(found.head.bias) + noise, jnp.float32)
    return eqx.tree_at(lambda one: one.head.bias, found, bias)


def shown(p=P, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((20, p), (p - 1,)))


@pytest.mark.parametrize(("correlation", "printed"), [("full", 455), ("shared", 191), ("fixed", 125)])
def test_heads_have_the_printed_number_of_outputs_and_the_hurdles(correlation, printed):
    assert network(correlation, components=5, p=12).outputs == printed + 5 * 12


def test_unit_rows_are_always_a_correlation_where_tanh_never_is():
    rng = np.random.default_rng(0)
    for _ in range(100):
        raw = np.tanh(rng.standard_normal((12, 12)))
        printed = np.tril(raw, -1) + np.tril(raw, -1).T + np.eye(12)
        assert np.linalg.eigvalsh(printed).min() < 0
    _, _, _, factor = network(components=5, p=12, seed=3)(*shown(12))
    scale = np.linalg.norm(np.asarray(factor, float), axis=-1)
    correlation = np.einsum("cij,ckj->cik", factor, factor) / scale[:, :, None] / scale[:, None]
    np.testing.assert_allclose(np.einsum("cii->ci", correlation), 1.0, rtol=1e-5)
    assert np.linalg.eigvalsh(correlation).min() > -1e-6


@pytest.mark.parametrize("moved", [(1, 1, 1, 1, 1, 1), (1, 0, 1, 0, 0, 1), (0, 0, 0, 0, 0, 0)])
def test_the_likelihood_is_scipys_of_the_marginal_and_the_hurdles(moved):
    found, seen = network(), shown()
    target = np.random.default_rng(1).standard_normal(P)
    ours = found.log_likelihood(*seen, jnp.asarray(target, jnp.float32), jnp.asarray(moved, jnp.float32))
    weights, hurdles, means, factor = (np.asarray(one, float) for one in found(*seen))
    assert np.exp(weights).sum() == pytest.approx(1.0, rel=1e-5)
    kept = np.flatnonzero(moved)
    terms = []
    for weight, logits, mean, lower in zip(weights, hurdles, means, factor, strict=True):
        stays = np.where(moved, np.log(expit(-logits)), np.log(expit(logits))).sum()
        covariance = (lower @ lower.T + 1e-2 * np.eye(P))[np.ix_(kept, kept)]
        density = multivariate_normal(mean[kept], covariance).logpdf(target[kept]) if len(kept) else 0.0
        terms.append(weight + stays + density)
    assert float(ours) == pytest.approx(logsumexp(terms), rel=1e-4)


def test_draws_have_the_mean_and_the_hurdles_of_the_law():
    found, seen = network(), shown()
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn, stays = jax.vmap(lambda key: found.draw(*seen, key))(keys)
    weights, hurdles, means, _ = (np.asarray(one, float) for one in found(*seen))
    drawn, stays = np.asarray(drawn, float), np.asarray(stays, float)
    for values, expected in ((drawn, np.exp(weights) @ means), (stays, np.exp(weights) @ expit(hurdles))):
        error = values.std(axis=0) / np.sqrt(len(values))
        assert np.all(np.abs(values.mean(axis=0) - expected) < 5 * error)


@pytest.mark.slow
def test_what_is_learned_is_better_than_where_it_began_and_the_best_is_kept(data, base):
    exchange, report = fit_neural_exchange(data, base, components=2, epochs=4)
    assert report.outputs == 2 * (1 + 3 * P) + P * (P - 1) // 2 and report.epochs == 4
    assert report.best == int(np.argmax(report.curve))
    for part in ("train", "validation", "test"):
        assert report.log_likelihood[part] > report.mixture_log_likelihood[part] + 1.0
    assert exchange.openings.history.shape == (256, 20, P)


def test_rises_are_counted_in_the_units_that_the_network_was_shown(trained, base):
    """The mixture's own unit puts right the mean of the mixture: with it the network would lose a third of the book."""
    exchange, _ = trained
    np.testing.assert_array_equal(exchange.base.unit, base.mean_volume)
    assert not np.allclose(base.unit, base.mean_volume, rtol=0.01)
    before, rise = jnp.full(2 * LEVELS, 40.0, jnp.float32), 10.0
    spread, still = jnp.float32(1.0), jnp.float32(0.0)
    shown = exchange.scale * exchange.standardised(before, before + rise, spread, still) + exchange.centre
    after, *_ = exchange.base.apply_draw(shown, before, spread)
    np.testing.assert_allclose(after, before + rise, rtol=1e-5)


def test_bid_and_ask_have_one_law(trained):
    """Draws given a history, and draws given its mirror image, mirrored back: means within five standard errors."""
    exchange, _ = trained
    history, volume = exchange.openings.history[3], exchange.openings.volume[3]
    keys = jax.random.split(jax.random.key(1), 20_000)
    other = exchange._mirrored(history, jnp.asarray(True)), jnp.roll(volume, LEVELS)
    draws = jax.vmap(exchange.draw, in_axes=(0, None, None, None))
    one = np.asarray(draws(keys, history, volume, jnp.float32(1.0)), float)
    two = np.asarray(draws(jax.random.split(jax.random.key(2), 20_000), *other, jnp.float32(1.0)), float)
    two = np.asarray(exchange._mirrored(jnp.asarray(two), jnp.asarray(True)))
    error = np.sqrt((one.var(axis=0) + two.var(axis=0)) / len(one))
    assert np.all(np.abs(one.mean(axis=0) - two.mean(axis=0)) < 5 * error)


@pytest.mark.slow
def test_accounts_add_up_on_two_neural_exchanges(trained):
    market = market_builder(trained[0])((1,), (3,), 2, 0.8, steps=12)
    _, (_, record, _) = random_play(market, jax.random.key(0), episodes=4)
    assert np.abs(np.asarray(record.imbalance[..., 0])).max() < 1e-3
    assert np.all(np.asarray(record.best_ask) > np.asarray(record.best_bid))


def test_wrong_settings_are_named(data, base):
    with pytest.raises(InvalidInput, match="correlation"):
        fit_neural_exchange(data, base, correlation="tanh")
    with pytest.raises(InvalidInput, match="epochs"):
        fit_neural_exchange(data, base, epochs=0)
    with pytest.raises(InvalidInput, match="with 20 before them"):
        fit_neural_exchange(synthetic_level2(seconds=600, seed=1), base)


@pytest.mark.slow
def test_history_helps_on_a_recorded_hour(shared_data):
    """On the future's hour the gain of the energy score on the unseen part is many standard errors."""
    (path,) = (shared_data / "es").glob("*.csv.gz")
    data = read_level2(str(path))
    base, _ = fit_exchange(data)
    exchange, report = fit_neural_exchange(data, base, epochs=12)
    gain, error = report.energy_difference["test"]
    assert gain + 3 * error < 0
    assert report.log_likelihood["test"] > report.mixture_log_likelihood["test"] + 2.0
    paths = simulate_books(exchange, jax.random.key(0), paths=32, steps=600)
    mean = np.asarray(paths.volume, float)[:, 100:].mean(axis=(0, 1))
    recorded = transitions(data, 5).after.mean(axis=0)
    assert np.abs(mean / recorded - 1.0).max() < 0.3


def test_the_latent_width_is_the_papers():
    assert LATENT == 32 and network().encoder.hidden_size == 32
