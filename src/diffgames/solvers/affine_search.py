"""The min–max in closed form, for controls that enter affinely.

Where y = (b, λ, μ) is affine in the controls, the cost at most quadratic in each of them by itself, and the covariance
free of them, the drift's parts b⁰ and B_k u_k (of every single control) are upwinded each by itself, sharing what the
diffusion has to spare (κ of `numerics.finite_difference`). That keeps the scheme monotone and makes the Hamiltonian a
sum over controls v of

    (S_k + Σ_d B_dk ½(D_d⁺ + D_d⁻)V) v + ½ R_k v² + ½ Σ_d (|B_dk v| − κ_dk)⁺ (D_d⁺ − D_d⁻)V,

S_k the slope of the cost and of the rates times (𝒥V, V_j − V_i): parabolas, or lines where R_k = 0, joined at
v = ±κ_dk/|B_dk|, whose extremes are known. Isaacs' condition then holds on the grid. With `flux="lax_friedrichs"` the
upwinding is ½ Σ_d α_d (D_d⁺ − D_d⁻)V, α_d(x) = |b⁰_d| + Σ_k |B_dk| max |v_k|, whatever is played: the scheme of the
level-set toolboxes, more diffusive.

All arithmetic is on scalars per point, and slopes that vanish everywhere are left out: one fused loop over the grid.
"""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from diffgames.errors import InvalidInput
from diffgames.numerics.finite_difference import spare_diffusion
from diffgames.solvers.control_search import AbstractControlSearch, Choice, chain_rate, linear_part
from diffgames.solvers.grid_game import Coefficients, GridGame, Stencil, over_samples

Pattern = tuple[tuple[bool, ...], ...]


class Input(eqx.Module):
    """One control at one point and regime: its slopes (None where it has no effect anywhere) and its curvature."""

    drift: tuple[Array | None, ...]
    rates: tuple[Array | None, ...]
    cost: Array
    curvature: Array | None
    spare: tuple[Array | None, ...]


class AffineTerms(eqx.Module):
    """At one point and regime: coefficients at controls 0, the inputs of both sides, and |b⁰| beyond κ per axis."""

    local: Coefficients
    inputs: tuple[tuple[Input, ...], tuple[Input, ...]]
    excess: tuple[Array, ...]


