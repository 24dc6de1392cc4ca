"""Simulating quotes in the full market-making game: fills, price, jumps, predator and regime controller together.

Over a step of length h the quotes of the table at (t, regime, inventory) stand; every side and size is filled at most
once, with probability 1 − e^{−Λh} (or Λh, the discretisation of Avellaneda & Stoikov's tables, `linear_fills`), unless
the inventory would leave the grid; then the price moves by (b + w)h + σ√h ξ and the compensated jump, and the regime
switches with the odds P(i → i) = e^{μ_ii h}, P(i → j) = (1 − e^{μ_ii h}) μ_ij/(−μ_ii). The wealth m + qS starts at zero
and moves by the offsets earned and the inventory times the price change; means are of first order in h. Everything a
step needs is one row of a table, [regime × inventory, columns], so that a path reads one contiguous row per step; paths
are simulated in chunks.

`simulate_quotes` maps over a first axis of several (strategy, environment) pairs on the same random numbers.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.market_making import MarketMakingGame

CHUNK = 8192


class Surroundings(eqx.Module):
    """What quotes meet: switching rates (zero diagonal) per time, the predator's push, the regime at the start."""

    rates: Float[Array, "S N N K"]
    push: Float[Array, "N K"]
    start: int = eqx.field(static=True, default=0)


class Outcomes(eqx.Module):
    """Per path: final wealth m + qS, final inventory, largest |inventory|, lowest wealth, largest drawdown, fills.

    `paid` is what the predator paid, in certainty equivalents: E[−e^{−γ(wealth + paid)}] is the game's objective.
    `turbulent` is the share of the time outside regime 0.
    """

    wealth: Float[Array, "*batch paths"]
    inventory: Float[Array, "*batch paths"]
    largest_inventory: Float[Array, "*batch paths"]
    lowest_wealth: Float[Array, "*batch paths"]
    drawdown: Float[Array, "*batch paths"]
    fills: Float[Array, "*batch paths"]
    paid: Float[Array, "*batch paths"]
    turbulent: Float[Array, "*batch paths"]


def step_table(
    game: MarketMakingGame,
    ask: Float[np.ndarray, "S N K Z"],
    bid: Float[np.ndarray, "S N K Z"],
    around: Surroundings,
    *,
    linear_fills: bool = False,
) -> Float[np.ndarray, "S rows columns"]:
    """Everything a step needs, one row per (regime, inventory); quotes are NaN or infinite where a side is closed.

    Columns: per size and side (fill probability, wealth earned); price drift, deviation, pay of the predator, jump
    odds, mean and deviation; cumulative odds of the next regime.
    """
    steps, n, count = ask.shape[:3]
    h = float(game.horizon) / steps
    k, parts = np.asarray(game.k), []
    for index, size in enumerate(game.sizes):
        for table, flow in ((ask, game.ask_flow), (bid, game.bid_flow)):
            offset = np.nan_to_num(np.asarray(table, float)[..., index], nan=np.inf)
            rate = np.asarray(flow)[None, :, None, index] * np.exp(-k[None, :, None] * offset)
            odds = rate * h if linear_fills else -np.expm1(-rate * h)
            parts += [np.clip(odds, 0.0, 1.0), np.where(np.isinf(offset), 0.0, size * offset)]
    push = np.asarray(around.push)
    unit = float(game.xi) * (float(game.gamma) if game.predator == "utility" else 1.0)
    jump_drift = np.asarray(game.jump_rate * game.jump_mean)
    pay = push**2 / (2 * unit) * h if unit > 0 else 0.0 * push
    static = [
        (np.asarray(game.drift)[:, None] - jump_drift[:, None] + push) * h,
        np.asarray(game.sigma)[:, None] * np.sqrt(h) + 0.0 * push,
        pay,
        -np.expm1(-np.asarray(game.jump_rate) * h)[:, None] + 0.0 * push,
        np.asarray(game.jump_mean)[:, None] + 0.0 * push,
        np.asarray(game.jump_deviation)[:, None] + 0.0 * push,
    ]
    parts += [np.broadcast_to(part, (steps, n, count)) for part in static]
    rates = np.asarray(around.rates, float)
    if rates.min() < -1e-9:
        raise InvalidInput("rates", float(rates.min()), "switching intensities ≥ 0 after modulation")
    leave = rates.sum(axis=2)
    share = (1 - np.exp(-leave * h)) / np.where(leave > 0, leave, 1.0)
    odds = np.maximum(rates, 0.0) * share[:, :, None]
    odds[:, np.arange(n), np.arange(n)] = np.exp(-leave * h)
    parts += list(np.moveaxis(np.cumsum(odds, axis=2), 2, 0))
    return np.stack(parts, axis=-1).reshape(steps, n * count, -1).astype(np.float32)


