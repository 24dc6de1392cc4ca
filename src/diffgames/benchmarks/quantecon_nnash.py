"""Feedback Nash of a two-player discrete linear-quadratic game without end: QuantEcon's `nnash` and the engine.

n = 4 states, one control each, discount 0.95, tolerance 1e-8 of QuantEcon's iteration; the engine polishes by Newton's
method. One game, and 1,000 games of random data in one call against a loop timed on a sample. Needs the extra `bench`.
"""

import importlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.errors import InvalidInput
from diffgames.games.plain import nash_game
from diffgames.solvers.stationary import Stationary

STATES, GAMES, SAMPLE, DISCOUNT = 4, 1000, 20, 0.95


def run(games: int = GAMES, sample: int = SAMPLE) -> dict[str, float | str]:
    """Milliseconds a game by each side, ratios, and the largest difference of the gains on the sample."""
    try:
        nnash = importlib.import_module("quantecon").nnash
    except ImportError as error:
        raise InvalidInput("quantecon-nnash", "quantecon", "an installation: pip install diffgames[bench]") from error
    rng = np.random.default_rng(0)
    a = 0.3 * rng.normal(size=(games, STATES, STATES))
    b = rng.normal(size=(games, 2, STATES, 1))
    root = rng.normal(size=(games, 2, STATES, STATES))
    q = root @ np.swapaxes(root, -1, -2) / STATES
    with jax.enable_x64(True):
        solve = jax.jit(_gains)
        many = jax.jit(jax.vmap(_gains))
        one = [jnp.asarray(x[0]) for x in (a, b, q)]
        every = [jnp.asarray(x) for x in (a, b, q)]
        single, _ = _best_seconds(lambda: solve(*one), 20)
        batch, gains = _best_seconds(lambda: many(*every), 3)
    theirs, started = [], time.perf_counter()
    scale = np.sqrt(DISCOUNT)
    none, cost = np.zeros((1, 1)), np.eye(1)
    blank = np.zeros((STATES, 1))
    for k in range(sample):
        f1, f2, _, _ = nnash(
            scale * a[k], scale * b[k, 0], scale * b[k, 1], q[k, 0], q[k, 1], cost, cost, none, none,
            blank.T, blank.T, none, none, tol=1e-8,
        )  # fmt: skip
        theirs.append(np.concatenate([f1, f2]))
    loop = (time.perf_counter() - started) / sample
    difference = np.abs(-np.asarray(gains)[:sample, :, :STATES] - np.asarray(theirs)).max()
    return {
        "device": jax.devices()[0].device_kind,
        "quantecon_ms": 1e3 * loop,
        "one_game_ms": 1e3 * single,
        "ratio_one_game": loop / single,
        f"{games}_games_seconds": batch,
        "quantecon_loop_seconds": loop * games,
        "ratio_batch": loop * games / batch,
        "largest_difference": float(difference),
    }


def _gains(a, b, q):
    """Stationary gains [2, n + 1]."""
    one = jnp.eye(1)
    game = nash_game(A=a, B=[b[0], b[1]], Q=[q[0], q[1]], R=[one, one], discount=-np.log(DISCOUNT), discrete=True)
    return Stationary()(game).profile.gain.value[0, 0]


def _best_seconds(compute, repeats: int):
    jax.block_until_ready(compute())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = jax.block_until_ready(compute())
        times.append(time.perf_counter() - started)
    return min(times), result
