"""Typed mean-field games by two routes, and games over regimes, against numbers computed apart from the package."""

import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.exponential_affine import ExponentialAffineGame
from diffgames.games.mean_field import READINGS, costate_map, private_game, typed_game, typed_linear_quadratic
from diffgames.solvers import escape_time, solve
from diffgames.solvers.boundary_value import boundary_costates, boundary_escape
from diffgames.solvers.open_loop import open_loop_nash
from diffgames.solvers.regimes import committed_game, solve_regimes, switching_of
from diffgames.studies.regime_lq import RegimeConfig, game_of, switching_for

DATA = {"share": [0.6, 0.4], "a": [0.1, -0.2], "b": [1.0, 0.8], "kappa": [0.3, 0.2], "sigma": [0.3, 0.2]}
DATA |= {"q": [1.0, 0.8], "r": [0.5, 1.0], "s": [0.4, 0.2], "q_T": [0.5, 1.0]}
ALONE = {"share": [1.0], "a": [0.1], "b": [1.0], "kappa": [0.3], "sigma": [0.3], "q": [1.0], "r": [0.5], "s": [-2.0]}
MEAN = jnp.asarray([1.0, -0.5])
XI = {
    "mfg": (0.0777507032, 0.0572679805),
    "mftg": (0.1994744178, 0.0139315647),
    "team": (0.1710011530, 0.1689838664),
    "nash": (0.2011636209, 0.0147848479),
}


@pytest.fixture(scope="module")
def own():
    values = solve(private_game(typed_game(horizon=1.0, **DATA))).value(0.0)
    return 2 * np.asarray([values[0, 0, 0, 0], values[1, 0, 1, 1]])


def test_the_private_equations(own):
    np.testing.assert_allclose(own, [0.7405258127, 0.8810447931], atol=6e-11)


@pytest.mark.parametrize("reading", READINGS)
def test_every_reading(own, reading):
    game = typed_game(horizon=1.0, **DATA)
    solution = solve(typed_linear_quadratic(game, reading))
    xi = costate_map(game, reading, solution.value(0.0)) @ MEAN - jnp.asarray(own) * MEAN
    np.testing.assert_allclose(xi, XI[reading], atol=6e-11)
    if reading != "nash":
        second = boundary_costates(game, reading, MEAN[:, None], 1.0)[:, 0] - jnp.asarray(own) * MEAN
        np.testing.assert_allclose(second, XI[reading], atol=6e-11)


@pytest.mark.parametrize(
    "change",
    [{"kappa": [0.0, 0.0]}, pytest.param({"share": [1.0]}, marks=pytest.mark.slow)],
    ids=["no pull", "one type"],
)
def test_committed_makers_are_the_feedback_ones_of_their_own_law(change):
    """The open-loop sibling of `nash` foresees the other types' reactions, of which there are none here."""
    one_type = {key: value[:1] for key, value in DATA.items()}
    game = typed_game(horizon=1.0, **((one_type if "share" in change else DATA) | change))
    start = MEAN[: game.types]
    _, matrices = open_loop_nash(typed_linear_quadratic(game, "nash"), times=3)
    committed = 2 * jnp.stack([matrices[0, t, t, :-1] @ start for t in range(game.types)])
    own_law = costate_map(game, "mftg", solve(typed_linear_quadratic(game, "mftg")).value(0.0)) @ start
    np.testing.assert_allclose(committed, own_law, atol=1e-9)


@pytest.mark.parametrize(("reading", "exact"), [("mfg", 1.48354868), ("mftg", 0.75070358)])
def test_both_routes_find_the_escape(reading, exact):
    game = typed_game(horizon=1.0, q_T=[0.5], **ALONE)
    by_engine = escape_time(typed_linear_quadratic(game, reading), 10.0)
    by_boundary = boundary_escape(game, reading, 10.0)
    assert by_engine == pytest.approx(exact, abs=6e-9) and by_boundary == pytest.approx(exact, abs=6e-9)


def test_agents_with_two_states_are_two_agents_when_nothing_couples_them():
    def pair(values):
        return [np.diag([value, 2 * value]).tolist() for value in values]

    wide = {key: pair(value) for key, value in DATA.items() if key != "share"}
    game = typed_game(share=DATA["share"], horizon=1.0, **wide)
    found = costate_map(game, "mfg", solve(typed_linear_quadratic(game, "mfg")).value(0.0))
    small = typed_game(horizon=1.0, **DATA)
    alone = costate_map(small, "mfg", solve(typed_linear_quadratic(small, "mfg")).value(0.0))
    np.testing.assert_allclose(np.asarray(found)[::2, ::2], alone, atol=1e-9)


