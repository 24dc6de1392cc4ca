"""How many player-steps a second a simulated mean-field population makes, at 10⁴, 10⁵ and 10⁶ players.

The population is the limit of inter-bank lending with common noise, in single precision, without jumps and with
compensated normal jumps of intensity one. The twin is the loop one writes with NumPy: whole arrays over the players,
one step after the other, the same draws in law; both must come to the same mean cost within five standard errors.
Memory is what the compiled program needs beside its results, and the largest array the twin holds times their number.
CPU seconds are those of all threads together: they let figures be compared that were taken on a shared machine.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffgames.benchmarks.timing import best_of
from diffgames.errors import RunFailed
from diffgames.games.jumps import JumpLaw, NormalMarks
from diffgames.simulation import population as module
from diffgames.simulation.population import Population

PLAYERS = (10_000, 100_000, 1_000_000)
STEPS = 20
CHUNK = 65_536
PULL, NOISE, COMMON, INTENSITY, MARK = 0.6, 0.9, 0.2, 1.0, 0.3


def run() -> dict[str, Any]:
    """Player-steps per second and per CPU second, ratios to the NumPy loop, and memory, by number of players."""
    figures: dict[str, Any] = {"device": jax.devices()[0].device_kind, "steps": STEPS}
    for name, jumps in (("brownian", False), ("jumps", True)):
        wall, cpu, ratio, memory = {}, {}, {}, {}
        for players in PLAYERS:
            label = f"{players}_players"
            compiled, arguments = _compiled(players, jumps)
            seconds = best_of(3, lambda compiled=compiled, arguments=arguments: compiled(*arguments))
            twin_seconds = best_of(3, lambda players=players, jumps=jumps: numpy_population(players, jumps, 1))
            crowd = seconds.result
            cost, error = numpy_population(players, jumps, 0)
            if abs(float(crowd.cost) - cost) > 5 * np.hypot(float(crowd.standard_error), error) + 0.02 * cost:
                raise RunFailed(f"mean costs differ: {float(crowd.cost):.4g} and {cost:.4g}", "report this as a bug")
            wall[label], cpu[label] = (players * STEPS / second for second in seconds[:2])
            ratio[label] = twin_seconds.cpu / seconds.cpu
            if (analysis := compiled.compiled.memory_analysis()) is not None:
                memory[label] = analysis.temp_size_in_bytes / 2**20
        figures[f"{name}_player_steps_per_second"] = wall
        figures[f"{name}_player_steps_per_cpu_second"] = cpu
        figures[f"{name}_ratio_to_numpy_per_cpu_second"] = ratio
        figures[f"{name}_working_memory_mebibytes"] = memory
    return figures


def bank_population(jumps: bool) -> Population:
    """The mean-field limit of inter-bank lending, in single precision."""
    law = JumpLaw(
        lambda t, x, u, i: jnp.asarray(INTENSITY, x.dtype),
        lambda t, x, u, z, i: z,
        NormalMarks(jnp.asarray(0.0, jnp.float32), jnp.asarray(MARK, jnp.float32), nodes=1),
    )
    return Population(
        drift=lambda t, x, m, u: u,
        diffusion=lambda t, x, m, u: jnp.full((1, 1), NOISE, x.dtype),
        common=lambda t, x, m, u: jnp.full((1, 1), COMMON, x.dtype),
        running_cost=lambda t, x, m, u: 0.5 * (u**2 + (m - x) ** 2)[0],
        terminal_cost=lambda x, m: 0.5 * ((m - x) ** 2)[0],
        statistic=lambda x: x,
        initial=lambda key: jnp.zeros(1, jnp.float32),
        horizon=1.0,
        jumps=(law,) if jumps else (),
    )


def numpy_population(players: int, jumps: bool, seed: int) -> tuple[float, float]:
    """The twin: mean cost and its standard error."""
    rng = np.random.default_rng(seed)
    x, cost, h = np.zeros(players, np.float32), np.zeros(players, np.float32), np.float32(1.0 / STEPS)
    root = np.sqrt(h)
    for _ in range(STEPS):
        short = x.mean() - x
        u = np.float32(PULL) * short
        cost += h * np.float32(0.5) * (u**2 + short**2)
        x = (
            x
            + h * u
            + root
            * (
                np.float32(NOISE) * rng.standard_normal(players, np.float32)
                + np.float32(COMMON * rng.standard_normal())
            )
        )
        if jumps:
            count = rng.poisson(INTENSITY * h, players)
            who = np.nonzero(count)[0]
            x[who] += (
                np.float32(MARK) * np.sqrt(count[who], dtype=np.float32) * rng.standard_normal(who.size, np.float32)
            )
    cost += np.float32(0.5) * (x.mean() - x) ** 2
    return float(cost.mean()), float(cost.std() / np.sqrt(players))


def _follow(t: Any, x: Any, m: Any) -> Any:
    """Borrow in proportion to the distance to the mean."""
    return PULL * (m - x)


def _compiled(players: int, jumps: bool) -> tuple[Any, tuple[Any, ...]]:
    """The compiled simulation and its arguments."""
    sizes = (players, STEPS, min(CHUNK, players))
    arguments = (bank_population(jumps), _follow, jax.random.key(0), sizes)
    return module._simulate.lower(*arguments).compile(), arguments
