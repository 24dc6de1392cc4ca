"""Random linear-quadratic games with regimes and jumps, written as plain functions, and their Nash equilibria by SciPy.

An independent route: nothing here comes from the package's solvers, nor from its verifier.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from diffgames.games.differential import DifferentialGame, GaussianLaw
from diffgames.games.jumps import FixedMark, JumpLaw, NormalMarks


class Data(NamedTuple):
    """dx = (A_i x + Σ_p B_p,i u_p + a_i) dt + (s + C x) dW + E_i x dÑ + e·z dÑ', z normal; per player cost below."""

    a: np.ndarray
    b: tuple[np.ndarray, ...]
    shift: np.ndarray
    noise: np.ndarray
    state_noise: np.ndarray
    jump: np.ndarray
    rate: np.ndarray
    mark_jump: np.ndarray
    mark: tuple[float, float]
    mark_rate: float
    generator: np.ndarray
    q: tuple[np.ndarray, ...]
    target: tuple[np.ndarray, ...]
    r: tuple[np.ndarray, ...]
    terminal: tuple[np.ndarray, ...]
    discount: float
    horizon: float


def random_data(seed: int, n: int, controls: tuple[int, ...], regimes: int) -> Data:
    rng = np.random.default_rng(seed)

    def positive(size, scale):
        root = rng.normal(size=(regimes, size, size)) * scale / np.sqrt(size)
        return root @ root.transpose(0, 2, 1) + 0.3 * scale * np.eye(size)

    generator = rng.uniform(0.2, 1.5, (regimes, regimes)) * (1 - np.eye(regimes))
    generator -= np.diag(generator.sum(axis=1))
    players = range(len(controls))
    return Data(
        a=0.4 * rng.normal(size=(regimes, n, n)) - 0.2 * np.eye(n),
        b=tuple(rng.normal(size=(regimes, n, k)) for k in controls),
        shift=0.3 * rng.normal(size=(regimes, n)),
        noise=0.4 * rng.normal(size=(n, n)),
        state_noise=0.2 * rng.normal(size=(n, n)),
        jump=0.3 * rng.normal(size=(regimes, n, n)),
        rate=rng.uniform(0.3, 1.2, regimes),
        mark_jump=rng.normal(size=n),
        mark=(0.2, 0.3),
        mark_rate=0.8,
        generator=generator,
        q=tuple(positive(n, 1.0) for _ in players),
        target=tuple(0.5 * rng.normal(size=(regimes, n)) for _ in players),
        r=tuple(positive(k, 1.0) for k in controls),
        terminal=tuple(positive(n, 0.5)[0] for _ in players),
        discount=0.1,
        horizon=1.0,
    )


class AffineProfile(eqx.Module):
    """u_p = K_p(t) (x, 1), gains on a uniform grid of times, linear in between."""

    gains: tuple[jnp.ndarray, ...]
    horizon: float = eqx.field(static=True)

    def __call__(self, t, x, i):
        place = jnp.clip(t / self.horizon, 0.0, 1.0) * (self.gains[0].shape[0] - 1)
        left = jnp.clip(jnp.floor(place), 0, self.gains[0].shape[0] - 2).astype(jnp.int32)
        share = place - left.astype(place.dtype)
        z = jnp.append(x, 1.0)
        return tuple(((1 - share) * gain[left, i] + share * gain[left + 1, i]) @ z for gain in self.gains)


