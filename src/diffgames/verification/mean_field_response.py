"""What one agent of a solved crowd could gain against the frozen law: on a finer grid, and on simulated paths.

The profile is `games.mean_field_frozen`'s, and neither route knows the solver's equations. On a grid several times as
fine, with steps as much shorter, the value W of the profile and B of the best reply obey the semi-Lagrangian recursion
(Camilli & Falcone 1995)

    W(t, x) = dt [ℓ(u, x) + f(x, φ)] + ½ Σ_± W(t + dt, x + (a + u) dt ± σ √dt),

for B with a minimum over u, the profile's among them, and folded at reflecting walls. So the gain, W − B averaged over
the start, is not negative but for rounding. It is computed at two resolutions; the interval is the finer gain ± their
difference. The second route trains u + θ₀(t) + θ₁(t) x by gradient on paths of single agents, θ linear between knots,
and judges it on fresh paths, paired with the profile's: a lower bound. One state per agent.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.games.mean_field_frozen import FrozenCrowd
from diffgames.numerics.precision import in_double
from diffgames.simulation.mean_field_paths import crowd_draws, crowd_path
from diffgames.solvers.descent import descend
from diffgames.solvers.descent import start as starting
from diffgames.solvers.mean_field_scheme import moves
from diffgames.verification.certificate import LOWER_BOUND, Budget, Certificate, exact_gap, gap_of_pairs

HOW = "best replies to the frozen law on two finer grids, by a semi-Lagrangian scheme"
KNOTS = 6


@eqx.filter_jit
def _replied(crowd: FrozenCrowd, k: int, points: Array, dt: Array, steps: int) -> tuple[Array, Array]:
    """W and B of type k at time 0 on points."""
    one = crowd.game.types[k]
    spread = jax.vmap(one.noise)(points[:, None])[:, 0] * jnp.sqrt(dt)
    h = points[1] - points[0]
    period = crowd.axis.high - crowd.axis.low if crowd.axis.wall == "periodic" else None

    def stepped(ahead: Array, t: Array, u: Array) -> Array:
        cost, speed = crowd.running(k, t, points, u)
        ends = [crowd.folded(points + speed * dt + sign * spread) for sign in (-1.0, 1.0)]
        return dt * cost + 0.5 * sum(jnp.interp(x, points, ahead, period=period) for x in ends)

    def step(carry: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], None]:
        paid, best = carry
        t = index * dt
        own = crowd.allowed(k, points, crowd.played(k, t, points), dt)
        ends = jnp.concatenate([best[:1], best, best[-1:]])
        slope = (ends[2:] - ends[:-2])[None] / (2.0 * h)
        base, rise, fall, _ = moves(one, points[None], slope, slope)
        guess = (base + rise - fall)[0]
        tried = [own, guess, *(guess + c * h / dt for c in (-0.5, -0.1, 0.1, 0.5)), 0.5 * (own + guess)]
        tried = [crowd.allowed(k, points, u, dt) for u in tried]
        found = jnp.min(jnp.stack([stepped(best, t, u) for u in tried]), axis=0)
        return (stepped(paid, t, own), found), None

    last = crowd.final(k, points)
    return jax.lax.scan(step, (last, last), jnp.arange(steps - 1.0, -1.0, -1.0))[0]


@in_double
def response_gaps(crowd: FrozenCrowd, factors: tuple[int, int] = (2, 4)) -> Certificate:
    """Gaps of every type on two grids, `factors` times as fine as the profile's in space and time; costs as rewards."""
    entries, steps = [], len(crowd.control) - 1
    for k in range(len(crowd.game.types)):
        found = []
        for factor in factors:
            fine = crowd.cells.refined(factor)
            start = crowd.game.start(fine)[k]
            count = factor * steps
            paid, best = _replied(crowd, k, jnp.asarray(fine.points()[0]), crowd.horizon / count, count)
            found.append((float(start @ np.asarray(paid)), float(start @ np.asarray(best))))
        (coarse, reply), (value, best) = found
        gain = value - best
        entries.append(exact_gap(f"type {k}", -value, gain, abs(gain - coarse + reply), selected=""))
    return Certificate(tuple(entries), HOW, checks=_consistency(crowd, factors[-1]))


