"""The monotone scheme of a mean-field game on cells: Hamiltonians with the chain of the agents that minimise them.

With u₀ the point of the control set nearest to zero, p⁺ and p⁻ the differences of V towards the neighbours above and
below (through a wall zero) and c(s) = ℓ(u₀ + s) − ℓ(u₀), along each axis

    s⁺ = argmin_{s ≥ 0} c(s) + s p⁺,      s⁻ = argmin_{s ≥ 0} c(−s) − s p⁻,
    h  = ℓ(u₀) + f + Σ_axes [ c(s⁺) + c(−s⁻) ] + (A V),      up = D/h² + (s⁺ + a⁺)/h,    down = D/h² + (s⁻ + a⁻)/h

with D = ½σ² and a the drift, u₀ included: Engquist & Osher's flux, which is Achdou & Capuzzo-Dolcetta's (2010) for a
quadratic ℓ. It is monotone and, away from kinks, differentiable. Its derivative in V is the chain A itself, so that the
Fokker–Planck equation with Aᵀ is its exact transpose. The `central` scheme takes the mean difference for both p⁺ and
p⁻, and D + (½h|b| − D)⁺ ± ½hb instead, b = a + s⁺ − s⁻: second order where |b| h ≤ σ², just monotone beyond.

Time is implicit, and a step from t_j to t_{j+1} couples V_j, the policy there, and the law at the later end:

    (V_j − V_{j+1})/dt = h(V_j, φ(μ_{j+1})),      (μ_{j+1} − μ_j)/dt = A(V_j)ᵀ μ_{j+1},      V_n = g(φ(μ_n)).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.mean_field_grid import READINGS, AgentType, TypedMeanFieldGame
from diffgames.numerics.cells import Cells

SCHEMES = ("upwind", "central")


class Local(eqx.Module):
    """At one time: h [K, N], the rates of the chains and the mean control, [K, d, N] each.

    `paid` [K, N] is what agents pay per unit of time, payments on a market included; `prices` [K] the marginal ones.
    """

    hamiltonian: Float[Array, "K N"]
    up: Float[Array, "K d N"]
    down: Float[Array, "K d N"]
    paid: Float[Array, "K N"]
    control: Float[Array, "K d N"]
    prices: Float[Array, " K"]


class MeanFieldScheme(eqx.Module):
    """A game with its cells, reading and differences: everything the discrete equations are made of."""

    game: TypedMeanFieldGame
    cells: Cells = eqx.field(static=True)
    reading: str = eqx.field(static=True, default="game")
    differences: str = eqx.field(static=True, default="upwind")
    extra: Float[Array, ""] = eqx.field(default=0.0, converter=jnp.asarray)
    """Diffusion added to all types': a way towards games of little noise, 0 in the game itself."""

    def __check_init__(self):
        if self.reading not in READINGS:
            raise InvalidInput("reading", self.reading, f"one of {', '.join(READINGS)}")
        if self.differences not in SCHEMES:
            raise InvalidInput("differences", self.differences, f"one of {', '.join(SCHEMES)}")

    def local(
        self,
        values: Float[Array, "K N"],
        mass: Float[Array, "K N"],
        time: Float[Array, ""] | float = 0.0,
        prices: Float[Array, " K"] | None = None,
    ) -> Local:
        """Hamiltonians and chains at given values and masses, in the reading's running cost.

        Marginal `prices` of a market are those that clear it, unless given.
        """
        share = self.game.share
        if prices is None:
            prices = self.prices(values, mass, time)
        found = self._plain(values, mass, time, prices)
        if self.reading == "game":
            return found

        def hamiltonian(moved: Array) -> Array:
            return self._plain(values, moved, time, prices).hamiltonian

        if self.reading == "control":
            field = jax.grad(lambda m: jnp.sum(share[:, None] * m * hamiltonian(m)))(mass) / share[:, None]
        else:
            rows = []
            for k in range(len(share)):

                def own(one: Array, k: int = k) -> Array:
                    return jnp.sum(one * hamiltonian(mass.at[k].set(one))[k])

                rows.append(jax.grad(own)(mass[k]))
            field = jnp.stack(rows)
        return eqx.tree_at(lambda at: at.hamiltonian, found, field)

    def prices(self, values: Float[Array, "K N"], mass: Float[Array, "K N"], time: Any = 0.0) -> Float[Array, " K"]:
        """Marginal prices at which the market clears; zero without one."""
        market = self.game.market
        if market is None:
            return jnp.zeros(len(self.game.types), values.dtype)
        time = jnp.asarray(time, values.dtype)

        def bids(prices: Array, given: tuple[Array, tuple[Array, Array]]) -> Array:
            mass, slopes = given
            moved = [self._moves(k, prices, *slopes) for k in range(len(self.game.types))]
            return market.purchases(mass, jnp.stack([base + rise - fall for base, rise, fall, _ in moved]), time)

        return market.cleared(self.reading, self.game.share, bids, (mass, self._slopes(values)), time)

    def _slopes(self, values: Array) -> tuple[Array, Array]:
        """Differences of the values ahead and behind that choose controls."""
        ahead, behind = self.cells.slopes(values)
        if self.differences == "central":
            ahead = behind = 0.5 * (ahead + behind)
        return ahead, behind

    def _moves(self, k: int, prices: Array, ahead: Array, behind: Array) -> tuple[Array, Array, Array, Array]:
        """`moves` of type k, where a control is a purchase: at the price, and not into a wall."""
        one, market, points = self.game.types[k], self.game.market, jnp.asarray(self.cells.points())
        if market is None:
            return moves(one, points, ahead[k], behind[k])
        unit = (jnp.zeros(len(self.cells.axes)).at[market.axis].set(prices[k] * market.size[k]))[:, None]
        return moves(one, points, ahead[k] + unit, behind[k] + unit, self.cells.open_faces())

    def terminal(self, mass: Float[Array, "K N"], control: Float[Array, "K d N"]) -> Float[Array, "K N"]:
        """Terminal costs, or their derivative in the law, by the reading."""
        share = self.game.share
        points = jnp.asarray(self.cells.points())

        def costs(moved: Array) -> Array:
            felt = self.game.felt(self.cells, moved, control, self.game.horizon)
            rows = [jax.vmap(one.terminal_cost, in_axes=(1, 0))(points, felt) for one in self.game.types]
            return jnp.stack([jnp.broadcast_to(row, (self.cells.size,)) for row in rows])

        if self.reading == "game":
            return costs(mass)
        if self.reading == "control":
            return jax.grad(lambda m: jnp.sum(share[:, None] * m * costs(m)))(mass) / share[:, None]
        count = len(self.game.types)
        own = [jax.grad(lambda one, k=k: jnp.sum(one * costs(mass.at[k].set(one))[k]))(mass[k]) for k in range(count)]
        return jnp.stack(own)

    def _plain(self, values: Array, mass: Array, time: Any, prices: Array) -> Local:
        slopes = self._slopes(values)
        chosen = [self._moves(k, prices, *slopes) for k in range(len(self.game.types))]
        control = jnp.stack([base + rise - fall for base, rise, fall, _ in chosen])
        felt = self.game.felt(self.cells, mass, control, time)
        rows = [self._row(k, felt, values[k], *chosen[k][1:]) for k in range(len(chosen))]
        hamiltonian, up, down, paid = (jnp.stack(part) for part in zip(*rows, strict=True))
        market = self.game.market
        if market is not None:
            bought = market.size[:, None] * control[:, market.axis] + market.load(jnp.asarray(time))[:, None]
            price = market.price(self.game.share @ market.purchases(mass, control, time), time)
            hamiltonian, paid = hamiltonian + prices[:, None] * bought, paid + price * bought
        return Local(hamiltonian, up, down, paid, control, prices)

    def _row(self, k: int, felt: dict, values: Array, rise: Array, fall: Array, cost: Array):
        """h, the rates and the running cost of one type, from its moves, payments left out."""
        one, points = self.game.types[k], jnp.asarray(self.cells.points())
        h = jnp.asarray([axis.spacing for axis in self.cells.axes])[:, None]
        spread = 0.5 * jax.vmap(one.noise, in_axes=1, out_axes=1)(points) ** 2 + self.extra
        base = jnp.clip(0.0, one.control_low, one.control_high)
        drift = jax.vmap(one.drift, in_axes=(1, 0), out_axes=1)(points, felt) + base
        if self.differences == "central":
            net = drift + rise - fall
            spread = spread + jnp.maximum(0.5 * h * jnp.abs(net) - spread, 0.0)
            up, down = spread / h**2 + 0.5 * net / h, spread / h**2 - 0.5 * net / h
        else:
            up = spread / h**2 + (rise + jnp.maximum(drift, 0.0)) / h
            down = spread / h**2 + (fall + jnp.maximum(-drift, 0.0)) / h
        above, below = self.cells.open_faces()
        up, down = up * above, down * below
        ahead, behind = self.cells.slopes(values)
        paid = jax.vmap(one.running_cost, in_axes=(1, 0))(points, felt) + cost
        return paid + jnp.sum(h * (up * ahead - down * behind), axis=0), up, down, paid

    def equations(
        self,
        dt: Array,
        values: Float[Array, "n K N"],
        later: Float[Array, "n K N"],
        start: Float[Array, "K N"],
        prices: Float[Array, "n K"] | None = None,
    ) -> tuple[tuple[Array, Array], Local]:
        """Residuals of both equations at V_0 … V_{n−1} and μ_1 … μ_n, and what holds at every step."""
        times = dt * jnp.arange(len(values), dtype=values.dtype)
        at = jax.vmap(self.local, in_axes=(0, 0, 0, None if prices is None else 0))(values, later, times, prices)
        ahead = jnp.concatenate([values[1:], self.terminal(later[-1], at.control[-1])[None]])
        behind = jnp.concatenate([start[None], later[:-1]])
        moved = self.cells.transported(at.up, at.down, later)
        return ((values - ahead) / dt - at.hamiltonian, (later - behind) / dt - moved), at

    @property
    def law_of_speed(self) -> bool:
        """Whether a feature feels the controls."""
        probe = jnp.ones((len(self.game.types), self.cells.size)) / self.cells.size
        speed = jnp.ones((len(self.game.types), len(self.cells.axes), self.cells.size))
        one, other = (self.game.felt(self.cells, probe, c * speed) for c in (0.0, 1.0))
        return any(bool(jnp.any(one[name] != other[name])) for name in one)


