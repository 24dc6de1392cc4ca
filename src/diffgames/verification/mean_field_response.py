"""What one agent of a solved crowd could gain against the frozen law: on a finer grid, and on simulated paths.

The profile is the stored control, linear between cells and times, and the law is frozen with the features it is felt
by. Neither route knows the solver's equations. On a grid several times as fine, with steps as much shorter, the value W
of the profile and B of the best reply obey the semi-Lagrangian recursion (Camilli & Falcone 1995)

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

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import TypedMeanFieldGame
from diffgames.numerics.cells import CellAxis, Cells
from diffgames.numerics.precision import in_double
from diffgames.solvers.descent import descend
from diffgames.solvers.descent import start as starting
from diffgames.solvers.mean_field_scheme import moves
from diffgames.verification.certificate import LOWER_BOUND, Budget, Certificate, exact_gap, gap_of_pairs

HOW = "best replies to the frozen law on two finer grids, by a semi-Lagrangian scheme"
KNOTS = 6


class FrozenCrowd(eqx.Module):
    """A profile with the law it is played against: control [n + 1, K, N] and features [n + 1, N] on cells and times."""

    game: TypedMeanFieldGame
    cells: Cells = eqx.field(static=True)
    control: Float[Array, "n1 K N"]
    felt: dict[str, Float[Array, "n1 N"]]
    mass: Float[Array, "n1 K N"]
    price: Float[Array, " n1"]

    @property
    def axis(self) -> CellAxis:
        """The one axis."""
        return self.cells.axes[0]

    @property
    def horizon(self) -> Array:
        """Length of the game."""
        return jnp.asarray(self.game.horizon, float)

    def at(self, table: Float[Array, "n1 N"], t: Float[Array, ""], x: Float[Array, " points"]) -> Array:
        """A table at time t and points x, linear in both."""
        place = jnp.clip(t / self.horizon, 0.0, 1.0) * (len(table) - 1.0)
        early = jnp.minimum(place.astype(jnp.int32), len(table) - 2)
        late = place - early.astype(place.dtype)
        row = (1.0 - late) * table[early] + late * table[early + 1]
        axis = self.axis
        period = axis.high - axis.low if axis.wall == "periodic" else None
        return jnp.interp(x, jnp.asarray(axis.centres()), row, period=period)

    def played(self, k: int, t: Float[Array, ""], x: Float[Array, " points"]) -> Float[Array, " points"]:
        """The control of type k."""
        return self.at(self.control[:, k], t, x)

    def allowed(self, k: int, x: Float[Array, " points"], u: Float[Array, " points"], dt: Array) -> Array:
        """u within its bounds and, where it is a purchase, no further in one step than storage reaches."""
        one, axis = self.game.types[k], self.axis
        u = jnp.clip(u, one.control_low, one.control_high)
        if self.game.market is None or axis.wall == "periodic":
            return u
        return jnp.clip(u, (axis.low - x) / dt, (axis.high - x) / dt)

    def folded(self, x: Float[Array, " points"]) -> Float[Array, " points"]:
        """Points back on the axis: reflected at its walls, or around."""
        low, width = self.axis.low, self.axis.high - self.axis.low
        if self.axis.wall == "periodic":
            return low + jnp.mod(x - low, width)
        return low + width - jnp.abs(jnp.mod(x - low, 2.0 * width) - width)

    def running(self, k: int, t: Float[Array, ""], x: Float[Array, " points"], u: Float[Array, " points"]) -> Array:
        """Running cost and drift of type k that plays u."""
        one = self.game.types[k]
        felt = {name: self.at(table, t, x) for name, table in self.felt.items()}
        cost = jax.vmap(one.running_cost)(x[:, None], felt) + jax.vmap(one.control_cost)(u[:, None], x[:, None])
        if self.game.market is not None:
            price = jnp.interp(t, jnp.linspace(0.0, self.horizon, len(self.price)), self.price)
            cost = cost + price * (self.game.market.size[k] * u + self.game.market.load(t)[k])
        return jnp.stack([cost, jax.vmap(one.drift)(x[:, None], felt)[:, 0] + u])

    def final(self, k: int, x: Float[Array, " points"]) -> Float[Array, " points"]:
        """Terminal cost of type k."""
        felt = {name: self.at(table, self.horizon, x) for name, table in self.felt.items()}
        cost = jax.vmap(self.game.types[k].terminal_cost)(x[:, None], felt)
        return jnp.broadcast_to(cost, x.shape)


@in_double
def frozen(
    game: TypedMeanFieldGame, cells: Cells, control: Float[np.ndarray, "n K d N"], mass: Float[np.ndarray, "n1 K N"]
) -> FrozenCrowd:
    """The crowd that plays stored controls at stored masses. `InvalidInput` where agents have more than one state."""
    if len(cells.axes) != 1:
        raise InvalidInput("axes", len(cells.axes), "one axis: certificates are for agents with one state")
    n, shape = len(control), (len(game.types), cells.size)
    if control.shape != (n, shape[0], 1, shape[1]) or n < 1 or not np.all(np.isfinite(control)):
        raise InvalidInput("control", list(control.shape), f"finite numbers [n, {shape[0]}, 1, {shape[1]}]")
    if mass.shape != (n + 1, *shape) or not mass.min() >= -1e-9:
        allowed = f"finite masses {[n + 1, *shape]}, nowhere negative"
        raise InvalidInput("mass", float(mass.min()) if mass.shape[1:] == shape else list(mass.shape), allowed)
    control = np.concatenate([control, control[-1:]])
    held, played = jnp.asarray(mass), jnp.asarray(control)
    times = jnp.linspace(0.0, float(game.horizon), len(mass))
    felt = jax.vmap(lambda m, u, t: game.felt(cells, m, u, t))(held, played, times)
    return FrozenCrowd(game, cells, played[:, :, 0], felt, held, _price(game, held, played, times))


def _price(game: TypedMeanFieldGame, mass: Array, control: Array, times: Array) -> Float[Array, " n1"]:
    """The price at every time, from what the controls buy; zero without a market."""
    market = game.market
    if market is None:
        return jnp.zeros_like(times)
    return jax.vmap(lambda m, u, t: market.price(game.share @ market.purchases(m, u, t), t))(mass, control, times)


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
def _led(crowd: FrozenCrowd, k: int, points: Array, dt: Array, steps: int, start: Array) -> Array:
    """The law of type k at the end: the same recursion transposed, every end of a step shared by its neighbours."""
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

    return jax.lax.scan(step, start, jnp.arange(float(steps)))[0]


def _consistency(crowd: FrozenCrowd, factor: int) -> dict[str, float]:
    """Errors of total mass, the least mass, and how far the final law is from where the stored controls lead.

    The distance is Wasserstein's W₁, ∫ |F − G| dx of the distribution functions (on a circle an upper bound).
    """
    fine, apart = crowd.cells.refined(factor), []
    count = factor * (len(crowd.control) - 1)
    for k, start in enumerate(crowd.game.start(fine)):
        points = jnp.asarray(fine.points()[0])
        led = np.asarray(_led(crowd, k, points, crowd.horizon / count, count, jnp.asarray(start)))
        stored = np.repeat(np.asarray(crowd.mass[-1, k]), factor) / factor
        apart.append(float(np.abs(np.cumsum(led - stored)).sum() * fine.axes[0].spacing))
    mass = np.asarray(crowd.mass)
    found = {"mass error": float(np.abs(mass.sum(axis=-1) - 1.0).max()), "least mass": float(mass.min())}
    return found | {"distance of the law from its policies, W1": max(apart)}


@dataclasses.dataclass(frozen=True)
class CrowdSearch:
    """What a deviator on paths may spend: updates on `paths` fresh paths each, then `judged` held-out ones."""

    updates: int = 120
    paths: int = 400
    judged: int = 8000
    learning_rate: float = 0.03


def _cost(crowd: FrozenCrowd, k: int, theta: Array, start: Array, noise: Array) -> Float[Array, " paths"]:
    """Cost of paths of type k that plays its profile and an affine correction with knots θ [knots, 2]."""
    one = crowd.game.types[k]
    dt = crowd.horizon / len(noise)
    middle = 0.5 * (crowd.axis.low + crowd.axis.high)

    def step(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        x, paid = carry
        index, shock = given
        t = index * dt
        knots = jnp.linspace(0.0, 1.0, len(theta))
        level, slope = (jnp.interp(t / crowd.horizon, knots, theta[:, i]) for i in (0, 1))
        u = crowd.played(k, t, x) + level + slope * (x - middle)
        u = crowd.allowed(k, x, u, dt)
        cost, speed = crowd.running(k, t, x, u)
        sigma = jax.vmap(one.noise)(x[:, None])[:, 0]
        return (crowd.folded(x + speed * dt + sigma * jnp.sqrt(dt) * shock), paid + cost * dt), None

    indices = jnp.arange(float(len(noise)))
    (x, paid), _ = jax.lax.scan(step, (start, jnp.zeros_like(start)), (indices, noise))
    return paid + crowd.final(k, x)


@eqx.filter_jit
def _draws(crowd: FrozenCrowd, k: int, key: PRNGKeyArray, paths: int, steps: int) -> tuple[Array, Array]:
    place, inside, shocks = jax.random.split(key, 3)
    mass = crowd.mass[0, k]
    cell = jax.random.choice(place, mass.shape[0], (paths,), p=mass)
    within = crowd.axis.spacing * (jax.random.uniform(inside, (paths,)) - 0.5)
    return jnp.asarray(crowd.axis.centres())[cell] + within, jax.random.normal(shocks, (steps, paths))


@in_double
def trained_gap(crowd: FrozenCrowd, k: int, key: PRNGKeyArray, search: CrowdSearch = CrowdSearch()):
    """The entry of type k by an affine correction, trained on paths and judged on held-out ones."""
    steps = 2 * (len(crowd.control) - 1)
    train, judge = jax.random.split(key)

    def update(carry, key):
        theta, state = carry
        start, noise = _draws(crowd, k, key, search.paths, steps)
        slope = jax.grad(lambda theta: jnp.mean(_cost(crowd, k, theta, start, noise)))(theta)
        theta, state = descend(theta, state, slope, search.learning_rate)
        return (theta, state), theta

    theta = jnp.zeros((KNOTS, 2))
    run = jax.jit(lambda keys: jax.lax.scan(update, (theta, starting(theta)), keys)[1])
    seen = run(jax.random.split(train, search.updates))
    theta = jnp.mean(seen[-max(search.updates // 4, 1) :], axis=0)
    start, noise = _draws(crowd, k, judge, search.judged, steps)
    costs = [_cost(crowd, k, one, start, noise) for one in (jnp.zeros_like(theta), theta)]
    budget = Budget(search.updates, search.updates * search.paths, search.updates * search.paths * steps)
    return gap_of_pairs(f"type {k}", -np.asarray(costs[0]), -np.asarray(costs[1]), budget=budget, selected="affine")


@in_double
def trained_gaps(crowd: FrozenCrowd, key: PRNGKeyArray, search: CrowdSearch = CrowdSearch()) -> Certificate:
    """Lower bounds of the gaps of every type, by deviators trained on paths."""
    keys = jax.random.split(key, len(crowd.game.types))
    entries = [trained_gap(crowd, k, keys[k], search) for k in range(len(keys))]
    return Certificate(tuple(entries), LOWER_BOUND)
