"""Simulating quotes in the full market-making game: fills, price, jumps, predator and regime controller together.

Time is cut into S equal steps over which the quotes and switching rates of a table stand, [step, regime, inventory];
within them nothing is discretised. Every path goes from event to event: with the sum Λ of all intensities (fills per
side and size where they stay on the inventory grid, price jumps, switches) the next event comes after an exponential
time, or the step ends before, and is each with its share of Λ. In between the price moves by (b + w)dt + σ dW and the
compensation of its jumps; the wealth m + qS starts at zero and moves by the offsets earned and the inventory times the
price change. Its lowest point between two events is drawn from the law of the Brownian bridge, so that a loss limit is
watched at all times. All that is left of the step is that quotes stand still over it.

A path is *ruined* where its wealth falls by `loss_limit` from the highest it had at any event or end of a step (a
trailing stop): the inventory is then sold at the book's price, `cost` below its worth at the mid, and `ended` keeps
what is left, while the path goes on for the statistics of its inventory.
`simulate_quotes` maps over a first axis of several (strategy, environment) pairs on the same random numbers; paths are
simulated in chunks, in float32.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.market_making import MarketMakingGame, adverse

CHUNK = 8192


class Surroundings(eqx.Module):
    """What quotes meet: switching rates (zero diagonal) per time, the predator's push and its pay per time."""

    rates: Float[Array | np.ndarray, "*batch S N N K"]
    push: Float[Array | np.ndarray, "N K"]
    pay: Float[Array | np.ndarray, "N K"]


class Outcomes(eqx.Module):
    """Per path: final wealth m + qS, final inventory, largest |inventory|, lowest wealth, largest drawdown, fills.

    `paid` is what the predator paid, in certainty equivalents: E[−e^{−γ(wealth + paid)}] is the game's objective.
    `turbulent` is the share of the time outside regime 0. `ended` is the wealth with forced liquidation at ruin, the
    final wealth elsewhere. Drawdowns are from the highest wealth at an event or end of a step to the lowest after it.
    """

    wealth: Float[Array, "*batch paths"]
    inventory: Float[Array, "*batch paths"]
    largest_inventory: Float[Array, "*batch paths"]
    lowest_wealth: Float[Array, "*batch paths"]
    drawdown: Float[Array, "*batch paths"]
    fills: Float[Array, "*batch paths"]
    paid: Float[Array, "*batch paths"]
    turbulent: Float[Array, "*batch paths"]
    ruined: Float[Array, "*batch paths"]
    ended: Float[Array, "*batch paths"]