def moves(
    one: AgentType, points: Array, ahead: Array, behind: Array, faces: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Array, Array, Array, Array]:
    """u₀, s⁺, s⁻ [d, N] of one type and what its control costs [N], from slopes [d, N] ahead and behind.

    Nobody moves through `faces` above and below, [d, N] each, that are zero.
    """
    base = jnp.clip(0.0, one.control_low, one.control_high)
    d, n = points.shape
    twice = jnp.concatenate([points, points], axis=1)
    sign = jnp.repeat(jnp.asarray([1.0, -1.0]), n)
    room = jnp.repeat(jnp.stack([one.control_high - base, base - one.control_low]), n)
    start = jnp.full(d, base, points.dtype)
    level = jax.vmap(lambda x: one.control_cost(start, x), in_axes=1)(points)
    total, found = level, []
    for axis in range(d):

        def cost(s: Array, x: Array, way: Array, axis: int = axis) -> Array:
            return one.control_cost(start.at[axis].add(way * s), x)

        free = room if faces is None else jnp.where(np.concatenate([faces[0][axis], faces[1][axis]]) > 0, room, 0.0)
        found.append(least(cost, (twice.T, sign), jnp.concatenate([ahead[axis], -behind[axis]]), free))
        paid = jax.vmap(cost)(found[-1], twice.T, sign)
        total = total + paid[:n] + paid[n:] - 2.0 * level
    steps = jnp.stack(found)
    return jnp.full((d, n), base), steps[:, :n], steps[:, n:], total