@eqx.filter_jit
def _led(crowd: FrozenCrowd, k: int, points: Array, dt: Array, factor: int, start: Array) -> Float[Array, "n points"]:
    """The law of type k at the stored times after the first, `factor` steps apart.

    It is the same recursion transposed, every end of a step shared by its neighbours.
    """
    spread = jax.vmap(crowd.game.types[k].noise)(points[:, None])[:, 0] * jnp.sqrt(dt)
    h, n = points[1] - points[0], len(points)
    around = crowd.axis.wall == "periodic"

    def step(mass: Array, index: Array) -> tuple[Array, None]:
        played = crowd.allowed(k, points, crowd.played(k, index * dt, points), dt)
        speed = crowd.running(k, index * dt, points, played)[1]
        new = jnp.zeros_like(mass)
        for sign in (-1.0, 1.0):
            place = (crowd.folded(points + speed * dt + sign * spread) - points[0]) / h
            place = place if around else jnp.clip(place, 0.0, n - 1.0)
            below = jnp.floor(place)
            late, cell = place - below, below.astype(jnp.int32)
            last = jnp.mod(cell + 1, n) if around else jnp.minimum(cell + 1, n - 1)
            new = new.at[jnp.mod(cell, n)].add(0.5 * mass * (1.0 - late)).at[last].add(0.5 * mass * late)
        return new, None

    def stored(mass: Array, indices: Array) -> tuple[Array, Array]:
        mass = jax.lax.scan(step, mass, indices)[0]
        return mass, mass

    count = len(crowd.control) - 1
    return jax.lax.scan(stored, start, jnp.arange(float(count * factor)).reshape(count, factor))[1]


def _consistency(crowd: FrozenCrowd, factor: int) -> dict[str, float]:
    """Errors of total mass, the least mass, and how far any stored law is from where the stored controls lead.

    The distance is Wasserstein's W₁, ∫ |F − G| dx of the distribution functions (on a circle an upper bound).
    """
    fine, apart = crowd.cells.refined(factor), []
    dt, points = crowd.horizon / (factor * (len(crowd.control) - 1)), jnp.asarray(fine.points()[0])
    mass = np.asarray(crowd.mass)
    for k, start in enumerate(crowd.game.start(fine)):
        led = np.asarray(_led(crowd, k, points, dt, factor, jnp.asarray(start)))
        laws = np.concatenate([np.asarray(start)[None], led])
        astray = laws - np.repeat(mass[:, k], factor, axis=-1) / factor
        apart.append(float(np.abs(np.cumsum(astray, axis=-1)).sum(axis=-1).max() * fine.axes[0].spacing))
    found = {"mass error": float(np.abs(mass.sum(axis=-1) - 1.0).max()), "least mass": float(mass.min())}
    return found | {"distance of the law from its policies, W1": max(apart)}


@dataclasses.dataclass(frozen=True)
class CrowdSearch:
    """What a deviator on paths may spend: updates on `paths` fresh paths each, then `judged` held-out ones."""

    updates: int = 120
    paths: int = 400
    judged: int = 8000
    learning_rate: float = 0.03


def _corrected(crowd: FrozenCrowd, k: int, theta: Array, start: Array, noise: Array) -> Float[Array, " paths"]:
    """Cost of paths of type k that plays its profile and an affine correction with knots θ [knots, 2]."""
    middle, knots = 0.5 * (crowd.axis.low + crowd.axis.high), jnp.linspace(0.0, 1.0, len(theta))

    def correction(t: Array, x: Array) -> Array:
        level, slope = (jnp.interp(t / crowd.horizon, knots, theta[:, i]) for i in (0, 1))
        return level + slope * (x - middle)

    return crowd_path(crowd, k, start, noise, correction)[0]


@in_double
def trained_gap(crowd: FrozenCrowd, k: int, key: PRNGKeyArray, search: CrowdSearch = CrowdSearch()):
    """The entry of type k by an affine correction, trained on paths and judged on held-out ones."""
    steps = 2 * (len(crowd.control) - 1)
    train, judge = jax.random.split(key)

    def update(carry, key):
        theta, state = carry
        start, noise = crowd_draws(crowd, k, key, search.paths, steps)
        slope = jax.grad(lambda theta: jnp.mean(_corrected(crowd, k, theta, start, noise)))(theta)
        theta, state = descend(theta, state, slope, search.learning_rate)
        return (theta, state), theta

    theta = jnp.zeros((KNOTS, 2))
    run = jax.jit(lambda keys: jax.lax.scan(update, (theta, starting(theta)), keys)[1])
    seen = run(jax.random.split(train, search.updates))
    theta = jnp.mean(seen[-max(search.updates // 4, 1) :], axis=0)
    start, noise = crowd_draws(crowd, k, judge, search.judged, steps)
    costs = [_corrected(crowd, k, one, start, noise) for one in (jnp.zeros_like(theta), theta)]
    budget = Budget(search.updates, search.updates * search.paths, search.updates * search.paths * steps)
    return gap_of_pairs(f"type {k}", -np.asarray(costs[0]), -np.asarray(costs[1]), budget=budget, selected="affine")


@in_double
def trained_gaps(crowd: FrozenCrowd, key: PRNGKeyArray, search: CrowdSearch = CrowdSearch()) -> Certificate:
    """Lower bounds of the gaps of every type, by deviators trained on paths."""
    keys = jax.random.split(key, len(crowd.game.types))
    entries = [trained_gap(crowd, k, keys[k], search) for k in range(len(keys))]
    return Certificate(tuple(entries), LOWER_BOUND)
