"""Markets in crowds: marginal prices by differences, clearing by bisection, a linear-quadratic day by SciPy."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_bvp
from scipy.optimize import brentq

from congestion import Bump, Effort, unit_interval
from diffgames.errors import InvalidInput
from diffgames.games.mean_field_checks import check_game
from diffgames.games.mean_field_grid import (
    READINGS,
    AgentType,
    ClearingPrice,
    Clock,
    Quantile,
    TypedMeanFieldGame,
)
from diffgames.games.mean_field_market import Market
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.solvers.mean_field_equations import FlowSystem
from diffgames.solvers.mean_field_newton import solve_mean_field

SHARE = np.asarray([0.6, 0.4])


class Steep(eqx.Module):
    """p₀ e^{Q/w}."""

    p0: float = 1.2
    w: float = 0.7

    def __call__(self, Q, t):
        return self.p0 * jnp.exp(Q / self.w)


class Straight(eqx.Module):
    """½ + slope · Q."""

    slope: float

    def __call__(self, Q, t):
        return 0.5 + self.slope * Q


class Wave(eqx.Module):
    """A load that swings, the same for `count` types."""

    count: int = eqx.field(static=True, default=1)

    def __call__(self, t):
        return 0.3 * jnp.sin(2.0 * jnp.pi * t) * jnp.ones(self.count)


def market(price=None, count=2, size=(1.0, 2.0)):
    return Market(price if price is not None else Steep(), Wave(count), jnp.asarray(size))


def payments(reading, k, q):
    """What the decision maker of type k pays, in the units in which it counts its own purchases."""
    price = 1.2 * np.exp(SHARE @ q / 0.7)
    return SHARE @ q * price / SHARE[k] if reading == "control" else q[k] * price


@pytest.mark.parametrize("reading", ["control", "typed"])
def test_marginal_prices_are_derivatives_of_payments(reading):
    q, h = np.asarray([0.3, -0.8]), 1e-6
    found = market().marginal(reading, jnp.asarray(SHARE), jnp.asarray(q), jnp.asarray(0.0))
    for k in range(2):
        ends = [payments(reading, k, q + sign * h * np.eye(2)[k]) for sign in (1, -1)]
        assert found[k] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-8)


@pytest.mark.parametrize("reading", READINGS)
def test_bids_meet_supply_at_the_price_that_clears(reading):
    """Bids that saturate at ±1, far from the first guess: for price takers bisection finds the same."""
    scale = np.asarray([2.0, 0.5])

    def bids(prices, given):
        return -jnp.tanh(given * (prices - 1.0))

    one, time = market(), jnp.asarray(0.1)
    found = one.cleared(reading, jnp.asarray(SHARE), bids, jnp.asarray(scale), time)
    asked = one.marginal(reading, jnp.asarray(SHARE), bids(found, jnp.asarray(scale)), time)
    np.testing.assert_allclose(found, asked, rtol=1e-12)
    if reading == "game":
        root = brentq(lambda p: p - 1.2 * np.exp(-SHARE @ np.tanh(scale * (p - 1.0)) / 0.7), 0.0, 9.0, xtol=1e-14)
        np.testing.assert_allclose(found, root, rtol=1e-12)


def trader(**change):
    given = {
        "share": 1.0,
        "start": Bump(0.5, 0.4),
        "diffusion": 0.4,
        "control_cost": Effort(1.0),
        "running_cost": lambda x, felt: 0.5 * x[0] ** 2,
        "terminal_cost": lambda x, felt: 0.5 * x[0] ** 2,
    }
    return AgentType(**(given | change))


def mean_by_riccati(weight):
    """E[x_T]: V = ½x² + b x, u = −(x + b + π), π = ½ + weight · Q, Q = E[u] + load; SciPy's boundary value problem."""

    def rate(t, y):
        load = 0.3 * np.sin(2 * np.pi * t)
        speed = -(y[0] + y[1] + 0.5 + weight * load) / (1.0 + weight)
        return np.stack([speed, y[1] + 0.5 + weight * (speed + load)])

    found = solve_bvp(
        rate, lambda start, end: np.asarray([start[0] - 0.5, end[1]]), np.linspace(0, 1, 51), np.ones((2, 51)), tol=1e-9
    )
    return found.y[0, -1]


@pytest.mark.slow
@pytest.mark.parametrize(("reading", "weight"), [("game", 1.0), ("control", 2.0), ("typed", 2.0)])
def test_a_linear_quadratic_market_follows_its_riccati_equations(reading, weight):
    game = TypedMeanFieldGame((trader(),), {}, 1.0, market(Straight(1.0), 1, (1.0,)))
    errors = []
    for n in (1, 2):
        cells = Cells((CellAxis("x", -3.0, 3.0, 40 * n, "line"),))
        found = solve_mean_field(game, cells, 20 * n, reading=reading, differences="central")
        assert found.converged and found.mass_error < 1e-13
        errors.append(found.moments()[0][-1, 0] - mean_by_riccati(weight))
    assert abs(errors[1]) < 0.6 * abs(errors[0]) and abs(errors[1]) < 4e-3
    if reading == "game":
        gain = FlowSystem(found.scheme, 40).exploitability(found.values, found.mass)
        assert abs(float(gain[0])) < 1e-9


def test_nobody_charges_a_full_storage_or_draws_on_an_empty_one():
    free = trader(start=Bump(0.5, 0.2), control_low=-1.0, control_high=1.0, running_cost=lambda x, felt: 0.0 * x[0])
    game = TypedMeanFieldGame((free,), {}, 0.5, market(Straight(0.1), 1, (1.0,)))
    found = solve_mean_field(game, unit_interval(8), 6)
    assert found.converged
    assert found.control[:, 0, 0, 0].min() >= 0.0 and found.control[:, 0, 0, 1:].min() < -0.2
    with pytest.raises(InvalidInput, match="begin"):
        solve_mean_field(game, unit_interval(8), 7, begin=found)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (market(Straight(-1.0), 1, (1.0,)), "market.price"),
        (market(Straight(1.0), 2, (1.0,)), "market.load"),
        (market(Straight(1.0), 1, (-1.0,)), "market.size"),
        (market(Straight(1.0), 1, (1.0, 1.0)), "market.size"),
    ],
)
def test_slips_are_named(given, key):
    with pytest.raises(InvalidInput) as slip:
        check_game(TypedMeanFieldGame((trader(),), {}, 1.0, given), unit_interval(10))
    assert slip.value.key == key


def test_quantiles_prices_and_the_clock_are_features_of_the_law():
    price = ClearingPrice(lambda x, p: x[0] - p, lambda p: 2.0 * p, -5.0, 5.0)
    features = {"median": Quantile(0.5), "price": price, "time": Clock()}
    game = TypedMeanFieldGame((trader(start=Bump(0.4, 0.1)),), features, 1.0)
    cells = unit_interval(200)
    mass = jnp.asarray(game.start(cells))
    felt = game.felt(cells, mass, jnp.zeros((1, 1, 200)), 0.25)
    mean = float(mass[0] @ cells.points()[0])
    assert felt["median"][0] == pytest.approx(mean, abs=1e-4)
    assert felt["price"][0] == pytest.approx(mean / 3.0, rel=1e-12)
    assert felt["time"][0] == 0.25
    bounded = ClearingPrice(lambda x, p: x[0] - p, lambda p: 2.0 * p, 1.0, 5.0)
    assert bounded(game.law(cells, mass, jnp.zeros((1, 1, 200)))) == pytest.approx(1.0)
