"""The market-making solver: reference values, limits, a SciPy twin of the whole game, and structure."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.games.market_making import efforts, stack_games
from diffgames.games.market_making_input import market_making_game
from diffgames.simulation.market_maker import Surroundings, predator_push
from diffgames.simulation.market_maker_exact import certainty_equivalents as chain_value
from diffgames.solvers.market_making import backward_field, initial_state, solve_many, solve_market_maker
from diffgames.solvers.market_making_closed import (
    accumulated_variance,
    certainty_equivalents,
    log_exponential,
    short_horizon_quotes,
)
from diffgames.studies.market_maker import profile_of
from diffgames.studies.market_maker_parameters import (
    ATTACK,
    GENERATOR,
    STABILIZE,
    MarketMakingParameters,
    game_of,
)
from diffgames.verification.market_maker import certify_market_maker
from market_units import in_units

MIDDLE = 10
STRATEGIC = {"generator": GENERATOR, "attack": ATTACK, "stabilize": STABILIZE, "switching": "strategic"}


@pytest.fixture(scope="module")
def exogenous():
    return solve_market_maker(market_making_game(generator=GENERATOR))


@pytest.fixture(scope="module")
def strategic():
    return solve_market_maker(market_making_game(**STRATEGIC))


def close(found, wanted, atol):
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=atol)


def test_exogenous_switching_gives_the_reference(exogenous):
    close(exogenous.theta[0, :, MIDDLE], [59.9240393857, 52.6695345803, 39.5696954734], 1e-9)
    close(exogenous.ask[0, :, MIDDLE, 0], [0.6658479565, 0.6780246607, 0.7172739173], 2e-10)
    close(exogenous.ask[0, :, MIDDLE + 3, 0], [0.5429508562, 0.4825557241, 0.2903704015], 2e-10)
    close(exogenous.bid[0, :, MIDDLE + 3, 0], [0.7890145867, 0.8728477304, 1.1366197034], 2e-10)


def test_without_switching_the_exponential_gives_the_reference():
    solution = solve_market_maker(market_making_game(switching="none"))
    close(solution.theta[0, :, MIDDLE], [65.0807297901, 54.6841454742, 34.3087039922], 1e-9)
    close(solution.ask[0, :, MIDDLE, 0], [0.6616190221, 0.6755205209, 0.7177313396], 1e-10)
    alone = solve_market_maker(market_making_game(switching="none", xi=0.0))
    close(alone.ask[0, :, MIDDLE, 0], [0.6589417091, 0.6737729128, 0.7165811680], 2e-10)


def test_the_game_over_regimes_gives_the_reference(strategic):
    # Tsit5 here, DOP853 below, Radau and the classical Runge–Kutta scheme by hand all say …7719; "…7919" is a slip.
    close(strategic.ask[0, :, MIDDLE, 0], [0.66971445, 0.68048056, 0.71717719], 1e-8)
    close(strategic.attack_effort[0, :, MIDDLE], [0.444944, 0.339239, 0.0], 1e-6)
    close(strategic.stabilize_effort[0, :, MIDDLE], [0.057769, 0.045232, 0.0], 1e-6)
    close(strategic.stress[0, :, MIDDLE], [-28.45115305, -25.79624076, -21.27304868], 1e-8)


def test_the_whole_game_agrees_with_a_plain_twin(strategic):
    """The equations written out once more in NumPy and integrated by DOP853."""
    gamma, k, A, sigma, xi = 0.1, 1.5, np.array([140.0, 120, 80]), np.array([1.0, 2, 4]), 0.5
    q, base = np.arange(-10, 11), np.asarray(GENERATOR) * (1 - np.eye(3))
    attack, stabilize = np.asarray(ATTACK), np.asarray(STABILIZE)
    height = A / (k + gamma) * (1 + gamma / k) ** (-k / gamma)

    def field(_, y):
        theta, U = y.reshape(2, 3, 21)
        dtheta, dU = -0.5 * gamma * (sigma**2 + xi)[:, None] * q**2, -theta.copy()
        up = theta[:, :-1] - theta[:, 1:]
        for gain, here, there in ((up, slice(1, None), slice(None, -1)), (-up, slice(None, -1), slice(1, None))):
            dtheta[:, here] += height[:, None] * np.exp(k * gain)
            rate = A[:, None] * np.exp(-k * (np.log(1 + gamma / k) / gamma - gain))
            dU[:, here] += rate * (U[:, there] - U[:, here])
        difference = U[None] - U[:, None]
        f = np.clip((attack[:, :, None] * difference).sum(1) / 20, 0, 1)
        g = np.clip((stabilize[:, :, None] * difference).sum(1) / 20, 0, 1)
        rates = base[:, :, None] + f[:, None] * attack[:, :, None] - g[:, None] * stabilize[:, :, None]
        dtheta += (rates * (1 - np.exp(-gamma * (theta[None] - theta[:, None])))).sum(1) / gamma
        dU += (rates * difference).sum(1) - 10 * f**2 + 10 * g**2
        return np.concatenate([dtheta.ravel(), dU.ravel()])

    found = solve_ivp(field, (0, 1), np.zeros(126), method="DOP853", rtol=1e-13, atol=1e-12).y[:, -1]
    theta, U = found.reshape(2, 3, 21)
    close(strategic.theta[0], theta, 2e-9)
    close(strategic.stress[0], U, 2e-9)


def test_strategic_switching_widens_the_calm_spread_before_trouble(exogenous, strategic):
    premium = np.asarray(strategic.spread() - exogenous.spread())[0]
    assert premium[0] > premium[1] > 0 > premium[2]


def test_gueant_lehalle_fernandez_tapia():
    """Reference bid offsets, and ln v of the tridiagonal matrix exponential itself."""
    game = market_making_game(switching="none", sigma=0.3, A=0.9, k=0.3, gamma=0.01, T=600.0, inventory_max=30, xi=0.0)
    solution = solve_market_maker(game, steps=4)
    close(solution.bid[0, 0, 20:41:5, 0], [2.63280199, 2.97252177, 3.31304541, 3.65347944, 3.99293256], 5e-9)
    q = np.arange(-30, 31)
    eta = 0.9 * (1 + 0.01 / 0.3) ** (-(1 + 0.3 / 0.01))
    matrix = np.diag(0.5 * 0.3 * 0.01 * 0.3**2 * q**2) - eta * (np.eye(61, k=1) + np.eye(61, k=-1))
    values, vectors = np.linalg.eigh(matrix)
    v = vectors @ (np.exp(-values * 600.0) * (vectors.T @ np.ones(61)))
    close(solution.theta[0, 0], np.log(v) / 0.3, 1e-8)


def test_risk_neutral_with_penalties_is_cartea_and_jaimungal():
    common = {"switching": "none", "sigma": 0.0, "A": 1.0, "k": 100.0, "gamma": 0.0, "T": 30.0, "inventory_max": 3}
    for penalty, wanted in ((1e-5, 0.20534830), (1e-4, 0.20042619), (1e-3, 0.16830037)):
        game = market_making_game(**common, xi=0.0, running_penalty=penalty, terminal_quadratic=1e-4)
        close(solve_market_maker(game, steps=1).theta[0, 0, 3], wanted, 6e-9)


def test_short_horizon_quotes_have_an_error_of_third_order():
    """Avellaneda and Stoikov's linear quotes (none), and their extension to regimes and a predator."""
    tau = np.array([0.004, 0.002])
    for switching, options in (("none", {"predator": False, "switching": False}), ("exogenous", {})):
        errors = []
        for one in tau:
            xi = 0.0 if switching == "none" else 0.5
            game = market_making_game(T=float(one), switching=switching, generator=GENERATOR, xi=xi)
            solution = solve_market_maker(game, steps=1, tolerance=1e-13)
            ask, bid = short_horizon_quotes(game, jnp.asarray([one]), **options)
            inner = slice(4, 17)
            error = [np.abs(solution.ask[0, :, inner, 0] - ask[0, :, inner]).max()]
            error.append(np.abs(solution.bid[0, :, inner, 0] - bid[0, :, inner]).max())
            errors.append(max(error))
        order = np.log2(errors[0] / errors[1])
        assert errors[0] < 1e-4 and 2.7 < order < 3.3


