"""The law of Λ given targets: against an exact posterior, by its ranks, and by the targets that its draws meet."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffgames.calibration import amortized
from diffgames.calibration.connectivity_market import ConnectivityMarket
from diffgames.calibration.supertype_profile import SupertypeProfile
from diffgames.calibration.targets import Statistics, Target, reward
from diffgames.errors import InvalidInput

TAKERS, TOTAL = 20, Target("at least", (0.5,))


def pairs(space: SupertypeProfile, market: ConnectivityMarket, count: int, seed: int):
    """ξ and the statistics of an episode under each."""
    normal = jax.random.normal(jax.random.key(seed), (count, len(space.names)), jnp.float32)
    laws = np.asarray(space.from_normal(normal), float).clip(0, 1).reshape(count, 2, space.sizes)
    return normal, market.sample(laws, count, seed)


@pytest.fixture(scope="module")
def one_size():
    """One size, two providers, uniform probabilities: takers with a provider are Binomial(20, 1 − (1 − p₁)(1 − p₂))."""
    space = SupertypeProfile(1, contrast=1.0)
    market = ConnectivityMarket((1, 1), sizes=(1.0,), takers=(TAKERS,))
    config = amortized.Fit(width=16, steps=1000, batch=256)
    return amortized.fit(space, (TOTAL,), *pairs(space, market, 6000, 0), jax.random.key(1), config)


@pytest.mark.parametrize(("kind", "value"), [("equal", 0.3), ("equal", 0.8), ("at least", 0.8)])
def test_the_law_is_the_exact_posterior(one_size, kind, value):
    grid = (np.arange(400) + 0.5) / 400
    reached = 1 - np.multiply.outer(1 - grid, 1 - grid)
    count = round(value * TAKERS)
    law = stats.binom.pmf(count, TAKERS, reached) if kind == "equal" else stats.binom.sf(count - 1, TAKERS, reached)
    law = law / law.sum()
    drawn = np.asarray(amortized.posterior(one_size, [Target(kind, (value,))], jax.random.key(2), 4000)[0])
    found = 1 - np.prod(1 - drawn, axis=1)
    mean = float((law * reached).sum())
    deviation = float(np.sqrt((law * (reached - mean) ** 2).sum()))
    assert abs(found.mean() - mean) < 0.02 and abs(found.std() - deviation) < 0.02
    first = float((law.sum(axis=1) * grid).sum())
    assert np.all(np.abs(drawn.mean(axis=0) - first) < 0.03)


def test_equal_and_at_least_are_other_questions_and_none_is_the_law_before_any_data(one_size):
    mean = {
        kind: float(np.mean(amortized.posterior(one_size, [Target(kind, (0.5,))], jax.random.key(3), 2000)[0]))
        for kind in ("equal", "at least")
    }
    assert mean["at least"] > mean["equal"] + 0.1
    drawn, normal = amortized.posterior(one_size, [], jax.random.key(4), 4000)
    assert np.abs(np.mean(drawn, axis=0) - 0.5).max() < 0.03
    assert np.abs(amortized.identified(np.asarray(normal))[0]).max() < 0.15
    assert float(one_size.gain) > 0.2  # nats, of about as much as the binomial tells


def test_the_share_of_all_identifies_one_direction_of_two(one_size):
    _, normal = amortized.posterior(one_size, [Target("equal", (0.5,))], jax.random.key(5), 4000)
    known, directions = amortized.identified(np.asarray(normal))
    assert known[0] > 0.4 > known[1]  # p₁ and p₂ trade against each other
    assert directions[0, 0] * directions[1, 0] > 0


def test_no_direction_is_identified_where_nothing_was_learned_and_intervals_hold_the_sum():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((300, 400, 20))
    found = np.asarray([amortized.identified_directions(one) for one in draws])
    assert 0.91 < np.mean(np.abs(found[:, 0]) <= found[:, 1]) < 0.99  # 3.2 deviations of 300 intervals of 95%
    assert abs(found[:, 0].mean()) < 4 * found[:, 0].std() / 300**0.5
    eigenvalues = np.linalg.eigvalsh(np.cov(draws[0], rowvar=False))
    assert np.maximum(1 - eigenvalues, 0).sum() > 1.5  # the sum of positive parts invents directions
    firsts = np.asarray([amortized.identified(one)[0][0] for one in draws])
    assert abs(firsts.mean()) < 4 * firsts.std() / 300**0.5
    scales = np.asarray([0.1, 0.5, 1.0, 1.2])  # Σ(1 − λ) = .99 + .75 + 0 − .44
    value, half = amortized.identified_directions(scales * rng.standard_normal((4000, 4)))
    assert abs(value - 1.3) <= half < 0.1


def test_what_was_not_asked_for_at_the_fit_is_refused(one_size):
    with pytest.raises(InvalidInput, match="targets among"):
        amortized.posterior(one_size, [Target("equal", (0.5,), 0)], jax.random.key(0), 4)
    with pytest.raises(InvalidInput, match="questions"):
        seen = Statistics(share=np.zeros((2, 2)), percentiles=np.zeros((2, 2, 9)))
        amortized.fit(one_size.space, (), jnp.zeros((2, 2)), seen, jax.random.key(0))


@pytest.mark.slow
def test_ranks_are_uniform_and_the_best_draw_meets_targets_it_was_not_trained_for():
    """Simulation-based calibration over 300 pairs; the trained one is the best of very many profiles."""
    space = SupertypeProfile(3)
    market = ConnectivityMarket((1, 2), sizes=(1.0, 2.0, 3.0), takers=(20,) * 3)
    questions = (Target("equal", (0.2,), 0), TOTAL, Target("percentiles", (1.0,) * 9, 0))
    config = amortized.Fit(width=32, steps=1500)
    fitted = amortized.fit(space, questions, *pairs(space, market, 6000, 0), jax.random.key(1), config)
    rank = np.asarray(amortized.ranks(fitted, *pairs(space, market, 300, 7), jax.random.key(2), 99))
    for component in range(6):  # Bonferroni: one false alarm in a hundred seeds
        assert stats.kstest((rank[:, component] + 0.5) / 100, "uniform").pvalue > 0.01 / 6
    wanted = (
        Target("equal", (0.25,), 0),
        Target("at least", (0.8,)),
        Target("percentiles", (2.0,) * 4 + (3.0,) * 5, 0),
    )
    drawn = np.asarray(amortized.posterior(fitted, wanted, jax.random.key(3), 500)[0], float).clip(0, 1)
    answered = float(np.max(reward(wanted, market.exact(drawn.reshape(-1, 2, 3)))))
    trained = market.best_of_random(wanted, 100_000, seed=0)[1]
    assert answered > 0.95 * trained


def test_a_wrong_law_has_ranks_that_are_not_uniform(one_size):
    """Planted: a fit whose law is four times as narrow as it should be."""
    narrow = one_size.bank.layers[-1].bias.at[:, 2 * amortized.MIXED :].add(-1.4)
    wrong = eqx.tree_at(lambda one: one.bank.layers[-1].bias, one_size, narrow)
    space, market = one_size.space, ConnectivityMarket((1, 1), sizes=(1.0,), takers=(TAKERS,))
    rank = {
        name: np.asarray(amortized.ranks(one, *pairs(space, market, 200, 9), jax.random.key(6), 99))
        for name, one in (("right", one_size), ("wrong", wrong))
    }
    tested = {name: stats.kstest((one[:, 0] + 0.5) / 100, "uniform").pvalue for name, one in rank.items()}
    assert tested["right"] > 0.01 and tested["wrong"] < 1e-4
