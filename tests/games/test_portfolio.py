"""The portfolio game: closed form, potential, best responses on an exact tree, simulation, calibration, bad input."""

import itertools

import jax
import numpy as np
import pytest

from diffgames.errors import InvalidInput
from diffgames.games.portfolio import Market, PortfolioGame, Table, market_of, potential_matrix
from diffgames.games.price_calibration import calibrate, read_prices
from diffgames.verification.portfolio_deviator import PortfolioBudget, certify_portfolio

MARKET = market_of((0.06, 0.04), ((0.04, 0.01), (0.01, 0.09)), [(0.5, (-0.1, -0.05))])
THETA, PHI, GAMMA = np.array([0.3, 0.5, 0.7]), np.array([0.5, 0.4, 0.6]), np.array([1.0, 2.0, 3.0])


def game(**changes):
    settings = {
        "market": MARKET,
        "theta": THETA,
        "phi": PHI,
        "gamma": GAMMA,
        "own": np.array([1.0, 0.9, 1.1]),
        "mean_own": np.array([1.0, 1.2, 0.8]),
        "start": np.array([1.0, 2.0, 0.5]),
        "horizon": 1.5,
    }
    return PortfolioGame(**(settings | changes))


def test_z_by_three_routes():
    """C⁻¹ of the needs, Q⁻¹p of the potential, and the rank-one formula of the players' own parameters."""
    g = game()
    z = g.equilibrium().z
    scale = g.phi / (g.gamma * g.own * g.theta)
    np.testing.assert_allclose(np.linalg.solve(potential_matrix(g), scale * g.mean_own), z, rtol=1e-12)
    d = g.own + g.theta * g.phi
    common = np.sum(g.phi * g.needs() / d) / (1.0 - np.sum(g.theta * g.phi / d))
    np.testing.assert_allclose(g.needs() / d + g.theta / d * common, z, rtol=1e-12)
    np.testing.assert_allclose(g.best_responses(200)[-1], z, rtol=1e-10)


def test_the_condition_is_positive_definiteness():
    for factor in (0.5, 1.0, 1.7, 2.4, 4.0):
        g = game(theta=THETA * factor)
        assert (g.existence_sum() < 1.0) == (np.linalg.eigvalsh(potential_matrix(g)).min() > 0)


def test_no_single_player_gains_on_an_exact_tree():
    """Three periods of a two-asset market with three outcomes: values by enumeration, deviations by finite differences.

    On a tree with independent returns of mean m and second moment S per period the discrete analogue of the closed form
    is exact: ζ' = ζ + (g − ζ) k·R with k = S⁻¹m, g = 1/(1 − m'S⁻¹m)^periods, and every J_i is stationary at z.
    """
    g = game()
    outcomes = np.array([[0.3, -0.1], [-0.2, 0.2], [0.05, 0.1]])
    chances = np.array([0.4, 0.35, 0.25])
    outcomes = outcomes - 0.9 * (chances @ outcomes)  # a modest premium
    m, second = chances @ outcomes, np.einsum("o,oa,ob->ab", chances, outcomes, outcomes)
    k = np.linalg.solve(second, m)
    growth = (1.0 - m @ k) ** -3.0
    z = g.equilibrium().z
    paths = list(itertools.product(range(3), repeat=3))
    chance = np.array([np.prod(chances[list(path)]) for path in paths])

    def wealth(i, change):
        """Player i's gains on every path; `change` [periods, assets] is added at every node of period t."""
        final = []
        for path in paths:
            x = 0.0
            for t, outcome in enumerate(path):
                x += ((growth * z[i] - x) * k + change[t]) @ outcomes[outcome]
            final.append(x)
        return np.array(final)

    def objective(i, change):
        x = np.stack([wealth(j, change if j == i else np.zeros((3, 2))) for j in range(3)])
        mean, risk = (w[i] @ x for w in (g.mean_weights(), g.variance_weights()))
        return chance @ mean - 0.5 * g.gamma[i] * (chance @ risk**2 - (chance @ risk) ** 2)

    rng = np.random.default_rng(0)
    for i in range(3):
        for _ in range(4):
            direction = rng.normal(size=(3, 2))
            up, here, down = (objective(i, side * 1e-3 * direction) for side in (1.0, 0.0, -1.0))
            assert abs(up - down) / 2e-3 < 1e-9 * max(1.0, abs(here)) and up - here < 0


def test_simulated_markets_with_jumps_agree_and_deviators_gain_nothing():
    equilibrium = game().equilibrium()
    budget = PortfolioBudget(updates=40, paths=500, evaluation=40_000, steps=60)
    certificate = certify_portfolio(equilibrium, jax.random.key(0), budget)
    for entry, value in zip(certificate.entries, equilibrium.value(), strict=True):
        noise = 4.0 * np.sqrt(2.0 * equilibrium.growth() / budget.evaluation) * 5.0
        assert abs(entry.value - value) < noise + 0.01 * abs(value)
        assert entry.lower < 1e-3


