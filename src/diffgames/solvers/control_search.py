"""Who plays what at a point of the grid: the min–max of the discrete Hamiltonian over the two sides' controls.

`Levels` compares the monotone upwind Hamiltonian

    G(u, w) = c + L_h V + Σ_l λ_l 𝒥_l V + Σ_j μ_ij (V_j − V_i)    (L_h of `numerics.finite_difference`)

on a grid of controls, then on finer grids around the best (`zooms` times); all coefficients may depend on the controls.

`Affine` is exact and faster where y = (b, λ, μ) is affine in the controls, the cost at most quadratic in each of them
by itself, and the covariance free of them. The drift's parts b⁰ and B_k u_k (of every single control) are upwinded each
by itself, sharing what the diffusion has to spare (κ), which keeps the scheme monotone and makes the Hamiltonian a sum
over controls v of

    (S_k + Σ_d B_dk ½(D_d⁺ + D_d⁻)V) v + ½ R_k v² + ½ Σ_d (|B_dk v| − κ_dk)⁺ (D_d⁺ − D_d⁻)V,

S_k the slope of the cost and of the rates times (𝒥V, V_j − V_i): parabolas, or lines where R_k = 0, joined at v =
±κ_dk/|B_dk|, whose extremes are known. Isaacs' condition then holds on the grid. With `flux="lax_friedrichs"` the
upwinding is ½ Σ_d α_d (D_d⁺ − D_d⁻)V, α_d(x) = |b⁰_d| + Σ_k |B_dk| max |v_k|, whatever is played: the scheme of the
level-set toolboxes, more diffusive.

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
from diffgames.solvers.grid_game import Coefficients, GridGame, Stencil, sample_points


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
    def fastest(self, view: GridGame, ready: Any, t: Array, x: Array, i: Array) -> tuple[Array, Array]:
        """At one point, the largest rate at which the chain leaves it, and the slack of the monotonicity condition."""


def chain_rate(local: Coefficients, spread: Array, spacing: tuple[float, ...]) -> tuple[Array, Array]:
    """Rate of leaving a point, jumps and switches included, and slack of condition (1) of `finite_difference`."""
    rate = leaving_rate(spread, local.covariance, spacing) + jnp.sum(local.jump_rates) + jnp.sum(local.switch_rates)
    return rate, dominance(local.covariance, spacing)


def linear_part(local: Coefficients, at: Stencil) -> Array:
    """All of L_h V at a point but the drift."""
    return (
        second_order(local.covariance, at.differences)
        + jnp.sum(local.jump_rates * at.jump)
        + jnp.sum(local.switch_rates * at.switch)
    )


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
                out = jnp.sum(jnp.maximum(wall * drift, 0.0)) if constrained else 0.0
                return cost + change, cost + change + penalty * 1e8 * out

            return jax.vmap(jax.vmap(entry, in_axes=(None, 0)), in_axes=(0, None))(us, ws)

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
        spare = spare_diffusion(local.covariance, view.grid.spacing)
        change = drift_term(local.drift, spare, at.differences.forward, at.differences.backward)
        change = change + linear_part(local, at)
        return local.cost, change, local.drift

    def evaluate(self, view, ready, t, x, i, at, u, w):
        return self._terms(view, t, x, i, at, u, w)[:2]

    def fastest(self, view, ready, t, x, i):
        def rate(u, w):
            local = view.coefficients(t, x, i, u, w)
            return chain_rate(local, local.drift, view.grid.spacing)

        us, ws = (self._candidates(view, player, x.dtype) for player in (view.minimiser, view.maximiser))
        rates, slack = jax.vmap(jax.vmap(rate, in_axes=(None, 0)), in_axes=(0, None))(us, ws)
        return jnp.max(rates), jnp.min(slack)


class AffineTerms(eqx.Module):
    """At one point and regime: coefficients at controls 0, slopes of drift and rates, cost's slopes and curvatures.

    `excess` is how much |b⁰| exceeds κ, `spare` what is left of κ for each of the controls that move an axis.
    """

    local: Coefficients
    drift: tuple[Array, Array]
    rates: tuple[Array, Array]
    cost: tuple[Array, Array]
    curvature: tuple[Array, Array]
    excess: Array
    spare: Array


class Affine(AbstractControlSearch):
    """Closed form for controls that enter drift and rates affinely and the cost at most quadratically, one by one."""

    flux: str = eqx.field(static=True, default="upwind")

    def __check_init__(self):
        if self.flux not in ("upwind", "lax_friedrichs"):
            raise InvalidInput("flux", self.flux, "upwind or lax_friedrichs")

    def prepare(self, view: GridGame, t: Array, x: Array) -> AffineTerms:
        return view.everywhere(lambda x, i: affine_terms(view, t, x, i), x)

    def best(self, view, ready, t, x, i, at, wall, order, gap):
        best = []
        for k, player in enumerate((view.minimiser, view.maximiser)):
            slope = ready.cost[k] + _rate_changes(at) @ ready.rates[k] + _mean(at) @ ready.drift[k]
            rough = _roughness(at)[:, None] * jnp.abs(ready.drift[k])
            free = jnp.zeros_like(rough)
            if self.flux == "lax_friedrichs":
                rough = free
            elif view.noisy:
                free = ready.spare[:, None] / jnp.maximum(jnp.abs(ready.drift[k]), jnp.finfo(x.dtype).tiny)
            best.append(_extreme(view.box(player), slope, rough, free, ready.curvature[k], 1.0 - 2.0 * k, view.noisy))
        cost, change = self.evaluate(view, ready, t, x, i, at, *best)
        return Choice(value=cost + change, u=best[0], w=best[1], gap=jnp.zeros_like(cost))

    def evaluate(self, view, ready, t, x, i, at, u, w):
        local = ready.local
        cost, change = local.cost, linear_part(local, at)
        for k, v in enumerate((u, w)):
            cost = cost + jnp.sum(ready.cost[k] * v) + 0.5 * jnp.sum(ready.curvature[k] * v**2)
            change = change + jnp.sum(_mean(at) * (ready.drift[k] @ v))
            change = change + jnp.sum(_rate_changes(at) * (ready.rates[k] @ v))
            if self.flux == "upwind":
                excess = jnp.maximum(jnp.abs(ready.drift[k] * v[None, :]) - ready.spare[:, None], 0.0)
                change = change + jnp.sum(_roughness(at) * jnp.sum(excess, axis=1))
        change = change + jnp.sum(_mean(at) * local.drift)
        if self.flux == "lax_friedrichs":
            return cost, change + jnp.sum(self._spread(view, ready) * _roughness(at))
        return cost, change + jnp.sum(ready.excess * _roughness(at))

    @staticmethod
    def _spread(view: GridGame, ready: AffineTerms) -> Array:
        """Bound of the drift, by parts."""
        spread = jnp.abs(ready.local.drift)
        for k, player in enumerate((view.minimiser, view.maximiser)):
            spread = spread + jnp.abs(ready.drift[k]) @ _largest(view, player, spread.dtype)
        return spread

    def fastest(self, view, ready, t, x, i):
        terms = affine_terms(view, t, x, i)
        rate, slack = chain_rate(terms.local, self._spread(view, terms), view.grid.spacing)
        for k, player in enumerate((view.minimiser, view.maximiser)):
            rate = rate + jnp.sum(jnp.abs(terms.rates[k]) @ _largest(view, player, x.dtype))
        return rate, slack


def affine_terms(view: GridGame, t: Array, x: Array, i: Array) -> AffineTerms:
    """The parts of an affine game at one point and regime, by differentiation at controls 0."""
    u0, w0 = (jnp.zeros(view.box(player)[0].size, x.dtype) for player in (view.minimiser, view.maximiser))

    def affine(u, w):
        local = view.coefficients(t, x, i, u, w)
        return local.drift, jnp.concatenate([local.jump_rates, local.switch_rates])

    def cost(u, w):
        return view.coefficients(t, x, i, u, w).cost

    drift, rates = jax.jacfwd(affine, argnums=(0, 1))(u0, w0)
    hessians = jax.hessian(cost, argnums=(0, 1))(u0, w0)
    local = view.coefficients(t, x, i, u0, w0)
    spare = spare_diffusion(local.covariance, view.grid.spacing)
    moving = sum(jnp.sum((slopes != 0).astype(x.dtype), axis=1) for slopes in drift)
    return AffineTerms(
        local=local,
        drift=drift,
        rates=rates,
        cost=jax.grad(cost, argnums=(0, 1))(u0, w0),
        curvature=(jnp.diagonal(hessians[0][0]), jnp.diagonal(hessians[1][1])),
        excess=jnp.maximum(jnp.abs(local.drift) - spare, 0.0),
        spare=jnp.maximum(spare - jnp.abs(local.drift), 0.0) / jnp.maximum(moving, 1.0),
    )


def _largest(view: GridGame, player: int | None, dtype: Any) -> Array:
    low, high = view.box(player)
    return jnp.asarray(np.maximum(np.abs(low), np.abs(high)), dtype)


def _rate_changes(at: Stencil) -> Array:
    return jnp.concatenate([at.jump, at.switch])


def _mean(at: Stencil) -> Array:
    return 0.5 * (at.differences.forward + at.differences.backward)


def _roughness(at: Stencil) -> Array:
    return 0.5 * (at.differences.forward - at.differences.backward)


def _extreme(box: Any, slope: Array, rough: Array, free: Array, curvature: Array, sign: float, noisy: bool) -> Array:
    """Minimiser (sign 1) or maximiser (−1) over a box of S v + ½ R v² + Σ_d rough_d (|v| − free_d)⁺, one by one.

    `slope`, `curvature` [k]; `rough`, `free` [n, k]. Between neighbouring kinks it is a parabola or a line.
    """
    low, high = (jnp.asarray(end, slope.dtype) for end in box)
    kinks = jnp.zeros_like(low)[None]
    if noisy:
        kinks = jnp.sort(jnp.concatenate([-free, free]), axis=0)
    kinks = jnp.clip(kinks, low[None, :], high[None, :])
    ends = jnp.concatenate([low[None], kinks, high[None]])
    bent = sign * curvature > 0
    best = best_value = None
    for bottom, top in itertools.pairwise(ends):
        middle = 0.5 * (bottom + top)
        beyond = (jnp.abs(middle)[None, :] > free).astype(slope.dtype)
        tilt = slope + jnp.sign(middle) * jnp.sum(rough * beyond, axis=0)
        stationary = jnp.clip(-tilt / jnp.where(bent, curvature, 1.0), bottom, top)
        v = jnp.where(bent, stationary, jnp.where(sign * tilt > 0, bottom, top))
        excess = jnp.sum(rough * jnp.maximum(jnp.abs(v)[None, :] - free, 0.0), axis=0)
        value = sign * (slope * v + 0.5 * curvature * v**2 + excess)
        if best is None or best_value is None:
            best, best_value = v, value
        else:
            best, best_value = jnp.where(value < best_value, v, best), jnp.minimum(value, best_value)
    assert best is not None
    return best


def check_affine(view: GridGame) -> None:
    """`InvalidInput` unless coefficients and costs have, at scattered points and controls, the form `Affine` wants."""
    t, x, u, w = sample_points(view)
    labels = jnp.arange(view.regimes, dtype=jnp.int32)

    def misfit(t, x, u, w, i):
        terms, local = affine_terms(view, t, x, i), view.coefficients(t, x, i, u, w)
        start, found = (jnp.concatenate([c.drift, c.jump_rates, c.switch_rates]) for c in (terms.local, local))
        wanted, cost = start, terms.local.cost
        for k, v in enumerate((u, w)):
            wanted = wanted + jnp.concatenate([terms.drift[k], terms.rates[k]]) @ v
            cost = cost + jnp.sum(terms.cost[k] * v) + 0.5 * jnp.sum(terms.curvature[k] * v**2)
        wrong_bend = jnp.maximum(jnp.max(-terms.curvature[0], initial=0.0), jnp.max(terms.curvature[1], initial=0.0))
        return jnp.stack(
            [
                jnp.max(jnp.abs(found - wanted)) / (1.0 + jnp.max(jnp.abs(found))),
                jnp.abs(local.cost - cost) / (1.0 + jnp.abs(cost)),
                jnp.max(jnp.abs(local.covariance - terms.local.covariance)),
                wrong_bend,
            ]
        )

    points = jax.vmap(misfit, in_axes=(-1, -1, -1, -1, None))
    off = eqx.filter_jit(jax.vmap(points, in_axes=(None,) * 4 + (0,)))(t, x, u, w, labels)
    names = (
        "drift, jump rates and switching rates affine in the controls",
        "a cost that is at most quadratic in each control by itself",
        "a diffusion that no control changes",
        "a cost convex in the minimiser's controls and concave in the maximiser's",
    )
    for name, size in zip(names, np.asarray(jnp.max(off, axis=(0, 1))), strict=True):
        if size > 1e-6:
            raise InvalidInput("search", "Affine", f"{name} (off by {size:.3g}); else Levels")