def predator_push(game: MarketMakingGame, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Push w = −strength · w*q [N, K] of a predator of `strength` times ξ, its best at any quotes, and what it pays."""
    slope = float(game.predator_drift) * strength
    push = np.broadcast_to(-slope * game.inventory.astype(float), (game.regimes, game.inventory.size))
    return push, np.abs(0.5 * push * game.inventory)


def step_table(
    game: MarketMakingGame,
    ask: Float[np.ndarray, "S N K Z"],
    bid: Float[np.ndarray, "S N K Z"],
    around: Surroundings,
    *,
    cost: Float[np.ndarray, "N K"] | None = None,
) -> Float[np.ndarray, "S rows columns"]:
    """Everything an event needs, one row per (regime, inventory); quotes are NaN or infinite where a side is closed.

    Columns: intensities summed up over fills (per size ask, then bid), jump and next regime; what the fills earn;
    price drift, deviation, pay of the predator, jump mean and deviation, cost of selling the inventory at the book.
    """
    steps, n, count = ask.shape[:3]
    k, rates, earned = np.asarray(game.k), [], []
    for index, size in enumerate(game.sizes):
        for table, flow, sign in ((ask, game.ask_flow, -1), (bid, game.bid_flow, 1)):
            stays = np.abs(game.inventory + sign * size) <= game.inventory_max
            offset = np.where(stays, np.nan_to_num(np.asarray(table, float)[..., index], nan=np.inf), np.inf)
            rates.append(np.asarray(flow)[None, :, None, index] * np.exp(-k[None, :, None] * offset))
            earned.append(np.where(np.isinf(offset), 0.0, size * offset - np.asarray(adverse(game, size))))
    switching = np.array(around.rates, float)
    if switching.min() < -1e-9 * np.abs(switching).max():
        raise InvalidInput("rates", float(switching.min()), "switching intensities ≥ 0 after modulation")
    switching[:, np.arange(n), np.arange(n)] = 0.0
    flat = np.zeros((n, count))
    jumps = np.asarray(game.jump_rate)[:, None] + flat
    events = [*rates, jumps, *np.moveaxis(np.maximum(switching, 0.0), 2, 0)]
    cumulative = np.cumsum([np.broadcast_to(part, (steps, n, count)) for part in events], axis=0)
    static = [
        (np.asarray(game.drift) - np.asarray(game.jump_rate) * np.asarray(game.jump_mean))[:, None]
        + np.asarray(around.push),
        np.asarray(game.sigma)[:, None] + flat,
        np.asarray(around.pay) + flat,
        np.asarray(game.jump_mean)[:, None] + flat,
        np.asarray(game.jump_deviation)[:, None] + flat,
        flat if cost is None else cost,
    ]
    parts = [*cumulative, *earned, *(np.broadcast_to(part, (steps, n, count)) for part in static)]
    return np.stack(parts, axis=-1).reshape(steps, n * count, -1).astype(np.float32)


def simulate_quotes(
    game: MarketMakingGame,
    tables: Float[np.ndarray, "batch S rows columns"],
    key: PRNGKeyArray,
    *,
    paths: int,
    start_regime: int = 0,
    start_inventory: int = 0,
    loss_limit: float = float("inf"),
) -> Outcomes:
    """Simulate every table of `tables` (from `step_table`) on the same random numbers; compiled, in float32."""
    if paths < 1:
        raise InvalidInput("paths", paths, "an integer ≥ 1")
    if abs(start_inventory) > game.inventory_max:
        raise InvalidInput("start_inventory", start_inventory, f"an inventory within ±{game.inventory_max}")
    if not 0 <= start_regime < game.regimes:
        raise InvalidInput("start_regime", start_regime, f"a regime from 0 to {game.regimes - 1}")
    shape = (game.regimes, game.inventory_max, game.sizes)
    start = jnp.asarray([start_regime, start_inventory], jnp.int32)
    scale = jnp.asarray([float(game.horizon) / tables.shape[1], loss_limit], jnp.float32)
    chunk, parts = min(CHUNK, paths), []
    for index in range(-(-paths // chunk)):
        part = _run(jnp.asarray(tables, jnp.float32), jax.random.fold_in(key, index), start, scale, chunk, shape)
        parts.append(jax.tree.map(np.asarray, part))
    return jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves, axis=-1)[..., :paths]), *parts)


Shape = tuple[int, int, tuple[int, ...]]


@eqx.filter_jit
def _run(
    tables: Float[Array, "batch S rows columns"],
    key: PRNGKeyArray,
    start: Int[Array, "2"],
    scale: Float[Array, "2"],
    paths: int,
    shape: Shape,
) -> Outcomes:
    batch, steps, rows = tables.shape[:3]
    zero = jnp.zeros((batch, paths), jnp.float32)
    state = {
        "step": jnp.zeros((batch, paths), jnp.int32),
        "left": zero + scale[0],
        "regime": jnp.full((batch, paths), start[0], jnp.int32),
        "inventory": jnp.full((batch, paths), start[1], jnp.int32),
        "largest": zero + jnp.abs(start[1]).astype(jnp.float32),
        "ruined": jnp.zeros((batch, paths), bool),
        **dict.fromkeys(("wealth", "lowest", "highest", "drawdown", "fills", "paid", "turbulent", "ended"), zero),
    }
    flat = tables.reshape(batch, steps * rows, -1)

    def event(carry: tuple[Array, dict[str, Array]]) -> tuple[Array, dict[str, Array]]:
        index, state = carry
        noise, uniforms = jax.random.split(jax.random.fold_in(key, index))
        normal = jax.random.normal(noise, (2, paths), jnp.float32)
        uniform = jax.random.uniform(uniforms, (3, paths), jnp.float32)
        state = jax.vmap(lambda one, table: _advance(one, table, normal, uniform, scale, steps, shape))(state, flat)
        return index + 1, state

    def unfinished(carry: tuple[Array, dict[str, Array]]) -> Array:
        return jnp.any(carry[1]["step"] < steps)

    _, state = jax.lax.while_loop(unfinished, event, (jnp.zeros((), jnp.int32), state))
    return Outcomes(
        wealth=state["wealth"],
        inventory=state["inventory"].astype(jnp.float32),
        largest_inventory=state["largest"],
        lowest_wealth=state["lowest"],
        drawdown=state["drawdown"],
        fills=state["fills"],
        paid=state["paid"],
        turbulent=state["turbulent"] / (steps * scale[0]),
        ruined=state["ruined"].astype(jnp.float32),
        ended=jnp.where(state["ruined"], state["ended"], state["wealth"]),
    )


def _advance(
    state: dict[str, Array],
    table: Float[Array, "rows columns"],
    normal: Float[Array, "2 paths"],
    uniform: Float[Array, "3 paths"],
    scale: Float[Array, "2"],
    steps: int,
    shape: Shape,
) -> dict[str, Array]:
    """Every path of one table to its next event or to the end of its step, whichever comes first."""
    regimes, bound, sizes = shape
    fills, span = 2 * len(sizes), 2 * bound + 1
    step, q, regime, wealth = state["step"], state["inventory"], state["regime"], state["wealth"]
    row = table[jnp.minimum(step, steps - 1) * (regimes * span) + regime * span + q + bound].T
    cumulative, earned = row[: fills + 1 + regimes], row[fills + 1 + regimes : 2 * fills + 1 + regimes]
    drift, deviation, pay, jump_mean, jump_deviation, cost = row[2 * fills + 1 + regimes :]
    going = step < steps
    wait = -jnp.log1p(-uniform[0]) / jnp.maximum(cumulative[-1], 1e-30)
    happens = going & (wait < state["left"])
    dt = jnp.where(going, jnp.minimum(wait, state["left"]), 0.0)

    held = q.astype(jnp.float32)
    change = held * (drift * dt + deviation * jnp.sqrt(dt) * normal[0])
    bridge = -2.0 * (held * deviation) ** 2 * dt * jnp.log1p(-uniform[2])
    low = wealth + 0.5 * (change - jnp.sqrt(change**2 + bridge))
    wealth = wealth + change

    which = jnp.sum((uniform[1] * cumulative[-1])[None] >= cumulative, axis=0, dtype=jnp.int32)
    which = jnp.where(happens, jnp.minimum(which, fills + regimes), -1)
    for index in range(fills):
        here = which == index
        q = q + jnp.where(here, (-1, 1)[index % 2] * sizes[index // 2], 0)
        wealth = wealth + jnp.where(here, earned[index], 0.0)
    wealth = wealth + jnp.where(which == fills, held * (jump_mean + jump_deviation * normal[1]), 0.0)
    filled = happens & (which < fills)

    stop = state["highest"] - scale[1]
    hit = going & ~state["ruined"] & (jnp.minimum(low, wealth) <= stop)
    left_over = jnp.where(low <= stop, stop, wealth) - cost  # a path that jumps over the limit loses more
    highest = jnp.maximum(state["highest"], wealth)
    low = jnp.minimum(low, wealth)
    return {
        "step": step + (going & ~happens).astype(jnp.int32),
        "left": jnp.where(happens, state["left"] - dt, scale[0]),
        "regime": jnp.where(which > fills, which - fills - 1, regime),
        "inventory": q,
        "wealth": wealth,
        "largest": jnp.maximum(state["largest"], jnp.abs(q).astype(jnp.float32)),
        "lowest": jnp.minimum(state["lowest"], low),
        "highest": highest,
        "drawdown": jnp.maximum(state["drawdown"], state["highest"] - low),
        "fills": state["fills"] + filled.astype(jnp.float32),
        "paid": state["paid"] + pay * dt,
        "turbulent": state["turbulent"] + jnp.where(regime > 0, dt, 0.0),
        "ruined": state["ruined"] | hit,
        "ended": jnp.where(hit, left_over, state["ended"]),
    }