def test_a_player_off_the_equilibrium_is_found_out():
    from diffgames.games.portfolio import PortfolioEquilibrium

    equilibrium = game().equilibrium()
    wrong = PortfolioEquilibrium(equilibrium.game, equilibrium.z * np.array([1.0, 2.0, 1.0]))
    budget = PortfolioBudget(updates=60, paths=500, evaluation=8000, steps=30, learning_rate=0.05)
    assert "player 2" in certify_portfolio(wrong, jax.random.key(0), budget).significant


def test_time_dependent_coefficients():
    """ϑ(t) = (a t)²/s², so ∫ϑ = a² T³/(3 s²)."""
    market = Market(lambda t: np.array([0.3 * t]), np.array([[0.04]]))
    assert market.slope(0.0, 2.0) == pytest.approx(0.09 * 8 / (3 * 0.04), rel=1e-12)


def test_tables_are_linear_in_between_and_integrated_exactly():
    """b through 0.1, 0.3, 0.2 on [0, 2]: ∫ b² is (a² + ab + b²)/3 per interval; a flat table is the constant."""
    market = Market(Table(np.array([[0.1], [0.3], [0.2]]), 2.0), np.array([[0.04]]))
    assert market.excess_at(0.5) == pytest.approx([0.2]) and market.excess_at(2.0) == pytest.approx([0.2])
    exact = ((0.01 + 0.03 + 0.09) + (0.09 + 0.06 + 0.04)) / 3 / 0.04
    assert market.slope(0.0, 2.0) == pytest.approx(exact, rel=1e-12)
    assert market.slope(0.5, 1.5) == pytest.approx(
        ((0.04 + 0.06 + 0.09) + (0.09 + 0.075 + 0.0625)) / 6 / 0.04, rel=1e-12
    )
    flat = Market(Table(np.full((4, 1), 0.1), 2.0), Table(np.full((3, 1, 1), 0.04), 2.0))
    assert flat.slope(0.0, 2.0) == pytest.approx(0.5, rel=1e-12)
    with pytest.raises(InvalidInput, match="Sigma"):  # indefinite at the last time alone
        Market(np.array([0.1]), Table(np.array([[[0.04]], [[-0.01]]]), 2.0))


def test_calibration_recovers_a_simulated_market(tmp_path):
    rng = np.random.default_rng(1)
    n, dt = 20_000, 1 / 252
    covariance = np.array([[0.04, 0.01], [0.01, 0.09]])
    returns = rng.multivariate_normal([0.08 * dt, 0.05 * dt], covariance * dt, n)
    jumped = rng.random(n) < 2.0 * dt
    returns[jumped] += [-0.15, -0.2]
    prices = np.concatenate([[[100.0, 50.0]], [100.0, 50.0] * np.cumprod(1 + returns, axis=0)])
    path = tmp_path / "prices.csv"
    rows = [f"day{k},{a:.10g},{b:.10g}" for k, (a, b) in enumerate(prices)]
    path.write_text("\n".join(["date,first,second", *rows]) + "\n")
    names, read = read_prices(path)
    market = calibrate(read, periods_per_year=252.0, rate=0.01)
    assert names == ("first", "second")
    assert sum(jump.rate for jump in market.jumps) == pytest.approx(jumped.sum() * 252 / n, abs=0.1)
    variances = np.diag(covariance)
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    assert np.all(np.abs(market.diffusion_at(0.0) - covariance) < 4.0 * error)
    np.testing.assert_allclose(np.mean([j.size for j in market.jumps], axis=0), [-0.15, -0.2], atol=0.01)
    np.testing.assert_allclose(market.excess_at(0.0), returns.mean(axis=0) * 252 - 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: game(gamma=np.array([1.0, -1.0, 1.0])), "gamma"),
        (lambda: game(start=np.ones(2)), "x0"),
        (lambda: market_of((0.1, 0.1), ((0.04, 0.0), (0.0, -0.01))), "Sigma"),
        (lambda: market_of((0.1,), ((0.04,),), [(-1.0, (0.1,))]), "jumps"),
        (lambda: market_of((0.1,), ((0.04,),), [(1.0, (0.1, 0.2))]), "jumps"),
    ],
)
def test_bad_input_is_named(make, key):
    with pytest.raises(InvalidInput) as caught:
        make()
    assert caught.value.key == key


def test_symmetry_is_relative_to_the_size_of_variances():
    """Per-second variances are of order 1e-9: an asymmetry of that size is no rounding."""
    with pytest.raises(InvalidInput, match="symmetric"):
        Market(excess=np.asarray([1e-9, 1e-9]), covariance=np.asarray([[3e-9, 1e-9], [0.0, 3e-9]]))