def test_avellaneda_stoikov_reservation_price_and_spread():
    game = market_making_game(switching="none", sigma=2.0, A=140.0, xi=0.0)
    ask, bid = short_horizon_quotes(game, jnp.asarray([0.7]), predator=False, switching=False)
    q = game.inventory
    close((ask + bid)[0, 0], np.full(21, 0.1 * 4 * 0.7 + 2 / 0.1 * np.log(1 + 0.1 / 1.5)), 1e-12)
    close((ask - bid)[0, 0] / 2, -q * 0.1 * 4 * 0.7, 1e-12)


def test_variance_ahead_to_second_order():
    game = market_making_game(generator=GENERATOR)
    tau = jnp.asarray([1e-3])
    exact, short = accumulated_variance(game, tau), accumulated_variance(game, tau, first_order=True)
    assert 0 < np.abs(exact - short).max() < 1e-8


def test_exponential_and_integration_agree():
    """Asymmetric flow, blocks of two, jumps, penalties: the closed form against the adaptive integration."""
    game = market_making_game(
        switching="none",
        sizes=(2,),
        flow_imbalance=(0.3, 0.0, -0.2),
        jump_rate=1.0,
        jump_deviation=0.4,
        terminal_penalty=0.2,
        running_penalty=0.01,
        drift=(0.5, 0.0, -0.5),
    )
    closed, integrated = solve_market_maker(game, steps=3), solve_market_maker(game, steps=3, closed_form=False)
    close(closed.theta, integrated.theta, 1e-8)


