"""A trained deviator finds the gaps that are known, no more and (nearly) no less, and nothing at an equilibrium."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.equilibria import Nash, Stackelberg
from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.simulation import as_markov_game
from diffgames.verification.path_deviator import PathSearch, trained_gaps

SMALL = PathSearch(updates=120, paths=256, steps=32, validation_paths=2048, test_paths=8192, evaluations=3)


def regulator(sign: int) -> DifferentialGame:
    """dX = u dt + ½dW, cost ∫(x² + u²) + x_T², which u = −x minimises; reward maximised where the sign is −1."""
    return DifferentialGame(
        players=("regulator",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: u[0],
        diffusion=lambda t, x, u, i: 0.5 * jnp.eye(1),
        running_cost=lambda t, x, u, i: sign * (x**2 + u[0] ** 2),
        terminal_cost=lambda x, i: sign * x**2,
        initial=PointLaw(jnp.ones(1)),
        horizon=1.0,
        signs=(sign,),
    )


def proportional(gain: float):
    return lambda t, x, i: (-gain * x,)


@pytest.mark.parametrize(("gain", "sign"), [(1.0, 1), (1.1, 1), (0.5, -1)])
def test_the_gap_of_a_wrong_gain(gain, sign):
    """The cost of gain g solves Ṡ = −(1 + g²) + 2gS, S(1) = 1; the truth lies in the interval."""
    ends = solve_ivp(lambda s, y: [1 + gain**2 - 2 * gain * y[0], 0.25 * y[0]], (0, 1), [1.0, 0.0], rtol=1e-10).y[:, -1]
    exact = float(ends.sum() - 1.25)
    found = trained_gaps(regulator(sign), proportional(gain), jax.random.key(0), search=SMALL)["regulator"]
    assert found.interval[0] - 0.01 * exact < exact + 1e-4 < found.interval[1] + 0.02 * exact + 2e-4
    assert (found.lower > 0) == (exact > 0)
    np.testing.assert_allclose(found.value, -ends.sum(), atol=0.02)
    assert found.budget.updates == 120 and len(found.curves["affine"]) == 4


def race(t, x, u, i):
    return jnp.stack([(u[0][0] - 1) ** 2 + (u[0][0] + u[1][0]) ** 2, (u[1][0] - u[0][0]) ** 2])


class Led:
    """The leader plays u₀, the follower copies what it sees."""

    def __init__(self, lead: float):
        self.lead = lead

    def __call__(self, t, x, i):
        return jnp.full(1, self.lead), jnp.full(1, self.lead)

    def respond(self, t, x, i, player, v):
        assert player == 0
        return v, v


def test_a_leader_is_judged_with_the_reactions_to_it():
    """min (u−1)² + (u+u₁)² is at u = ⅕ if u₁ = u, and at u = ⅖, better by 0.08, if u₁ stays ⅕."""
    game = DifferentialGame(
        players=("leader", "follower"),
        control_sizes=(1, 1),
        drift=lambda t, x, u, i: 0 * x,
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        running_cost=race,
        terminal_cost=lambda x, i: jnp.zeros(2),
        initial=PointLaw(jnp.ones(1)),
        horizon=1.0,
        tiers=((0,), (1,)),
    )
    search = PathSearch(updates=150, paths=2, steps=4, validation_paths=4, test_paths=4, knots=2)
    led = trained_gaps(game, Led(0.2), jax.random.key(0), search=search)
    assert led.gap < 1e-4
    nash = trained_gaps(game, Led(0.2), jax.random.key(0), search=search, concept=Nash(), players=["leader"])
    np.testing.assert_allclose(nash["leader"].gain, 0.08, rtol=1e-2)
    with pytest.raises(InvalidInput, match="respond"):
        Stackelberg().problem(game, lambda t, x, i: (jnp.zeros(1), jnp.zeros(1)), 0)


def test_controlled_intensities_are_learned_by_the_score_function():
    """X counts down from 4 at intensity u ∈ [0, 6] for a cost ∫u/2 + X_T²; constant controls have closed forms."""
    law = JumpLaw(lambda t, x, u, i: u[0][0], lambda t, x, u, z, i: z, FixedMark(-jnp.ones(1)), compensated=False)
    game = DifferentialGame(
        players=("counter",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: 0 * x,
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        running_cost=lambda t, x, u, i: 0.5 * u[0],
        terminal_cost=lambda x, i: x**2,
        initial=PointLaw(jnp.full(1, 4.0)),
        horizon=1.0,
        jumps=(law,),
        bounds=((0.0, 6.0),),
    )

    def constant(theta):
        return 0.5 * theta + (4 - theta) ** 2 + theta

    search = PathSearch(updates=150, paths=512, steps=20, validation_paths=4096, test_paths=8192)
    found = trained_gaps(game, lambda t, x, i: (jnp.full(1, 1.5),), jax.random.key(2), search=search)["counter"]
    best_constant = min(constant(theta) for theta in np.linspace(0, 6, 601))
    np.testing.assert_allclose(found.value, -constant(1.5), atol=0.3)
    assert found.lower > constant(1.5) - best_constant  # feedback beats every constant


class Flow(eqx.Module):
    """Intensity R e^{−2u} of fills."""

    size: jax.Array

    def __call__(self, t, x, u, i):
        return self.size * jnp.exp(-2 * u[0][0])


class Quote(eqx.Module):
    """The same offset whatever happens."""

    offset: jax.Array

    def __call__(self, t, x, i):
        return (self.offset[None],)


def test_a_maker_with_many_fills_a_step_is_judged_on_all_of_them():
    """Cash grows by the quote u at intensity R e^{−2u}: R u e^{−2u} a unit of time, most of it at u = ½."""
    game = DifferentialGame(
        players=("maker",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: 0 * x,
        diffusion=lambda t, x, u, i: jnp.zeros((1, 1)),
        running_cost=lambda t, x, u, i: 0 * x,
        terminal_cost=lambda x, i: x,
        initial=PointLaw(jnp.zeros(1)),
        horizon=1.0,
        jumps=(JumpLaw(Flow(jnp.asarray(1500.0)), lambda t, x, u, z, i: u[0], FixedMark(jnp.ones(1)), False),),
        signs=(-1,),
        bounds=((0.05, 3.0),),
    )
    search = PathSearch(updates=60, paths=256, steps=10, validation_paths=1024, test_paths=4096, evaluations=2)
    gaps = []
    for flow, quote in ((1500.0, 1.0), (2000.0, 0.5)):
        judged = eqx.tree_at(lambda g: g.jumps[0].rate.size, game, jnp.asarray(flow))
        found = trained_gaps(judged, Quote(jnp.asarray(quote)), jax.random.key(0), search=search)["maker"]
        np.testing.assert_allclose(found.value, flow * quote * np.exp(-2 * quote), rtol=0.01)
        gaps.append(found)
    exact = 1500.0 * (0.5 * np.exp(-1.0) - np.exp(-2.0))
    assert exact - 2.0 < gaps[0].gain < exact + 4 * gaps[0].standard_error
    assert not gaps[1].lower > 0
    market = as_markov_game(game, 0.1)
    hold = {"maker": jnp.ones((1, 1), jnp.float32)}
    keys = jax.random.split(jax.random.key(1), 2000)
    start = market.reset(keys[0])
    reward = jax.vmap(lambda key: market.step(start, hold, key)[2].state[0])(keys)
    assert abs(float(reward.mean()) - 15 * 10 * np.exp(-2.0)) < 4 * float(reward.std()) / np.sqrt(2000)


@pytest.mark.slow
def test_a_network_adds_what_gains_cannot_say():
    """Pushing towards the nearer of two wells is not affine in the state: the second rung gains on the first."""
    game = DifferentialGame(
        players=("pusher",),
        control_sizes=(1,),
        drift=lambda t, x, u, i: u[0],
        diffusion=lambda t, x, u, i: 0.5 * jnp.eye(1),
        running_cost=lambda t, x, u, i: 0.2 * u[0] ** 2,
        terminal_cost=lambda x, i: 4 * (x**2 - 1) ** 2,
        initial=PointLaw(jnp.zeros(1)),
        horizon=1.0,
    )
    search = PathSearch(updates=150, paths=256, steps=16, width=16, validation_paths=2048, test_paths=4096)
    found = trained_gaps(game, lambda t, x, i: (0 * x,), jax.random.key(0), search=search)["pusher"]
    affine = max(point.gain for point in found.curves["affine"])
    assert found.selected.startswith("network") and found.lower > 1.1 * affine > 0


def test_slips_are_named():
    with pytest.raises(InvalidInput, match="even"):
        PathSearch(paths=3)
    with pytest.raises(InvalidInput, match="updates"):
        PathSearch(updates=0)
    watcher = DifferentialGame(**{**{f: getattr(regulator(1), f) for f in FIELDS}, "signs": (0,)})
    with pytest.raises(InvalidInput, match="objective"):
        trained_gaps(watcher, proportional(1.0), jax.random.key(0), players=["regulator"])


FIELDS = (
    "players", "control_sizes", "drift", "diffusion", "running_cost", "terminal_cost", "initial", "horizon",
)  # fmt: skip