class Affine(AbstractControlSearch):
    """Closed form for controls that enter drift and rates affinely and the cost at most quadratically, one by one.

    `pattern` tells, per control of the minimiser and then of the maximiser, which components of (drift, jump rates,
    switching rates) it moves, and last whether its cost is curved; it is found by `fitted`.
    """

    flux: str = eqx.field(static=True, default="upwind")
    pattern: Pattern | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.flux not in ("upwind", "lax_friedrichs"):
            raise InvalidInput("flux", self.flux, "upwind or lax_friedrichs")

    def prepare(self, view: GridGame, t: Array, x: Array) -> AffineTerms:
        return view.everywhere(lambda x, i: self.terms(view, t, x, i), x)

    def terms(self, view: GridGame, t: Array, x: Array, i: Array) -> AffineTerms:
        """The parts of an affine game at one point and regime, by differentiation at controls 0."""
        n, slopes, cost, curvature, local = _derivatives(view, t, x, i)
        whole = spare_diffusion(local.covariance, view.grid.spacing) if view.noisy else jnp.zeros_like(local.drift)
        every = (True,) * (slopes[0].shape[0] + 1)
        pattern = self.pattern or tuple(every for side in slopes for _ in range(side.shape[1]))
        moving = [max(sum(moves[d] for moves in pattern), 1) for d in range(n)]
        left = jnp.maximum(whole - jnp.abs(local.drift), 0.0)
        inputs, rows = [], iter(pattern)
        for side, gradient, bend in zip(slopes, cost, curvature, strict=True):
            found = []
            for k in range(side.shape[1]):
                moves = next(rows)
                some = [side[d, k] if moves[d] else None for d in range(side.shape[0])]
                spare = [left[d] / moving[d] if moves[d] and view.noisy else None for d in range(n)]
                found.append(
                    Input(tuple(some[:n]), tuple(some[n:]), gradient[k], bend[k] if moves[-1] else None, tuple(spare))
                )
            inputs.append(tuple(found))
        excess = jnp.maximum(jnp.abs(local.drift) - whole, 0.0)
        return AffineTerms(local, (inputs[0], inputs[1]), tuple(excess[d] for d in range(n)))

    def best(self, view, ready, t, x, i, at, wall, order, gap):
        best, rough = [], at.differences.roughness
        for side, player in enumerate((view.minimiser, view.maximiser)):
            low, high = view.box(player)
            chosen = []
            for k, one in enumerate(ready.inputs[side]):
                slope = one.cost + self._slope(one, at)
                joints = []
                if self.flux == "upwind":
                    joints = [
                        (r, jnp.abs(b), s) for r, b, s in zip(rough, one.drift, one.spare, strict=True) if b is not None
                    ]
                chosen.append(_extreme(float(low[k]), float(high[k]), slope, joints, one.curvature, 1.0 - 2.0 * side))
            best.append(jnp.stack(chosen) if chosen else jnp.zeros(0, x.dtype))
        cost, change = self.evaluate(view, ready, t, x, i, at, *best)
        return Choice(value=cost + change, u=best[0], w=best[1], gap=jnp.zeros_like(cost))

    @staticmethod
    def _slope(one: Input, at: Stencil) -> Array:
        """Slope of the Hamiltonian in one control, cost and upwinding apart."""
        total = jnp.zeros_like(one.cost)
        for effects, changes in ((one.drift, at.differences.mean), (one.rates, at.changes)):
            for effect, change in zip(effects, changes, strict=True):
                total = total if effect is None else total + effect * change
        return total

    def evaluate(self, view, ready, t, x, i, at, u, w):
        cost, change = ready.local.cost, linear_part(view, ready.local, at)
        rough = at.differences.roughness
        for side, controls in zip(ready.inputs, (u, w), strict=True):
            for k, one in enumerate(side):
                v = controls[k]
                cost = cost + one.cost * v
                cost = cost if one.curvature is None else cost + 0.5 * one.curvature * v**2
                change = change + self._slope(one, at) * v
                for r, b, s in zip(rough, one.drift, one.spare, strict=True):
                    if b is not None and self.flux == "upwind":
                        push = jnp.abs(b * v)
                        change = change + r * (push if s is None else jnp.maximum(push - s, 0.0))
        upwinded = ready.excess if self.flux == "upwind" else self._spread(view, ready)
        for d, (mean, r) in enumerate(zip(at.differences.mean, rough, strict=True)):
            change = change + mean * ready.local.drift[d] + r * upwinded[d]
        return cost, change

    @staticmethod
    def _spread(view: GridGame, ready: AffineTerms) -> list[Array]:
        """Bound of the drift per axis, by parts."""
        spread = [jnp.abs(ready.local.drift[d]) for d in range(len(ready.excess))]
        for side, player in zip(ready.inputs, (view.minimiser, view.maximiser), strict=True):
            low, high = view.box(player)
            for k, one in enumerate(side):
                most = max(abs(float(low[k])), abs(float(high[k])))
                for d, b in enumerate(one.drift):
                    spread[d] = spread[d] if b is None else spread[d] + jnp.abs(b) * most
        return spread

    def fastest(self, view, t, x, i):
        terms = self.terms(view, t, x, i)
        rate, slack = chain_rate(terms.local, jnp.stack(self._spread(view, terms)), view.grid.spacing)
        for side, player in zip(terms.inputs, (view.minimiser, view.maximiser), strict=True):
            low, high = view.box(player)
            for k, one in enumerate(side):
                most = max(abs(float(low[k])), abs(float(high[k])))
                rate = rate + most * sum(jnp.abs(effect) for effect in one.rates if effect is not None)
        return rate, slack

    def fitted(self, view: GridGame) -> "Affine":
        """The search with its pattern; `InvalidInput` unless the game has the wanted form, at scattered points."""
        for name, size in zip(FORM, np.asarray(_misfit(view)), strict=True):
            if size > 1e-6:
                raise InvalidInput("search", "Affine", f"{name} (off by {size:.3g}); else Levels")
        return Affine(
            self.flux, tuple(tuple(bool(entry > 0) for entry in column) for column in np.asarray(_effects(view)).T)
        )


def _derivatives(view: GridGame, t: Array, x: Array, i: Array) -> tuple[int, Any, Any, Any, Coefficients]:
    """n; slopes of (b, λ, μ) [rows, controls], the cost's slopes and its curvatures, for both sides; (b, …) at 0."""
    u0, w0 = (jnp.zeros(view.box(player)[0].size, x.dtype) for player in (view.minimiser, view.maximiser))

    def affine(u, w):
        local = view.coefficients(t, x, i, u, w)
        return jnp.concatenate([local.drift, local.jump_rates, local.switch_rates])

    def cost(u, w):
        return view.coefficients(t, x, i, u, w).cost

    slopes = jax.jacfwd(affine, argnums=(0, 1))(u0, w0)
    hessians = jax.hessian(cost, argnums=(0, 1))(u0, w0)
    curvature = (jnp.diagonal(hessians[0][0]), jnp.diagonal(hessians[1][1]))
    return x.shape[0], slopes, jax.grad(cost, argnums=(0, 1))(u0, w0), curvature, view.coefficients(t, x, i, u0, w0)


Joints = list[tuple[Array, Array, Array | None]]
"""(r_d, |B_d|, κ_d) of every axis that a control moves; κ None for 0."""