def test_typed_slips():
    with pytest.raises(InvalidInput, match="share"):
        typed_game(horizon=1.0, **(DATA | {"share": [0.6, 0.6]}))
    with pytest.raises(InvalidInput, match="kappa"):
        typed_game(horizon=1.0, **(DATA | {"kappa": [0.1]}))
    with pytest.raises(InvalidInput, match="positive definite"):
        typed_game(horizon=1.0, **(DATA | {"r": [0.5, -1.0]}))


@pytest.fixture(scope="module")
def fought():
    config = RegimeConfig()
    return game_of(config), switching_for(config), solve_regimes(game_of(config), switching_for(config))


def test_regimes_that_are_fought_over(fought):
    _, _, solution = fought
    inner, outer = np.asarray(solution.inner.value(0.0))[0], np.asarray(solution.outer(0.0))
    np.testing.assert_allclose(inner[:, 0, 0], [1.2659174709, 1.5615818203, 2.2158366267], atol=1e-9)
    np.testing.assert_allclose(inner[:, 1, 1], [0.1200511244, 0.1986803965, 0.4271718377], atol=1e-9)
    np.testing.assert_allclose(outer[:, 0, 0], [0.6572457025, 0.7064376095, 0.7854688886], atol=1e-9)
    np.testing.assert_allclose(outer[:, 1, 1], [0.1389337593, 0.2107855681, 0.3814388779], atol=1e-9)
    np.testing.assert_array_equal(np.asarray(solution.attack_effort)[0], [1.0, 1.0, 0.0])


def test_regimes_that_switch_by_chance():
    config = RegimeConfig(switching="exogenous")
    solution = solve_regimes(game_of(config), switching_for(config))
    inner, outer = np.asarray(solution.inner.value(0.0))[0], np.asarray(solution.outer(0.0))
    np.testing.assert_allclose(inner[:, 0, 0], [1.1949623668, 1.4964444969, 2.2020179740], atol=1e-9)
    np.testing.assert_allclose(outer[:, 0, 0], [0.6523905601, 0.7038631297, 0.7856984257], atol=1e-9)
    np.testing.assert_allclose(outer[:, 1, 1], [0.1029996652, 0.1741769734, 0.3698520964], atol=1e-9)


def test_committed_policies_agree_where_the_best_effort_never_changes(fought):
    """The efforts of the feedback reading are constant in time here, so that committing to them costs nothing."""
    game, switching, solution = fought
    both = committed_game(game, switching, jnp.ones(1), regime=0)
    assert both["value"].size == 1
    assert both["value"][0] == pytest.approx(float(solution.outer(0.0)[0].sum()), rel=1e-8)


def test_regime_slips():
    generator = RegimeConfig().generator
    with pytest.raises(InvalidInput, match="at most those of the generator"):
        switching_of(generator, None, np.asarray([[0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    with pytest.raises(InvalidInput, match="zero diagonal"):
        switching_of(generator, np.eye(3), None)


def test_an_effort_that_depends_on_the_state_is_refused():
    config = RegimeConfig(Q=(1.0, 0.2, 3.0), noise=(0.0, 2.0, 0.5), Q_T=(1.0, 1.0, 1.0))
    with pytest.raises(RunFailed, match="depends on the state"):
        solve_regimes(game_of(config), switching_for(config))


def test_the_exponential_affine_layer():
    """v solves v̇ = −(diag κ + Π) v; with one regime θ = −κ τ/γ."""
    one = jnp.ones((1, 1))
    game = ExponentialAffineGame(
        gamma=0.5,
        weight=jnp.ones(1),
        b=0.1 * one,
        B=one[None],
        D=0.5 * one[None],
        R=2.0 * one[None],
        S=one[None],
        noise=0.3 * one[None],
        jump_size=0.2 * one[None],
        jump_rate=one,
        generator=jnp.zeros((1, 1)),
    )
    gain = 0.1 + 0.5 * 0.5 - 0.5 * 0.25 - 0.5 * 0.5 * 0.09
    kappa = -0.5 * gain + np.exp(-0.1) - 1 + 0.1
    np.testing.assert_allclose(game.growth(), [kappa], rtol=1e-12)
    np.testing.assert_allclose(game.certainty_equivalent(2.0), [-2 * kappa / 0.5], rtol=1e-12)
    u, w = game.strategies()
    assert float(u[0, 0]) == pytest.approx(0.5) and float(w[0, 0]) == pytest.approx(-0.5)
