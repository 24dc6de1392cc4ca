"""Valuation, stopping and market making on grids against published values, closed forms and ordinary equations."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw, NormalMarks
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.control_search import Levels
from diffgames.solvers.grid_sweep import Stopping
from diffgames.solvers.hjb import solve_hjb
from diffgames.solvers.isaacs import Stepping

STRIKE, RATE = 100.0, 0.05


def option(
    sigma: float, horizon: float, jumps: tuple[JumpLaw, ...] = (), mean: float = 0.0, side: float = -1.0
) -> DifferentialGame:
    """The logarithm of a price under the pricing measure; its owner, who has no control, earns a put's payoff (side
    −1) or a call's (1)."""
    return DifferentialGame(
        players=("owner",),
        control_sizes=(0,),
        drift=lambda t, x, u, i: jnp.full(1, RATE - 0.5 * sigma**2 - mean),
        diffusion=lambda t, x, u, i: jnp.full((1, 1), sigma),
        running_cost=lambda t, x, u, i: jnp.zeros(1),
        terminal_cost=lambda x, i: jnp.maximum(side * (jnp.exp(x) - STRIKE), 0.0),
        initial=PointLaw(jnp.array([np.log(100.0)])),
        horizon=horizon,
        discount=RATE,
        jumps=jumps,
        signs=(-1,),
    )


@pytest.mark.parametrize(
    ("side", "published"), [(-1.0, (9.285418, 3.149026, 1.401186)), (1.0, (0.527638, 4.391246, 12.643406))]
)
def test_merton_puts_and_calls_with_jumps(side, published):
    """Merton's published values: σ = .15, λ = .1, log-jumps N(−.9, .45²), T = .25."""
    intensity, mean, deviation = 0.1, -0.9, 0.45
    law = JumpLaw(
        rate=lambda t, x, u, i: jnp.asarray(intensity),
        size=lambda t, x, u, z, i: z,
        marks=NormalMarks(jnp.array(mean), jnp.array(deviation), nodes=24),
        compensated=False,
    )
    game = option(0.15, 0.25, (law,), intensity * (np.exp(mean + deviation**2 / 2) - 1), side)
    grid = Grid((Axis("log price", np.log(100) - 4.0, np.log(100) + 1.2, 2081),))
    found = solve_hjb(game, grid, stepping=Stepping(keep=1))
    values = [float(found.at(jnp.array([np.log(s)]))) for s in (90.0, 100.0, 110.0)]
    np.testing.assert_allclose(values, published, rtol=2e-3)


def test_the_perpetual_put_is_stopped_where_it_should_be():
    """(K − L)(S/L)^(−2r/σ²) above L = 2rK/(2r + σ²), K − S below."""
    sigma = 0.3
    power, barrier = 2 * RATE / sigma**2, 2 * RATE * STRIKE / (2 * RATE + sigma**2)
    grid = Grid((Axis("log price", 2.0, 8.5, 326),))

    def payoff(t, x, i):
        return STRIKE - jnp.exp(x[0])

    game = option(sigma, np.inf)
    found = solve_hjb(game, grid, stepping=Stepping("stationary"), stopping=Stopping(maximiser=payoff))
    prices = np.array([30.0, 60.0, 100.0, 200.0])
    exact = np.where(prices > barrier, (STRIKE - barrier) * (prices / barrier) ** -power, STRIKE - prices)
    np.testing.assert_allclose([float(found.at(jnp.log(jnp.array([s])))) for s in prices], exact, rtol=4e-3)
    held = np.asarray(found.value[0, 0]) > STRIKE - np.exp(grid.axes[0].coordinates()) + 1e-9
    assert np.exp(grid.axes[0].coordinates()[held.argmax()]) == pytest.approx(barrier, rel=0.05)


LIMIT, KAPPA, TERMINAL = 3, 100.0, 1e-4


def maker(penalty: tuple[float, ...], arrivals: tuple[float, ...], generator: np.ndarray | None) -> DifferentialGame:
    """Cartea & Jaimungal's market maker: inventory moves by ±1 at rates λ e^{−κδ}, each fill earns its depth δ."""
    phi, lam = jnp.asarray(penalty), jnp.asarray(arrivals)

    def rate(side):
        def fills(t, x, u, i):
            room = (side * x[0] < LIMIT - 0.5).astype(x.dtype)
            return room * lam[i] * jnp.exp(-KAPPA * u[0][(1 + side) // 2])

        return fills

    def reward(t, x, u, i):
        earned = sum(rate(side)(t, x, u, i) * u[0][(1 + side) // 2] for side in (-1, 1))
        return (earned - phi[i] * x[0] ** 2)[None]

    return DifferentialGame(
        players=("maker",),
        control_sizes=(2,),
        drift=lambda t, x, u, i: jnp.zeros(1),
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        running_cost=reward,
        terminal_cost=lambda x, i: -TERMINAL * x**2,
        initial=PointLaw(jnp.zeros(1)),
        horizon=30.0,
        jumps=tuple(
            JumpLaw(rate(side), lambda t, x, u, z, i: z, FixedMark(jnp.array([float(side)])), compensated=False)
            for side in (-1, 1)
        ),
        generator=None if generator is None else jnp.asarray(generator),
        signs=(-1,),
        bounds=((0.0, 0.08),),
    )


def by_ordinary_equations(penalty, arrivals, generator):
    """ḣ_i(q) with the maximisers δ = 1/κ + h(q) − h(q ± 1) inserted."""
    m, q = len(penalty), np.arange(-LIMIT, LIMIT + 1.0)
    generator = np.zeros((m, m)) if generator is None else generator

    def backward(s, y):
        h = y.reshape(m, -1)
        gain = np.zeros_like(h)
        gain[:, :-1] += np.exp(KAPPA * (h[:, 1:] - h[:, :-1]))
        gain[:, 1:] += np.exp(KAPPA * (h[:, :-1] - h[:, 1:]))
        gain *= np.asarray(arrivals)[:, None] / (KAPPA * np.e)
        return (gain - np.outer(penalty, q**2) + generator @ h).reshape(-1)

    start = np.tile(-TERMINAL * q**2, m)
    return solve_ivp(backward, (0, 30.0), start, method="LSODA", rtol=1e-9, atol=1e-12).y[:, -1].reshape(m, -1)


@pytest.mark.parametrize(
    ("penalty", "arrivals", "generator"),
    [((1e-4,), (1.0,), None), ((1e-5, 3e-4), (1.0, 0.6), np.array([[-0.1, 0.1], [0.2, -0.2]]))],
)
def test_the_market_maker_of_cartea_and_jaimungal(penalty, arrivals, generator):
    """One regime has h(0, 0) = .20042619; two regimes follow their coupled equations. Interpolation is exact here."""
    grid = Grid((Axis("inventory", -float(LIMIT), float(LIMIT), 2 * LIMIT + 1, "constrained"),))
    options = {"search": Levels(5, 6), "stepping": Stepping(steps=1500, keep=1)}
    found = solve_hjb(maker(penalty, arrivals, generator), grid, **options)
    exact = by_ordinary_equations(penalty, arrivals, generator)
    if generator is None:
        assert exact[0, LIMIT] == pytest.approx(0.20042619, abs=1e-8)
    np.testing.assert_allclose(found.value[0], exact, rtol=2e-3)
