"""A differential game as a solver on a grid sees it: one objective, a minimiser and/or a maximiser, local coefficients.

At a point (t, x) in regime i, under controls u, the value V moves by

    c(t, x, u; i) + L V_i(x),
    L V_i = b·∇V_i + ½ σσᵀ:∇²V_i + Σ_l λ_l 𝒥_l V_i + Σ_{j≠i} μ_ij [V_j(s(t, x, i, j)) − V_i(x)],
    𝒥_l V(x) = Σ_q w_q [V(x + γ_l(t, x, z_q; i)) − V(x)],    b = drift − Σ_l λ_l E γ_l  (compensated laws l).

The marks' quadrature (z_q, w_q) and the multilinear interpolation of V have weights ≥ 0 that sum to one each: the jump
term is that of a chain that loses no mass, at the ends of the grid included. The differences of V and the numbers
𝒥_l V and V_j − V_i do not depend on the controls; the coefficients (b, σ, λ, μ, c) do.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, Profile
from diffgames.games.jumps import JumpLaw
from diffgames.numerics.finite_difference import Differences, differences
from diffgames.numerics.grid import Grid, check_inside


class Coefficients(eqx.Module):
    """Local coefficients at one point, regime and control."""

    drift: Float[Array, " n"]
    covariance: Float[Array, "n n"]
    jump_rates: Float[Array, " laws"]
    switch_rates: Float[Array, " regimes"]
    cost: Float[Array, ""]


class Stencil(eqx.Module):
    """What the coefficients multiply: differences of V, its change at a jump of each law and at each switch.

    One array per axis, law or regime; none at all for switches where there is one regime.
    """

    differences: Differences
    jump: tuple[Float[Array, "..."], ...]
    switch: tuple[Float[Array, "..."], ...]

    @property
    def changes(self) -> tuple[Array, ...]:
        """What the rates multiply: laws first, then regimes."""
        return (*self.jump, *self.switch)


class GridGame(eqx.Module):
    """A zero-sum game (or a control problem) on a grid; made by `grid_game`."""

    game: DifferentialGame
    others: Profile | None
    grid: Grid
    minimiser: int | None = eqx.field(static=True)
    maximiser: int | None = eqx.field(static=True)
    noisy: bool = eqx.field(static=True)
    cross: bool = eqx.field(static=True)
    regimes: int = eqx.field(static=True)

    @property
    def objective(self) -> int:
        """The player whose objective is the value."""
        return min(p for p in (self.minimiser, self.maximiser) if p is not None)

    def box(self, player: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest controls of a player; of nobody, no controls at all."""
        if player is None:
            return np.zeros(0), np.zeros(0)
        size, bounds = self.game.control_sizes[player], self.game.bounds[player]
        if bounds is None:
            if size:
                name = self.game.players[player]
                raise InvalidInput(
                    "bounds", None, f"(low, high) for the controls of {name}: a grid needs a bounded set"
                )
            bounds = (0.0, 0.0)
        return np.full(size, bounds[0]), np.full(size, bounds[1])

    def controls(self, t: Array, x: Array, i: Array, u: Array, w: Array) -> tuple[Array, ...]:
        """All players' controls from those of the minimiser and the maximiser."""
        sizes = self.game.control_sizes
        rest = tuple(jnp.zeros(size, x.dtype) for size in sizes) if self.others is None else self.others(t, x, i)
        mine = {self.minimiser: u, self.maximiser: w}
        return tuple(mine[p] if p in mine else jnp.asarray(rest[p], x.dtype) for p in range(len(sizes)))

    def coefficients(self, t: Array, x: Array, i: Array, u: Array, w: Array) -> Coefficients:
        """Coefficients at a point, in regime i, under the two sides' controls."""
        game, controls = self.game, self.controls(t, x, i, u, w)
        drift = jnp.asarray(game.drift(t, x, controls, i), x.dtype)
        sigma = jnp.asarray(game.diffusion(t, x, controls, i), x.dtype)
        rates = []
        for law in game.jumps:
            rates.append(jnp.asarray(law.rate(t, x, controls, i), x.dtype).reshape(()))
            if law.compensated:
                drift = drift - rates[-1] * law.mean_size(t, x, controls, i)
        if game.generator is None:
            switch = jnp.zeros(self.regimes, x.dtype)
        elif callable(game.generator):
            switch = jnp.asarray(game.generator(t, x, controls, i), x.dtype)
        else:
            switch = jnp.asarray(game.generator, x.dtype)[i]
        own = jnp.arange(self.regimes, dtype=jnp.int32) == i
        if not self.noisy:
            sigma = jnp.zeros((drift.shape[0], 1), x.dtype)
        return Coefficients(
            drift=drift,
            covariance=jnp.sum(sigma[:, None, :] * sigma[None, :, :], axis=-1),
            jump_rates=jnp.stack(rates) if rates else jnp.zeros(0, x.dtype),
            switch_rates=jnp.where(own, 0.0, switch) if self.regimes > 1 else jnp.zeros(0, x.dtype),
            cost=jnp.asarray(game.running_cost(t, x, controls, i), x.dtype)[self.objective],
        )

    def terminal(self, x: Float[Array, "n points"]) -> Float[Array, "regimes points"]:
        """Terminal cost at every point and in every regime."""
        return self.everywhere(lambda x, i: self.game.terminal_cost(x, i)[self.objective], x)

    def everywhere(self, function: Callable, x: Float[Array, "n points"], *fields: Any) -> Any:
        """`function(x, i, *fields)` at every point and regime, fields having leading axis regimes and points last."""
        labels = jnp.arange(self.regimes, dtype=jnp.int32)
        over_points = jax.vmap(function, in_axes=(-1, None, *(-1 for _ in fields)), out_axes=-1)
        return jax.vmap(over_points, in_axes=(None, 0, *(0 for _ in fields)))(x, labels, *fields)

    def stencil(self, t: Array, x: Float[Array, "n points"], values: Float[Array, "regimes points"]) -> Stencil:
        """Everything linear in the values that the coefficients multiply."""
        return Stencil(
            differences=differences(self.grid, values, self.cross),
            jump=self._jumps(t, x, values),
            switch=self._switches(t, x, values),
        )

    def jump_size(
        self, law: JumpLaw, t: Array, x: Array, mark: Array, i: Array, u: Array | None = None, w: Array | None = None
    ) -> Float[Array, " n"]:
        """Size of a jump: what the two sides control may not change it, what others play may."""
        lowest = (jnp.asarray(self.box(player)[0], x.dtype) for player in (self.minimiser, self.maximiser))
        u, w = (low if own is None else own for low, own in zip(lowest, (u, w), strict=True))
        return jnp.asarray(law.size(t, x, self.controls(t, x, i, u, w), mark, i), x.dtype)

    def _jumps(self, t: Array, x: Array, values: Array) -> tuple[Array, ...]:
        shape, changes = (values.shape[0], *self.grid.shape), []
        for law in self.game.jumps:
            nodes, weights = law.marks.quadrature()

            def change(node: Array, weight: Array, law=law) -> Array:
                landed = x[None] + self.everywhere(lambda x, i: self.jump_size(law, t, x, node, i), x)
                reached = jax.vmap(self.grid.interpolate)(values.reshape(shape), landed)
                return weight.astype(x.dtype) * (reached - values)

            changes.append(jnp.sum(jax.vmap(change)(nodes, weights), axis=0))
        return tuple(changes)

    def _switches(self, t: Array, x: Array, values: Array) -> tuple[Array, ...]:
        count = self.regimes
        if count == 1:
            return ()
        if self.game.switch is None:
            return tuple(values[j][None] - values for j in range(count))
        changes = []
        for j in range(count):

            def reached(i: Array, j: int = j) -> Array:
                landed = jax.vmap(self.game.switch, in_axes=(None, -1, None, None), out_axes=-1)(t, x, i, jnp.int32(j))  # pyright: ignore[reportArgumentType] - not None here
                return jnp.where(i == j, values[j], self.grid.interpolate(values[j].reshape(self.grid.shape), landed))

            changes.append(jax.vmap(reached)(jnp.arange(count, dtype=jnp.int32)) - values)
        return tuple(changes)


