"""The outer game on the switching graph against its linear-quadratic solution, and spectral quantities of chains."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.differential import DifferentialGame
from diffgames.games.jumps import JumpLaw
from diffgames.games.regimes import regime_diffusion
from diffgames.games.switching_graph import poincare_constant, spectral_gap
from diffgames.numerics.grid import Axis, Grid
from diffgames.solvers.affine_search import Affine
from diffgames.solvers.isaacs import Stepping, solve_isaacs
from diffgames.solvers.switching_game import MacroGame, solve_switching_game

BASE = np.array([[0.0, 0.4, 0.1], [0.6, 0.0, 0.3], [0.2, 0.8, 0.0]])
ATTACK = np.array([[0.0, 0.5, 0.2], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
MIDDLE = 120
STABILISE = np.array([[0.0, 0.3, 0.05], [0.0, 0.0, 0.2], [0.0, 0.0, 0.0]])


def generator(rates):
    return rates - np.diag(rates.sum(axis=-1))


def modes() -> DifferentialGame:
    """The scalar three-mode game: dX = (Ax + u + Dw)dt + Σ dW + multiplicative and additive compensated jumps."""
    sigma, scale, shift = (np.sqrt(v).tolist() for v in ([0.04, 0.09, 0.25], [0.0, 0.05, 0.2], [0.01, 0.02, 0.05]))
    return regime_diffusion(
        A=[0.1, 0.2, 0.4],
        D=[0.3, 0.4, 0.5],
        Q=[1.0, 1.5, 3.0],
        S=2.0,
        sigma=sigma,
        jump_scale=scale,
        jump_shift=shift,
        regimes=3,
        horizon=1.0,
        start=0.5,
        bounds=(9.0, 4.0),
    )


@pytest.fixture(scope="module")
def solved():
    """Bang-bang macro actions, and the chain that nobody moves."""
    grid = Grid((Axis("x", -3.0, 3.0, 2 * MIDDLE + 1),))
    rates = np.array([[generator(BASE + f * ATTACK - g * STABILISE) for f in (0.0, 1.0)] for g in (0.0, 1.0)])

    def stress(t, x, i, v):
        return v

    game = MacroGame(jnp.asarray(rates), jnp.zeros((2, 2)), stress)
    alone = MacroGame(jnp.asarray(rates[:1, :1]), jnp.zeros((1, 1)), stress)
    return tuple(solve_switching_game(modes(), macro, grid, search=Affine(), keep=4) for macro in (game, alone))


REFERENCE = {
    "game": [
        [(1.2659174709, 1.5615818203, 2.2158366267), (0.1200511244, 0.1986803965, 0.4271718377)],
        [(0.6572457025, 0.7064376095, 0.7854688886), (0.1389337593, 0.2107855681, 0.3814388779)],
    ],
    "alone": [
        [(1.1949623668, 1.4964444969, 2.2020179740), None],
        [(0.6523905601, 0.7038631297, 0.7856984257), (0.1029996652, 0.1741769734, 0.3698520964)],
    ],
}
"""(P, r) of the inner and (K, k) of the outer value P x² + r, K x² + k at time 0."""


def test_the_game_of_attack_and_stabilisation_is_the_linear_quadratic_one(solved):
    for solution, name in zip(solved, REFERENCE, strict=True):
        for values, (curvature, level) in zip((solution.inner[0], solution.outer[0]), REFERENCE[name], strict=True):
            half = MIDDLE + round(0.5 / solution.grid.spacing[0])
            if level is None:
                np.testing.assert_allclose(values[:, half] - values[:, MIDDLE], np.array(curvature) / 4, rtol=5e-3)
                continue
            np.testing.assert_allclose(values[:, MIDDLE], level, rtol=2e-3)
            np.testing.assert_allclose(values[:, half], np.array(curvature) / 4 + np.array(level), rtol=2e-3)


def test_the_policies_are_bang_bang_and_move_the_generator(solved):
    """Outer value rises with the mode: both attack and stabilise wherever they can (mode 3 has no moves)."""
    game, _ = solved
    moving = np.asarray(game.attacker[0, :2, :, 1])
    assert moving.min() == 1.0 and np.asarray(game.defender[0, :2, :, 1]).min() == 1.0
    np.testing.assert_allclose(game.generator[0, :, MIDDLE], generator(BASE + ATTACK - STABILISE), atol=1e-12)
    assert float(game.gap) < 1e-10
    np.testing.assert_allclose(game.spectral_gap()[0], spectral_gap(generator(BASE + ATTACK - STABILISE)), rtol=1e-9)


def test_spectral_quantities():
    assert spectral_gap(generator(BASE)) == pytest.approx(0.9, abs=1e-12)
    boosted = BASE + np.array([[0, 0, 0], [0, 0, 0.5], [0, 0, 0]])
    assert spectral_gap(generator(boosted)) == pytest.approx(0.8156, abs=1e-4)  # more rate, smaller gap
    symmetric = generator(BASE + BASE.T)
    assert poincare_constant(symmetric) == pytest.approx(spectral_gap(symmetric), rel=1e-10)
    random = np.random.default_rng(3)
    for _ in range(20):
        chain = generator(random.random((4, 4)) * (1 - np.eye(4)))
        assert 0 < poincare_constant(chain) <= spectral_gap(chain) + 1e-12
    assert poincare_constant(generator(ATTACK)) is None


def test_rates_that_make_no_generator_are_refused():
    macro = MacroGame(jnp.asarray(BASE[None, None] * 1.0), jnp.zeros((1, 1)))
    with pytest.raises(InvalidInput, match=r"rates\[0, 0\].*the diagonal is zero"):
        solve_switching_game(modes(), macro, Grid((Axis("x", -3.0, 3.0, 21),)))


def test_a_narrow_grid_and_an_unstable_step_are_told():
    """With x = 0.5 at the start and ends at ±0.6 most paths meet one; reported where it is tolerated."""
    macro = MacroGame(jnp.asarray(generator(BASE)[None, None]), jnp.zeros((1, 1)))
    narrow = Grid((Axis("x", -0.6, 0.6, 21),))
    with pytest.raises(RunFailed, match=r"too narrow: with probability 0\.\d+ the state meets an end of x -0\.6…0\.6"):
        solve_switching_game(modes(), macro, narrow, search=Affine(), keep=1)
    with pytest.raises(InvalidInput, match=r"steps: 10 .*at least \d+ explicit steps.*\(stability\)"):
        solve_switching_game(modes(), macro, narrow, search=Affine(), keep=1, steps=10)


def test_the_leak_is_that_of_the_same_chain_without_outer_players():
    """One outer action: value and leak are those of the inner game with that generator."""
    rates = generator(BASE)
    grid = Grid((Axis("x", -1.5, 1.5, 31),))
    macro = MacroGame(jnp.asarray(rates[None, None]), jnp.zeros((1, 1)))
    both = solve_switching_game(modes(), macro, grid, search=Affine(), keep=2, steps=600, leak_tolerance=1.0)
    game = dataclasses.replace(modes(), generator=jnp.asarray(rates))
    alone = solve_isaacs(game, grid, search=Affine(), stepping=Stepping(steps=600, keep=2), leak_tolerance=1.0)
    np.testing.assert_allclose(both.inner, alone.value, atol=1e-12)
    np.testing.assert_allclose(both.leak, alone.leak, atol=1e-12)
    assert 0 < float(both.leak_at_start) < 0.5 and float(both.isaacs_gap) == 0.0


def in_units(game: DifferentialGame, c: float, s: float) -> DifferentialGame:
    """Costs times c, times times s, controls per unit of time."""

    def slower(function, power):
        return lambda t, x, u, i: function(t / s, x, tuple(s * own for own in u), i) * power

    jumps = tuple(
        JumpLaw(
            slower(law.rate, 1 / s),
            lambda t, x, u, z, i, law=law: law.size(t / s, x, u, z, i),
            law.marks,
            law.compensated,
        )
        for law in game.jumps
    )
    return dataclasses.replace(
        game,
        drift=slower(game.drift, 1 / s),
        diffusion=slower(game.diffusion, s**-0.5),
        running_cost=slower(game.running_cost, c / s),
        terminal_cost=lambda x, i: c * game.terminal_cost(x, i),
        horizon=s * game.horizon,
        jumps=jumps,
        bounds=tuple((low / s, high / s) for low, high in game.bounds),
    )


def test_units_of_cost_and_time_do_not_matter():
    """Values × c, rates / s, the same policies."""
    grid = Grid((Axis("x", -3.0, 3.0, 15),))
    rates = np.array([[generator(BASE + f * ATTACK - g * STABILISE) for f in (0.0, 1.0)] for g in (0.0, 1.0)])
    found = []
    for c, s in ((1.0, 1.0), (1e-15, 31_536_000.0)):
        macro = MacroGame(jnp.asarray(rates / s), jnp.zeros((2, 2)), lambda t, x, i, v, s=s: v / s)
        found.append(
            solve_switching_game(in_units(modes(), c, s), macro, grid, search=Affine(), keep=2, leak_tolerance=1.0)
        )
        for name in ("inner", "outer"):
            np.testing.assert_allclose(getattr(found[-1], name) / c, getattr(found[0], name), rtol=1e-9)
        np.testing.assert_allclose(found[-1].defender, found[0].defender, atol=1e-9)
        np.testing.assert_allclose(found[-1].generator * s, found[0].generator, atol=1e-9)


def test_every_step_is_bounded_by_the_rates_then():
    """Transport by 4 sin²(4πt), whose zeros five equal times meet: sin x becomes sin(x + 2)."""
    game = dataclasses.replace(
        modes(),
        drift=lambda t, x, u, i: 0 * x + 4 * jnp.sin(4 * jnp.pi * t) ** 2,
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        running_cost=lambda t, x, u, i: jnp.zeros(2),
        terminal_cost=lambda x, i: jnp.broadcast_to(jnp.sin(x[0]), (2,)),
        jumps=(),
    )
    macro = MacroGame(jnp.zeros((1, 1, 3, 3)), jnp.zeros((1, 1)))
    circle = Grid((Axis("x", -np.pi, np.pi, 161, "periodic"),))
    found = solve_switching_game(game, macro, circle, search=Affine(), keep=1)
    exact = np.sin(circle.axes[0].coordinates() + 2.0)
    np.testing.assert_allclose(found.inner[0], np.broadcast_to(exact, (3, 161)), atol=0.05)
    np.testing.assert_allclose(found.outer[0], found.inner[0], atol=1e-12)
