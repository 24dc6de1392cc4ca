"""How far a distributed game is from a potential game: bounds of α from above, and what a search finds from below.

α is the smallest number with |J_i(u′_i, u₋ᵢ) − J_i(u) − (Φ(u′_i, u₋ᵢ) − Φ(u))| ≤ α for all players, profiles and
deviations; minimisers of Φ are α-Nash equilibria (Guo, Li & Zhang, arXiv 2508.01929, Lemma 2.1). With A_i a bound of
‖u_i‖ in L²(Ω × [0, T]), Δ_ij h = h_i − h_j, and b̄_i = sup over s ≤ t of ‖Ψ_i(t, s) b_i(s)‖, Ψ the transition matrix of
the linear drift (b̄ = ‖b‖_∞ without one), equation 3.7 reads

    α ≤ max_i A_i Σ_{j≠i} A_j [ ½T² b̄_i b̄_j ‖∂²_{x_i x_j} Δ_ij f‖ + (T/√2) (b̄_i ‖∂²_{x_i u_j} Δ_ij f‖ + b̄_j
    ‖∂²_{u_i x_j} Δ_ij f‖)
              + ‖∂²_{u_i u_j} Δ_ij f‖ + T b̄_i b̄_j ‖∂²_{x_i x_j} Δ_ij g‖ ],

and for crowds, f_i = ℓ_i(u_i) + Σ_j w_ij K(x_i − x_j), equation 6.6

    α ≤ ½T² L² b̄² ‖∇²K‖_∞ max_i Σ_{j≠i} |w_ij − w_ji|.

Both need suprema. A kernel knows its own, quadratic costs have none but constants; the largest norms met at sampled
points are below the suprema and bound nothing. `alpha_interval` says which numbers are proved and which were found.
"""

import math
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.linalg import expm

from diffgames.errors import InvalidInput
from diffgames.games.crowd import CrowdCosts
from diffgames.games.distributed import DistributedGame, at
from diffgames.games.interaction import Pairs
from diffgames.games.networks import imbalance
from diffgames.solvers.descent import descend, start
from diffgames.solvers.distributed_paths import Grid, Noise, Policy, draw_noise, initial_states, trajectory


class Curvature(eqx.Module):
    """Sup norms of the mixed second derivatives of Δ_ij f and Δ_ij g, [i, j]; see the module's docstring.

    `proved` says that no point has larger ones; of norms that were met at sampled points nobody knows.
    """

    xx: Float[np.ndarray, "players players"]
    xu: Float[np.ndarray, "players players"]
    ux: Float[np.ndarray, "players players"]
    uu: Float[np.ndarray, "players players"]
    terminal: Float[np.ndarray, "players players"]
    proved: bool = eqx.field(static=True, default=True)


@dataclass(frozen=True)
class AlphaInterval:
    """What is known of α over controls of norm ≤ `radius`: `found` ≤ α ≤ `bound`.

    - `found`: the largest violation |ΔJ_i − ΔΦ| that a search met, on Euler steps and fixed paths
    - `bound`: proved, by equation 3.7 or 6.6; ∞ where no bound of the curvature is known, for the reason in `unbounded`
    - `estimate`: the right side of equation 3.7 at a sampled curvature, which is neither; None where none was given
    """

    radius: float
    found: float
    bound: float
    unbounded: str = ""
    estimate: float | None = None

    def __repr__(self) -> str:
        above = f"no bound: {self.unbounded}" if self.unbounded else f"proved to be at most {self.bound:.4g}"
        text = f"α for controls of norm ≤ {self.radius:.4g}: at least {self.found:.4g}, found by search; {above}"
        return text + ("" if self.estimate is None else f"; {self.estimate:.4g} by a sampled curvature, no bound")


def control_norms(game: DistributedGame, policy: Policy, grid: Grid, noise: Noise) -> Float[np.ndarray, " players"]:
    """‖u_i‖ in L²(Ω × [0, T]) of the policy's controls: the measured L."""
    found = eqx.filter_jit(trajectory)(game, policy, grid, noise)
    h = np.diff(np.asarray(found.times, float))
    return np.sqrt(np.einsum("t,tn->n", h, np.asarray(jnp.mean(jnp.sum(found.u**2, axis=1), axis=-1), float)))


