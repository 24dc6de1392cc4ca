"""Control problems on grids against closed forms and ordinary differential equations."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.control_search import Levels
from diffgames.solvers.hjb import solve_hjb
from diffgames.solvers.isaacs import Stepping

A, SIGMA = 0.3, 0.4


def regulator(sign: int = 1, discount: float = 0.0, horizon: float = 1.0) -> DifferentialGame:
    """dX = (A x + u) dt + σ dW, cost ∫(x² + u²) + x_T²; rewards with sign −1."""
    return DifferentialGame(
        players=("regulator",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: A * x + u[0],
        diffusion=lambda t, x, u, i: SIGMA * jnp.eye(1),
        running_cost=lambda t, x, u, i: sign * (x**2 + u[0] ** 2),
        terminal_cost=lambda x, i: sign * x**2,
        initial=PointLaw(jnp.array([0.5])),
        horizon=horizon,
        discount=discount,
        signs=(sign,),
        bounds=((-6.0, 6.0),),
    )


def riccati(x: float, horizon: float = 1.0) -> float:
    """P x² + r with Ṗ = −1 − 2AP + P², ṙ = −σ²P."""

    def backward(s, y):
        return [1 + 2 * A * y[0] - y[0] ** 2, SIGMA**2 * y[0]]

    p, r = solve_ivp(backward, (0, horizon), [1.0, 0.0], rtol=1e-11, atol=1e-12).y[:, -1]
    return p * x**2 + r


def line(size: int) -> Grid:
    return Grid((Axis("x", -3.0, 3.0, size),))


def test_linear_quadratic_control_is_found_at_second_order():
    x = jnp.array([0.5])
    errors = [
        abs(float(solve_hjb(regulator(), line(size), search=Affine()).at(x)) - riccati(0.5)) for size in (41, 81, 161)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert errors[-1] < 6e-4 and (orders > 1.7).all(), (errors, orders)


def test_searching_levels_and_implicit_steps_find_the_same():
    x, exact = jnp.array([0.5]), riccati(0.5)
    levels = solve_hjb(regulator(), line(81), search=Levels(5, 5))
    affine = solve_hjb(regulator(), line(81), search=Affine())
    implicit = solve_hjb(regulator(), line(81), search=Affine(), stepping=Stepping("implicit", steps=100))
    assert float(levels.at(x)) == pytest.approx(exact, abs=3e-3)
    assert float(levels.at(x)) >= float(affine.at(x)) - 1e-4  # fewer controls cost more
    assert (
        float(implicit.at(x)) == pytest.approx(exact, abs=3e-3) and float(implicit.stability) > 1.0
    )  # not for explicit steps
    assert int(implicit.iterations) <= 8


def test_a_maximiser_earns_what_a_minimiser_pays():
    cost = solve_hjb(regulator(), line(41), search=Affine())
    reward = solve_hjb(regulator(sign=-1), line(41), search=Affine())
    np.testing.assert_allclose(reward.value, -cost.value, rtol=1e-10)


def test_the_steady_state_is_the_algebraic_riccati_equation_and_the_limit_of_long_horizons():
    rho = 0.5
    p = ((2 * A - rho) + np.sqrt((2 * A - rho) ** 2 + 4)) / 2
    exact = p * 0.25 + SIGMA**2 * p / rho
    found = solve_hjb(regulator(discount=rho), line(161), search=Affine(), stepping=Stepping("stationary"))
    assert float(found.at(jnp.array([0.5]))) == pytest.approx(exact, rel=2e-3)
    long = regulator(discount=rho, horizon=30.0)
    marched = solve_hjb(long, line(161), search=Affine(), stepping=Stepping("implicit", steps=60), leak_tolerance=None)
    np.testing.assert_allclose(marched.value[0], found.value[0], rtol=1e-4)


def test_the_feedback_is_the_riccati_gain():
    found = solve_hjb(regulator(), line(161), search=Affine())

    def gain(s, y):
        return [1 + 2 * A * y[0] - y[0] ** 2]

    p = solve_ivp(gain, (0, 1), [1.0], rtol=1e-10).y[0, -1]
    for x in (-1.2, 0.3, 0.9):
        (u,) = found.feedback(jnp.array(0.0), jnp.array([x]), jnp.int32(0))
        assert float(u[0]) == pytest.approx(-p * x, abs=0.02)


def test_one_clear_line_for_each_slip():
    with pytest.raises(InvalidInput, match=r"steps: 50 .* at least \d+ explicit steps"):
        solve_hjb(regulator(), line(161), search=Affine(), stepping=Stepping(steps=50))
    with pytest.raises(RunFailed, match="too narrow: with probability"):
        solve_hjb(regulator(), Grid((Axis("x", 0.2, 0.8, 41),)), search=Affine())
    with pytest.raises(InvalidInput, match="one axis for each"):
        solve_hjb(regulator(), Grid((Axis("x", 0, 1, 5), Axis("y", 0, 1, 5))))
    with pytest.raises(InvalidInput, match="bounded set"):
        solve_hjb(dataclasses.replace(regulator(), bounds=(None,)), line(41))
    with pytest.raises(InvalidInput, match="positive rate"):
        solve_hjb(regulator(), line(41), stepping=Stepping("stationary"))