def grid_game(game: DifferentialGame, grid: Grid, others: Profile | None = None) -> GridGame:
    """The game on a grid; `InvalidInput` unless it has one player with an objective, or two that are adversaries."""
    game.check()
    if (n := game.state_size) != len(grid.axes):
        raise InvalidInput("grid", grid.names, f"one axis for each of the {n} components of the state")
    active = [p for p, sign in enumerate(game.signs) if sign]
    if not 1 <= len(active) <= 2:
        words = "one player with an objective, or two adversaries (sign 0 makes a player follow `others`)"
        raise InvalidInput("signs", game.signs, words)
    if (
        len(active) < len(game.players)
        and others is None
        and any(size for p, size in enumerate(game.control_sizes) if p not in active)
    ):
        raise InvalidInput("others", None, "a profile that says what the players without an objective play")
    roles = {game.signs[active[0]]: active[0]}
    if len(active) == 2:
        roles[-game.signs[active[0]]] = active[1]
    found = GridGame(
        game=game,
        others=others,
        grid=grid,
        minimiser=roles.get(1),
        maximiser=roles.get(-1),
        noisy=True,
        cross=len(grid.axes) > 1,
        regimes=game.regime_count,
    )
    if is_concrete(game):
        _check_start(game, grid)
        return _check_samples(found, active)
    return found


def _check_start(game: DifferentialGame, grid: Grid) -> None:
    """`InvalidInput` for a start beyond an end at which the game stops or the state is held: it is not in the game."""
    x = jax.vmap(lambda key: game.initial(key)[0])(jax.random.split(jax.random.key(0), 256))
    check_inside(grid, x.T, "initial", ("absorbing", "constrained"))


