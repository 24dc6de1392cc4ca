"""Trade crowding: reference values, SciPy's boundary value problem, best replies, and the grid."""

import numpy as np
import pytest
from scipy.integrate import solve_bvp, solve_ivp

from diffgames.errors import InvalidInput
from diffgames.games.trade_crowding import TradeCrowding
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.solvers.mean_field_newton import solve_mean_field

ONE = {"share": 1.0, "alpha": 0.4, "kappa": 0.2, "phi": 0.1, "A": 2.5, "mean0": 10.0, "deviation0": 1.0, "horizon": 5.0}
TWO = {
    "share": [0.7, 0.3],
    "alpha": 0.4,
    "kappa": [0.2, 0.3],
    "phi": [0.1, 0.0],
    "A": [2.5, 0.4],
    "mean0": [10.0, -5.0],
    "deviation0": [1.0, 2.0],
    "horizon": 2.0,
    "sigma": 0.7,
}


def test_the_reference_schedules_hold_to_all_their_digits():
    crowd = TradeCrowding(**ONE)
    mean, speed = crowd.means(np.arange(6.0))
    np.testing.assert_allclose(mean[1:, 0], [2.54940878, 0.64783481, 0.16157239, 0.03588114, 0.00145511], atol=5e-9)
    assert speed[0, 0] == pytest.approx(-13.66285259, abs=5e-9)
    alone = crowd.means(np.arange(1.0, 6.0), "alone")[0][:, 0]
    np.testing.assert_allclose(alone, [4.91903659, 2.40179474, 1.1363291, 0.46309964, 0.03123014], atol=5e-9)


def test_means_of_two_types_solve_the_boundary_value_problem():
    crowd = TradeCrowding(**TWO)
    times = np.linspace(0.0, crowd.horizon, 21)

    def rate(t, y):
        push = crowd.alpha * (crowd.share @ y[2:])
        return np.concatenate([y[2:], (2.0 * crowd.phi[:, None] * y[:2] - push) / (2.0 * crowd.kappa[:, None])])

    def ends(start, end):
        return np.concatenate([start[:2] - crowd.mean0, crowd.kappa * end[2:] + crowd.A * end[:2]])

    other = solve_bvp(rate, ends, times, np.zeros((4, 21)), tol=1e-9, max_nodes=100_000)
    mean, speed = crowd.means(times)
    np.testing.assert_allclose(mean.T, other.sol(times)[:2], atol=1e-6)
    np.testing.assert_allclose(speed.T, other.sol(times)[2:], atol=1e-6)


def test_curvature_and_variance_solve_their_equations():
    crowd = TradeCrowding(**TWO)
    back = solve_ivp(
        lambda s, h: crowd.phi - h**2 / crowd.kappa, (0.0, 2.0), crowd.A, rtol=1e-11, atol=1e-12, dense_output=True
    )
    times = np.linspace(0.0, 2.0, 4001)
    np.testing.assert_allclose(crowd.curvature(times), back.sol(2.0 - times).T, rtol=1e-8)

    def spread(t, v):
        return -2.0 * crowd.curvature(np.asarray([t]))[0] / crowd.kappa * v + crowd.sigma**2

    there = solve_ivp(spread, (0.0, 2.0), crowd.deviation0**2, rtol=1e-10, atol=1e-12, t_eval=times)
    np.testing.assert_allclose(crowd.variance(times), there.y.T, rtol=1e-5)


@pytest.mark.parametrize("schedule", ["crowd", "planner"])
def test_no_bend_of_a_schedule_pays_less(schedule, monkeypatch):
    """An agent's in equilibrium, with the crowd's speed as it is; the planner's, with everybody's."""
    crowd = TradeCrowding(**TWO)
    best = crowd.share @ crowd.costs(schedule, schedule)
    plain = crowd.means

    def bent(size):
        def means(times, name="crowd"):
            mean, speed = plain(times, name.removesuffix("-bent"))
            if not name.endswith("-bent"):
                return mean, speed
            w = 0.5 * np.pi / crowd.horizon
            return mean + size * np.sin(w * times)[:, None], speed + size * w * np.cos(w * times)[:, None]

        monkeypatch.setattr(crowd, "means", means)
        others = schedule if schedule == "crowd" else "planner-bent"
        return crowd.share @ crowd.costs(f"{schedule}-bent", others)

    up, down = bent(0.1) - best, bent(-0.1) - best
    assert up > 0 and down > 0
    assert abs(up - down) < 1e-9 * best  # the slope vanishes: the cost is quadratic
    if schedule == "planner":
        assert best < min(crowd.share @ crowd.costs(name, name) for name in ("crowd", "alone"))


def test_the_grid_nears_the_closed_form():
    crowd = TradeCrowding(**ONE, sigma=1.0)
    apart = []
    for points, steps in ((40, 40), (80, 160)):
        found = solve_mean_field(
            crowd.game(), Cells((CellAxis("q", -8.0, 18.0, points, "line"),)), steps, differences="central"
        )
        assert found.converged
        mean = crowd.means(np.linspace(0.0, 5.0, steps + 1))[0]
        apart.append((np.abs(found.moments()[0] - mean).max(), abs(found.cost[0] - crowd.costs()[0])))
    assert apart[1][0] < 0.6 * apart[0][0] and apart[1][0] < 0.03
    assert apart[1][1] < 0.6 * apart[0][1] and apart[1][1] < 0.02 * crowd.costs()[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("share", [0.7, 0.7]),
        ("kappa", [0.2, 0.0]),
        ("phi", [-0.1, 0.0]),
        ("A", [1.0]),
        ("alpha", np.nan),
        ("horizon", 0),
    ],
)
def test_wrong_data_are_named(key, value):
    with pytest.raises(InvalidInput) as caught:
        TradeCrowding(**TWO | {key: value})
    assert caught.value.key == key
