"""The exchange agent with memory: recorded transitions drawn from like states, impact that decays as recorded.

Without agents the book follows a chain over the recorded transitions n = 1…N (and their mirror images, bid and ask
exchanged). States alike in spread, volumes, pace and last move share a cell (`ecn_cells`); one step draws a transition
k at random from the cell of the present state, applies it,

    mid += d_k,    spread ← s_k,    V_i ← V'_{i,k} (V_i/V_{i,k})^ρ_i (kept where k keeps it),

and goes on from the state that followed k in the record. Drawing within cells and passing on along the record both
leave the uniform law on transitions as it is. So mid changes have the recorded law exactly at every step: deviation,
share of zeros, kurtosis, and no drift; what comes after what is kept as far as a cell tells it. A step has `count`
possible outcomes, so an agent that recognises the recorded second knows no more than the cell does.

**What agents do** rides on top and is linear. Q_t being the lots they took net at step t (bought less sold), the mid is

    P_t = P°_t + Σ_{u≤t} G(t − u) Q_u,          G(h) = g_∞ + Σ_j g_j e^{−h/τ_j}  convex and falling (`resilience`),

so that no round trip earns on average while an order pays half of its push, ½ G(0) Q a lot, which
`ecn_memory_fit.free_lunch` checks against the mean book. A spread widened by w ticks is wider by κ_s^h w after h steps,
and a lot taken out of a level is still missing by κ_v^h. A displacement x that is no whole number of ticks is shown as
⌊x + u⌋, with one u ~ U(0, 1) for an episode: on average it is x, and a quote never flickers.

Levels lie where the recorded ones do, gaps included; below the m-th, volume per tick falls off as e^{−αk}.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.markets.depth_book import DepthBook, best_ask, best_bid
from diffgames.markets.exchange import AbstractExchange, Variation


class Memory(eqx.Module):
    """What the exchange agent remembers: its own state, what the agents did, and the book that it showed last."""

    row: Int[Array, ""]  # the transition drawn last
    ask: Float[Array, ""]  # its own best ask, on the grid
    spread: Float[Array, ""]  # its own, ticks
    volumes: Float[Array, " levels_of_both_sides"]  # its own, lots
    push: Float[Array, " components1"]  # the agents' push of the mid, ticks: each exponential, then for good
    widening: Float[Array, ""]  # what their sweeps added to the spread, ticks
    missing: Float[Array, " levels_of_both_sides"]  # what they took out of the levels, lots
    dither: Float[Array, ""]
    place: Int[Array, " levels_of_both_sides"]  # ticks of the levels shown
    shown: Float[Array, " levels_of_both_sides"]  # lots shown there
    quotes: Float[Array, "2"]  # best bid and ask shown
    total: Float[Array, "2"]  # lots shown on the bid and the ask side


class MemoryExchange(AbstractExchange):
    """The fitted chain and the linear response to agents; several, stacked on a leading axis, are several exchanges.

    Attributes:
        rows: number of transitions; tables may be longer.
        volumes: lots at the levels after each transition. changed: where it changed them.
        residual: V'_i/V_i^ρ_i of each transition. memory: ρ_i, where the mid stays and where it moves.
        most: largest recorded volumes, lots.
        offsets: ticks from the best price to each level after it.
        spread: ticks, after it. mid_change: half-ticks.
        first, count: where the cell of the state after each transition begins in `members`, and its size.
        members: transitions, cell by cell.
        impact: g_1, …, g_J, g_∞, ticks per lot. kept: e^{−1/τ_j} per step, and 1.
        spread_kept, volume_kept: κ_s, κ_v per step.
        decay: α per tick. gap: mean distance between levels, ticks.
        widest, usual, order_sizes, mean_volume, volatility, tick: see `AbstractExchange`.
    """

    rows: Int[Array, "*batch"]
    volumes: Float[Array, "*batch table levels_of_both_sides"]
    changed: Float[Array, "*batch table levels_of_both_sides"]
    residual: Float[Array, "*batch table levels_of_both_sides"]
    memory: Float[Array, "*batch 2 levels_of_both_sides"]
    most: Float[Array, "*batch levels_of_both_sides"]
    offsets: Float[Array, "*batch table levels_of_both_sides"]
    spread: Float[Array, "*batch table"]
    mid_change: Float[Array, "*batch table"]
    first: Int[Array, "*batch table"]
    count: Int[Array, "*batch table"]
    members: Int[Array, "*batch table"]
    impact: Float[Array, "*batch components1"]
    kept: Float[Array, "*batch components1"]
    spread_kept: Float[Array, "*batch"]
    volume_kept: Float[Array, "*batch"]
    decay: Float[Array, "*batch"]
    gap: Float[Array, "*batch"]
    widest: Float[Array, "*batch"]
    usual: Float[Array, "*batch"]
    order_sizes: Float[Array, "*batch sizes"]
    mean_volume: Float[Array, "*batch levels_of_both_sides"]
    volatility: Float[Array, "*batch"]
    tick: Float[Array, "*batch"]

    def depth(self) -> float:
        return float(jnp.max(self.gap)) * self.levels

    def open(self, key: PRNGKeyArray, grid: int) -> tuple[DepthBook, Memory]:
        """The book after a transition drawn at random, its mid at the grid's centre or half a tick above."""
        row_key, dither_key = jax.random.split(key)
        row = jax.random.randint(row_key, (), 0, self.rows, jnp.int32)
        spread, both = self.spread[row], 2 * self.levels
        dtype = spread.dtype
        memory = Memory(
            row=row,
            ask=float(grid // 2) + jnp.ceil(spread / 2),
            spread=spread,
            volumes=self.volumes[row],
            push=jnp.zeros_like(self.impact),
            widening=jnp.zeros((), dtype),
            missing=jnp.zeros((both,), dtype),
            dither=jax.random.uniform(dither_key, (), dtype),
            place=jnp.zeros((both,), jnp.int32),
            shown=jnp.zeros((both,), dtype),
            quotes=jnp.zeros((2,), dtype),
            total=jnp.zeros((2,), dtype),
        )
        return self._show(memory, memory.dither, grid)

    def sample(
        self,
        carry: Memory,
        key: PRNGKeyArray,
        book: DepthBook,
        mid_pull: float | Float[Array, ""] = 0.0,
        mid_weight: float = 1.0,
    ) -> tuple[Variation, Memory]:
        """The variation that makes `book` the next one: the chain's step, and the decayed traces of the agents."""
        mid = (best_ask(book) + best_bid(book)).astype(book.ask.dtype) / 2
        memory = self.advance(self._noticed(carry, book), key)
        planned = memory.ask - memory.spread / 2 + jnp.sum(memory.push)
        drift = mid_pull / 2 + (1.0 - mid_weight) * (mid - planned)
        memory = eqx.tree_at(lambda m: m.push, memory, memory.push.at[-1].add(drift))
        dither = memory.dither if mid_weight else jnp.full_like(memory.dither, 0.5)
        target, memory = self._show(memory, dither, book.ask.shape[-1])
        return (target.bid - book.bid, target.ask - book.ask), memory

    def advance(self, memory: Memory, key: PRNGKeyArray) -> Memory:
        """One step of the chain alone."""
        size = self.count[memory.row]
        at = jnp.floor(jax.random.uniform(key, (), memory.ask.dtype) * size.astype(memory.ask.dtype)).astype(jnp.int32)
        row = self.members[self.first[memory.row] + jnp.minimum(at, size - 1)]
        moved, spread = self.mid_change[row], self.spread[row]
        spread = spread + (moved + spread - memory.spread) % 2.0  # a mid lies on half-ticks of the spread's parity
        held = self.memory[(moved != 0.0).astype(jnp.int32)]
        changed = jnp.minimum(self.residual[row] * memory.volumes**held, self.most)
        return eqx.tree_at(
            lambda m: (m.row, m.ask, m.spread, m.volumes),
            memory,
            (
                row,
                memory.ask + (moved + spread - memory.spread) / 2,
                spread,
                jnp.where(self.changed[row] > 0, changed, memory.volumes),
            ),
        )

    def _noticed(self, memory: Memory, book: DepthBook) -> Memory:
        """What the agents' orders did to the book that was shown, a step later."""
        levels = self.levels
        left = jnp.concatenate([book.bid[memory.place[:levels]], book.ask[memory.place[levels:]]])
        taken = memory.total - jnp.stack([jnp.sum(book.bid), jnp.sum(book.ask)])
        wider = (best_ask(book) - best_bid(book)).astype(left.dtype) - (memory.quotes[1] - memory.quotes[0])
        return eqx.tree_at(
            lambda m: (m.push, m.widening, m.missing),
            memory,
            (
                memory.push * self.kept + self.impact * (taken[1] - taken[0]),
                (memory.widening + jnp.maximum(wider, 0.0)) * self.spread_kept,
                (memory.missing + jnp.maximum(memory.shown - left, 0.0)) * self.volume_kept,
            ),
        )

    def _show(self, memory: Memory, dither: Float[Array, ""], grid: int) -> tuple[DepthBook, Memory]:
        """The book of the agent's own state with the agents' traces, kept inside the grid."""
        push, levels, dtype = jnp.sum(memory.push), self.levels, memory.ask.dtype
        ask = memory.ask + jnp.floor(push + memory.widening / 2 + dither)
        bid = memory.ask - memory.spread + jnp.floor(push - memory.widening / 2 + dither)
        spread = jnp.minimum(ask - bid, float(grid - 2 * levels + 1))
        ask = jnp.clip(ask, spread + (levels - 1.0), float(grid - levels))
        volumes = jnp.maximum(jnp.round(memory.volumes - memory.missing), 1.0)
        offsets, tick = self.offsets[memory.row], jnp.arange(grid, dtype=dtype)
        book = DepthBook(
            bid=self._side(volumes[:levels], offsets[:levels], ask - spread - tick),
            ask=self._side(volumes[levels:], offsets[levels:], tick - ask),
        )
        at = jnp.concatenate([ask - spread - offsets[:levels], ask + offsets[levels:]])
        inside = (at >= 0) & (at < grid)
        shown = eqx.tree_at(
            lambda m: (m.place, m.shown, m.quotes, m.total),
            memory,
            (
                jnp.clip(at, 0, grid - 1).astype(jnp.int32),
                jnp.where(inside, volumes, 0.0),
                jnp.stack([ask - spread, ask]),
                jnp.stack([jnp.sum(book.bid), jnp.sum(book.ask)]),
            ),
        )
        return book, shown

    def _side(
        self, volumes: Float[Array, " levels"], offsets: Float[Array, " levels"], distance: Float[Array, " grid"]
    ) -> Float[Array, " grid"]:
        """Volume at every tick, `distance` ticks from the best."""
        below = distance - offsets[-1]
        side = jnp.where(below > 0.0, jnp.round(volumes[-1] / self.gap * jnp.exp(-self.decay * below)), 0.0)
        for level in range(self.levels):
            side = jnp.where(distance == offsets[level], volumes[level], side)
        return side

    @classmethod
    def alike(cls, models: Sequence["MemoryExchange"]) -> list["MemoryExchange"]:
        """Tables are padded to the longest; rows beyond `rows` are never drawn."""
        longest = max(model.spread.shape[0] for model in models)
        tables = (
            "volumes",
            "changed",
            "residual",
            "offsets",
            "spread",
            "mid_change",
            "first",
            "count",
            "members",
        )

        def padded(model: "MemoryExchange") -> "MemoryExchange":
            columns = [getattr(model, name) for name in tables]
            more = [jnp.pad(c, ((0, longest - len(c)),) + ((0, 0),) * (c.ndim - 1)) for c in columns]
            return eqx.tree_at(lambda m: [getattr(m, name) for name in tables], model, more)

        return [padded(model) for model in models]
