"""Who plays what at a point of the grid: the min–max of the discrete Hamiltonian over the two sides' controls.

`Levels` compares the monotone upwind Hamiltonian

    G(u, w) = c + L_h V + Σ_l λ_l 𝒥_l V + Σ_j μ_ij (V_j − V_i)    (L_h of `numerics.finite_difference`)

on a grid of controls, then on finer grids around the best (`zooms` times); all coefficients may depend on the controls.

`solvers.affine_search` is exact and faster where the controls enter affinely.

Both orders of play are valued: upper = min_u max_w, lower = max_w min_u. Isaacs' condition is that they agree.
"""

import abc
import itertools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from diffgames.errors import InvalidInput
from diffgames.numerics.finite_difference import dominance, drift_term, leaving_rate, second_order, spare_diffusion
from diffgames.solvers.grid_game import Coefficients, GridGame, Stencil


class Choice(NamedTuple):
    """Value of the discrete Hamiltonian, the two sides' controls, and upper minus lower value (0 if not asked)."""

    value: Array
    u: Array
    w: Array
    gap: Array


class AbstractControlSearch(eqx.Module):
    """How the min–max at a point is found."""

    @abc.abstractmethod
    def prepare(self, view: GridGame, t: Array, x: Array) -> Any:
        """What does not depend on the value, at all points and regimes: once per solve if time plays no part."""

    @abc.abstractmethod
    def best(
        self, view: GridGame, ready: Any, t: Array, x: Array, i: Array, at: Stencil, wall: Array, order: str, gap: bool
    ) -> Choice:
        """The choice at one point; `order` is upper or lower, `wall` −1, 0 or 1 per axis (at which end it is)."""

    @abc.abstractmethod
    def evaluate(
        self, view: GridGame, ready: Any, t: Array, x: Array, i: Array, at: Stencil, u: Array, w: Array
    ) -> tuple[Array, Array]:
        """Running cost and L_h V at one point for given controls."""

    @abc.abstractmethod
    def fastest(self, view: GridGame, t: Array, x: Array, i: Array) -> tuple[Array, Array]:
        """At one point, the largest rate at which the chain leaves it, and the slack of the monotonicity condition."""


def chain_rate(local: Coefficients, spread: Array, spacing: tuple[float, ...]) -> tuple[Array, Array]:
    """Rate of leaving a point, jumps and switches included, and slack of condition (1) of `finite_difference`."""
    rate = leaving_rate(spread, local.covariance, spacing) + jnp.sum(local.jump_rates) + jnp.sum(local.switch_rates)
    return rate, dominance(local.covariance, spacing)


def linear_part(view: GridGame, local: Coefficients, at: Stencil) -> Array:
    """All of L_h V at a point but the drift."""
    total = second_order(local.covariance, at.differences) if view.noisy else jnp.zeros_like(local.cost)
    for rate, change in zip(_rates(local), at.changes, strict=True):
        total = total + rate * change
    return total


def _rates(local: Coefficients) -> list[Array]:
    """Rates of jumps, then of switches, as scalars."""
    return [rates[k] for rates in (local.jump_rates, local.switch_rates) for k in range(rates.shape[0])]


