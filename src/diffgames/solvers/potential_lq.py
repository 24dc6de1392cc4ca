"""The exact minimiser of the potential of a linear-quadratic crowd: quadratic kernel, any weights, common noise too.

Per coordinate the states x ∈ ℝᴺ and sensitivities y ∈ ℝᴺ of all players move by dx = u dt + dM, dy = u dt, and the
potential (`games.crowd`) is, with Laplacians L_s of the symmetric part s and antisymmetric part a of the weights,

    E[ ∫ u'Cu + ½ x'L_s x + ½ Σ_{ij} a_ij y_i (x_i − x_j − ½(y_i − y_j)) dt + ½ w_T |x_T − d|² ],   C = diag(c).

In z = (x, y) this is z'Qz + u'Cu with terminal ½ w_T |x − d|², so V = z'Pz + 2 p'z + r with

    −Ṗ = Q − P B C⁻¹ B'P,   −ṗ = −P B C⁻¹ B'p,   −ṙ = −p'B C⁻¹ B'p + tr(P Σ),   u* = −C⁻¹B'(P z + p),   B = (1; 1),

Σ the covariance rate of M in (x, y) (zero in y). `exact` integrates these in continuous time, `exact_on_grid` solves
the dynamic program of the Euler scheme on a given grid: their difference is the error of time discretisation alone.
With symmetric weights P has no y part and is the solution of Ṗ = PC⁻¹P − ½L_s, P(T) = ½ w_T.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.integrate import solve_ivp

from diffgames.errors import InvalidInput
from diffgames.games.crowd import CrowdCosts
from diffgames.games.distributed import DistributedGame, at
from diffgames.games.interaction import Pairs, weight_rows
from diffgames.games.kernels import Quadratic
from diffgames.solvers.distributed_paths import Grid


class ExactCrowd(eqx.Module):
    """Φ̂*, the optimal feedback u = −(G(t) (x, y) + g(t)) per coordinate, at `times` (the starts of steps, of an Euler
    scheme), and the mean positions."""

    potential: float
    times: Float[np.ndarray, " times"]
    gain: Float[np.ndarray, "steps players twice"]
    offset: Float[np.ndarray, "steps players d"]
    mean: Float[np.ndarray, "times players d"]


class _Problem(eqx.Module):
    q: Float[np.ndarray, "m m"]
    end: Float[np.ndarray, "m m"]
    end_linear: Float[np.ndarray, "m d"]
    end_constant: float
    b: Float[np.ndarray, "m n"]
    effort: Float[np.ndarray, " n"]
    covariance: Float[np.ndarray, "d m m"]
    start: Float[np.ndarray, "m d"]
    horizon: float


def exact(game: DistributedGame, points: int = 401) -> ExactCrowd:
    """The optimum in continuous time, to a relative 1e-10."""
    lq = _problem(game)
    m, d = lq.end_linear.shape
    weight = lq.b / lq.effort @ lq.b.T
    spread = lq.covariance.sum(axis=0)

    cost, length = _units(lq)
    units = np.repeat([cost, cost * length, cost * length**2], [m * m, m * d, 1])

    def backward(share, scaled):
        flat = scaled * units
        p_matrix, p = flat[: m * m].reshape(m, m), flat[m * m : -1].reshape(m, d)
        dr = -np.sum(p * (weight @ p)) + np.sum(p_matrix * spread)
        change = [(lq.q - p_matrix @ weight @ p_matrix).ravel(), (-p_matrix @ weight @ p).ravel(), [dr]]
        return lq.horizon * np.concatenate(change) / units

    share = 1.0 - (1.0 - np.linspace(0.0, 1.0, points)) ** 3
    times = lq.horizon * share
    first = np.concatenate([lq.end.ravel(), lq.end_linear.ravel(), [lq.end_constant]]) / units
    found = solve_ivp(
        backward, (0.0, 1.0), first, "DOP853", (1.0 - share)[::-1], dense_output=True, rtol=1e-11, atol=1e-12
    )
    found.y *= units[:, None]
    p_matrix, p = found.y[: m * m].T.reshape(-1, m, m)[::-1], found.y[m * m : -1].T.reshape(-1, m, d)[::-1]

    def forward(part, scaled):
        z = length * scaled.reshape(m, d)
        now = units * found.sol(1.0 - part)
        pull = now[: m * m].reshape(m, m) @ z + now[m * m : -1].reshape(m, d)
        return -lq.horizon / length * (weight @ pull).ravel()

    mean = solve_ivp(forward, (0.0, 1.0), lq.start.ravel() / length, "DOP853", share, rtol=1e-10, atol=1e-12)
    mean.y *= length
    value = found.y[-1, -1] + np.sum(lq.start * (p_matrix[0] @ lq.start)) + 2.0 * np.sum(p[0] * lq.start)
    feed = lq.b.T / lq.effort[:, None]
    n = lq.effort.size
    return ExactCrowd(float(value), times, feed @ p_matrix, feed @ p, mean.y.T.reshape(-1, m, d)[:, :n])


def _units(lq: _Problem) -> tuple[float, float]:
    """Units of costs per squared length and of length: values of order one, whatever the game's own units.

    Running costs count over the shorter of horizon and time that controls need, terminal ones as controls leave them.
    """
    dearest, running, end = 1.0 / lq.effort.min(), np.abs(lq.q).max(), np.abs(lq.end).max()
    span = min(lq.horizon, 1.0 / np.sqrt(running * dearest)) if running else lq.horizon
    cost = running * span + end / (1.0 + span * end * dearest)
    moved = np.sqrt(np.abs(lq.covariance).max() * lq.horizon)
    weight = np.abs(lq.end_linear).max() / end if end else 0.0
    return float(cost) or 1.0, float(max(np.abs(lq.start).max(), weight, moved)) or 1.0


def exact_on_grid(game: DistributedGame, grid: Grid) -> ExactCrowd:
    """The optimum of the Euler scheme on `grid`: what learning on that grid can reach at best."""
    lq = _problem(game)
    times = np.asarray(grid.times, float)
    h = np.diff(times)
    p_matrix, p, r = lq.end, lq.end_linear, lq.end_constant
    spread = lq.covariance.sum(axis=0)
    gains, offsets = [], []
    for step in h[::-1]:
        move = step * lq.b
        inner = step * np.diag(lq.effort) + move.T @ p_matrix @ move
        gain, offset = np.linalg.solve(inner, move.T @ p_matrix), np.linalg.solve(inner, move.T @ p)
        r = r + step * np.sum(p_matrix * spread) - np.sum(p * (move @ offset))
        p = p - p_matrix @ move @ offset
        p_matrix = step * lq.q + p_matrix - p_matrix @ move @ gain
        p_matrix = 0.5 * (p_matrix + p_matrix.T)
        gains.append(gain)
        offsets.append(offset)
    z, mean = lq.start, [lq.start]
    for step, gain, offset in zip(h, gains[::-1], offsets[::-1], strict=True):
        z = z - step * lq.b @ (gain @ z + offset)
        mean.append(z)
    value = r + np.sum(lq.start * (p_matrix @ lq.start)) + 2.0 * np.sum(p * lq.start)
    n = lq.effort.size
    return ExactCrowd(float(value), times, np.stack(gains[::-1]), np.stack(offsets[::-1]), np.stack(mean)[:, :n])


def is_linear_quadratic(game: DistributedGame) -> bool:
    """Whether `exact` accepts the game."""
    costs = game.costs
    return (
        isinstance(costs, CrowdCosts)
        and isinstance(costs.interaction, Pairs)
        and isinstance(costs.interaction.kernel, Quadratic)
        and game.input is None
        and game.drift is None
        and not any(callable(c) for c in (game.diffusion, game.common_diffusion, *(j.loading for j in game.jumps)))
    )


def _problem(game: DistributedGame) -> _Problem:
    if not is_linear_quadratic(game):
        raise InvalidInput(
            "game", "this game", "a crowd with a quadratic kernel over exact pairs, no drift, constant noise"
        )
    costs: CrowdCosts = game.costs  # pyright: ignore[reportAssignmentType] - just checked
    pairs: Pairs = costs.interaction  # pyright: ignore[reportAssignmentType]
    n, d = game.initial.shape
    kernel: Quadratic = pairs.kernel  # pyright: ignore[reportAssignmentType]
    weights = float(kernel.scale) * np.asarray(weight_rows(pairs.weights, np.arange(n), n), float)
    s, a = 0.5 * (weights + weights.T), 0.5 * (weights - weights.T)
    symmetric = 0.5 * (np.diag(s.sum(axis=1)) - s)
    turned = np.diag(a.sum(axis=1)) - a
    twice = 2 * n
    q = np.zeros((twice, twice))
    q[:n, :n] = symmetric
    # y'(D − A)(x − y/2), with its y-y part and the cross part symmetrised
    q[n:, :n] += 0.5 * turned
    q[:n, n:] += 0.5 * turned.T
    q[n:, n:] -= 0.25 * (turned + turned.T)
    targets = np.asarray(costs.targets, float)
    weight = 0.5 * float(costs.terminal_weight)
    end = np.zeros((twice, twice))
    end[:n, :n] = weight * np.eye(n)
    covariance = np.zeros((d, twice, twice))
    covariance[:, :n, :n] = _covariance(game)
    return _Problem(
        q=q,
        end=end,
        end_linear=np.concatenate([-weight * targets, np.zeros((n, d))]),
        end_constant=float(weight * np.sum(targets**2)),
        b=np.concatenate([np.eye(n), np.eye(n)]),
        effort=np.asarray(costs.effort, float),
        covariance=covariance,
        start=np.concatenate([np.asarray(game.initial, float), np.zeros((n, d))]),
        horizon=float(game.horizon),
    )


def _covariance(game: DistributedGame) -> Float[np.ndarray, "d players players"]:
    """Covariance rate of the noise between players, coordinate by coordinate."""
    n, d = game.initial.shape
    zero = jnp.zeros((), float)
    total = np.zeros((d, n, n))

    def loaded(coefficient, rate, shared):
        matrix = np.asarray(at(coefficient, zero), float) * np.sqrt(rate)  # [players, d, columns]
        both = np.einsum("icw,jcw->cij", matrix, matrix)
        return both if shared else both * np.eye(n)

    if game.diffusion is not None:
        total += loaded(game.diffusion, 1.0, False)
    if game.common_diffusion is not None:
        total += loaded(game.common_diffusion, 1.0, True)
    for noise in game.jumps:
        second = np.asarray(noise.rate, float) * np.asarray(noise.moment(2), float)
        total += loaded(noise.loading, second if noise.common else second[:, None, :], noise.common)
    return total
