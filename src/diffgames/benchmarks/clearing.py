"""A day of 200 prosumers cleared to rounding, and of 10,000 to 1e-6, against HiGHS on the same linear program.

Both sides start from the market's data in one process: ours with the compilation beside, HiGHS with its matrices built.
Both optima are compared, ours by its duality gap where HiGHS is not run (10,000 agents).
"""

import jax

from diffgames.benchmarks.timing import best_of
from diffgames.energy.clearing import clear
from diffgames.energy.exact_clearing import linear_optimum
from diffgames.energy.market import draw_market

AGENTS, MANY, REPEATS = 200, 10_000, 5


def run(agents: int = AGENTS, many: int = MANY, repeats: int = REPEATS) -> dict[str, float | str]:
    """Seconds (best of several) by each side, their ratio, and the difference of the optima relative to welfare."""
    market = draw_market(agents)
    ours, theirs = best_of(repeats, lambda: clear(market)), best_of(repeats, lambda: linear_optimum(market))
    found, exact = ours.result, theirs.result
    result: dict[str, float | str] = {
        "device": jax.devices()[0].device_kind,
        "agents": float(agents),
        "seconds": ours.wall,
        "seconds_with_compilation": ours.first,
        "highs_seconds": theirs.wall,
        "ratio": theirs.wall / ours.wall,
        "steps": float(found.iterations),
        "relative_difference": abs(float(found.welfare) - exact.welfare) / abs(exact.welfare),
    }
    if many:
        crowd = draw_market(many)
        again = best_of(1, lambda: clear(crowd, tolerance=1e-6))
        result |= {"many": float(many), "many_seconds": again.wall, "many_seconds_with_compilation": again.first}
        result |= {"many_gap": float(again.result.gap), "many_steps": float(again.result.iterations)}
    return result
