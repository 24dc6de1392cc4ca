"""How well an exchange agent fits: scores that can be compared, and recorded against simulated statistics.

Level-2 data are full of atoms (unchanged volumes, one-tick spreads), on which a density has no bound: the
log-likelihood of a Gaussian mixture depends on its variance floor, and at different floors is not comparable. Two
scores are:

* energy score  E‖X − y‖ − ½ E‖X − X'‖  of the simulator itself, rounding included: X, X' are draws of the next book
  given the present one, y what was recorded, as (volume changes, spread, mid change), each divided by its standard
  deviation. It is proper (least in expectation for the true law) and lower is better. Beside it stands the score of
  drawing past variations anew, the best that a law without memory does without a mixture;
* dequantised log-likelihood: that of a mixture fitted to dequantised samples (`ecn_samples`), a lower bound of the
  log-probability of the recorded lots, ticks and half-ticks, in nats per transition. Higher is better.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from diffgames.markets.depth_book import DepthBook, best_ask, best_bid, mid_price, top_levels
from diffgames.markets.ecn import ExchangeModel
from diffgames.markets.ecn_samples import Transitions
from diffgames.markets.exchange import AbstractExchange
from diffgames.markets.mixture_fit import MixtureFit
from diffgames.markets.resilience import autocorrelation

CHUNK = 256  # transitions scored at once
QUANTILES = (np.arange(200) + 0.5) / 200  # of the best levels' volume changes, both sides together


def dequantised_log_likelihood(
    fit: MixtureFit, samples: Transitions, unit: np.ndarray, noise: np.random.Generator, repeats: int = 4
) -> float:
    """Mean lower bound of the log-probability of a transition, in nats, over `repeats` draws of the noise."""
    total = 0.0
    for _ in range(repeats):
        coordinates, log_cells = samples.dequantised(unit, noise)
        total += float(np.mean(fit.log_likelihood(coordinates) - np.log(fit.scale).sum() + log_cells.sum(axis=1)))
    return total / repeats


def energy_scores(
    model: ExchangeModel,
    samples: Transitions,
    scale: np.ndarray,
    key: PRNGKeyArray,
    recorded: np.ndarray | None = None,
    draws: int = 64,
) -> np.ndarray:
    """Energy score of the next book given the present one, for every transition.

    `scale` are the standard deviations of (volume changes, spread, mid change). With `recorded`, coordinates of
    recorded variations, those are drawn at random in place of the model's mixture.
    """
    pool = None if recorded is None else jnp.asarray(recorded, jnp.float32)
    padding = -len(samples) % CHUNK  # one shape, one compilation
    columns = [
        jnp.asarray(np.concatenate([column, column[:1].repeat(padding, axis=0)]), jnp.float32)
        for column in (samples.before, samples.after, samples.spread_before, samples.spread, samples.mid_change)
    ]
    keys, scores = jax.random.split(key, len(samples) + padding), []
    for start in range(0, len(samples), CHUNK):
        part = slice(start, start + CHUNK)
        scores.append(
            _scores(model, pool, jnp.asarray(scale, jnp.float32), keys[part], *(c[part] for c in columns), draws)
        )
    return np.concatenate(scores).astype(float)[: len(samples)]


@functools.partial(jax.jit, static_argnames="draws")
def _scores(model, pool, scale, keys, before, after, spread_before, spread, mid_change, draws):
    """Energy score of each transition."""

    def outcome(volumes, now, width, move_half_ticks):
        return jnp.concatenate([volumes - now, width[None], move_half_ticks[None]]) / scale

    def one(key, now, later, width, next_width, moved):
        def simulate(key):
            if pool is None:
                volumes, drawn, move = model.sample_levels(key, now, width)
            else:
                row = jax.random.randint(key, (), 0, pool.shape[0], jnp.int32)
                volumes, drawn, move = model.apply_draw(pool[row], now, width)
            return outcome(volumes, now, drawn, 2.0 * move - (drawn - width))

        simulated = jax.vmap(simulate)(jax.random.split(key, draws))
        recorded = outcome(later, now, next_width, moved)
        return energy_score(simulated, recorded)

    return jax.vmap(one)(keys, before, after, spread_before, spread, mid_change)


def energy_score(simulated: Float[Array, "draws d"], recorded: Float[Array, " d"]) -> Float[Array, ""]:
    """E‖X − y‖ − ½ E‖X − X'‖, the second mean over pairs out of the first and the second half of the draws."""
    half = simulated.shape[0] // 2
    distance = jnp.sqrt(jnp.sum((simulated - recorded[None, :]) ** 2, axis=1))
    apart = jnp.sqrt(jnp.sum((simulated[:half] - simulated[half:]) ** 2, axis=1))
    return jnp.mean(distance) - 0.5 * jnp.mean(apart)


