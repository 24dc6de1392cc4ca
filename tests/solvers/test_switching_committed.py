"""Committed policies over regimes: against all constant policies, difference quotients, and games without a point."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.switching_committed import committed_value, solve_committed_switching
from diffgames.solvers.switching_game import MacroGame, prepared, solve_switching_game

COST = np.array([1.0, 4.0, 2.0])
BASE = np.array([[0.0, 0.4, 0.3], [0.6, 0.0, 0.3], [0.2, 0.8, 0.0]])
ATTACK = np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
CALM = np.array([[0.0, 0.3, 0.0], [0.0, 0.0, 0.0], [0.0, 0.7, 0.0]])
STEPS = 400


def generator(rates):
    return rates - np.eye(rates.shape[-1]) * rates.sum(axis=-1, keepdims=True)


RATES = np.array([[generator(BASE + f * ATTACK - g * CALM) for f in (0, 1)] for g in (0, 1)])


def resting(diffusion: float = 0.0) -> DifferentialGame:
    """Nothing moves but the regime (and, if asked, noise and a controller against a disturbance)."""
    moving = 1.0 if diffusion else 0.0

    def cost(t, x, u, i):
        own = jnp.asarray(COST)[i] * (1 + moving * x[0] ** 2) + moving * (u[0][0] ** 2 - 2 * u[1][0] ** 2)
        return jnp.broadcast_to(own, (2,))

    return DifferentialGame(
        players=("controller", "disturbance"),
        control_sizes=(1, 1),
        drift=lambda t, x, u, i: moving * (u[0] + 0.5 * u[1]),
        diffusion=lambda t, x, u, i: jnp.full((1, 1), diffusion),
        running_cost=cost,
        terminal_cost=lambda x, i: jnp.zeros(2),
        initial=PointLaw(jnp.zeros(1)),
        horizon=1.0,
        signs=(1, -1),
        bounds=((-2.0, 2.0), (-1.0, 1.0)),
    )


def held(g: tuple, f: tuple, sign: float) -> float:
    """Mean of U_i(0) when f and g are held for all time, φ = sign·V: a linear equation, by a matrix exponential."""
    mu = np.array([RATES[g[i], f[i]][i] for i in range(3)])
    block = np.zeros((7, 7))  # (V, U, 1): dV/dτ = c + μV, dU/dτ = sign·V + μU
    block[:3, :3], block[:3, 6], block[3:6, :3], block[3:6, 3:6] = mu, COST, sign * np.eye(3), mu
    return float(expm(block)[3:6, 6].mean())


@pytest.mark.parametrize("sign", [pytest.param(1.0, marks=pytest.mark.slow), -1.0])
def test_policies_held_for_all_time_are_the_best_of_all_pairs(sign):
    """One interval: all 8 × 8 pairs of constant policies. With φ = −V the attacker pulls out of the worse regime."""
    macro = MacroGame(jnp.asarray(RATES), jnp.zeros((2, 2)), lambda t, x, i, v: sign * v)
    grid = Grid((Axis("x", -1.0, 1.0, 3),))
    found = solve_committed_switching(resting(), macro, grid, search=Affine(), keep=1, steps=STEPS)
    policies = list(itertools.product((0, 1), repeat=3))
    payoff = np.array([[held(g, f, sign) for f in policies] for g in policies])
    low, high = payoff.min(axis=0).max(), payoff.max(axis=1).min()
    assert low == pytest.approx(high, abs=1e-12), "these parameters have a saddle in constant policies"
    assert float(found.outer[0].mean()) == pytest.approx(high, abs=3 / STEPS)
    row = policies[int(payoff.max(axis=1).argmin())]
    column = policies[int(payoff.min(axis=0).argmax())]
    attack, calm = np.asarray(found.attacker[0, :, 1, 1]), np.asarray(found.defender[0, :, 1, 1])
    assert attack[0] == pytest.approx(column[0], abs=1e-6), "the other regimes have nothing to attack"
    np.testing.assert_allclose(calm[[0, 2]], np.array(row)[[0, 2]], atol=1e-6)


@pytest.fixture(scope="module")
def committed():
    """A controlled diffusion in three regimes whose outer players pay for intermediate efforts."""
    rates = jnp.asarray([[generator(BASE + f * ATTACK - g * CALM) for f in (0, 0.5, 1)] for g in (0, 1)])
    effort = jnp.asarray([[0.0, -0.05, -0.4], [0.1, 0.05, -0.3]])
    macro = MacroGame(rates, effort, lambda t, x, i, v: 0.5 * v)
    grid = Grid((Axis("x", -2.0, 2.0, 11),))
    options = {"search": Affine(), "keep": 5}
    solution = solve_committed_switching(resting(0.5), macro, grid, **options)
    return macro, grid, solution, solve_switching_game(resting(0.5), macro, grid, **options)


def value_of(macro, grid, defender, attacker):
    sweep, mesh = prepared(resting(0.5), macro, grid, Affine(), 5, None)
    weights = jnp.full((3, grid.size), 1.0 / (3 * grid.size))

    @jax.jit
    def value(defender, attacker):
        joint = defender[..., :, None] * attacker[..., None, :]
        return committed_value(sweep, macro, weights, joint, mesh)[0]

    return value, value(defender, attacker)


def test_no_deviation_pays_and_the_readings_differ(committed):
    """Random deviations of either side do not help by more than the gap; the feedback policies can be improved on."""
    macro, grid, solution, feedback = committed
    defender, attacker = solution.defender[:-1], solution.attacker[:-1]
    value, best = value_of(macro, grid, defender, attacker)
    assert float(solution.gap) < 1e-6 * (1 + abs(float(best)))
    random = np.random.default_rng(0)
    for _ in range(5):
        other = jnp.asarray(random.dirichlet(np.full(3, 0.3), attacker.shape[:-1]))
        assert float(value(defender, other)) < float(best) + float(solution.gap)
        other = jnp.asarray(random.dirichlet(np.full(2, 0.3), defender.shape[:-1]))
        assert float(value(other, attacker)) > float(best) - float(solution.gap)
    assert float(jnp.abs(solution.attacker[:-1] - feedback.attacker[:-1]).max()) > 0.5
    plain = value(feedback.defender[:-1], feedback.attacker[:-1])
    assert float(value(feedback.defender[:-1], attacker)) > float(plain) + 10 * float(solution.gap)


def test_where_the_stress_is_given_the_readings_agree(committed):
    """φ and the costs of the outer game alone: nothing that V does matters, and no inner feedback moves the state."""
    macro, grid, *_ = committed
    given = MacroGame(macro.rates, macro.effort, lambda t, x, i, v: jnp.asarray(COST)[i])
    found = solve_committed_switching(resting(), given, grid, search=Affine(), keep=40, steps=STEPS)
    feedback = solve_switching_game(resting(), given, grid, search=Affine(), keep=40, steps=STEPS)
    np.testing.assert_allclose(found.outer[0], feedback.outer[0], atol=2e-3)
    assert float(feedback.attacker[0, 0, 0, 1:].sum()) > 0.99, "the attacker does attack"


def test_pure_actions_without_a_fixed_point_are_told():
    """Matching pennies on the switching rates: mixed policies settle, pure ones cannot."""
    match = [[generator(BASE * (1 + (g == f))) for f in (0, 1)] for g in (0, 1)]
    grid = Grid((Axis("x", -1.0, 1.0, 3),))
    options = {"search": Affine(), "keep": 2, "steps": STEPS}
    mixed = MacroGame(jnp.asarray(np.array(match)), jnp.zeros((2, 2)), lambda t, x, i, v: v)
    found = solve_committed_switching(resting(), mixed, grid, **options)
    np.testing.assert_allclose(found.attacker[0], 0.5, atol=1e-3)
    pure = MacroGame(mixed.rates, mixed.effort, mixed.stress, mixed=False)
    with pytest.raises(RunFailed, match=r"no fixed point of the committed pure policies .*mixed=True"):
        solve_committed_switching(resting(), pure, grid, most=5, **options)


def test_weights_are_checked(committed):
    macro, grid, *_ = committed
    with pytest.raises(InvalidInput, match="weights"):
        solve_committed_switching(resting(), macro, grid, weights=jnp.zeros((3, grid.size)), search=Affine())
