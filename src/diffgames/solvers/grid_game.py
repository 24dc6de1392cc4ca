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
from diffgames.numerics.finite_difference import Differences, differences
from diffgames.numerics.grid import Grid


class Coefficients(eqx.Module):
    """Local coefficients at one point, regime and control."""

    drift: Float[Array, " n"]
    covariance: Float[Array, "n n"]
    jump_rates: Float[Array, " laws"]
    switch_rates: Float[Array, " regimes"]
    cost: Float[Array, ""]


class Stencil(eqx.Module):
    """What the coefficients multiply: differences of V, its changes at jumps and at switches (first axis: regimes)."""

    differences: Differences
    jump: Float[Array, "*batch laws points"]
    switch: Float[Array, "*batch regimes points"]


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
                drift = drift - rates[-1] * law.mean_size(t, x, i)
        if game.generator is None:
            switch = jnp.zeros(1, x.dtype)
        elif callable(game.generator):
            switch = jnp.asarray(game.generator(t, x, controls, i), x.dtype)
        else:
            switch = jnp.asarray(game.generator, x.dtype)[i]
        own = jnp.arange(self.regimes, dtype=jnp.int32) == i
        return Coefficients(
            drift=drift,
            covariance=sigma @ sigma.T,
            jump_rates=jnp.stack(rates) if rates else jnp.zeros(0, x.dtype),
            switch_rates=jnp.where(own, 0.0, switch),
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

    def _jumps(self, t: Array, x: Array, values: Array) -> Array:
        shape, changes = (values.shape[0], *self.grid.shape), []
        for law in self.game.jumps:
            nodes, weights = law.marks.quadrature()

            def change(node: Array, weight: Array, law=law) -> Array:
                landed = x + self.everywhere(lambda x, i: jnp.asarray(law.size(t, x, node, i), x.dtype), x)
                reached = jax.vmap(self.grid.interpolate)(values.reshape(shape), landed)
                return weight.astype(x.dtype) * (reached - values)

            changes.append(jnp.sum(jax.vmap(change)(nodes, weights), axis=0))
        if not changes:
            return jnp.zeros((values.shape[0], 0, values.shape[1]), values.dtype)
        return jnp.stack(changes, axis=1)

    def _switches(self, t: Array, x: Array, values: Array) -> Array:
        count = self.regimes
        if self.game.switch is None:
            return jnp.broadcast_to(values[None], (count, *values.shape)) - values[:, None]
        rows = []
        for i in range(count):
            row = []
            for j in range(count):
                landed = jax.vmap(self.game.switch, in_axes=(None, -1, None, None), out_axes=-1)(
                    t, x, jnp.int32(i), jnp.int32(j)
                )
                reached = self.grid.interpolate(values[j].reshape(self.grid.shape), landed)
                row.append(reached - values[i] if j != i else jnp.zeros_like(reached))
            rows.append(jnp.stack(row))
        return jnp.stack(rows)


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
        _check_samples(found, active)
        noisy, correlated = _noise(found)
        found = dataclasses.replace(found, noisy=noisy, cross=correlated)
    return found


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


def _check_samples(found: GridGame, active: list[int]) -> None:
    """Two adversaries must share one objective; rates must be ≥ 0."""
    t, x, u, w = sample_points(found)

    def at(t: Array, x: Array, u: Array, w: Array, i: Int[Array, ""]) -> tuple[Array, Array, Array]:
        controls = found.controls(t, x, i, u, w)
        local = found.coefficients(t, x, i, u, w)
        costs = jnp.stack(
            [
                jnp.asarray(found.game.running_cost(t, x, controls, i), x.dtype),
                jnp.asarray(found.game.terminal_cost(x, i), x.dtype),
            ]
        )
        return costs, local.jump_rates, local.switch_rates

    points = jax.vmap(at, in_axes=(-1, -1, -1, -1, None))
    labels = jnp.arange(found.regimes, dtype=jnp.int32)
    costs, jumps, switches = eqx.filter_jit(jax.vmap(points, in_axes=(None,) * 4 + (0,)))(t, x, u, w, labels)
    for key, rates in (("jump rate", jumps), ("switching rate", switches)):
        if rates.size and float(jnp.min(rates)) < 0:
            raise InvalidInput(key, float(jnp.min(rates)), "an intensity ≥ 0 at every state, time and control")
    if len(active) == 2:
        p, q = active
        sign = 1.0 if found.game.signs[p] != found.game.signs[q] else -1.0
        off = float(jnp.max(jnp.abs(costs[..., p] - sign * costs[..., q])))
        if off > 1e-8 * max(1.0, float(jnp.max(jnp.abs(costs)))):
            words = "the same costs with signs (1, -1), or opposite costs with equal signs: two adversaries"
            raise InvalidInput("running_cost, terminal_cost", f"objectives that differ by up to {off:.3g}", words)


def _noise(found: GridGame) -> tuple[bool, bool]:
    """Whether there is any diffusion, and whether components of it are correlated."""
    t, x, u, w = sample_points(found)
    labels = jnp.arange(found.regimes, dtype=jnp.int32)

    def covariance(t: Array, x: Array, u: Array, w: Array, i: Array) -> Array:
        return jnp.abs(found.coefficients(t, x, i, u, w).covariance)

    points = jax.vmap(covariance, in_axes=(-1, -1, -1, -1, None))
    largest = jnp.max(eqx.filter_jit(jax.vmap(points, in_axes=(None,) * 4 + (0,)))(t, x, u, w, labels), axis=(0, 1))
    return float(jnp.max(largest)) > 0.0, float(jnp.max(largest - jnp.diag(jnp.diagonal(largest)))) > 0.0
