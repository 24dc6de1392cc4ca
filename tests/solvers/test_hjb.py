"""Control problems on grids against closed forms and ordinary differential equations."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
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


def moving(**changes) -> DifferentialGame:
    """A point that nobody steers, on a circle; its cost is sin x at time 1."""
    fields = {
        "players": ("nobody",),
        "control_sizes": (0,),
        "drift": lambda t, x, u, i: 0 * x,
        "diffusion": lambda t, x, u, i: jnp.zeros((1, 1)),
        "running_cost": lambda t, x, u, i: 0 * x,
        "terminal_cost": lambda x, i: jnp.sin(x),
        "initial": PointLaw(jnp.zeros(1)),
        "horizon": 1.0,
    }
    return DifferentialGame(**(fields | changes))


def pulse(t, low, high, height):
    return jnp.where((t > low) & (t < high), height, 0.0)


CIRCLE = Grid((Axis("x", -np.pi, np.pi, 161, "periodic"),))


@pytest.mark.parametrize(
    ("changes", "breaks", "exact"),
    [
        # nine equal times meet every zero of the square
        ({"drift": lambda t, x, u, i: 0 * x + 4 * jnp.sin(8 * jnp.pi * t) ** 2}, (), np.sin(2.0)),
        ({"drift": lambda t, x, u, i: 0 * x + pulse(t, 0.41, 0.42, 100.0)}, (), np.sin(1.0)),
        ({"drift": lambda t, x, u, i: 0 * x + pulse(t, 0.41231, 0.41232, 1e5)}, (0.41231, 0.41232), np.sin(1.0)),
        (
            {
                "diffusion": lambda t, x, u, i: pulse(t, 0.6, 0.62, 10.0)[None, None],
                "terminal_cost": lambda x, i: jnp.cos(x),
            },
            (),
            np.exp(-1.0),
        ),
        ({"running_cost": lambda t, x, u, i: 0 * x + pulse(t, 0.61, 0.62, 100.0)}, (0.61, 0.62), 1.0),
    ],
    ids=["oscillation", "drift", "narrow", "volatility", "cost"],
)
def test_what_happens_between_two_times_is_stepped_through(changes, breaks, exact):
    """Rates bound every step, not those of nine times; the rest is the scheme's own error, of first order."""
    found = solve_hjb(moving(**changes), CIRCLE, stepping=Stepping(keep=2, breaks=breaks), leak_tolerance=None)
    assert float(found.stability) <= 1 + 1e-9 and float(jnp.max(jnp.abs(found.value))) <= 2.0
    np.testing.assert_allclose(found.at(jnp.zeros(1)), exact, atol=0.03)


def test_steps_that_pass_over_an_event_are_refused():
    game = moving(drift=lambda t, x, u, i: 0 * x + pulse(t, 0.41, 0.42, 100.0))
    for steps, words in ((10, "passed over"), (100, r"at least \d+ explicit steps")):  # few step over it altogether
        with pytest.raises(InvalidInput, match=rf"steps: {steps} .*{words}"):
            solve_hjb(game, CIRCLE, stepping=Stepping(steps=steps), leak_tolerance=None)
    paid = moving(running_cost=lambda t, x, u, i: 0 * x + pulse(t, 0.41, 0.42, 100.0))
    with pytest.raises(InvalidInput, match=r"steps: 10 .*passed over"):
        solve_hjb(paid, CIRCLE, stepping=Stepping(steps=10), leak_tolerance=None)
    with pytest.raises(InvalidInput, match="breaks"):
        solve_hjb(paid, CIRCLE, stepping=Stepping(breaks=(2.0,)), leak_tolerance=None)
    for rate in (-1.0, np.nan):
        late = JumpLaw(
            lambda t, x, u, i, rate=rate: pulse(t, 0.4, 0.41, rate), lambda t, x, u, z, i: z, FixedMark(jnp.ones(1))
        )
        with pytest.raises(InvalidInput, match="rate"):
            solve_hjb(moving(jumps=(late,)), CIRCLE, leak_tolerance=None)


@pytest.mark.parametrize("search", [Affine(), Levels()], ids=["affine", "levels"])
def test_units_of_cost_and_time_do_not_matter(search):
    """Costs × c, time × s: values × c, controls / s, explicit, implicit and stationary."""
    grid = Grid((Axis("x", -3.0, 3.0, 21, "constrained" if isinstance(search, Levels) else "reflecting"),))
    x = jnp.array([0.5])

    def solved(c: float, s: float, method: str):
        game = DifferentialGame(
            players=("regulator",),
            control_sizes=(1,),
            drift=lambda t, x, u, i: A * x / s + u[0],
            diffusion=lambda t, x, u, i: SIGMA / np.sqrt(s) * jnp.eye(1),
            running_cost=lambda t, x, u, i: c * (x**2 / s + u[0] ** 2 * s),
            terminal_cost=lambda x, i: c * x**2,
            initial=PointLaw(x),
            horizon=jnp.inf if method == "stationary" else s,
            discount=0.5 / s,
            bounds=((-6.0 / s, 6.0 / s),),
        )
        steps = None if method == "stationary" else 100
        found = solve_hjb(game, grid, search=search, stepping=Stepping(method=method, steps=steps), leak_tolerance=None)
        control = found.feedback(jnp.asarray(0.0), jnp.array([3.0]), jnp.int32(0))[0][0]
        return float(found.at(x)) / c, float(control) * s

    cases = [("explicit", 1e-15, 1 / 31_536_000.0)]
    if isinstance(search, Affine):
        cases += [("implicit", 1e15, 1e9), ("stationary", 1e-15, 31_536_000.0)]
    for method, c, s in cases:
        np.testing.assert_allclose(solved(c, s, method), solved(1.0, 1.0, method), rtol=1e-9)


def test_what_lies_beyond_the_grid_is_not_answered():
    """A start past an absorbing or constrained end is not in the game; a value there is not known."""
    for boundary in ("absorbing", "constrained"):
        grid = Grid((Axis("x", -3.0, 3.0, 21, boundary),))
        outside = dataclasses.replace(regulator(), initial=PointLaw(jnp.array([4.0])))
        with pytest.raises(InvalidInput, match=r"initial: 4.0 .*x from -3 to 3"):
            solve_hjb(outside, grid)
    found = solve_hjb(regulator(), line(21), search=Affine())
    for state in (3.5, np.nan):
        with pytest.raises(InvalidInput, match="a state on the grid"):
            found.at(jnp.array([state]))
