"""Feedback Nash of a two-player discrete linear-quadratic game without end: QuantEcon's `nnash` and the engine.

n = 4 states, one control each, discount 0.95, tolerance 1e-8 of QuantEcon's iteration; the engine polishes by chords
of one Jacobian. One game, and 1,000 games of random data in one call against a loop timed on a sample. Of random
games about one in a hundred has best replies that cycle for ever, on both sides: these are drawn anew. Needs the
extra `bench`.
"""

import importlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.benchmarks.timing import best_of
from diffgames.errors import InvalidInput
from diffgames.games.plain import nash_game
from diffgames.solvers.recursion import step_back
from diffgames.solvers.stationary import Stationary

STATES, GAMES, SAMPLE, DISCOUNT, PATIENCE = 4, 1000, 20, 0.95, 200


def run(games: int = GAMES, sample: int = SAMPLE) -> dict[str, float | str]:
    """Milliseconds a game by each side, ratios, and the largest difference of the gains on the sample."""
    try:
        nnash = importlib.import_module("quantecon").nnash
    except ImportError as error:
        raise InvalidInput("quantecon-nnash", "quantecon", "an installation: pip install 'diffgames[bench]'") from error
    with jax.enable_x64(True):
        a, b, q = _settling(games)
        solve = jax.jit(_gains)
        many = jax.jit(jax.vmap(_gains))
        one = [jnp.asarray(x[0]) for x in (a, b, q)]
        every = [jnp.asarray(x) for x in (a, b, q)]
        single = best_of(20, lambda: solve(*one)).wall
        batch, _, _, gains = best_of(3, lambda: many(*every))
    theirs, started = [], time.perf_counter()
    scale = np.sqrt(DISCOUNT)
    none, cost = np.zeros((1, 1)), np.eye(1)
    blank = np.zeros((STATES, 1))
    for k in range(sample):
        f1, f2, _, _ = nnash(
            scale * a[k], scale * b[k, 0], scale * b[k, 1], q[k, 0], q[k, 1], cost, cost, none, none,
            blank, blank, none, none, tol=1e-8,
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


def _settling(games: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random games (A, B, Q) whose iteration has settled after `PATIENCE` steps."""
    rng = np.random.default_rng(0)
    drawn = games + games // 10 + 10
    a = 0.3 * rng.normal(size=(drawn, STATES, STATES))
    b = rng.normal(size=(drawn, 2, STATES, 1))
    root = rng.normal(size=(drawn, 2, STATES, STATES))
    q = root @ np.swapaxes(root, -1, -2) / STATES

    def last_change(a, b, q):
        game = _game(a, b, q)

        def back(values, _):
            earlier = step_back(game, jnp.zeros(()), values)[0].at[:, :, -1, -1].set(0.0)
            return earlier, jnp.max(jnp.abs(earlier - values))

        return jax.lax.scan(back, game.terminal, None, length=PATIENCE)[1][-1]

    settled = np.asarray(jax.jit(jax.vmap(last_change))(a, b, q)) < 1e-9
    return a[settled][:games], b[settled][:games], q[settled][:games]


def _game(a, b, q):
    one = jnp.eye(1)
    return nash_game(A=a, B=[b[0], b[1]], Q=[q[0], q[1]], R=[one, one], discount=-np.log(DISCOUNT), discrete=True)


def _gains(a, b, q):
    """Stationary gains [2, n + 1]."""
    return Stationary()(_game(a, b, q)).profile.gain.value[0, 0]