def input_bound(game: DistributedGame, points: int = 200) -> Float[np.ndarray, " players"]:
    """b̄_i: a bound where A and b are constants, the largest value on a grid of times where they are functions.

    Between two times of the grid ‖e^{At} b‖ exceeds what a line between its ends has by h²/8 ‖A² e^{At} b‖ at most.
    """
    n = game.player_count
    if game.input is None and game.drift is None:
        return np.ones(n)
    times = np.linspace(0.0, float(game.horizon), points + 1)
    identity = np.broadcast_to(np.eye(game.state_size), (n, game.state_size, game.state_size))

    def value(coefficient, t, default):
        return default if coefficient is None else np.asarray(at(coefficient, jnp.asarray(t)), float)

    columns = value(game.input, 0.0, identity)
    worst = np.linalg.norm(columns, 2, axis=(1, 2))
    if game.drift is None and not callable(game.input):
        return worst
    if not callable(game.drift) and not callable(game.input):
        return _carried(value(game.drift, 0.0, 0.0 * identity), columns, times)
    carried = columns[None]
    for k in range(points):
        h, t = times[k + 1] - times[k], times[k]
        a = value(game.drift, t + 0.5 * h, 0.0 * identity)
        move = identity + h * a + 0.5 * h * h * (a @ a)
        carried = np.concatenate([move @ carried, value(game.input, times[k + 1], identity)[None]])
        worst = np.maximum(worst, np.linalg.norm(carried, 2, axis=(2, 3)).max(axis=0))
    return worst


def _carried(drift: np.ndarray, columns: np.ndarray, times: np.ndarray) -> Float[np.ndarray, " players"]:
    """sup over [0, T] of ‖e^{At} b‖, A and b of every player constant: a bound, exact where A² = 0."""
    h = float(times[1] - times[0])
    moves = expm(h * drift)
    growth = np.exp(h * np.linalg.norm(drift, 2, axis=(1, 2)))
    carried, most, bend = columns, np.zeros(len(columns)), np.zeros(len(columns))
    for _ in times:
        most = np.maximum(most, np.linalg.norm(carried, 2, axis=(1, 2)))
        bend = np.maximum(bend, np.linalg.norm(drift @ drift @ carried, 2, axis=(1, 2)))
        carried = moves @ carried
    return most + h * h / 8.0 * growth * bend


def crowd_curvature(game: DistributedGame) -> Curvature:
    """The curvature of a crowd's costs: ‖∂²_{x_i x_j} Δ_ij f‖ ≤ |w_ij − w_ji| ‖∇²K‖_∞, all others zero.

    `InvalidInput` where the interaction is no exact sum over pairs, or the weights are asymmetric and the kernel's
    curvature has no bound; symmetric weights need none.
    """
    costs = game.costs
    if not isinstance(costs, CrowdCosts) or not isinstance(costs.interaction, Pairs):
        raise InvalidInput("game", type(costs).__name__, "a crowd with exact pairwise interaction")
    weights, zero = np.asarray(costs.interaction.weights, float), np.zeros((game.player_count, game.player_count))
    if imbalance(weights) == 0.0:
        return Curvature(zero, zero, zero, zero, zero)
    return Curvature(np.abs(weights - weights.T) * costs.interaction.kernel.curvature(), zero, zero, zero, zero)


def crowd_alpha(game: DistributedGame, bound: float | None = None) -> float:
    """The bound of equation 6.6, with every ‖u_i‖ ≤ `bound`; zero for symmetric weights whatever the kernel."""
    curvature = crowd_curvature(game)
    if not curvature.xx.any():
        return 0.0
    if bound is None or not bound > 0:
        raise InvalidInput("bound", bound, "a positive bound of the controls' norm, for asymmetric weights")
    n = game.player_count
    return general_alpha(curvature, np.full(n, float(bound)), input_bound(game), float(game.horizon))


def general_alpha(
    curvature: Curvature, norms: Float[np.ndarray, " players"], inputs: Float[np.ndarray, " players"], horizon: float
) -> float:
    """The bound of equation 3.7 from A = `norms`, b̄ = `inputs` and the sup norms of the second derivatives.

    A sampled curvature is refused: with one, equation 3.7 bounds nothing (`alpha_interval` tells it as an estimate).
    """
    if not curvature.proved:
        raise InvalidInput(
            "curvature",
            "the largest norms met at sampled points",
            "norms that are proved: `crowd_curvature`, `quadratic_curvature`, or a Curvature of your own derivation",
        )
    return _right_side(curvature, norms, inputs, horizon)


def _right_side(curvature: Curvature, norms: np.ndarray, inputs: np.ndarray, horizon: float) -> float:
    """What equation 3.7 says for these norms of second derivatives."""
    b_i, b_j = inputs[:, None], inputs[None]
    inside = 0.5 * horizon**2 * b_i * b_j * curvature.xx
    inside = inside + horizon / np.sqrt(2.0) * (b_i * curvature.xu + b_j * curvature.ux)
    inside = inside + curvature.uu + horizon * b_i * b_j * curvature.terminal
    inside = np.where(np.eye(len(norms), dtype=bool), 0.0, inside)
    return float((norms * (inside @ norms)).max())


