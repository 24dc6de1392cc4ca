"""A day of 200 prosumers cleared to rounding, and of 10,000 to 1e-6, against HiGHS on the same linear program.

Both sides start from the market's data in one process: ours with the compilation beside, HiGHS with its matrices built.
Both optima are compared, ours by its duality gap where HiGHS is not run (10,000 agents).
"""

import time

import jax

from diffgames.energy.clearing import clear
from diffgames.energy.exact_clearing import linear_optimum
from diffgames.energy.market import draw_market

AGENTS, MANY, REPEATS = 200, 10_000, 5


def run(agents: int = AGENTS, many: int = MANY, repeats: int = REPEATS) -> dict[str, float | str]:
    """Seconds (best of several) by each side, their ratio, and the difference of the optima relative to welfare."""
    market = draw_market(agents)
    first, _ = _seconds(lambda: clear(market))
    ours = min(_seconds(lambda: clear(market))[0] for _ in range(repeats))
    found = clear(market)
    theirs = min(_seconds(lambda: linear_optimum(market))[0] for _ in range(repeats))
    exact = linear_optimum(market)
    result: dict[str, float | str] = {
        "device": jax.devices()[0].device_kind,
        "agents": float(agents),
        "seconds": ours,
        "seconds_with_compilation": first,
        "highs_seconds": theirs,
        "ratio": theirs / ours,
        "steps": float(found.iterations),
        "relative_difference": abs(float(found.welfare) - exact.welfare) / abs(exact.welfare),
    }
    if many:
        crowd = draw_market(many)
        compiled, _ = _seconds(lambda: clear(crowd, tolerance=1e-6))
        again, cleared = _seconds(lambda: clear(crowd, tolerance=1e-6))
        result |= {"many": float(many), "many_seconds": again, "many_seconds_with_compilation": compiled}
        result |= {"many_gap": float(cleared.gap), "many_steps": float(cleared.iterations)}
    return result


def _seconds(work):
    started = time.perf_counter()
    done = jax.block_until_ready(work())
    return time.perf_counter() - started, done
