"""Paths of a distributed game: Euler steps on a graded grid, the noise drawn once for all steps (equation 5.3).

    X_{n+1} = X_n + (A X_n + b u_n) h_n + ξ_n,   Y_{n+1} = Y_n + (A Y_n + b u_n) h_n,   u_n = φ(t_n, X_n, Y_n),

with ξ_n the increments of Brownian and compensated Poisson noise over the step. No control moves the noise, so ξ is
an input: profile, deviations and comparisons use the same draws, and nothing random happens in the inner loop.

A graded grid t_k = T (1 − (1 − k/S)^g) puts short steps where the horizon is near: controls that must hit a target
there change fastest. g = 1 is uniform.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.distributed import DistributedGame, JumpNoise, States, at
from diffgames.numerics.poisson import poisson_counts

Policy = Callable[[Float[Array, ""], States, States], Float[Array, "k players paths"]]
"""φ(t, x, y): what the players do, from states and sensitivities [d, players, paths]."""


class Grid(eqx.Module):
    """Times t_0 < … < t_S of the steps."""

    times: Float[np.ndarray, " times"] | Float[Array, " times"]

    @property
    def steps(self) -> int:
        """S."""
        return self.times.shape[0] - 1

    def refined(self, parts: int) -> "Grid":
        """Every step cut into `parts` equal ones."""
        return Grid(
            np.interp(np.arange(parts * self.steps + 1) / parts, np.arange(self.steps + 1), np.asarray(self.times))
        )


def graded_grid(horizon: float, steps: int, grade: float = 1.0) -> Grid:
    """T (1 − (1 − k/S)^g), k = 0 … S."""
    if steps < 1:
        raise InvalidInput("steps", steps, "at least 1")
    if not grade >= 1.0:
        raise InvalidInput("grade", grade, "at least 1 (uniform)")
    return Grid(horizon * (1.0 - (1.0 - np.arange(steps + 1) / steps) ** grade))


class Noise(eqx.Module):
    """Increments ξ_n, [steps, d, players, paths]."""

    increments: Float[Array, "steps d players paths"]


def draw_noise(
    game: DistributedGame, grid: Grid, key: PRNGKeyArray, paths: int, *, dtype: np.dtype | type = jnp.float32
) -> Noise:
    """Independent increments for `paths` paths; jump counts by inversion, to the resolution of a uniform draw."""
    times = jnp.asarray(grid.times, dtype)
    h, starts = jnp.diff(times), times[:-1]
    n, d = game.player_count, game.state_size
    own_key, common_key, *jump_keys = jax.random.split(key, 2 + len(game.jumps))
    total = jnp.zeros((grid.steps, d, n, paths), dtype)
    root = jnp.sqrt(h)
    for coefficient, this_key, shared in (
        (game.diffusion, own_key, False),
        (game.common_diffusion, common_key, True),
    ):
        if coefficient is None:
            continue
        sigma = jax.vmap(lambda t, c=coefficient: at(c, t))(starts) * root[:, None, None, None]
        shape = (grid.steps, sigma.shape[3], 1 if shared else n, paths)
        total = total + _spread(sigma, jax.random.normal(this_key, shape, dtype))
    for noise, this_key in zip(game.jumps, jump_keys, strict=True):
        total = total + _jump_increments(noise, starts, h, this_key, n, paths)
    return Noise(total)


def jumped(
    game: DistributedGame, grid: Grid, key: PRNGKeyArray, paths: int, *, dtype: np.dtype | type = jnp.float32
) -> Bool[Array, "steps players paths"]:
    """Who jumps in which step of the noise that `draw_noise` draws from the same arguments."""
    steps = jnp.diff(jnp.asarray(grid.times, dtype))
    keys = jax.random.split(key, 2 + len(game.jumps))[2:]
    found = jnp.zeros((grid.steps, game.player_count, paths), bool)
    for noise, this_key in zip(game.jumps, keys, strict=True):
        counts, _ = _jump_counts(noise, steps, jax.random.split(this_key)[0], paths)
        found = found | jnp.any(counts > 0, axis=1)
    return found


def _spread(matrix: Float[Array, "steps players d w"], draws: Float[Array, "steps w p paths"]) -> Array:
    """Σ_w matrix[s, i, c, w] draws[s, w, i, ·] as [steps, d, players, paths]."""
    columns = matrix.shape[3]
    parts = [jnp.moveaxis(matrix[..., w], 1, 2)[..., None] * draws[:, w][:, None] for w in range(columns)]
    return jnp.sum(jnp.stack(parts), axis=0)


def _jump_increments(noise: JumpNoise, starts: Array, h: Array, key: PRNGKeyArray, n: int, paths: int) -> Array:
    count_key, mark_key = jax.random.split(key)
    counts, mean = _jump_counts(noise, h, count_key, paths)
    average = noise.moment(1).astype(h.dtype)
    if noise.atoms.shape[1] == 1:
        marks = counts * average[None, :, None, None]
    else:
        marks = _sum_of_marks(noise, counts, mark_key)
    loading = jax.vmap(lambda t: at(noise.loading, t))(starts)
    return _spread(loading, marks - (mean * average[None, :, None])[..., None])


def _jump_counts(noise: JumpNoise, h: Array, key: PRNGKeyArray, paths: int) -> tuple[Array, Array]:
    """Counts [steps, sources, players or 1, paths], and their means without paths."""
    rate = jnp.asarray(noise.rate, h.dtype)
    rate = rate[:, None] if noise.common else rate.T
    mean = jnp.einsum("t,sn->tsn", h, rate)
    return poisson_counts(jax.random.uniform(key, (*mean.shape, paths), h.dtype), mean[..., None]), mean


def _sum_of_marks(noise: JumpNoise, counts: Float[Array, "steps sources n paths"], key: PRNGKeyArray) -> Array:
    """As many marks as counted: one more for everybody who has as many jumps, until nobody has."""
    atoms = jnp.asarray(noise.atoms, counts.dtype)
    sources = jnp.arange(atoms.shape[0], dtype=jnp.int32)[None, :, None, None]

    def one_more(carry):
        k, total = carry
        mark = atoms[sources, _picks(noise, jax.random.fold_in(key, k), counts.shape)]
        return k + 1, total + jnp.where(counts > k.astype(counts.dtype), mark, 0.0)

    first = (jnp.zeros((), jnp.int32), jnp.zeros_like(counts))
    return jax.lax.while_loop(lambda carry: jnp.any(counts > carry[0].astype(counts.dtype)), one_more, first)[1]


def _picks(noise: JumpNoise, key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    """Which atom each jump draws, [steps, sources, players, paths]: by inversion where they are not equally likely."""
    if noise.weights is None:
        return jax.random.randint(key, shape, 0, noise.atoms.shape[1], jnp.int32)
    levels = jnp.cumsum(jnp.asarray(noise.weights, jnp.float32), axis=1)[:, :-1]
    uniform = jax.random.uniform(key, shape, jnp.float32)
    return jax.vmap(lambda level, u: jnp.searchsorted(level, u, side="right"), in_axes=(0, 1), out_axes=1)(
        levels, uniform
    ).astype(jnp.int32)


class Trajectory(eqx.Module):
    """States and controls along the way: x[k] is met at times[k], u[k] is played from there."""

    times: Float[Array, " times"]
    x: Float[Array, "times d players paths"]
    y: Float[Array, "times d players paths"]
    u: Float[Array, "steps k players paths"]


def initial_states(game: DistributedGame, paths: int, dtype: np.dtype | type) -> States:
    """X(0) for every path."""
    start = jnp.asarray(game.initial, dtype).T[:, :, None]
    return jnp.broadcast_to(start, (*start.shape[:2], paths))


def trajectory(game: DistributedGame, policy: Policy, grid: Grid, noise: Noise) -> Trajectory:
    """All states, sensitivities and controls of the policy on the given noise."""
    x = initial_states(game, noise.increments.shape[3], noise.increments.dtype)

    def step(carry, inputs):
        x, y = carry
        t, h, shock = inputs
        u = policy(t, x, y)
        after = (x + h * game.velocity(t, x, u) + shock, y + h * game.velocity(t, y, u))
        return after, (x, y, u)

    times = jnp.asarray(grid.times, x.dtype)
    (x_end, y_end), (xs, ys, us) = jax.lax.scan(
        step, (x, jnp.zeros_like(x)), (times[:-1], jnp.diff(times), noise.increments)
    )
    return Trajectory(times=times, x=jnp.concatenate([xs, x_end[None]]), y=jnp.concatenate([ys, y_end[None]]), u=us)


def potential_of_paths(game: DistributedGame, policy: Policy, grid: Grid, noise: Noise) -> Float[Array, " paths"]:
    """Σ_n F(t_n, X_n, Y_n, u_n) h_n + G(X_S, Y_S) of every path; rematerialised in reverse mode."""
    x = initial_states(game, noise.increments.shape[3], noise.increments.dtype)

    @jax.checkpoint
    def step(carry, inputs):
        x, y, total = carry
        t, h, shock = inputs
        u = policy(t, x, y)
        total = total + h * game.costs.potential_running(t, x, y, u)
        return (x + h * game.velocity(t, x, u) + shock, y + h * game.velocity(t, y, u), total), None

    times = jnp.asarray(grid.times, x.dtype)
    carry = (x, jnp.zeros_like(x), jnp.zeros(x.shape[2], x.dtype))
    (x, y, total), _ = jax.lax.scan(step, carry, (times[:-1], jnp.diff(times), noise.increments))
    return total + game.costs.potential_terminal(x, y)


def costs_of_paths(game: DistributedGame, policy: Policy, grid: Grid, noise: Noise) -> Float[Array, "players paths"]:
    """Every player's cost on every path."""
    x = initial_states(game, noise.increments.shape[3], noise.increments.dtype)

    def step(carry, inputs):
        x, y, total = carry
        t, h, shock = inputs
        u = policy(t, x, y)
        total = total + h * game.costs.own_running(t, x, u, x, u)
        return (x + h * game.velocity(t, x, u) + shock, y + h * game.velocity(t, y, u), total), None

    times = jnp.asarray(grid.times, x.dtype)
    carry = (x, jnp.zeros_like(x), jnp.zeros(x.shape[1:], x.dtype))
    (x, _, total), _ = jax.lax.scan(step, carry, (times[:-1], jnp.diff(times), noise.increments))
    return total + game.costs.own_terminal(x, x)