def quadratic_curvature(game: DistributedGame, key: PRNGKeyArray) -> Curvature:
    """The curvature of costs that are quadratic and do not change in time: the same everywhere, so that it is proved.

    That the costs are quadratic is the caller's word. `InvalidInput` where a few random points belie it.
    """
    one, other = (sampled_curvature(game, k, samples=2) for k in jax.random.split(key))
    parts = [(getattr(one, name), getattr(other, name)) for name in ("xx", "xu", "ux", "uu", "terminal")]
    scale = max(float(np.abs(first).max(initial=0.0)) for first, _ in parts)
    tolerance = 100.0 * float(jnp.finfo(game.initial.dtype).eps) * scale
    if any(np.abs(first - second).max(initial=0.0) > tolerance for first, second in parts):
        raise InvalidInput("game", "costs whose second derivatives change from point to point", "quadratic costs")
    return Curvature(*(first for first, _ in parts))


def sampled_curvature(game: DistributedGame, key: PRNGKeyArray, *, samples: int = 64, spread: float = 1.0) -> Curvature:
    """The largest norms met at sampled points: at most the suprema, so that no bound of α follows from them.

    Points are normal with deviation `spread` around the initial states, controls around zero, times uniform.
    """
    n, d, k = game.player_count, game.state_size, game.control_size
    dtype, costs = game.initial.dtype, game.costs

    def rates(t, x, u):
        return costs.own_running(t, x[..., None], u[..., None], x[..., None], u[..., None])[:, 0]

    def ends(x):
        return costs.own_terminal(x[..., None], x[..., None])[:, 0]

    def blocks(hessian):  # [f, a, i, b, j] -> norms of ∂²(f_i − f_j) in the blocks i, j: [i, j]
        players = jnp.arange(n, dtype=jnp.int32)
        own = jnp.einsum("iaibj->ijab", hessian)
        theirs = jnp.moveaxis(hessian[players[None], :, players[:, None], :, players[None]], (0, 1), (0, 1))
        return jnp.linalg.norm(own - theirs, 2, axis=(2, 3))

    def one(key):
        t_key, x_key, u_key = jax.random.split(key, 3)
        t = jax.random.uniform(t_key, (), dtype) * jnp.asarray(game.horizon, dtype)
        x = game.initial.T + spread * jax.random.normal(x_key, (d, n), dtype)
        u = spread * jax.random.normal(u_key, (k, n), dtype)
        (xx, xu), (ux, uu) = jax.hessian(rates, argnums=(1, 2))(t, x, u)
        return [blocks(h) for h in (xx, xu, ux, uu, jax.hessian(ends)(x))]

    found = jax.lax.map(one, jax.random.split(key, samples))
    xx, xu, ux, uu, terminal = (np.asarray(jnp.max(part, axis=0), float) * (1 - np.eye(n)) for part in found)
    return Curvature(xx, xu, ux, uu, terminal, proved=False)


def alpha_interval(
    game: DistributedGame,
    radius: float,
    grid: Grid,
    key: PRNGKeyArray,
    *,
    curvature: Curvature | None = None,
    players: tuple[int, ...] | None = None,
    restarts: int = 4,
    updates: int = 150,
    paths: int = 32,
    learning_rate: float = 0.1,
) -> AlphaInterval:
    """α over controls of norm ≤ `radius` from both sides: what a search finds, and what is proved.

    `curvature` defaults to a crowd's own; the other arguments are those of `search_alpha`. Where A or b is a function
    of time, b̄ is known on a grid of times alone, and so is no bound.
    """
    found = search_alpha(
        game,
        radius,
        grid,
        key,
        players=players,
        restarts=restarts,
        updates=updates,
        paths=paths,
        learning_rate=learning_rate,
    )
    if curvature is None:
        try:
            curvature = crowd_curvature(game)
        except InvalidInput as none:
            return AlphaInterval(radius, found, math.inf, f"no bound of the curvature is known ({none})")
    norms = np.full(game.player_count, float(radius))
    value = _right_side(curvature, norms, input_bound(game), float(game.horizon))
    if not curvature.proved:
        reason = "the curvature was sampled, and may be larger elsewhere"
    elif value and (callable(game.input) or callable(game.drift)):
        reason = "input or drift is a function of time, known at sampled times alone"
    else:
        return AlphaInterval(radius, found, value)
    return AlphaInterval(radius, found, math.inf, reason, estimate=value)


