"""Gaps of any differential game from below: a deviator trained on simulated paths by pathwise gradients.

The one-player problem of the concept is simulated under the player's own control plus a correction,

    v(t, x, i) = u_p(t, x, i) + s ⊙ [ a_i(t) + K_i(t) ξ + net(t, ξ, i) ],   ξ = (x − x̄(t)) / σ̄,

and the mean cost of a batch of paths is differentiated through the paths (with a score-function term for jump counts
and switches that controls move) and descended by Adam. x̄ and σ̄ are mean and spread of the state under the profile,
s the size of the player's own control. Corrections climb a ladder: first a_i, K_i, piecewise linear in time (enough
for linear-quadratic games), then, if asked for, a network on top. All start at zero: the deviator begins as the
player itself.

On the way each is tried on validation paths, the best of all (or none) is kept, and its gain is the mean of paired
differences on held-out paths that nothing was chosen on, deviation and profile on the same Brownian increments, jumps
and switches. An equilibrium in continuous time is none of the game simulated with `steps` steps; training and
evaluation therefore extrapolate to continuous time, path by path on the same Brownian motion, J ≈ 2 J(h/2) − J(h),
whose error is of second order in h (Talay and Tubaro 1990). What comes out is a lower bound of the gap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.equilibria import Nash, OwnPolicy, Stackelberg, natural_concept, seat_of
from diffgames.errors import InvalidInput
from diffgames.games.differential import Controls, DifferentialGame, Profile
from diffgames.simulation.jumps import report_fault
from diffgames.simulation.rollout import Scheme, run_batch
from diffgames.verification.certificate import LOWER_BOUND, Budget, Certificate, CurvePoint, Gap, gap_of_pairs

Progress = Callable[[str, int, Mapping[str, Any]], None]


@dataclass(frozen=True)
class PathSearch:
    """What the search for a deviation may spend, and its form.

    `updates` gradient steps on `paths` paths (antithetic pairs) of `steps` steps for each rung of the ladder;
    corrections on `knots` times; `width` of the network's two hidden layers, 0 for the affine rung alone.
    """

    updates: int = 200
    paths: int = 512
    steps: int = 50
    learning_rate: float = 0.03
    knots: int = 9
    width: int = 0
    evaluations: int = 5
    validation_paths: int = 4096
    test_paths: int = 16384

    def __post_init__(self):
        least = {"updates": 1, "paths": 2, "steps": 1, "knots": 2, "width": 0, "evaluations": 1}
        least |= {"validation_paths": 4, "test_paths": 4}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InvalidInput(name, getattr(self, name), f"an integer, at least {low}")
        for name in ("paths", "validation_paths", "test_paths"):
            if getattr(self, name) % 2:
                raise InvalidInput(name, getattr(self, name), "an even number: paths come in antithetic pairs")


class Correction(eqx.Module):
    """What is learned: affine in the standardised state on knots in time, for every regime, and a network or None."""

    offset: Float[Array, "knots m controls"]
    gain: Float[Array, "knots m controls n"]
    network: eqx.nn.MLP | None


class Frame(eqx.Module):
    """Units of the correction: centre of the state in time, its spread, and the size of the control."""

    centre: Float[Array, "knots n"]
    spread: Float[Array, " n"]
    size: Float[Array, " controls"]
    horizon: Float[Array, ""]


class Deviator(eqx.Module):
    """The player's own control plus a correction, within the player's bounds."""

    own: OwnPolicy
    frame: Frame
    correction: Correction
    bounds: tuple[float, float] | None = eqx.field(static=True)

    def __call__(self, t: Array, x: Array, i: Array) -> Controls:
        """The control, as a profile of the one-player problem."""
        place = t / self.frame.horizon * (self.frame.centre.shape[0] - 1)
        left = jnp.clip(jnp.floor(place), 0, self.frame.centre.shape[0] - 2).astype(jnp.int32)
        share = place - left.astype(place.dtype)

        def at(knots: Array) -> Array:
            return (1 - share) * knots[left] + share * knots[left + 1]

        xi = (x - at(self.frame.centre)) / self.frame.spread
        change = at(self.correction.offset)[i] + at(self.correction.gain)[i] @ xi
        if self.correction.network is not None:
            regimes = self.correction.offset.shape[1]
            label = (jnp.arange(regimes, dtype=jnp.int32) == i).astype(x.dtype)
            change = change + self.correction.network(jnp.concatenate([(t / self.frame.horizon)[None], xi, label]))
        control = jnp.asarray(self.own(t, x, i)[0], x.dtype) + self.frame.size * change
        return (control if self.bounds is None else jnp.clip(control, *self.bounds),)


def trained_gaps(
    game: DifferentialGame,
    profile: Profile,
    key: PRNGKeyArray,
    *,
    concept: Nash | Stackelberg | None = None,
    players: Sequence[str | int] | None = None,
    search: PathSearch | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Certificate of lower bounds: what each player (those with an objective, by default) gains from a trained
    deviator.

    Values are rewards: a minimising player's is its cost with a minus sign.
    """
    concept = concept if concept is not None else natural_concept(game)
    search = search if search is not None else PathSearch()
    if players is None:
        chosen = [index for index, sign in enumerate(game.signs) if sign]
    else:
        chosen = [game.player_index(player) for player in players]
    gaps = []
    for index in chosen:
        problem = concept.problem(game, profile, index)
        own = OwnPolicy(profile, seat_of(game, index))
        gaps.append(path_gap(game.players[index], problem, own, jax.random.fold_in(key, index), search, progress)[1])
    return Certificate(entries=tuple(gaps), how=LOWER_BOUND)