class Levels(AbstractControlSearch):
    """Search on `count` levels (odd) of every control, then `zooms` times around the best, 2/(count − 1) finer each."""

    count: int = eqx.field(static=True, default=5)
    zooms: int = eqx.field(static=True, default=3)

    def __check_init__(self):
        if self.count < 3 or self.count % 2 == 0:
            raise InvalidInput("levels", self.count, "an odd number, at least 3")
        if self.zooms < 0:
            raise InvalidInput("zooms", self.zooms, "an integer ≥ 0")

    def prepare(self, view: GridGame, t: Array, x: Array) -> Any:
        return None

    def _offsets(self, size: int) -> np.ndarray:
        """All combinations of levels in [−1, 1] for `size` controls."""
        return np.array(list(itertools.product(np.linspace(-1, 1, self.count), repeat=size))).reshape(
            self.count**size, size
        )

    def _candidates(self, view: GridGame, player: int | None, dtype: Any) -> Array:
        low, high = view.box(player)
        return jnp.asarray((low + high) / 2 + self._offsets(low.size) * (high - low) / 2, dtype)

    def _zoomed(self, view: GridGame, player: int | None, centre: Array, round_: int) -> Array:
        low, high = view.box(player)
        width = jnp.asarray((high - low) / 2 * (2.0 / (self.count - 1)) ** round_, centre.dtype)
        around = centre[None, :] + jnp.asarray(self._offsets(low.size), centre.dtype) * width[None, :]
        return jnp.clip(around, jnp.asarray(low, centre.dtype)[None], jnp.asarray(high, centre.dtype)[None])

    def best(self, view, ready, t, x, i, at, wall, order, gap):
        sides = ("upper", "lower") if gap and None not in (view.minimiser, view.maximiser) else (order,)
        found = {side: self._value(view, t, x, i, at, wall, side) for side in sides}
        value, u, w = found[order]
        spread = found["upper"][0] - found["lower"][0] if len(sides) == 2 else jnp.zeros_like(value)
        return Choice(value=value, u=u, w=w, gap=spread)

    def _value(self, view, t, x, i, at, wall, side):
        """Value and controls of one order of play: min_u max_w (upper) or max_w min_u (lower)."""
        constrained = any(axis.boundary == "constrained" for axis in view.grid.axes)
        penalty = 1.0 if view.minimiser is not None else -1.0

        def table(us, ws):
            def entry(u, w):
                cost, change, drift = self._terms(view, t, x, i, at, u, w)
                return cost + change, jnp.maximum(wall * drift, 0.0)

            plain, out = jax.vmap(jax.vmap(entry, in_axes=(None, 0)), in_axes=(0, None))(us, ws)
            if not constrained:
                return plain, plain
            # beyond every difference in value, whatever units values, states and time have
            size, speed = jnp.max(jnp.abs(plain)), jnp.max(out, axis=(0, 1), keepdims=True)
            share = jnp.sum(out / jnp.where(speed > 0, speed, 1.0), axis=-1)
            return plain, plain + penalty * 1e8 * jnp.where(size > 0, size, 1.0) * share

        upper = side == "upper"

        def pick(us, ws):
            """The one who moves first commits; the other answers."""
            plain, shown = table(us, ws)
            if upper:
                first = jnp.argmin(jnp.max(shown, axis=1))
                second = jnp.argmax(shown[first])
                return plain[first, second], us[first], ws[second]
            second = jnp.argmax(jnp.min(shown, axis=0))
            first = jnp.argmin(shown[:, second])
            return plain[first, second], us[first], ws[second]

        base_u, base_w = (self._candidates(view, player, x.dtype) for player in (view.minimiser, view.maximiser))
        value, u, w = pick(base_u, base_w)
        for round_ in range(1, self.zooms + 1):
            near_u = self._zoomed(view, view.minimiser, u, round_)
            near_w = self._zoomed(view, view.maximiser, w, round_)
            # The answer to a changed commitment may lie elsewhere: the coarse levels stay open to who answers.
            us = near_u if upper else jnp.concatenate([base_u, near_u])
            ws = jnp.concatenate([base_w, near_w]) if upper else near_w
            value, u, w = pick(us, ws)
        return value, u, w

    def _terms(self, view, t, x, i, at, u, w):
        local = view.coefficients(t, x, i, u, w)
        spare = spare_diffusion(local.covariance, view.grid.spacing) if view.noisy else None
        change = drift_term(local.drift, spare, at.differences) + linear_part(view, local, at)
        return local.cost, change, local.drift

    def evaluate(self, view, ready, t, x, i, at, u, w):
        return self._terms(view, t, x, i, at, u, w)[:2]

    def fastest(self, view, t, x, i):
        def rate(u, w):
            local = view.coefficients(t, x, i, u, w)
            return chain_rate(local, local.drift, view.grid.spacing)

        us, ws = (self._candidates(view, player, x.dtype) for player in (view.minimiser, view.maximiser))
        rates, slack = jax.vmap(jax.vmap(rate, in_axes=(None, 0)), in_axes=(0, None))(us, ws)
        return jnp.max(rates), jnp.min(slack)
