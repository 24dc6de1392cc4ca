"""Exact and trained gaps: zero at an equilibrium found elsewhere, right in sign and size where one was planted."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.equilibria import Nash
from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.plain import nash_game, regulator
from diffgames.simulation import simulate
from diffgames.solvers.solve import solve
from diffgames.verification.linear_quadratic_response import exact_gaps
from diffgames.verification.path_deviator import PathSearch
from diffgames.verification.verify import verify
from quadratic_games import AffineProfile, as_game, nash, random_data

DATA = random_data(0, 2, (1, 1), 2)
SEARCH = PathSearch(
    updates=150, paths=1024, steps=16, learning_rate=0.02, validation_paths=32_768, test_paths=65_536, evaluations=3
)


@pytest.fixture(scope="module")
def equilibrium():
    return as_game(DATA), nash(DATA)


@pytest.mark.parametrize(("n", "controls", "regimes"), [(1, (1, 1), 1), (3, (2, 1, 1), 3)])
def test_no_gap_at_an_equilibrium_found_by_another_route(n, controls, regimes):
    data = random_data(n + 10 * regimes, n, controls, regimes)
    found = exact_gaps(as_game(data), nash(data), players=[0, len(controls) - 1])
    scale = max(abs(entry.value) for entry in found.entries)
    assert all(0 <= entry.gain < 1e-7 * scale for entry in found.entries), found


def scaled(profile, player, factor):
    gains = tuple(factor * gain if p == player else gain for p, gain in enumerate(profile.gains))
    return AffineProfile(gains=gains, horizon=profile.horizon)


def test_a_gain_off_by_a_tenth_is_caught_with_the_right_sign_and_size(equilibrium):
    """The best reply to the others at equilibrium is the equilibrium: the gap is a difference of two known costs."""
    game, profile = equilibrium
    base = exact_gaps(game, profile)
    assert base.gap < 1e-9 * abs(base[game.players[0]].value)
    for player, label in enumerate(game.players):
        wrong, twice = (exact_gaps(game, scaled(profile, player, 1 + e), players=[player]) for e in (0.1, 0.2))
        cost = base[label].value - wrong[label].value
        np.testing.assert_allclose(wrong[label].gain, cost, rtol=1e-6)
        assert wrong[label].gain > 1e-4 * abs(base[label].value)
        assert 3 < twice[label].gain / wrong[label].gain < 5  # of second order in the error
        other = exact_gaps(game, scaled(profile, player, 1.1), players=[1 - player])
        assert other[game.players[1 - player]].gain > 0


def test_values_are_those_of_simulated_paths(equilibrium):
    game, profile = equilibrium
    exact = exact_gaps(game, profile)
    paths = simulate(game, profile, jax.random.key(1), paths=40_000, steps=200, antithetic=True, keep=0)
    for entry, cost, error in zip(exact.entries, paths.cost, paths.standard_error, strict=True):
        assert abs(entry.value + cost) < 4 * error + 0.01 * abs(entry.value)


def planted(kind, profile):
    if kind == "gain":
        return scaled(profile, 0, 1.1)
    if kind == "stale":  # computed for another horizon and never updated
        late = nash(DATA, horizon=4 * DATA.horizon, knots=1601)
        return AffineProfile(gains=tuple(gain[:401] for gain in late.gains), horizon=DATA.horizon)
    return AffineProfile(gains=profile.gains[::-1], horizon=profile.horizon)


@pytest.mark.parametrize("kind", ["gain", "stale", "swapped"])
def test_both_routes_catch_a_planted_error_alike(equilibrium, kind):
    game, profile = equilibrium
    found = verify(game, planted(kind, profile), jax.random.key(4), how="both", search=SEARCH, players=[0])
    exact, trained = found.exact["player 0"], found.trained["player 0"]
    assert exact.gain > 0 and trained.lower > 0 and found.consistent
    assert trained.gain > 0.9 * exact.gain - 2 * trained.standard_error
    np.testing.assert_allclose(trained.value, exact.value, rtol=0.05)
    assert found.gap == exact.gain and found.to_dict()["trained"]["consistent"]


def test_a_maximising_player_and_the_order_of_play(equilibrium):
    """Turning a player's cost into a reward changes no gap; nor does naming it by index."""
    game, profile = equilibrium
    turn = jnp.asarray([-1.0, 1.0])
    flipped = eqx.tree_at(
        lambda g: (g.running_cost, g.terminal_cost),
        game,
        (lambda t, x, u, i: turn * game.running_cost(t, x, u, i), lambda x, i: turn * game.terminal_cost(x, i)),
    )
    reward = DifferentialGame(**{**vars(flipped), "signs": (-1, 1)})
    wrong = scaled(profile, 0, 1.1)
    np.testing.assert_allclose(exact_gaps(reward, wrong).gap, exact_gaps(game, wrong).gap, rtol=1e-8)