def path_gap(
    label: str,
    problem: DifferentialGame,
    own: OwnPolicy,
    key: PRNGKeyArray,
    search: PathSearch,
    progress: Progress | None = None,
) -> tuple[Deviator, Gap]:
    """The best deviator found in a one-player problem whose player plays `own` in the profile, and what it gains.

    `label` is the player's name.
    """
    start_key, train_key, validation_key, test_key, network_key = jax.random.split(key, 5)
    current, fault = _starting_point(problem, own, start_key, search)
    report_fault(fault)
    best = current
    costs = partial(_costs, problem, steps=search.steps)
    base = costs(own, validation_key, paths=search.validation_paths)
    gain, selected, curves = 0.0, "no deviation", {}  # the player's own control gains nothing on itself
    rungs = ["affine"] + (["network"] if search.width else [])
    for number, rung in enumerate(rungs):
        if rung == "network":
            current = _with_network(best, problem, network_key, search)
        optimiser = optax.adam(optax.cosine_decay_schedule(search.learning_rate, search.updates))
        memory = optimiser.init(eqx.filter(current.correction, eqx.is_inexact_array))
        points = sorted({round(search.updates * k / search.evaluations) for k in range(search.evaluations + 1)})
        curve = [CurvePoint(updates=0, gain=gain, standard_error=0.0)]
        for done, until in pairwise(points):
            keys = jax.random.split(jax.random.fold_in(train_key, number * search.updates + done), until - done)
            current, memory = _descend(problem, current, memory, keys, search)
            difference = base - costs(current, validation_key, paths=search.validation_paths)
            now = float(jnp.mean(difference))
            error = float(jnp.std(difference)) / np.sqrt(difference.size - 1)
            curve.append(CurvePoint(updates=until, gain=now, standard_error=error))
            if np.isfinite(now) and now > gain:
                best, gain, selected = current, now, f"{rung} correction, after {until} updates"
            if progress is not None:
                progress(label, number * search.updates + until, {"gain": gain})
        curves[rung] = curve
    episodes = len(rungs) * search.updates * search.paths
    gap = gap_of_pairs(
        label,
        -np.asarray(costs(own, test_key, paths=search.test_paths)),
        -np.asarray(costs(best, test_key, paths=search.test_paths)),
        budget=Budget(updates=len(rungs) * search.updates, episodes=episodes, agent_steps=episodes * search.steps),
        selected=selected,
        curves=curves,
    )
    return best, gap


@eqx.filter_jit
def _costs(
    problem: DifferentialGame, policy: Profile, key: PRNGKeyArray, *, paths: int, steps: int
) -> Float[Array, " pairs"]:
    """Costs of antithetic pairs, extrapolated in the step; equal keys give equal randomness, whoever plays."""
    costs = _extrapolated(problem, policy, key, paths, steps, score=False)
    return costs.reshape(2, -1).mean(axis=0)


def _extrapolated(
    problem: DifferentialGame, policy: Profile, key: PRNGKeyArray, paths: int, steps: int, score: bool
) -> Float[Array, " paths"]:
    """2 J(h/2) − J(h), path by path on the same Brownian motion."""
    coarse = Scheme(refine=2)
    fine = run_batch(problem, policy, key, paths, 2 * steps, Scheme(), antithetic=True, score=score)
    return 2 * fine.costs[0] - run_batch(problem, policy, key, paths, steps, coarse, True, score=score).costs[0]


