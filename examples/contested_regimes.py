"""A market maker whose market can turn (Pan & Zhu): intensities, regimes → certainty equivalents → quotes.

Fills come at rate A e^{−kδ} on either side. Volatility switches between three regimes; an attacker pushes towards the
turbulent ones, a stabilizer back. The pre-emptive premium is what the spread gains from it.

Run with `python examples/contested_regimes.py`; writes contested_regimes.png.
"""

import numpy as np

from diffgames import solve
from diffgames.games.market_making_input import market_making_game
from diffgames.plotting import label, new_figure

MARKET = {
    "generator": [[-0.5, 0.4, 0.1], [0.6, -0.9, 0.3], [0.2, 0.8, -1.0]],
    "attack": [[0.0, 2.0, 0.5], [0.0, 0.0, 1.5], [0.0, 0.0, 0.0]],
    "stabilize": [[0.0, 0.3, 0.05], [0.0, 0.0, 0.2], [0.0, 0.0, 0.0]],
}
solved = {name: solve(market_making_game(switching=name, **MARKET)) for name in ("none", "exogenous", "strategic")}
spreads = {name: np.asarray(solution.spread())[0] for name, solution in solved.items()}
for name, spread in spreads.items():
    print(f"{name:<10} spread at zero inventory, by regime: {np.round(spread, 6)}")
print("pre-emptive premium:", np.round(spreads["strategic"] - spreads["exogenous"], 6))

figure, (ax,) = new_figure()
solution = solved["strategic"]
inventory = np.arange(solution.theta.shape[-1]) - solution.theta.shape[-1] // 2
for regime, name in enumerate(("calm", "agitated", "turbulent")):
    ax.plot(inventory, solution.ask[0, regime, :, 0], label=f"ask, {name}")
    ax.plot(inventory, solution.bid[0, regime, :, 0], "--", color=ax.lines[-1].get_color())
label(ax, x=("inventory", "lots"), y=("distance to the mid", "price"), title="Quotes at t = 0 (bid dashed)")
ax.legend()
figure.savefig("contested_regimes.png", dpi=150)
