"""One gradient step of the 4-player aversion game, batch 500, 50 steps, against plain PyTorch; and its growth with N.

Both sides get the same weights and the same noise; `difference` is how far their gradients are apart (relative), so
that the times are those of the same numbers; PyTorch runs on one thread, and ratios are of CPU time. Ours is timed
once more with the noise drawn inside the step, as learning does. Growth: seconds per gradient step for N = 4 … 1,000
players with linear feedback of the own state and the crowd's mean (8 paths, 10 steps), exact over all pairs, and in
random batches of 8 up to 10,000.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from diffgames.benchmarks.plain_potential import torch_step
from diffgames.benchmarks.timing import best_of
from diffgames.games import networks
from diffgames.games.crowd import crowd_game
from diffgames.games.distributed import DistributedGame
from diffgames.games.interaction import RandomBatches
from diffgames.games.kernels import Gaussian
from diffgames.solvers.distributed_paths import Grid, Noise, draw_noise, graded_grid, potential_of_paths
from diffgames.solvers.policies import ResidualNetworks, local_gains, residual_networks
from diffgames.solvers.policy_gradient import gradient_step

TARGET = np.full((4, 2), 0.5)
EXACT_UP_TO = 1000


def run(
    paths: int = 500, steps: int = 50, repeats: int = 5, sizes: tuple[int, ...] = (4, 10, 30, 100, 300, 1000)
) -> dict:
    """Seconds per gradient step of both sides by network width, ratios, and growth with the number of players."""
    game = crowd_game(Gaussian(100.0, 0.5), networks.complete(4), TARGET, rates=np.array([0.3, 0.2, 0.2, 0.2]),
                      normalise=False)  # fmt: skip
    grid = graded_grid(1.0, steps)
    noise = draw_noise(game, grid, jax.random.key(0), paths)
    has_torch = importlib.util.find_spec("torch") is not None
    result: dict[str, Any] = {"paths": paths, "steps": steps}
    ours, drawing, theirs, apart = {}, {}, {}, {}
    for width in (18, 64):
        nets = residual_networks(game, jax.random.key(width), width=width)
        step = _our_step(game, grid, noise, nets)
        ours[f"width {width}"] = best_of(repeats, step).cpu
        drawing[f"width {width}"] = best_of(
            repeats, lambda n=nets: gradient_step(game, n, grid, jax.random.key(1), paths)
        ).wall
        if has_torch:
            plain, names = _their_step(game, grid, noise, nets)
            theirs[f"width {width}"] = best_of(min(repeats, 3), plain).cpu
            found, gradients = step()[1], plain()[1]
            apart[f"width {width}"] = max(_distance(np.asarray(getattr(found, n)), gradients[n].numpy()) for n in names)
    result["cpu_seconds_ours"], result["seconds_ours_drawing_noise"] = ours, drawing
    if has_torch:
        result["cpu_seconds_plain_pytorch"] = theirs
        result["ratio_plain_pytorch_to_ours"] = {key: theirs[key] / ours[key] for key in ours}
        result["largest_relative_difference_of_gradients"] = apart
    result["seconds_by_players_exact"] = {f"N={n}": _growth(n, False, repeats) for n in sizes if n <= EXACT_UP_TO}
    result["seconds_by_players_random_batches"] = {f"N={n}": _growth(n, True, repeats) for n in (*sizes[-2:], 10_000)}
    return result


def _our_step(game: DistributedGame, grid: Grid, noise: Noise, nets: ResidualNetworks) -> Callable[[], Any]:
    def loss(nets: ResidualNetworks, noise: Noise):
        return jnp.mean(potential_of_paths(game, nets, grid, noise))

    compiled = eqx.filter_jit(eqx.filter_value_and_grad(loss))
    return lambda: compiled(nets, noise)


def _their_step(game: DistributedGame, grid: Grid, noise: Noise, nets: ResidualNetworks) -> tuple[Any, list[str]]:
    names = ("first", "first_bias", "inner", "inner_bias", "last", "last_bias", "scale")
    weights = {name: np.asarray(getattr(nets, name)) for name in names}
    return torch_step(weights, np.asarray(noise.increments), np.asarray(grid.times), TARGET, effort=0.1,
                      terminal_weight=1.0, rate=100.0, height=0.5)  # fmt: skip


def _growth(players: int, batches: bool, repeats: int) -> float:
    kernel, targets = Gaussian(1.0), np.full((players, 2), 0.5)
    if batches:
        share = jnp.asarray(1.0 / (players - 1))
        size = 8 if players % 8 == 0 else 4 if players % 4 == 0 else 2
        interaction = RandomBatches(kernel, share, size, False, jax.random.key(0))
        game = crowd_game(kernel, np.zeros((0, 0)), targets, interaction=interaction)
    else:
        game = crowd_game(kernel, networks.complete(players), targets)
    policy = local_gains(game, patience=0.2)
    grid = graded_grid(1.0, 10)
    return best_of(min(repeats, 3), lambda: gradient_step(game, policy, grid, jax.random.key(2), 8)).wall


def _distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