class LevelPaths(eqx.Module):
    """Simulated levels: volumes (lots), spreads (ticks), mid changes (half-ticks) of every path and step."""

    volume: Float[Array, "paths steps levels_of_both_sides"]
    spread: Float[Array, "paths steps"]
    mid_change: Float[Array, "paths steps"]


@functools.partial(jax.jit, static_argnames=("paths", "steps"))
def simulate_levels(
    model: ExchangeModel,
    volumes: Float[Array, " levels_of_both_sides"],
    spread: Float[Array, ""],
    key: PRNGKeyArray,
    paths: int,
    steps: int,
) -> LevelPaths:
    """Paths of the exchange agent alone, from the given volumes and spread."""

    def path(key):
        def body(state, key):
            volumes, spread, move = model.sample_levels(key, *state)
            return (volumes, spread), (volumes, spread, 2.0 * move - (spread - state[1]))

        return jax.lax.scan(body, (volumes, spread), jax.random.split(key, steps))[1]

    volume, spreads, moves = jax.vmap(path)(jax.random.split(key, paths))
    return LevelPaths(volume=volume, spread=spreads, mid_change=moves)


def statistics(
    volume: Float[np.ndarray, "paths steps levels"],
    change: Float[np.ndarray, "paths steps levels"],
    spread: Float[np.ndarray, "paths steps"],
    mid_change: Float[np.ndarray, "paths steps"],
) -> dict[str, object]:
    """What recorded (one path) and simulated books are compared by, as plain numbers and lists."""
    widest, autocorrelations = int(spread.max()), best_autocorrelation(volume)
    spread_autocorrelation = float(autocorrelation(spread.T, 1))
    volume, change = volume.reshape(-1, volume.shape[-1]), change.reshape(-1, change.shape[-1])
    return {
        "mean_volume": volume.mean(axis=0).tolist(),
        "sd_volume": volume.std(axis=0).tolist(),
        "unchanged_volume": (change == 0).mean(axis=0).tolist(),
        "fall_rate": (np.maximum(-change, 0.0) / (volume - change)).mean(axis=0).tolist(),
        "change_quantiles": np.quantile(change[:, [0, change.shape[1] // 2]], QUANTILES).tolist(),
        "spread_share": [float(np.mean(spread == width)) for width in range(1, widest + 1)],
        "mid_unchanged": float(np.mean(mid_change == 0)),
        "mid_deviation": float(mid_change.std() / 2),
        "kurtosis": float(((mid_change - mid_change.mean()) ** 4).mean() / max(mid_change.var() ** 2, 1e-300)),
        "spread_autocorrelation": spread_autocorrelation,
        "autocorrelation": autocorrelations,
    }


def recorded_statistics(*samples: Transitions) -> dict[str, object]:
    """Statistics of recorded transitions, each argument one path: the record and, if need be, its mirror image."""

    def stacked(name):
        return np.stack([getattr(one, name) for one in samples])

    after = stacked("after")
    return statistics(after, after - stacked("before"), stacked("spread"), stacked("mid_change"))


def simulated_statistics(paths: LevelPaths, settling: int) -> dict[str, object]:
    """Statistics of simulated paths, their first `settling` ≥ 1 steps left out."""
    volume = np.asarray(paths.volume, np.float64)

    def later(values):
        return np.asarray(values, np.float64)[:, settling:]

    change = np.diff(volume, axis=1)[:, settling - 1 :]
    return statistics(volume[:, settling:], change, later(paths.spread), later(paths.mid_change))


def simulate_books(model: AbstractExchange, key: PRNGKeyArray, paths: int, steps: int) -> LevelPaths:
    """Paths of any exchange agent alone, by its `open` and `sample`, on a grid that holds them."""
    return _books(model, jax.random.split(key, paths), steps, model.price_grid(steps))


@eqx.filter_jit
def _books(model: AbstractExchange, keys: Array, steps: int, grid: int) -> LevelPaths:
    def path(key):
        opening, running = jax.random.split(key)

        def body(state, key):
            book, carry = state
            (bid, ask), carry = model.sample(carry, key, book)
            after = DepthBook(bid=book.bid + bid, ask=book.ask + ask)
            spread = (best_ask(after) - best_bid(after)).astype(after.ask.dtype)
            return (after, carry), (top_levels(after, model.levels), spread, 2.0 * (mid_price(after) - mid_price(book)))

        return jax.lax.scan(body, model.open(opening, grid), jax.random.split(running, steps))[1]

    volume, spread, moved = jax.vmap(path)(keys)
    return LevelPaths(volume=volume, spread=spread, mid_change=moved)


def best_autocorrelation(volume: Float[np.ndarray, "paths steps levels"], lags: int = 61) -> list[float]:
    """Autocorrelation of the best levels' volumes at lags 0, 1, …, over all paths, the mean of both sides."""
    best = volume[:, :, [0, volume.shape[-1] // 2]].swapaxes(0, 1)
    return [float(autocorrelation(best, lag).mean()) for lag in range(lags)]
