"""The linear-quadratic engine's solutions, certified by what knows none of its matrices: tiers, crowds, maximisers."""

import equinox as eqx
import jax.numpy as jnp
import pytest

from diffgames.equilibria import Nash
from diffgames.games.differential import GaussianLaw
from diffgames.games.plain import nash_game
from diffgames.games.stackelberg import stackelberg_game
from diffgames.solvers import solve
from diffgames.verification.verify import verify
from linear_quadratic_games import SLIDES


@pytest.fixture(scope="module")
def leader_and_crowd():
    return solve(stackelberg_game(horizon=2.0, discount=0.1, **SLIDES))


def law(n):
    return GaussianLaw(jnp.arange(1.0, n + 1), 0.3 * jnp.eye(n))


def test_leader_and_crowd_have_no_gap_and_the_leaders_needs_the_reactions(leader_and_crowd):
    """Both are at their best given that followers react; a leader that took them for frozen would want to deviate."""
    found = verify(leader_and_crowd, initial=law(3))
    scale = max(abs(entry.value) for entry in found.exact.entries)
    labels = [entry.label for entry in found.exact.entries]
    assert labels == ["leader", "follower", "consistency", "reaction"] and found.gap < 1e-6 * scale
    leader = found.exact.entries[0].label
    frozen = verify(leader_and_crowd, initial=law(3), players=[leader], concept=Nash())
    assert frozen.gap > 1e-3 * scale


class Stretched(eqx.Module):
    """A profile whose player plays a tenth too much."""

    profile: object
    player: int = eqx.field(static=True)

    def __call__(self, t, x, i):
        controls = list(self.profile(t, x, i))
        controls[self.player] = 1.1 * controls[self.player]
        return tuple(controls)


@pytest.mark.slow
def test_a_saddle_point_and_a_planted_error():
    """Two dimensions, one player minimises what the other maximises: gaps of both signs, zero and planted."""
    eye = jnp.eye(2)
    game = nash_game(
        A=[[0.1, 0.4], [-0.3, 0.2]],
        B=[eye, 0.5 * eye],
        Q=[eye, eye],
        R=[jnp.diag(jnp.asarray([1.0, 1.0, -2.0, -2.0]))] * 2,
        Q_T=[0.5 * eye] * 2,
        noise=0.3 * eye,
        signs=(1, -1),
        horizon=1.0,
    )
    solution = solve(game)
    found = verify(solution, initial=law(2))
    assert found.gap < 1e-8 * abs(found.exact.entries[0].value)
    wrong = verify(game, Stretched(solution.profile, 1), initial=law(2), players=[1])
    assert wrong.gap > 1e-4 * abs(found.exact.entries[0].value)
