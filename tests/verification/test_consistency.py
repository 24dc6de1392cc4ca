"""Crowds that nobody in them would join and reactions that no follower would show are found where gaps are zero."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from diffgames.errors import RunFailed
from diffgames.games.differential import PointLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.mean_field import typed_game, typed_linear_quadratic
from diffgames.games.plain import nash_game
from diffgames.games.stackelberg import stackelberg_game
from diffgames.solvers import solve
from diffgames.verification import linear_quadratic_response
from diffgames.verification.consistency import ReadGains
from diffgames.verification.linear_response import matrix_gaps
from diffgames.verification.path_deviator import PathSearch
from diffgames.verification.verify import verify
from linear_quadratic_games import SLIDES


def leader_and_crowd(discrete, cost=1.0):
    own = {name: cost * SLIDES[name] for name in ("Q0", "Q", "R0", "R", "R1", "R2")}
    horizon = 4 if discrete else 2.0
    return stackelberg_game(horizon=horizon, discount=0.1, discrete=discrete, **(SLIDES | own))


def of_types():
    return typed_linear_quadratic(
        typed_game(
            share=[0.4, 0.6], horizon=1.0, a=[0.1, 0.2], b=[1.0, 1.0], kappa=[0.3, 0.2], sigma=[0.3, 0.2],
            q=[1.0, 0.5], r=[1.0, 1.0], s=[0.5, 0.4], q_T=[1.0, 1.0],
        ),
        "mfg",
    )  # fmt: skip


def certificate(game, profile):
    return matrix_gaps(game, profile, jnp.eye(game.size)[None])


def beside_a_crowd_that_does_nothing(game: LinearQuadraticGame):
    """Every member's best reply to a crowd that plays nothing: what the game without the crowd's input says."""
    players = tuple(dataclasses.replace(player, crowd_input=None) for player in game.players)
    alone = solve(dataclasses.replace(game, players=players, crowd_map=None)).profile
    still = eqx.tree_at(
        lambda p: (p.crowd_gain, p.crowd_reaction),
        alone,
        tuple(eqx.tree_at(lambda t: (t.value, t.slope), track, (0 * track.value, 0 * track.slope))
              for track in (alone.crowd_gain, alone.crowd_reaction)),
    )  # fmt: skip
    return dataclasses.replace(still, crowd=True)


@pytest.mark.parametrize("discrete", [False, True])
def test_an_equilibrium_has_a_consistent_crowd_and_true_reactions(discrete):
    game = leader_and_crowd(discrete)
    found = certificate(game, solve(game).profile)
    assert [entry.label for entry in found.entries] == ["leader", "follower", "consistency", "reaction"]
    assert all(entry.gap < 1e-10 * abs(entry.value) for entry in found.entries) and not found.significant


@pytest.mark.parametrize(
    "game", [leader_and_crowd(False), leader_and_crowd(True), of_types()], ids=["cont", "disc", "typed"]
)
def test_a_crowd_that_nobody_would_join_is_found_though_members_reply_at_their_best(game):
    found = certificate(game, beside_a_crowd_that_does_nothing(game))
    members = [p.name for p in game.players if p.crowd_input is not None]
    assert all(found[name].gap < 1e-9 * abs(found[name].value) for name in members)
    assert "consistency" in found.significant and found["consistency"].gap > 0.01 * abs(found["consistency"].value)


@pytest.mark.parametrize("discrete", [False, True])
def test_simultaneous_play_is_no_stackelberg_equilibrium(discrete):
    """Its gaps are zero as long as nobody asks whether followers would react as stated; so it is in every unit."""
    found = {}
    for cost in (1.0, 1e-15, 1e15):
        game = leader_and_crowd(discrete, cost)
        found[cost] = certificate(game, solve(game.with_tiers(((0, 1),))).profile)
        assert found[cost].significant == ("reaction",)
        np.testing.assert_allclose(found[cost]["reaction"].gap / cost, found[1.0]["reaction"].gap, rtol=1e-6)
    assert found[1.0]["reaction"].gap > 0.01 * abs(found[1.0]["reaction"].value)
    if not discrete:  # a follower owes −R⁻¹R₂ᵀv; not to answer costs it R₂²/R for each unit of time
        wanted = SLIDES["R2"] ** 2 / SLIDES["R"] * (1 - np.exp(-0.1 * 2.0)) / 0.1
        np.testing.assert_allclose(found[1.0]["reaction"].gap, wanted, rtol=1e-8)


def test_the_gains_of_any_affine_profile_are_read():
    game = leader_and_crowd(False)
    profile = solve(game).profile
    read = ReadGains(profile, game)
    for name in ("gain", "crowd_gain", "reaction", "crowd_reaction"):
        np.testing.assert_allclose(getattr(read, name)(0.3), getattr(profile, name)(0.3), atol=1e-12)


def test_matrices_alone_are_judged_from_all_starts(monkeypatch):
    """Without noise and from the origin no gain would show: swapped gains of two unlike players do, in every unit."""
    game = nash_game(A=0.5, B=[1.0, 0.5], Q=[1.0, 3.0], R=[1.0, 0.5], horizon=2.0)
    profile = solve(game).profile

    def swapped(t, x, i):
        first, second = profile(t, x, i)
        return second, first

    assert verify(game, profile).gap < 1e-8
    found = verify(game, swapped)
    assert set(found.certificate.significant) == {"player 0", "player 1"}
    for cost in (1e-15, 1e15):
        other = nash_game(A=0.5, B=[1.0, 0.5], Q=[cost, 3 * cost], R=[cost, 0.5 * cost], horizon=2.0)
        np.testing.assert_allclose(verify(other, swapped).gap / cost, found.gap, rtol=1e-6)
        assert not verify(solve(other)).certificate.significant

    monkeypatch.setattr(linear_quadratic_response, "FIRST_STEPS", 4)
    monkeypatch.setattr(linear_quadratic_response, "MOST_STEPS", 8)
    for rough, fine in zip(verify(game, swapped).certificate.entries, found.certificate.entries, strict=True):
        low, high = rough.interval  # eight steps do not settle: the interval says so, and holds the gain
        assert low < fine.gain < high and high - low > 1e-6 * fine.gain


def test_an_absorbing_start_is_said_not_certified():
    game = nash_game(A=0.5, B=[1.0], Q=[1.0], R=[1.0], horizon=2.0)
    wild = verify(game, lambda t, x, i: (100.0 * x,), initial=PointLaw(jnp.zeros(1)))
    assert wild.gap == 0.0 and "absorbing" in wild.certificate.unseen and "not seen" in repr(wild)
    moved = verify(game, lambda t, x, i: (100.0 * x,), initial=PointLaw(jnp.ones(1)))
    assert moved.gap > 1.0 and not moved.certificate.unseen


def test_a_gain_without_bound_is_an_entry_and_the_others_are_kept():
    """A player that is paid for distance escapes at τ = π/6; its opponent's gap stays what it is."""
    game = nash_game(A=0.0, B=[1.0, 1.0], Q=[-9.0, 1.0], R=[1.0, 1.0], horizon=3.0)

    def still(t, x, i):
        return -x, -x

    found = verify(game, still).certificate
    assert found["player 0"].gap == np.inf and "escapes" in found["player 0"].unbounded
    assert np.isfinite(found["player 1"].gap) and found["player 1"].gap > 0
    np.testing.assert_allclose(found["player 0"].value, 8 * (1 - np.exp(-12.0)) / 4, rtol=1e-6)  # ∫ (9 − 1) e^{−4t} dt
    plain = found.to_dict()
    assert plain["gap"] is None and plain["entries"]["player 0"]["gain"] is None
    exact = certificate(game, solve(nash_game(A=0.0, B=[1.0, 1.0], Q=[1.0, 1.0], R=[1.0, 1.0], horizon=3.0)).profile)
    assert exact["player 0"].unbounded and np.isfinite(exact["player 1"].gap)


