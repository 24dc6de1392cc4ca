"""Zero-sum games on grids: dimensions, regimes and jumps together, order of play, monotonicity, a published tube."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import DiscreteMarks, FixedMark, JumpLaw
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.control_search import Levels
from diffgames.solvers.grid_game import grid_game
from diffgames.solvers.grid_sweep import Stopping, Sweep
from diffgames.solvers.isaacs import Stepping, solve_isaacs


def air3d(speed: float = 5.0, turn: float = 1.0, radius: float = 5.0, horizon: float = 2.8) -> DifferentialGame:
    """Two planes in the frame of the evader, which maximises the least distance less `radius`."""

    def drift(t, x, u, i):
        a, b = u[0][0], u[1][0]
        return jnp.stack([speed * (jnp.cos(x[2]) - 1) + a * x[1], speed * jnp.sin(x[2]) - a * x[0], b - a])

    return DifferentialGame(
        players=("evader", "pursuer"),
        control_sizes=(1, 1),
        drift=drift,
        diffusion=lambda t, x, u, i: jnp.zeros((3, 1)),
        running_cost=lambda t, x, u, i: jnp.zeros(2),
        terminal_cost=lambda x, i: jnp.broadcast_to(jnp.hypot(x[0], x[1]) - radius, (2,)),
        initial=PointLaw(jnp.array([10.0, 0.0, 3.0])),
        horizon=horizon,
        signs=(-1, 1),
        bounds=((-turn, turn), (-turn, turn)),
    )


def capture(t, x, i):
    return jnp.hypot(x[0], x[1]) - 5.0


def test_the_reachable_tube_of_the_two_planes_is_the_published_one():
    """hj_reachability 0.7.0 on this grid: .2461949 of the points at first order, .261619 at fifth order."""
    axes = (Axis("x", -6.0, 20.0, 51, "linear"), Axis("y", -10.0, 10.0, 51, "linear"))
    grid = Grid((*axes, Axis("angle", 0.0, 2 * np.pi, 51, "periodic")))
    options = {"stepping": Stepping(keep=1), "stopping": Stopping(minimiser=capture), "leak_tolerance": None}
    tube = {}
    for flux in ("lax_friedrichs", "upwind"):
        found = solve_isaacs(air3d(), grid, search=Affine(flux), **options)
        tube[flux] = float(jnp.mean(found.value[0, 0] <= 0))
    assert tube["lax_friedrichs"] == pytest.approx(0.2461949, abs=1e-4)  # 13 points of 132,651
    assert tube["lax_friedrichs"] <= tube["upwind"] < 0.2616  # less diffusive, nearer to the fifth-order tube


def stochastic(n: int, regimes: int, seed: int, jumps: bool = True) -> DifferentialGame:
    """A random linear-quadratic zero-sum game in n dimensions with regimes and jumps of two kinds."""
    random = np.random.default_rng(seed)
    a = jnp.asarray(0.3 * random.normal(size=(regimes, n, n)))
    b = jnp.asarray(0.5 + random.random((regimes, n)))
    d = jnp.asarray(0.4 * random.random((regimes, n)))
    sigma = jnp.asarray(0.25 + 0.2 * random.random((regimes, n)))
    q = jnp.asarray(0.5 + random.random((regimes, n)))
    rates = 0.5 + random.random((regimes, regimes))
    generator = jnp.asarray(rates - np.diag(rates.sum(axis=1)))

    def cost(t, x, u, i):
        common = jnp.sum(q[i] * x**2) + u[0] @ u[0] - 3.0 * (u[1] @ u[1])
        return jnp.stack([common, common])

    scale = FixedMark(jnp.array([0.15]))
    shift = DiscreteMarks(jnp.array([[-0.2], [0.1]]), jnp.array([0.4, 0.6]))
    laws = (
        JumpLaw(lambda t, x, u, i: 0.5 + 0.5 * i.astype(x.dtype), lambda t, x, u, z, i: z[0] * x, scale),
        JumpLaw(lambda t, x, u, i: jnp.asarray(0.7), lambda t, x, u, z, i: jnp.full(n, z[0]), shift),
    )
    return DifferentialGame(
        players=("controller", "disturbance"),
        control_sizes=(n, n),
        drift=lambda t, x, u, i: a[i] @ x + b[i] * u[0] + d[i] * u[1],
        diffusion=lambda t, x, u, i: jnp.diag(sigma[i]),
        running_cost=cost,
        terminal_cost=lambda x, i: jnp.broadcast_to(x @ x, (2,)),
        initial=PointLaw(jnp.full(n, 0.3)),
        horizon=0.5,
        generator=generator if regimes > 1 else None,
        jumps=laws if jumps else (),
        signs=(1, -1),
        bounds=((-5.0, 5.0), (-2.0, 2.0)),
    )


def riccati(game: DifferentialGame, n: int, regimes: int, x: np.ndarray) -> np.ndarray:
    """x'P_ix + 2p_i'x + r_i by the coupled Riccati equations, coefficients read off the game by differentiation."""
    zero, u0, t = jnp.zeros(n), (jnp.zeros(n), jnp.zeros(n)), jnp.array(0.0)

    def matrices(i):
        i = jnp.int32(i)

        a = jax.jacfwd(lambda y: game.drift(t, y, u0, i))(zero)
        b = jax.jacfwd(lambda v: game.drift(t, zero, (v, u0[1]), i))(zero)
        d = jax.jacfwd(lambda v: game.drift(t, zero, (u0[0], v), i))(zero)
        q = jax.hessian(lambda y: game.running_cost(t, y, u0, i)[0])(zero) / 2
        s = game.diffusion(t, zero, u0, i)
        return [np.asarray(m) for m in (a, b @ b.T - d @ d.T / 3.0, q, s @ s.T)]

    parts = [matrices(i) for i in range(regimes)]
    mu = np.zeros((1, 1)) if game.generator is None else np.asarray(game.generator)

    def backward(s, y):
        y = y.reshape(regimes, n * n + n + 1)
        p, v, r = y[:, : n * n].reshape(regimes, n, n), y[:, n * n : -1], y[:, -1]
        dp, dv, dr = np.zeros_like(p), np.zeros_like(v), np.zeros_like(r)
        for i, (a, g, q, c) in enumerate(parts):
            dp[i] = q + a.T @ p[i] + p[i] @ a - p[i] @ g @ p[i]
            dv[i] = (a - g @ p[i]).T @ v[i]
            dr[i] = np.trace(c @ p[i]) - v[i] @ g @ v[i]
            if game.jumps:
                dp[i] += (0.5 + 0.5 * i) * 0.15**2 * p[i]
                dr[i] += 0.7 * (0.4 * 0.2**2 + 0.6 * 0.1**2) * p[i].sum()
        dp, dv, dr = dp + np.einsum("ij,jkl", mu, p), dv + mu @ v, dr + mu @ r
        return np.concatenate([dp.reshape(regimes, -1), dv, dr[:, None]], axis=1).reshape(-1)

    start = np.concatenate([np.eye(n).reshape(-1), np.zeros(n + 1)])
    end = solve_ivp(backward, (0, 0.5), np.tile(start, regimes), rtol=1e-9, atol=1e-10).y[:, -1]
    end = end.reshape(regimes, -1)
    return np.array([x @ e[: n * n].reshape(n, n) @ x + 2 * e[n * n : -1] @ x + e[-1] for e in end])


@pytest.mark.parametrize(("n", "regimes", "sizes"), [(1, 3, (31, 61)), (2, 2, (21, 41)), (3, 2, (13, 25))])
def test_random_games_with_regimes_and_jumps_match_their_riccati_equations(n, regimes, sizes):
    """Against the coupled Riccati equations on two grids: of second order, and their extrapolation is close."""
    game, x = stochastic(n, regimes, seed=n), np.full(n, 0.3)
    exact, found = riccati(game, n, regimes, x), []
    for size in sizes:
        grid = Grid(tuple(Axis(f"x{d}", -2.4, 2.4, size) for d in range(n)))
        solution = solve_isaacs(game, grid, search=Affine(), stepping=Stepping(keep=1), leak_tolerance=0.02)
        found.append(np.array([float(solution.at(jnp.asarray(x), i)) for i in range(regimes)]))
        assert float(solution.isaacs_gap) == 0.0
    coarse, fine = (np.abs(values - exact).max() for values in found)
    assert coarse / fine > 2.5, (coarse, fine)
    np.testing.assert_allclose((4 * found[1] - found[0]) / 3, exact, rtol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "regimes", "size"), [(1, 3, 41), (2, 2, 17), (3, 2, 9)])
def test_implicit_and_stationary_play_the_same_games(n, regimes, size):
    """Regimes and jumps in every dimension: implicit steps near explicit ones by O(dt), stationary = a long horizon."""
    game, grid = stochastic(n, regimes, seed=n), Grid(tuple(Axis(f"x{d}", -2.4, 2.4, size) for d in range(n)))

    def value(game, stepping):
        found = solve_isaacs(game, grid, search=Affine(), stepping=stepping, leak_tolerance=None)
        assert float(found.isaacs_gap) == 0.0
        return np.asarray(found.value[0])

    explicit = value(game, Stepping(steps=400, keep=1))  # far more than stability wants: its own error in time is small
    apart = [
        np.abs(value(game, Stepping("implicit", steps=steps, keep=1)) - explicit).max() / np.abs(explicit).max()
        for steps in (10, 20)
    ]
    assert 0.45 < apart[1] / apart[0] < 0.6 and apart[1] < 0.02, apart
    discounted = dataclasses.replace(game, discount=2.0)
    endless = value(dataclasses.replace(discounted, horizon=np.inf), Stepping("stationary"))
    long = value(dataclasses.replace(discounted, horizon=6.0), Stepping(keep=1))
    np.testing.assert_allclose(endless, long, atol=2e-4 * np.abs(endless).max())


@pytest.mark.slow
def test_four_dimensions_with_regimes_and_jumps():
    """As above on 7⁴ and 13⁴ points: too coarse to be near, but of second order, and the extrapolation is."""
    game, x, found = stochastic(4, 2, seed=4), np.full(4, 0.3), []
    exact = riccati(game, 4, 2, x)
    for size in (7, 13):
        grid = Grid(tuple(Axis(f"x{d}", -2.4, 2.4, size) for d in range(4)))
        solution = solve_isaacs(game, grid, search=Affine(), stepping=Stepping(keep=1), leak_tolerance=None)
        found.append(np.array([float(solution.at(jnp.asarray(x), i)) for i in range(2)]))
    coarse, fine = (np.abs(values - exact).max() for values in found)
    assert 3.0 < coarse / fine < 5.0, (coarse, fine)
    np.testing.assert_allclose((4 * found[1] - found[0]) / 3, exact, rtol=0.05)


def drift_game(coupling: float) -> DifferentialGame:
    """dX = coupling·u·w dt, cost ∫(x + ¼u² − ¼w²): without a saddle in pure controls where the coupling is large."""

    def cost(t, x, u, i):
        common = x[0] + 0.25 * u[0][0] ** 2 - 0.25 * u[1][0] ** 2
        return jnp.stack([common, -common])

    return DifferentialGame(
        players=("minimiser", "opponent"),
        control_sizes=(1, 1),
        drift=lambda t, x, u, i: coupling * (u[0] - u[1]) ** 2,
        diffusion=lambda t, x, u, i: jnp.full((1, 1), 0.3),
        running_cost=cost,
        terminal_cost=lambda x, i: jnp.stack([x[0], -x[0]]),
        initial=PointLaw(jnp.zeros(1)),
        horizon=0.5,
        signs=(1, 1),
        bounds=((-1.0, 1.0), (-1.0, 1.0)),
    )


def test_isaacs_condition_is_measured():
    """(u − w)² p at p = ∂V ≈ 1 + s has min max > max min; the orders of play then have values of their own."""
    grid = Grid((Axis("x", -2.0, 3.0, 41, "linear"),))
    options = {"search": Levels(5, 1), "leak_tolerance": None, "stepping": Stepping(keep=1)}
    upper = solve_isaacs(drift_game(1.0), grid, **options)
    lower = solve_isaacs(drift_game(1.0), grid, order="lower", **options)
    assert float(upper.isaacs_gap) > 0.5
    assert float(upper.at(jnp.zeros(1)) - lower.at(jnp.zeros(1))) > 0.2
    # p(s) = 1 + s: min max at u = 0, max (1/1 p − ¼): p − ¼; max min: the minimiser copies w, c = 0, value 0.
    s = 0.5
    assert float(upper.at(jnp.zeros(1))) == pytest.approx(s + s**2 / 2 - s / 4, abs=0.02)
    assert float(lower.at(jnp.zeros(1))) == pytest.approx(0.0, abs=0.02)


@eqx.filter_jit
def one_step(sweep: Sweep, values, dt, implicit):
    step = sweep.implicit_step if implicit else sweep.explicit_step
    return step(None, dt, dt, values, None)[0]


@pytest.fixture(
    scope="module", params=["affine", "levels", "lax_friedrichs", "affine implicit", "lax_friedrichs implicit"]
)
def step(request):
    """One step of a game in two dimensions with two regimes and jumps, at its stability bound or ten times as long."""
    name, _, implicit = request.param.partition(" ")
    grid = Grid((Axis("x0", -1.0, 1.0, 7), Axis("x1", -1.0, 1.0, 8, "periodic")))
    view = grid_game(stochastic(2, 2, seed=5), grid)
    search = {"levels": Levels(3, 0), "affine": Affine(), "lax_friedrichs": Affine("lax_friedrichs")}[name]
    search = search.fitted(view) if isinstance(search, Affine) else search
    sweep = Sweep(view, search, Stopping(), "upper", True)
    dt = (10.0 if implicit else 1.0) / sweep.fastest_at(jnp.zeros(()))[0]
    return lambda values: np.asarray(one_step(sweep, jnp.asarray(values), dt, bool(implicit))), (2, grid.size)


@given(seed=st.integers(0, 2**31), size=st.floats(0.01, 10.0))
@settings(max_examples=40, deadline=None)
def test_the_comparison_principle_holds_on_the_grid(step, seed, size):
    """V ≤ V' before a step implies V ≤ V' after it; constants are carried through."""
    advance, shape = step
    random = np.random.default_rng(seed)
    lower = size * random.normal(size=shape)
    more = size * random.random(shape) * (random.random(shape) < 0.3)
    assert (advance(lower + more) - advance(lower)).min() > -1e-10 * size
    np.testing.assert_allclose(advance(lower + size), advance(lower) + size, rtol=1e-10, atol=1e-10 * size)


def test_games_that_are_not_zero_sum_or_have_negative_rates_are_refused():
    grid = Grid((Axis("x", -1.0, 1.0, 7),))
    game = stochastic(1, 2, seed=0)
    with pytest.raises(InvalidInput, match="two adversaries"):
        solve_isaacs(dataclasses.replace(game, signs=(1, 1)), grid)
    negative = JumpLaw(lambda t, x, u, i: x[0], lambda t, x, u, z, i: z, FixedMark(jnp.ones(1)))
    with pytest.raises(InvalidInput, match=r"jump rate: -.* an intensity ≥ 0"):
        solve_isaacs(dataclasses.replace(game, jumps=(negative,)), grid)
    steered = JumpLaw(lambda t, x, u, i: jnp.asarray(1.0), lambda t, x, u, z, i: u[0][:1] + z, FixedMark(jnp.ones(1)))
    with pytest.raises(InvalidInput, match=r"jumps\[1\].size: .sizes that the controls move by .* fixed beforehand"):
        solve_isaacs(dataclasses.replace(game, jumps=(game.jumps[0], steered)), grid)
    modulated = dataclasses.replace(game, generator=lambda t, x, u, i: jnp.stack([0.5 - u[0][0], u[0][0] - 0.5]))
    with pytest.raises(InvalidInput, match=r"switching rate: -.* an intensity ≥ 0"):
        solve_isaacs(modulated, grid)
    with pytest.raises(InvalidInput, match="quadratic in each control"):
        quartic = dataclasses.replace(game, running_cost=lambda t, x, u, i: jnp.broadcast_to(u[0][0] ** 4, (2,)))
        solve_isaacs(quartic, grid, search=Affine())