def _extreme(low: float, high: float, slope: Array, joints: Joints, curvature: Array | None, sign: float) -> Array:
    """Minimiser (sign 1) or maximiser (−1) over [low, high] of S v + ½ R v² + Σ_d r_d (|B_d v| − κ_d)⁺.

    Between neighbouring kinks the function is a parabola or a line; R is None for 0.
    """
    found = []
    for bottom, top, direction in _pieces(low, high, slope, joints):
        tilt, level = slope, jnp.zeros_like(slope)
        for rough, push, spare in joints:
            if spare is None:
                tilt = tilt + direction * rough * push
            else:
                beyond = push * jnp.abs(0.5 * (bottom + top)) > spare
                tilt = tilt + direction * jnp.where(beyond, rough * push, 0.0)
                level = level - jnp.where(beyond, rough * spare, 0.0)
        v = jnp.where(sign * tilt > 0, bottom, top)
        if curvature is not None:
            bent = sign * curvature > 0
            v = jnp.where(bent, jnp.clip(-tilt / jnp.where(bent, curvature, 1.0), bottom, top), v)
        value = level + tilt * v
        value = value if curvature is None else value + 0.5 * curvature * v**2
        found.append((sign * value, v))
    best_value, best = found[0]
    for value, v in found[1:]:
        best_value, best = jnp.minimum(value, best_value), jnp.where(value < best_value, v, best)
    return best


def _pieces(low: float, high: float, like: Array, joints: Joints) -> list[tuple[Any, Any, Any]]:
    """Intervals (bottom, top, sign of v in between) on which the function has no kink."""
    if not joints:
        return [(low, high, 0.0)]
    if all(spare is None for _, _, spare in joints):
        halves = [(low, min(high, 0.0), -1.0), (max(low, 0.0), high, 1.0)]
        return [half for half in halves if half[0] < half[1]] or [(low, high, 1.0)]
    kinks = []
    for _, push, spare in joints:
        kink = jnp.zeros_like(like) if spare is None else spare / jnp.maximum(push, jnp.finfo(push.dtype).tiny)
        kinks += [jnp.clip(-kink, low, high), jnp.clip(kink, low, high)]
    if len(kinks) > 2:
        ordered = jnp.sort(jnp.stack(kinks))
        kinks = [ordered[k] for k in range(len(kinks))]
    ends = [jnp.full_like(like, low), *kinks, jnp.full_like(like, high)]
    return [(bottom, top, jnp.sign(bottom + top)) for bottom, top in itertools.pairwise(ends)]


FORM = (
    "drift, jump rates and switching rates affine in the controls",
    "a cost that is at most quadratic in each control by itself",
    "a diffusion that no control changes",
    "a cost convex in the minimiser's controls and concave in the maximiser's",
)
"""What `Affine` wants of a game."""


@eqx.filter_jit
def _misfit(view: GridGame) -> Array:
    """By how much each line of `FORM` is missed at scattered points and controls, relative to the sizes there."""

    def misfit(t, x, u, w, i):
        _, slopes, gradient, curvature, start = _derivatives(view, t, x, i)
        local = view.coefficients(t, x, i, u, w)
        wanted, found = (jnp.concatenate([c.drift, c.jump_rates, c.switch_rates]) for c in (start, local))
        cost = start.cost
        for side, v in enumerate((u, w)):
            wanted = wanted + slopes[side] @ v
            cost = cost + jnp.sum(gradient[side] * v) + 0.5 * jnp.sum(curvature[side] * v**2)
        bend = jnp.maximum(jnp.max(-curvature[0], initial=0.0), jnp.max(curvature[1], initial=0.0))
        bent = jnp.max(jnp.abs(jnp.concatenate(curvature)), initial=0.0)
        width = jnp.max(jnp.abs(jnp.concatenate([u, w])), initial=jnp.finfo(x.dtype).tiny)
        bent = jnp.maximum(bent, jnp.abs(cost) / width**2)  # rounding in a cost that is linear is no curvature
        covariance = jnp.abs(local.covariance)
        off = (found - wanted, (local.cost - cost)[None], local.covariance - start.covariance, bend[None])
        return [jnp.abs(part) for part in off], [jnp.abs(found), jnp.abs(cost)[None], covariance, bent[None]]

    off, size = jax.tree.map(lambda part: jnp.max(part, axis=(0, 1)), over_samples(view, misfit))
    relative = [part / jnp.where(whole > 0, whole, 1.0) for part, whole in zip(off, size, strict=True)]
    return jnp.stack([jnp.max(part, initial=0.0) for part in relative])


@eqx.filter_jit
def _effects(view: GridGame) -> Array:
    """Largest absolute slopes of (b, λ, μ) in every control, and last the curvature of its cost: [rows, controls]."""

    def slopes(t, x, u, w, i):
        _, effects, _, curvature, _ = _derivatives(view, t, x, i)
        return jnp.abs(jnp.concatenate([jnp.concatenate(effects, axis=1), jnp.concatenate(curvature)[None]]))

    return jnp.max(over_samples(view, slopes), axis=(0, 1))