def search_alpha(
    game: DistributedGame,
    bound: float,
    grid: Grid,
    key: PRNGKeyArray,
    *,
    players: tuple[int, ...] | None = None,
    restarts: int = 4,
    updates: int = 150,
    paths: int = 32,
    learning_rate: float = 0.1,
) -> float:
    """The largest |ΔJ_i − ΔΦ| found over deterministic profiles and deviations of norm ≤ `bound`: α from below.

    Profile u and deviations u′_i of `players` (default: all) are piecewise constant in time, scaled into the ball, and
    climb |ΔJ_i − ΔΦ| of each player by Adam from `restarts` random starts; expectations are over `paths` fixed paths.
    """
    chosen = tuple(range(game.player_count)) if players is None else players
    noise_key, *keys = jax.random.split(key, 1 + restarts)
    noise = draw_noise(game, grid, noise_key, paths, dtype=_widest())
    index = jnp.asarray(chosen, jnp.int32)
    found = [_climb(game, grid, noise, index, jnp.asarray(bound, _widest()), k, updates, learning_rate) for k in keys]
    return float(max(float(jnp.max(value)) for value in found))


@eqx.filter_jit
def _climb(
    game: DistributedGame,
    grid: Grid,
    noise: Noise,
    players: Array,
    bound: Array,
    key: PRNGKeyArray,
    updates: int,
    rate: float,
) -> Float[Array, " players"]:
    steps, k, n = grid.steps, game.control_size, game.player_count
    h = jnp.diff(jnp.asarray(grid.times, bound.dtype))

    def scaled(raw):  # [steps, k, …] into the ball of radius `bound`
        norm = jnp.sqrt(jnp.einsum("t,tk...->...", h, raw**2) + 1e-12 * bound**2)
        return raw * (bound / jnp.maximum(norm, bound))[None, None]

    def violation(
        u, deviations
    ):  # own profile per chosen player: u [chosen, steps, k, n], deviations [chosen, steps, k]
        def one(i, u, own):
            base, changed = scaled(u), None
            changed = base.at[:, :, i].set(scaled(own))
            (phi, costs), (phi_changed, costs_changed) = (_values(game, grid, noise, path) for path in (base, changed))
            return (costs_changed[i] - costs[i]) - (phi_changed - phi)

        return jax.vmap(one)(players, u, deviations)

    u_key, v_key = jax.random.split(key)
    first = jax.random.normal(u_key, (players.shape[0], 1, k, n), bound.dtype)
    second = jax.random.normal(v_key, (players.shape[0], 1, k), bound.dtype)
    candidate = (
        bound * jnp.broadcast_to(first, (players.shape[0], steps, k, n)),
        bound * jnp.broadcast_to(second, (players.shape[0], steps, k)),
    )

    def step(carry, _):
        candidate, state = carry
        gradient = jax.grad(lambda c: -jnp.sum(jnp.log(violation(*c) ** 2 + jnp.finfo(bound.dtype).tiny)))(candidate)
        return descend(candidate, state, gradient, rate * bound), None

    (candidate, _), _ = jax.lax.scan(step, (candidate, start(candidate)), None, length=updates)
    return jnp.abs(violation(*candidate))


def _values(
    game: DistributedGame, grid: Grid, noise: Noise, controls: Float[Array, "steps k players"]
) -> tuple[Float[Array, ""], Float[Array, " players"]]:
    """Φ (up to a constant) and every J_i of deterministic controls."""
    x = initial_states(game, noise.increments.shape[3], noise.increments.dtype)
    costs = game.costs

    @jax.checkpoint
    def step(carry, inputs):
        x, y, phi, total = carry
        t, h, shock, u = inputs
        u = jnp.broadcast_to(u[:, :, None], (*u.shape, x.shape[2]))
        phi = phi + h * jnp.mean(costs.potential_running(t, x, y, u))
        total = total + h * jnp.mean(costs.own_running(t, x, u, x, u), axis=-1)
        return (x + h * game.velocity(t, x, u) + shock, y + h * game.velocity(t, y, u), phi, total), None

    times = jnp.asarray(grid.times, x.dtype)
    zero = jnp.zeros((), x.dtype)
    carry = (x, jnp.zeros_like(x), zero, jnp.zeros(x.shape[1], x.dtype))
    inputs = (times[:-1], jnp.diff(times), noise.increments, controls.astype(x.dtype))
    (x, y, phi, total), _ = jax.lax.scan(step, carry, inputs)
    phi = phi + jnp.mean(costs.potential_terminal(x, y))
    return phi, total + jnp.mean(costs.own_terminal(x, x), axis=-1)


def _widest() -> jnp.dtype:
    """float64 where it is switched on: differences of differences cancel."""
    return jnp.zeros((), float).dtype
