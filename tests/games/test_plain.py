"""Plain linear-quadratic games as users write them: what is accepted, in which letters the rest is refused."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.errors import InvalidInput
from diffgames.games.matrices import Schedule
from diffgames.games.plain import h_infinity_game, nash_game, regulator
from diffgames.solvers import solve

EYE = np.eye(2)
GOOD = {"A": np.zeros((2, 2)), "B": [[[1.0], [0.0]], [[0.0], [1.0]]], "Q": [EYE, EYE], "R": [1.0, 1.0], "horizon": 1.0}
HIDDEN = np.ma.masked_array(EYE, mask=EYE > 0)
SLIPS = [
    ("Q[0]", {"Q": EYE}),
    ("Q", {"Q": [EYE] * 3}),
    ("Q", {"Q": None}),
    ("Q[1]", {"Q": [EYE, HIDDEN]}),
    ("R", {"R": 1.0}),
    ("R", {"R": [1.0]}),
    ("R[0]", {"R": [EYE[:1], 1.0]}),
    ("R[1]", {"R": [1.0, -1.0]}),
    ("B[0]", {"B": [[1.0, 0.0], [0.0, 1.0]]}),
    ("B", {"B": []}),
    ("A", {"A": [[1, 2], [3]]}),
    ("A", {"A": [[math.nan, 0], [0, 0]]}),
    ("A", {"A": HIDDEN}),
    ("A", {"A": [[1j, 0], [0, 0]]}),
    ("A", {"A": "x"}),
    ("A", {"A": lambda t: jnp.zeros((2, 3))}),
    ("noise", {"noise": [0.3, 0.3]}),
    ("Q_T", {"Q_T": [EYE] * 3}),
    ("Q_T[0]", {"Q_T": [lambda t: EYE, EYE]}),
    ("targets[0]", {"targets": [[1.0], [1.0, 2.0]]}),
    ("N[1]", {"N": [EYE, EYE[:1]]}),
    ("shift", {"shift": [1.0]}),
    ("signs", {"signs": (1, 1, 1)}),
    ("names", {"names": ("a", "b", "c")}),
    ("players", {"names": ("a", "a")}),
    ("names", {"names": (1, 2)}),
    ("tiers", {"tiers": (0, 1)}),
    ("tiers", {"tiers": ((0,),)}),
    ("horizon", {"horizon": None}),
    ("horizon", {"horizon": math.nan}),
    ("horizon", {"horizon": 2.5, "discrete": True}),
    ("discount", {"discount": math.inf}),
    ("generator", {"generator": [[-1.0, 1.0]]}),
    ("jump_rate", {"jump_scale": [EYE]}),
    ("jump_scale", {"jump_rate": [1.0]}),
    ("jump_scale", {"jump_rate": [1.0], "jump_scale": [EYE, EYE]}),
    ("state_noise", {"state_noise": EYE}),
]


@pytest.mark.parametrize(("key", "slip"), SLIPS, ids=[f"{key}-{k}" for k, (key, _) in enumerate(SLIPS)])
def test_a_slip_is_told_in_the_users_letter(key, slip):
    with pytest.raises(InvalidInput) as told:
        nash_game(**{**GOOD, **slip})
    assert told.value.key == key
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("key", "build"),
    [
        ("B", lambda: regulator(A=1, B=[1.0, 2.0], Q=1, R=1)),
        ("Q_T", lambda: regulator(A=1, B=1, Q=1, R=1, Q_T=EYE)),
        ("R", lambda: regulator(A=1, B=1, Q=1, R=-1)),
        ("target", lambda: regulator(A=1, B=1, Q=1, R=1, target=[1, 2])),
        ("D", lambda: h_infinity_game(A=1, B=1, D=[1, 2], Q=1, R=1, gamma=2)),
        ("gamma", lambda: h_infinity_game(A=1, B=1, D=1, Q=1, R=1, gamma=0)),
        ("times", lambda: Schedule([0, 1, 1], [1, 2, 3])),
        ("values", lambda: Schedule([0, 1], [1, 2, 3])),
    ],
)
def test_games_of_one_controller_have_no_player_in_their_letters(key, build):
    with pytest.raises(InvalidInput) as told:
        build()
    assert told.value.key == key


def test_a_number_stands_for_a_matrix_of_one_entry():
    plain = solve(regulator(A=0.5, B=1, Q=2, R=1, Q_T=1, horizon=1.0))
    full = solve(regulator(A=[[0.5]], B=[[1.0]], Q=[[2.0]], R=[[1.0]], Q_T=[[1.0]], horizon=1.0))
    np.testing.assert_array_equal(plain.values, full.values)


def backward(rate, terminal, horizon, breaks=()):
    """Values at time 0 of −Ṡ = rate(t, S), S(T) = terminal, by SciPy's LSODA."""
    ends, value = [horizon, *sorted(breaks, reverse=True), 0.0], np.atleast_1d(terminal)
    for late, soon in itertools.pairwise(ends):
        found = solve_ivp(lambda t, s: -rate(t, s), (late, soon), value, method="LSODA", rtol=1e-11, atol=1e-13)
        value = found.y[:, -1]
    return value