def as_game(data: Data) -> DifferentialGame:
    """The game in words that know nothing of matrices of z."""
    d = Data(
        *(tuple(map(jnp.asarray, leaf)) if isinstance(leaf, tuple) and leaf is not data.mark else leaf for leaf in data)
    )
    a, shift, jump, rate = map(jnp.asarray, (data.a, data.shift, data.jump, data.rate))
    noise, state_noise, mark_jump = map(jnp.asarray, (data.noise, data.state_noise, data.mark_jump))
    n, players = data.a.shape[1], len(data.b)

    def drift(t, x, u, i):
        return a[i] @ x + shift[i] + sum(b[i] @ v for b, v in zip(d.b, u, strict=True))

    def cost(t, x, u, i):
        miss = [x - target[i] for target in d.target]
        return jnp.stack([m @ d.q[p][i] @ m + u[p] @ d.r[p][i] @ u[p] for p, m in enumerate(miss)])

    return DifferentialGame(
        players=tuple(f"player {p}" for p in range(players)),
        control_sizes=tuple(b.shape[2] for b in data.b),
        drift=drift,
        diffusion=lambda t, x, u, i: jnp.concatenate([noise, (state_noise @ x)[:, None]], axis=1),
        running_cost=cost,
        terminal_cost=lambda x, i: jnp.stack([x @ g @ x for g in d.terminal]),
        initial=GaussianLaw(jnp.ones(n), 0.5 * jnp.eye(n)),
        horizon=data.horizon,
        discount=data.discount,
        jumps=(
            JumpLaw(lambda t, x, u, i: rate[i], lambda t, x, u, z, i: jump[i] @ x, FixedMark(jnp.zeros(1))),
            JumpLaw(
                lambda t, x, u, i: jnp.asarray(data.mark_rate),
                lambda t, x, u, z, i: mark_jump * z[0],
                NormalMarks(jnp.asarray(data.mark[0]), jnp.asarray(data.mark[1])),
                compensated=False,
            ),
        ),
        generator=jnp.asarray(data.generator),
    )


def nash(data: Data, horizon: float | None = None, knots: int = 401) -> AffineProfile:
    """Feedback Nash gains by integrating the coupled value equations V_p = x'P x + 2 p'x + r, one array at a time."""
    horizon = horizon if horizon is not None else data.horizon
    regimes, n = data.a.shape[:2]
    players = range(len(data.b))
    mean, second = data.mark[0], data.mark[0] ** 2 + data.mark[1] ** 2
    shift = data.shift + data.mark_rate * mean * data.mark_jump

    def gains(values):
        return [
            [
                -np.linalg.solve(data.r[p][i], data.b[p][i].T @ np.column_stack([values[p][i][0], values[p][i][1]]))
                for i in range(regimes)
            ]
            for p in players
        ]

    def unpack(y):
        blocks = y.reshape(len(data.b), regimes, n * n + n + 1)
        return [[(b[: n * n].reshape(n, n), b[n * n : -1], b[-1]) for b in blocks[p]] for p in players]

    def rate(tau, y):
        values = unpack(y)
        play = gains(values)
        out = []
        for p in players:
            for i in range(regimes):
                P, c, r = values[p][i]
                closed = data.a[i] + sum(data.b[o][i] @ play[o][i][:, :n] for o in players)
                push = shift[i] + sum(data.b[o][i] @ play[o][i][:, n] for o in players)
                K, k = play[p][i][:, :n], play[p][i][:, n]
                Q, R, t = data.q[p][i], data.r[p][i], data.target[p][i]
                dP = Q + K.T @ R @ K + closed.T @ P + P @ closed + data.state_noise.T @ P @ data.state_noise
                dP = dP + data.rate[i] * data.jump[i].T @ P @ data.jump[i] - data.discount * P
                dc = -Q @ t + K.T @ R @ k + closed.T @ c + P @ push - data.discount * c
                dr = t @ Q @ t + k @ R @ k + 2 * c @ push + np.trace(data.noise.T @ P @ data.noise)
                dr = dr + data.mark_rate * second * data.mark_jump @ P @ data.mark_jump - data.discount * r
                for j in range(regimes):
                    dP = dP + data.generator[i, j] * values[p][j][0]
                    dc = dc + data.generator[i, j] * values[p][j][1]
                    dr = dr + data.generator[i, j] * values[p][j][2]
                out.append(np.concatenate([dP.ravel(), dc, [dr]]))
        return np.concatenate(out)

    start = np.concatenate(
        [np.concatenate([data.terminal[p].ravel(), np.zeros(n + 1)]) for p in players for _ in range(regimes)]
    )
    grid = np.linspace(0, horizon, knots)
    path = solve_ivp(rate, (0, horizon), start, t_eval=grid, rtol=1e-10, atol=1e-12).y.T[::-1]
    play = [gains(unpack(y)) for y in path]
    stacked = tuple(jnp.asarray(np.array([step[p] for step in play])) for p in players)
    return AffineProfile(gains=stacked, horizon=horizon)
