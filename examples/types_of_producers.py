"""Two types of producers in one market, read four ways: drifts and costs → values → costates of the types' means.

    dx = (a x + b u + κ x̄) dt + σ dW,   x̄ = Σ share_k m_k the mean of all,   costs quadratic in x, u and x̄ (`TypedGame`)

as mean-field game, mean-field-type game, team, feedback Nash in the types' means: the same numbers, four equilibria.

Run with `python examples/types_of_producers.py`; writes types_of_producers.png.
"""

import numpy as np

from diffgames import solve
from diffgames.games.mean_field import costate_map, typed_game, typed_linear_quadratic
from diffgames.plotting import label, new_figure
from diffgames.solvers.boundary_value import boundary_costates

game = typed_game(
    share=[0.6, 0.4],
    a=[0.1, -0.2],
    b=[1.0, 0.8],
    kappa=[0.3, 0.2],
    sigma=[0.3, 0.2],
    q=[1.0, 0.8],
    r=[0.5, 1.0],
    s=[0.4, 0.2],
    q_T=[0.5, 1.0],
    horizon=1.0,
)
mean = np.array([1.0, -0.5])
readings = ("mfg", "mftg", "team", "nash")
costates = {}
for reading in readings:
    solution = solve(typed_linear_quadratic(game, reading))
    costates[reading] = np.asarray(costate_map(game, reading, solution.value(0.0))) @ mean
    print(f"{reading:<5} costates of the types' means at t = 0: {np.round(costates[reading], 8)}")
second = np.asarray(boundary_costates(game, "mfg", mean[:, None], 1.0))[:, 0]
print(f"mfg by its two-point boundary value problem, differs by {np.abs(costates['mfg'] - second).max():.1e}")

figure, (ax,) = new_figure()
for index in range(2):
    ax.bar(np.arange(4) + 0.4 * index - 0.2, [costates[r][index] for r in readings], 0.4, label=f"type {index + 1}")
ax.set_xticks(range(4), readings)
label(ax, x=("reading", ""), y=("costate at t = 0", "cost per length"), title="One game, four equilibria")
ax.set_ylim(top=1.35)
ax.legend(ncols=2)
figure.savefig("types_of_producers.png", dpi=150)