def test_log_exponential_keeps_small_entries():
    """exp of a triangular matrix has entries far below rounding relative to the largest; each keeps its digits."""
    rates = jnp.asarray([[-1.0, 1.0, 0.0], [0.0, -400.0, 1e-9], [0.0, 0.0, -600.0]])
    found = np.asarray(log_exponential(rates, jnp.asarray(1.0)))
    close(np.diag(found), [-1.0, -400.0, -600.0], 1e-10)
    close(found[0, 1], np.log((np.exp(-1) - np.exp(-400)) / 399), 1e-12)


def test_predator_units_agree_where_they_should():
    """ξ in `ce` is ξγ in `utility`: σ²_eff = σ² + ξ/γ and σ² + ξ."""
    utility = solve_market_maker(market_making_game(switching="none", xi=0.5), steps=1)
    ce = solve_market_maker(market_making_game(switching="none", xi=0.05, predator="ce"), steps=1)
    variance = solve_market_maker(
        market_making_game(switching="none", xi=0.0, sigma=tuple(np.sqrt(np.array([1.0, 4, 16]) + 0.5))), steps=1
    )
    close(utility.theta, ce.theta, 1e-12)
    close(utility.theta, variance.theta, 1e-11)


def test_mirrored_flow_mirrors_the_solution(exogenous):
    close(exogenous.theta, np.asarray(exogenous.theta)[:, :, ::-1], 1e-8)
    close(exogenous.ask[:, :, 1:, 0], np.asarray(exogenous.bid)[:, :, -2::-1, 0], 1e-8)
    assert np.all(np.isnan(exogenous.ask[:, :, 0])) and np.all(np.isnan(exogenous.bid[:, :, -1]))


def test_equal_regimes_leave_nothing_to_fight_over():
    game = market_making_game(**STRATEGIC | {"A": 100.0, "sigma": 2.0})
    solution = solve_market_maker(game)
    assert np.abs(solution.attack_effort).max() < 1e-10
    alone = solve_market_maker(market_making_game(switching="none", A=(100.0,) * 3, sigma=2.0))
    close(solution.theta[0], alone.theta[0], 1e-8)


def test_many_games_at_once_are_the_games_one_by_one(exogenous):
    games = [market_making_game(generator=GENERATOR, gamma=gamma) for gamma in (0.05, 0.1, 0.3)]
    batch = solve_many(stack_games(games))
    assert np.all(batch.finished)
    close(batch.theta[1, 0], exogenous.theta[0], 1e-6)
    assert np.all(np.diff(np.asarray(batch.theta)[:, 0, 0, MIDDLE]) < 0), "more risk aversion is worth less"


@pytest.mark.parametrize(("price", "time"), [(1e-8, 1.0), (1e-15, 1 / 31_536_000.0), (1e15, 31_536_000.0), (1.0, 1e15)])
def test_units_of_price_and_time_do_not_matter(price, time):
    """Quotes, efforts and certainty equivalents are the same numbers in other units, to rounding."""
    for switching in ("exogenous", "strategic"):
        game = game_of(MarketMakingParameters(xi=0.05), switching)
        own, other = (solve_market_maker(g, steps=10) for g in (game, in_units(game, price, time)))
        for name, unit in (("theta", price), ("ask", price), ("stress", price * time), ("rates", 1 / time)):
            wanted = np.asarray(getattr(own, name))
            size = np.nanmax(np.abs(wanted))
            np.testing.assert_allclose(getattr(other, name) / unit, wanted, rtol=0, atol=1e-9 * size)
        np.testing.assert_allclose(other.attack_effort, own.attack_effort, atol=1e-9)


def test_the_solution_can_be_differentiated():
    """dθ/dξ by autodiff of the matrix exponential against a difference quotient."""

    def value(xi):
        game = market_making_game(switching="none")
        return certainty_equivalents(eqx.tree_at(lambda g: g.xi, game, xi), 1)[-1, 0, MIDDLE]

    slope = jax.jacfwd(value)(jnp.asarray(0.5))
    quotient = (value(jnp.asarray(0.5 + 1e-4)) - value(jnp.asarray(0.5 - 1e-4))) / 2e-4
    assert slope == pytest.approx(float(quotient), rel=1e-6)