def test_slips_are_named_and_failures_explained(equilibrium):
    game, profile = equilibrium
    with pytest.raises(InvalidInput, match="profile"):
        verify(game)
    cubic = eqx.tree_at(lambda g: g.drift, game, lambda t, x, u, i: x**3 + game.drift(t, x, u, i))
    with pytest.raises(InvalidInput, match="drift"):
        exact_gaps(cubic, profile)
    bent = eqx.tree_at(lambda g: g.terminal_cost, game, lambda x, i: jnp.sum(x**4) * jnp.ones(2))
    with pytest.raises(InvalidInput, match="terminal_cost"):
        exact_gaps(bent, profile)
    endless = DifferentialGame(
        players=("one",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: u[0],
        diffusion=lambda t, x, u, i: jnp.eye(1),
        running_cost=lambda t, x, u, i: -4 * x**2 + u[0] ** 2,  # −Ṡ = −4 − S²: escapes at τ = π/4
        terminal_cost=lambda x, i: 0 * x,
        initial=PointLaw(jnp.ones(1)),
        horizon=1.0,
    )
    found = exact_gaps(endless, lambda t, x, i: (0 * x,))["one"]
    assert (
        found.gap == np.inf and "escapes" in found.unbounded and found.value == pytest.approx(6.0, rel=1e-6)
    )  # 4 E∫x²
    concave = eqx.tree_at(lambda g: g.running_cost, endless, lambda t, x, u, i: x**2 - u[0] ** 2)
    assert "convex" in exact_gaps(concave, lambda t, x, i: (0 * x,))["one"].unbounded


def test_in_discrete_time_only_what_gains_tell_all_about_is_certified():
    """At the unit vectors and at zero, where gains are read, sin πx − x/2 is −x/2; between them it is not."""
    game = regulator(A=0.9, B=1.0, Q=1.0, R=1.0, horizon=3, discrete=True)
    with pytest.raises(InvalidInput, match="not affine"):
        verify(game, lambda t, x, i: (jnp.sin(jnp.pi * x) - 0.5 * x,))
    with pytest.raises(InvalidInput, match="whole number of steps"):
        verify(regulator(A=0.9, B=1.0, Q=1.0, R=1.0, discrete=True), lambda t, x, i: (-0.5 * x,), horizon=2.5)


def test_in_discrete_time_the_concept_asked_for_is_the_one_judged():
    """Simultaneous play is a Nash equilibrium whatever the tiers say, and none where the second answers the first."""
    costs = {"Q": [1.0, 0.5], "R": [[[1, 0.3], [0.3, 0.2]], [[0.1, 0.4], [0.4, 1]]]}
    data = {"A": 0.9, "B": [1.0, 0.7], "horizon": 3, "discrete": True} | costs
    played = solve(nash_game(**data)).profile
    led = nash_game(**data, tiers=((0,), (1,)))
    assert verify(led, played, concept=Nash()).gap < 1e-12
    assert verify(led, played).gap > 0.1