def least(
    cost: Callable[..., Array], given: tuple[Array, ...], slope: Float[Array, " N"], room: Float[Array, " N"]
) -> Float[Array, " N"]:
    """argmin over 0 ≤ s ≤ room of cost(s, *given) + s·slope, for a convex cost; differentiable in the slope.

    Newton's method on the derivative, a quarter of s instead of a step beyond zero; one step more, through which
    derivatives pass, is the implicit function theorem.
    """
    each = jax.vmap(jax.value_and_grad(jax.grad(cost)))
    held, curved = jax.lax.stop_gradient(slope), jnp.finfo(slope.dtype).tiny
    wanted = each(jnp.zeros_like(slope), *given)[0] + held < 0
    limited = jnp.isfinite(room) & (each(jnp.where(jnp.isfinite(room), room, 1.0), *given)[0] + held < 0)

    def improved(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        s, _, count = state
        first, second = each(s, *given)
        new = s - (first + held) / jnp.maximum(second, curved)
        new = jnp.where(wanted, jnp.minimum(jnp.where(new <= 0, 0.25 * s, new), room), s)
        return new, jnp.max(jnp.abs(new - s) / (1.0 + jnp.abs(new))), count + 1

    begin = (jnp.minimum(jnp.ones_like(slope), room), jnp.asarray(jnp.inf, slope.dtype), jnp.zeros((), jnp.int32))
    s, _, _ = jax.lax.while_loop(lambda state: (state[1] > 1e-14) & (state[2] < 60), improved, begin)
    first, second = each(jax.lax.stop_gradient(s), *given)
    polished = jax.lax.stop_gradient(s) - (first + slope) / jnp.maximum(jax.lax.stop_gradient(second), curved)
    return jnp.where(wanted, jnp.where(limited, room, polished), 0.0)