def simulate_quotes(
    game: MarketMakingGame,
    tables: Float[np.ndarray, "batch S rows columns"],
    key: PRNGKeyArray,
    *,
    paths: int,
    start_regime: Int[np.ndarray, " batch"],
    start_inventory: int = 0,
) -> Outcomes:
    """Simulate every table of `tables` (from `step_table`) on the same random numbers; compiled, in float32."""
    if paths < 1:
        raise InvalidInput("paths", paths, "an integer ≥ 1")
    if abs(start_inventory) > game.inventory_max:
        raise InvalidInput("start_inventory", start_inventory, f"an inventory within ±{game.inventory_max}")
    shape = (game.regimes, game.inventory_max, game.sizes, bool(np.any(np.asarray(game.jump_rate) > 0)))
    chunk = min(CHUNK, paths)
    start = jnp.asarray(start_regime, jnp.int32)
    parts = []
    for index in range(-(-paths // chunk)):
        part = _run(
            jnp.asarray(tables, jnp.float32), jax.random.fold_in(key, index), start, start_inventory, chunk, shape
        )
        parts.append(jax.tree.map(np.asarray, part))
    return jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves, axis=-1)[..., :paths]), *parts)


@eqx.filter_jit
def _run(
    tables: Float[Array, "batch S rows columns"],
    key: PRNGKeyArray,
    start: Int[Array, " batch"],
    inventory: int,
    paths: int,
    shape: tuple[int, int, tuple[int, ...], bool],
) -> Outcomes:
    _, _, sizes, jumps = shape
    batch, steps = tables.shape[:2]
    zero = jnp.zeros((batch, paths), jnp.float32)
    state = {
        "regime": jnp.broadcast_to(start[:, None], (batch, paths)),
        "inventory": jnp.full((batch, paths), inventory, jnp.int32),
        **dict.fromkeys(("wealth", "largest", "lowest", "highest", "drawdown", "fills", "paid", "turbulent"), zero),
    }
    state["largest"] = state["largest"] + abs(float(inventory))
    draws = 2 * len(sizes) + 1 + jumps

    def step(state: dict[str, Array], inputs: tuple[Array, Array]) -> tuple[dict[str, Array], None]:
        rows, index = inputs
        noise, uniforms = jax.random.split(jax.random.fold_in(key, index))
        normal = jax.random.normal(noise, (1 + jumps, paths), jnp.float32)
        uniform = jax.random.uniform(uniforms, (draws, paths), jnp.float32)
        return jax.vmap(lambda one, table: _advance(one, table, normal, uniform, shape))(state, rows), None

    order = (jnp.swapaxes(tables, 0, 1), jnp.arange(steps, dtype=jnp.int32))
    state, _ = jax.lax.scan(step, state, order)
    return Outcomes(
        wealth=state["wealth"],
        inventory=state["inventory"].astype(jnp.float32),
        largest_inventory=state["largest"],
        lowest_wealth=state["lowest"],
        drawdown=state["drawdown"],
        fills=state["fills"],
        paid=state["paid"],
        turbulent=state["turbulent"] / steps,
    )


def _advance(
    state: dict[str, Array],
    table: Float[Array, "rows columns"],
    normal: Float[Array, "normals paths"],
    uniform: Float[Array, "uniforms paths"],
    shape: tuple[int, int, tuple[int, ...], bool],
) -> dict[str, Array]:
    """One step of all paths of one table."""
    regimes, bound, sizes, jumps = shape
    q, regime, wealth, fills = state["inventory"], state["regime"], state["wealth"], state["fills"]
    row = table[regime * (2 * bound + 1) + q + bound].T
    for index, size in enumerate(sizes):
        for side, sign in enumerate((-1, 1)):
            column = 2 * (2 * index + side)
            after = q + sign * size
            filled = (uniform[2 * index + side] < row[column]) & (jnp.abs(after) <= bound)
            q, wealth = jnp.where(filled, after, q), wealth + jnp.where(filled, row[column + 1], 0.0)
            fills = fills + filled.astype(jnp.float32)
    drift, deviation, pay, jump_odds, jump_mean, jump_deviation = row[4 * len(sizes) : 4 * len(sizes) + 6]
    change = drift + deviation * normal[0]
    if jumps:
        jumped = uniform[2 * len(sizes) + 1] < jump_odds
        change = change + jnp.where(jumped, jump_mean + jump_deviation * normal[1], 0.0)
    wealth = wealth + q.astype(jnp.float32) * change
    cumulative = row[4 * len(sizes) + 6 :]
    switch = uniform[2 * len(sizes)]
    regime = jnp.sum(switch[None, :] >= cumulative, axis=0, dtype=jnp.int32)
    regime = jnp.minimum(regime, regimes - 1)  # cumulative odds may round to just below one
    highest = jnp.maximum(state["highest"], wealth)
    return {
        "regime": regime,
        "inventory": q,
        "wealth": wealth,
        "largest": jnp.maximum(state["largest"], jnp.abs(q).astype(jnp.float32)),
        "lowest": jnp.minimum(state["lowest"], wealth),
        "highest": highest,
        "drawdown": jnp.maximum(state["drawdown"], highest - wealth),
        "fills": fills,
        "paid": state["paid"] + pay,
        "turbulent": state["turbulent"] + (regime > 0).astype(jnp.float32),
    }
