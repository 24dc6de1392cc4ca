"""The mean-field Stackelberg game against numbers computed apart from the package, and against its own restart."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import InvalidInput, RunFailed
from diffgames.games.plain import h_infinity_game, nash_game
from diffgames.games.stackelberg import BLOCKS, GAINS, stackelberg_game
from diffgames.solvers import escape_time, solve
from linear_quadratic_games import SLIDES

CONTINUOUS = {
    "P0": 0.5407288866, "P1": 1.934082208, "P2": 0.3266616946, "P01": -0.3700819209, "P02": 0.0818580794,
    "P12": -0.3130937005, "P00": 0.5017427883, "P10": 0.2037535277, "P010": -0.156004396, "K00": -1.850966757,
    "K10": 0.4202640562, "K0": 1.2955652995, "K1": -1.934082208, "K2": 0.1029616724,
}  # fmt: skip
DISCRETE = {
    "P0": 0.3047285337, "P1": 2.1652167332, "P2": 0.5512068314, "P01": -0.5783327813, "P02": 0.3452995779,
    "P12": -1.0402722737, "P00": 1.0896657532, "P10": 0.6617936766, "P010": -0.7721906752, "K00": -0.3790912749,
    "K10": -0.1017704824, "K0": 0.1462112001, "K1": -0.3304334664, "K2": 0.1314297885,
}  # fmt: skip


def numbers(solution) -> dict[str, float]:
    found = {key: solution.matrix(*place)[0, 0] for key, place in BLOCKS.items()}
    return {
        key: float(value) for key, value in (found | {k: solution.gain(*p)[0, 0] for k, p in GAINS.items()}).items()
    }


@pytest.fixture(scope="module")
def slides():
    return solve(stackelberg_game(horizon=12.0, discount=0.1, **SLIDES))


def test_the_slides_example(slides):
    found = numbers(slides)
    for key, value in CONTINUOUS.items():
        assert found[key] == pytest.approx(value, abs=6e-11), key
    assert "leader" in repr(slides) and "solved" in repr(slides)


def test_the_discrete_game():
    solution = solve(stackelberg_game(horizon=10, discount=-math.log(0.9), discrete=True, **SLIDES))
    found = numbers(solution)
    for key, value in DISCRETE.items():
        assert found[key] == pytest.approx(value, abs=6e-11), key
    assert float(solution.profile.reaction(0.0)[0, 1, 0]) == pytest.approx(-0.2342663536, abs=6e-11)


def test_the_discrete_game_tends_to_the_continuous_one_at_first_order():
    exact = numbers(solve(stackelberg_game(horizon=1.0, discount=0.1, **SLIDES)))
    errors = []
    for steps in (100, 200):
        h = 1.0 / steps
        scaled = {
            key: h * value
            for key, value in SLIDES.items()
            if key not in ("Gamma0", "Gamma1", "Gamma2", "sigma0", "sigma")
        }
        scaled |= {"A0": 1 + h * SLIDES["A0"], "A": 1 + h * SLIDES["A"]}
        # x⁺ = (1 + hA) x + hF m: the mean moves by A + F, so nothing else changes
        small = solve(stackelberg_game(horizon=steps, discount=0.1 * h, discrete=True, **(SLIDES | scaled)))
        found = numbers(small)
        errors.append(np.asarray([found[key] - exact[key] for key in CONTINUOUS]))
    ratio = np.linalg.norm(errors[0]) / np.linalg.norm(errors[1])
    assert ratio == pytest.approx(2.0, abs=0.05)


def test_a_restart_from_a_later_time_plays_the_same(slides):
    """Time consistency: the game solved again from t has the gains of the old solution at t."""
    rest = solve(stackelberg_game(horizon=12.0 - 9.3, discount=0.1, **SLIDES))
    np.testing.assert_allclose(rest.profile.gain(0.0), slides.profile.gain(9.3), atol=2e-7)


def test_without_r2_leading_is_worth_nothing_in_continuous_time():
    game = stackelberg_game(horizon=1.0, discount=0.1, **(SLIDES | {"R2": 0.0}))
    first = solve(game)
    together = solve(stackelberg_game(horizon=1.0, discount=0.1, **(SLIDES | {"R2": 0.0})).with_tiers(((0, 1),)))
    np.testing.assert_allclose(first.values, together.values, atol=1e-9)


def test_escape_is_located_to_six_digits_and_never_a_number():
    game = h_infinity_game(A=0.0, B=1.0, D=2.0, Q=1.0, R=1.0, gamma=1.0, horizon=3.0)
    exact = math.pi / (2 * math.sqrt(3))
    assert escape_time(game, 10.0) == pytest.approx(exact, rel=1e-8)
    failed = solve(game, throw=False)
    assert float(failed.outcome.escape_time) == pytest.approx(exact, rel=1e-8)
    assert not np.isnan(np.asarray(failed.values)).any() and not np.isnan(np.asarray(failed.profile.gain.value)).any()
    assert np.isfinite(np.asarray(failed.values)[np.asarray(failed.time) > 3.0 - 0.9]).all()
    assert np.isinf(np.asarray(failed.values)[np.asarray(failed.time) < 3.0 - 0.91]).any()


def test_slips_are_told_by_name():
    with pytest.raises(InvalidInput, match="Gamma1"):
        stackelberg_game(horizon=1.0, **(SLIDES | {"Gamma1": [[1.0, 2.0]]}))
    with pytest.raises(InvalidInput, match="sigma0"):
        stackelberg_game(horizon=1.0, **{key: value for key, value in SLIDES.items() if key != "sigma0"})
    for name in ("R0", "R"):
        with pytest.raises(InvalidInput, match=f"{name}: .*positive definite"):
            stackelberg_game(horizon=1.0, **(SLIDES | {name: -1.0}))
    one = [[1.0]]
    with pytest.raises(RunFailed, match=r"leads.*not convex"):  # known only with the order of play
        solve(
            nash_game(
                A=one,
                B=[one, one],
                Q=[one, one],
                R=[[[-1.0]], one],
                tiers=((0,), (1,)),
                names=("leads", "then"),
                horizon=1.0,
            )
        )


def test_gradients_of_a_gain_agree_with_finite_differences():
    def gain(r2):
        game = stackelberg_game(horizon=2.0, discount=0.1, **(SLIDES | {"R2": r2}))
        return solve(game).gain("leader", "m")[0, 0]

    slope = float(jax.grad(gain)(jnp.asarray(0.5)))
    step = 1e-4
    assert slope == pytest.approx(float(gain(0.5 + step) - gain(0.5 - step)) / (2 * step), rel=1e-5)
