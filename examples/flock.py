"""A flock on a network (Guo, Li & Zhang): costs → potential → its exact minimiser → the same by policy gradient.

Four players fly to targets of their own and are drawn to one another by ½|x_i − x_j|². The weights are symmetric, so
the game has a potential: one control problem whose optimum is an equilibrium.

Run with `python examples/flock.py`; writes flock.png.
"""

import jax
import numpy as np

from diffgames import solve
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.kernels import Quadratic
from diffgames.plotting import label, new_figure
from diffgames.solvers.distributed_paths import graded_grid
from diffgames.solvers.policies import centred, linear_gains
from diffgames.solvers.policy_gradient import Schedule, learn_potential

TARGETS = np.array([[0.25, 0.0], [0.0, 0.5], [-0.75, 0.0], [0.0, -1.0]])
RATES = np.array([0.3, 0.2, 0.2, 0.2])

exact = {}
for name, weights in {"everyone": networks.complete(4), "two groups": networks.groups(((2, 3), (1, 4)), 4)}.items():
    game = crowd_game(Quadratic(), weights, TARGETS, terminal_weight=40.0, rates=RATES, normalise=False)
    exact[name] = solve(game)
    print(f"{name}: potential {exact[name].potential:.10f}")

steps, grade = 50, 1.5
gains = linear_gains(game, knots=9, patience=0.005, grade=grade, key=jax.random.key(0))
start = centred(gains, game, steps, grade)
schedule = Schedule(epochs=4, steps=100, paths=100, learning_rate=0.05)
learned = learn_potential(game, start, graded_grid(1.0, steps, grade), schedule, jax.random.key(1))
print(
    f"two groups, learned in {learned.losses.size} gradient steps: {learned.losses[-1].mean():.3f} (Euler steps, noisy)"
)

figure, axes = new_figure(columns=2)
for ax, (name, optimum) in zip(axes, exact.items(), strict=True):
    for player, path in enumerate(optimum.mean.transpose(1, 2, 0)):
        ax.plot(*path, label=f"player {player + 1}")
        ax.plot(*TARGETS[player], "x", color=ax.lines[-1].get_color())
    label(ax, x=("x", "length"), y=("y", "length"), title=f"Mean paths to the targets, {name}")
axes[0].legend()
figure.savefig("flock.png", dpi=150)