def test_a_reply_too_fast_to_integrate_is_no_gain_without_bound():
    """A control that costs next to nothing has a best reply, whose rate of 10⁶ a unit of time no step follows."""
    game = nash_game(A=0.0, B=[1.0], Q=[1.0], R=[1e-12], horizon=1.0)
    for verified in (lambda: verify(game, still_at_one), lambda: certificate(game, ReadGains(still_at_one, game))):
        with pytest.raises(RunFailed, match="could not be integrated"):
            verified()


def still_at_one(t, x, i):
    return (-x,)


def test_what_was_not_asked_is_said():
    game = leader_and_crowd(False)
    together = solve(game.with_tiers(((0, 1),))).profile
    hub = verify(game.as_differential(), together, players=["follower"])
    assert "crowd" in hub.certificate.unseen and "react" in hub.certificate.unseen
    found = verify(game, together, players=["follower"])
    assert found.certificate.significant == ("reaction",) and not found.certificate.unseen
    assert ReadGains(together, game).exact() and not ReadGains(Bent(together), game).exact()


class Bent(eqx.Module):
    """A profile that is affine in no state."""

    profile: Any

    def __call__(self, t, x, i):
        return tuple(u + 0.1 * jnp.sin(u) for u in self.profile(t, x, i))


@pytest.mark.slow
def test_learned_deviators_stand_beside_the_crowd_and_the_reactions():
    """What a deviator was trained against, a crowd of followers that play nothing, is asked of itself."""
    game = leader_and_crowd(False)
    search = PathSearch(updates=1, paths=8, steps=4, validation_paths=16, test_paths=16)
    found = verify(game, beside_a_crowd_that_does_nothing(game), how="trained", search=search).certificate
    assert "lower bound" in found.how and found["consistency"].gap > 0.01 * abs(found["consistency"].value)