def is_concrete(tree: Any) -> bool:
    """Whether no number in the tree is being traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def sample_points(found: GridGame, count: int = 64) -> tuple[Array, Array, Array, Array]:
    """Scattered (t, x, u, w) inside horizon, grid and control boxes, always the same; x is [n, count]."""
    random = np.random.default_rng(0)
    dtype = state_dtype(found.game)
    low, high = (np.array([getattr(axis, end) for axis in found.grid.axes]) for end in ("low", "high"))
    horizon = float(np.asarray(found.game.horizon))
    t = random.uniform(0.0, horizon if np.isfinite(horizon) else 1.0, count)
    x = low + (high - low) * random.random((count, low.size))
    sides = []
    for player in (found.minimiser, found.maximiser):
        bottom, top = found.box(player)
        sides.append(bottom + (top - bottom) * random.random((count, bottom.size)))
    arrays = (t, x.T, sides[0].T, sides[1].T)
    return tuple(jnp.asarray(a, dtype) for a in arrays)  # pyright: ignore[reportReturnType] - four of them


def state_dtype(game: DifferentialGame):
    """Floating-point type of the state."""
    return eqx.filter_eval_shape(game.initial, jax.random.key(0))[0].dtype


def over_samples(found: GridGame, function: Callable) -> Any:
    """`function(t, x, u, w, i)` in all regimes at scattered points: leading axes [regimes, points]."""
    labels = jnp.arange(found.regimes, dtype=jnp.int32)
    points = jax.vmap(function, in_axes=(-1, -1, -1, -1, None))
    return jax.vmap(points, in_axes=(None, None, None, None, 0))(*sample_points(found), labels)


def _check_samples(found: GridGame, active: list[int]) -> GridGame:
    """Rates must be ≥ 0, sizes uncontrolled, adversaries at one; the game with what its noise turns out to be."""
    least, largest_cost, covariance, off, moved = _survey(found, tuple(active))
    for index, distance in enumerate(np.asarray(moved)):
        if distance > 1e-8:
            words = "a size that no player with an objective controls: where jumps land on the grid is fixed beforehand"
            raise InvalidInput(f"jumps[{index}].size", f"sizes that the controls move by {float(distance):.3g}", words)
    for key, rate in zip(("jump rate", "switching rate"), np.asarray(least), strict=True):
        if not rate >= 0:  # NaN is not
            raise InvalidInput(key, float(rate), "an intensity ≥ 0 at every state, time and control")
    if len(active) == 2 and float(off) > 1e-8 * float(largest_cost):
        words = "the same costs with signs (1, -1), or opposite costs with equal signs: two adversaries"
        raise InvalidInput("running_cost, terminal_cost", f"objectives that differ by up to {float(off):.3g}", words)
    covariance = np.asarray(covariance)
    correlated = bool((covariance - np.diag(np.diag(covariance))).max() > 0)
    return dataclasses.replace(found, noisy=bool(covariance.max() > 0), cross=correlated)


@eqx.filter_jit
def _survey(found: GridGame, active: tuple[int, ...]) -> tuple[Array, Array, Array, Array, Array]:
    """Least rates, largest cost, largest |σσᵀ|, how far adversaries' costs are from the same, controls move jumps."""
    p, q = active[0], active[-1]
    sign = 1.0 if len(active) == 1 or found.game.signs[p] != found.game.signs[q] else -1.0

    def at(t: Array, x: Array, u: Array, w: Array, i: Int[Array, ""]) -> tuple[Array, Array, Array, Array, Array]:
        controls, local = found.controls(t, x, i, u, w), found.coefficients(t, x, i, u, w)
        running = jnp.asarray(found.game.running_cost(t, x, controls, i), x.dtype)
        costs = jnp.stack([running, jnp.asarray(found.game.terminal_cost(x, i), x.dtype)])
        rates = jnp.stack([jnp.min(r, initial=jnp.inf) for r in (local.jump_rates, local.switch_rates)])
        moved = [jnp.zeros(0, x.dtype)]
        for law in found.game.jumps:
            mark = law.marks.quadrature()[0][0]
            moved.append(_relative(found.jump_size(law, t, x, mark, i, u, w), found.jump_size(law, t, x, mark, i)))
        off = jnp.abs(costs[:, p] - sign * costs[:, q])
        return rates, costs, jnp.abs(local.covariance), off, jnp.concatenate(moved)

    rates, costs, covariance, off, moved = over_samples(found, at)
    largest = jnp.max(jnp.abs(costs)), jnp.max(covariance, axis=(0, 1)), jnp.max(off), jnp.max(moved, axis=(0, 1))
    return jnp.min(rates, axis=(0, 1)), *largest


def _relative(a: Array, b: Array) -> Float[Array, " 1"]:
    """max |a − b| over the larger of the two sizes."""
    size = jnp.maximum(jnp.max(jnp.abs(a)), jnp.max(jnp.abs(b)))
    return (jnp.max(jnp.abs(a - b)) / jnp.where(size > 0, size, 1.0))[None]