@eqx.filter_jit
def _starting_point(
    problem: DifferentialGame, own: OwnPolicy, key: PRNGKeyArray, search: PathSearch
) -> tuple[Deviator, Array]:
    """A deviator that deviates by nothing yet, in the units of paths under the profile; a rate that is none, or 0."""
    batch = run_batch(problem, own, key, 2 * (search.paths // 2), search.steps, Scheme(), antithetic=True, keep=1)
    assert batch.control is not None
    dtype, n, k = batch.mean.dtype, batch.mean.shape[1], problem.control_sizes[0]
    spread = jnp.sqrt(jnp.mean(batch.scatter, axis=0) / batch.costs.shape[1])
    size = jnp.sqrt(jnp.mean(batch.control[0] ** 2, axis=(0, 2)))
    horizon = jnp.asarray(problem.horizon, dtype)
    times = jnp.linspace(0.0, 1.0, search.steps + 1, dtype=dtype)
    knots = jnp.linspace(0.0, 1.0, search.knots, dtype=dtype)
    centre = jax.vmap(lambda values: jnp.interp(knots, times, values), in_axes=1, out_axes=1)(batch.mean)
    rounding = 1e-9 * jnp.max(jnp.abs(batch.mean), axis=0)  # of a state that does not move, in its own unit
    frame = Frame(
        centre=centre,
        spread=jnp.where(spread > rounding, spread, jnp.where(rounding > 0, 1e9 * rounding, 1.0)),
        size=jnp.where(size > 0, size, 1.0),
        horizon=horizon,
    )
    regimes = problem.regime_count
    correction = Correction(
        offset=jnp.zeros((search.knots, regimes, k), dtype),
        gain=jnp.zeros((search.knots, regimes, k, n), dtype),
        network=None,
    )
    return Deviator(own=own, frame=frame, correction=correction, bounds=problem.bounds[0]), batch.fault


def _with_network(deviator: Deviator, problem: DifferentialGame, key: PRNGKeyArray, search: PathSearch) -> Deviator:
    """The deviator with a network on top whose last layer is zero."""
    _, regimes, k, n = deviator.correction.gain.shape
    dtype = deviator.correction.gain.dtype
    network = eqx.nn.MLP(1 + n + regimes, k, search.width, 2, jnp.tanh, dtype=dtype, key=key)
    last = (network.layers[-1].weight, network.layers[-1].bias)
    zeros = jax.tree.map(jnp.zeros_like, last)
    network = eqx.tree_at(lambda net: (net.layers[-1].weight, net.layers[-1].bias), network, zeros)
    return eqx.tree_at(lambda d: d.correction.network, deviator, network, is_leaf=lambda leaf: leaf is None)


@eqx.filter_jit
def _descend(
    problem: DifferentialGame, deviator: Deviator, memory: Any, keys: Array, search: PathSearch
) -> tuple[Deviator, Any]:
    """One Adam step per key; a step whose gradient is not finite is skipped."""
    optimiser = optax.adam(optax.cosine_decay_schedule(search.learning_rate, search.updates))
    learned, fixed = eqx.partition(deviator.correction, eqx.is_inexact_array)

    def cost(learned, key):
        policy = eqx.tree_at(lambda d: d.correction, deviator, eqx.combine(learned, fixed))
        paths = 2 * (search.paths // 2)
        return jnp.mean(_extrapolated(problem, policy, key, paths, search.steps, score=True))

    def step(carry, key):
        learned, memory = carry
        value, gradient = jax.value_and_grad(cost)(learned, key)
        fine = jnp.isfinite(value)
        for leaf in jax.tree.leaves(gradient):
            fine = fine & jnp.all(jnp.isfinite(leaf))
        with jax.numpy_dtype_promotion("standard"):  # optax counts in integers and scales by Python floats
            changes, after = optimiser.update(gradient, memory, learned)
        moved = optax.apply_updates(learned, changes)
        keep = partial(jax.tree.map, lambda new, old: jnp.where(fine, new, old))
        return (keep(moved, learned), keep(after, memory)), None

    (learned, memory), _ = jax.lax.scan(step, (learned, memory), keys)
    return eqx.tree_at(lambda d: d.correction, deviator, eqx.combine(learned, fixed)), memory