@pytest.mark.slow
def test_free_efforts_that_slide_are_the_limit_of_ever_faster_switching():
    """An attack that pays only while it is not answered. Fixed steps (Heun's) chatter between nothing and all at
    the scale of a step: what they swing about, and the share of the time they attack in, is the solution."""
    game = market_making_game(
        gamma=0.3,
        k=(1.4, 1.9, 1.8),
        A=(67.0, 49.0, 22.0),
        sigma=(2.4, 2.7, 3.5),
        inventory_max=2,
        stress="inventory",
        switching="strategic",
        generator=((-1.0, 0.5, 0.5), (0.8, -1.7, 0.9), (0.9, 1.0, -1.9)),
        attack=((0.0, 1.8, 0.8), (0.5, 0.0, 1.3), (0.3, 1.0, 0.0)),
        stabilize=((0.0, 0.25, 0.25), (0.4, 0.0, 0.45), (0.45, 0.5, 0.0)),
        effort_attack=0.0,
        effort_stabilize=10.0,
        attack_max=0.5,
    )
    steps = 32_000
    h = game.horizon / steps

    @jax.jit
    def chattering(state):
        def step(state, k):
            first = backward_field(k * h, state, game)
            ahead = jax.tree.map(lambda y, slope: y + h * slope, state, first)
            second = backward_field((k + 1) * h, ahead, game)
            after = jax.tree.map(lambda y, a, b: y + 0.5 * h * (a + b), state, first, second)
            return after, efforts(game, state["stress"]).attack

        return jax.lax.scan(step, state, jnp.arange(steps, dtype=h.dtype))

    end, attack = chattering(initial_state(game))
    solution = solve_market_maker(game)
    assert 0 < float(solution.sliding) < 1e-3
    np.testing.assert_allclose(solution.theta[0], end["theta"], atol=2 * float(solution.sliding))
    np.testing.assert_allclose(solution.stress[0], end["stress"], atol=1e-5)
    calm = np.asarray(attack)[:, 0, 2]  # no inventory, regime 0; the other states switch a few times
    assert (np.diff(calm) != 0).sum() > 1000
    played = np.asarray(solution.attack_effort)[:, 0, 2]
    assert played[:20].mean() == pytest.approx(calm[-steps // 10 :].mean(), abs=0.02)
    assert 0.1 < played[:20].mean() < 0.2


ADVERSE = {
    "gamma": 0.3,
    "sigma": (1.0, 2.0),
    "xi": 0.2,
    "inventory_max": 3,
    "generator": [[-0.5, 0.5], [1.0, -1.0]],
    "sizes": (1, 2),
    "size_shares": (0.7, 0.3),
    "switching": "exogenous",
}


def test_impact_widens_quotes_as_if_that_much_deeper_flow_was_there():
    """A unit trade against ζ is one against A e^{−kζ} in the game without."""
    zeta, flow = np.array([0.1, 0.5]), np.array([9.0, 6.0])
    common = ADVERSE | {"sizes": (1,), "size_shares": (1.0,)}
    game = market_making_game(**common, A=tuple(flow), impact=tuple(zeta))
    plain = market_making_game(**common, A=tuple(flow * np.exp(-1.5 * zeta)))
    found, wanted = solve_market_maker(game, steps=4), solve_market_maker(plain, steps=4)
    np.testing.assert_allclose(found.theta, wanted.theta, atol=1e-9)
    for name in ("ask", "bid"):
        shifted = np.asarray(getattr(wanted, name)) + zeta[None, :, None, None]
        np.testing.assert_allclose(getattr(found, name), shifted, atol=1e-9)
    alone = market_making_game(sigma=1.0, A=9.0, switching="none", impact=0.3)
    one, two = (solve_market_maker(alone, steps=2, closed_form=closed) for closed in (True, False))
    np.testing.assert_allclose(one.theta, two.theta, atol=1e-8)


def test_impact_is_certified_and_valued_by_code_that_did_not_solve_it():
    """LSODA finds nothing better, and the exact chain of the quotes is worth θ: two sizes, an impact per regime."""
    game = market_making_game(**ADVERSE, A=(9.0, 6.0), impact=(0.1, 0.5))
    solution = solve_market_maker(game, steps=400)
    certificate = certify_market_maker(game, profile_of(game, solution))
    assert max(abs(entry.gain) for entry in certificate.entries) < 1e-4
    blind = profile_of(game, solve_market_maker(market_making_game(**ADVERSE, A=(9.0, 6.0)), steps=400))
    assert certify_market_maker(game, blind).entries[0].gain > 0.1
    around = Surroundings(np.asarray(solution.rates)[1::2], *predator_push(game))
    exact = chain_value(game, np.asarray(solution.ask)[1::2], np.asarray(solution.bid)[1::2], around)
    np.testing.assert_allclose(exact, solution.theta[0], atol=5e-4)