@pytest.mark.parametrize("smooth", [True, False])
def test_coefficients_may_be_functions_of_time_or_tables(smooth):
    if smooth:
        weight, times = (lambda t: 1.0 + 0.5 * np.sin(3 * t)), ()
        given = lambda t: 1.0 + 0.5 * jnp.sin(3 * t)  # noqa: E731 - what a user writes
    else:
        given = Schedule([0.0, 0.4, 0.7], [1.0, 3.0, 0.5], held=True)
        weight, times = (lambda t: 1.0 if t < 0.4 else 3.0 if t < 0.7 else 0.5), (0.4, 0.7)
    game = regulator(A=lambda t: 0.3 * t, B=1.0, Q=given, R=2.0, Q_T=0.5, horizon=1.0)
    exact = backward(lambda t, s: weight(t) + 0.6 * t * s - s**2 / 2, 0.5, 1.0, times)
    tolerance = 1e-8 if smooth else 1e-4  # a solver that is not told of the breaks steps over them
    assert float(solve(game).value(0.0)[0, 0, 0, 0]) == pytest.approx(exact[0], rel=tolerance)


def test_a_table_is_linear_between_its_times_or_holds():
    linear, held = (Schedule([0.0, 1.0, 3.0], [[0.0], [2.0], [4.0]], held=held) for held in (False, True))
    assert [float(linear(t)[0]) for t in (-1.0, 0.5, 2.0, 9.0)] == [0.0, 1.0, 3.0, 4.0]
    assert [float(held(t)[0]) for t in (-1.0, 0.5, 1.0, 9.0)] == [0.0, 0.0, 2.0, 4.0]


def test_players_with_regimes_jumps_and_state_noise():
    """Two players on a scalar state: the four coupled Riccati equations by hand."""
    a, b, q, r = np.array([0.2, -0.4]), (1.0, 0.7), np.array([[1.0, 3.0], [2.0, 0.5]]), (1.0, 2.0)
    noise, rate, scale, mu = 0.3, np.array([0.5, 1.5]), -0.4, np.array([[-0.6, 0.6], [1.1, -1.1]])
    game = nash_game(
        A=a,
        B=[1.0, 0.7],
        Q=list(q),
        R=[1.0, 2.0],
        Q_T=[1.0, 0.0],
        state_noise=[0.3],
        jump_rate=rate[:, None],
        jump_scale=[scale],
        generator=mu,
        horizon=1.5,
        names=("buyer", "seller"),
    )

    def value_rate(t, flat):
        s = flat.reshape(2, 2)  # player, regime
        gain = np.array([-b[p] * s[p] / r[p] for p in (0, 1)])
        closed = a + b[0] * gain[0] + b[1] * gain[1]
        own = np.array([q[p] + r[p] * gain[p] ** 2 for p in (0, 1)])
        return (own + 2 * closed * s + (noise**2 + rate * scale**2) * s + s @ mu.T).ravel()

    exact = backward(value_rate, [1.0, 1.0, 0.0, 0.0], 1.5).reshape(2, 2)
    np.testing.assert_allclose(solve(game).value(0.0)[:, :, 0, 0], exact, rtol=1e-8)


def test_a_gradient_passes_through_the_constructor():
    def drift(a):
        return regulator(A=a, B=1.0, Q=a**2, R=1.0).drift[0, 0, 0]

    assert float(jax.jit(jax.grad(drift))(jnp.asarray(3.0))) == 1.0
