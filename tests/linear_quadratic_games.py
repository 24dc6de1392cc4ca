"""Random linear-quadratic games with everything at once, and their stage games played out by hand."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from diffgames.games.linear_quadratic import LinearQuadraticGame, Player

SLIDES = {
    "A0": 1.0, "B0": 2.0, "F0": 0.5, "A": 0.5, "B": 1.0, "D": 1.0, "F": 0.2, "G": 0.4, "Gamma0": 0.8, "Gamma1": 0.3,
    "Gamma2": 0.5, "Q0": 1.0, "Q": 2.0, "R0": 0.5, "R": 1.0, "R1": 1.0, "R2": 0.5, "sigma0": 0.1, "sigma": 0.1,
}  # fmt: skip
"""The example of Huang & Yang's slides: a leader and its crowd."""


def random_game(
    seed: int,
    states: int,
    regimes: int,
    tiers: Sequence[Sequence[int]],
    sizes: Sequence[int],
    *,
    crowd: bool = False,
    waves: bool = False,
    signs: Sequence[int] | None = None,
    discount: float = 0.15,
) -> LinearQuadraticGame:
    """Random stable-ish data with regimes, affine terms, noise, jumps, cross terms and a switch of the state.

    With `waves` every coefficient oscillates and the values modulate the generator.
    """
    rng = np.random.default_rng(seed)
    n, total = states + 1, sum(sizes)
    signs = signs or (1,) * len(sizes)

    def wave(value):
        phase = rng.uniform(0, 6)
        return (lambda t: value * (1 + 0.3 * jnp.sin(3 * t + phase))) if waves else value

    def matrix(*shape, scale=0.4, moves=True):
        value = rng.normal(size=shape) * scale
        if moves:
            value[..., -1, :] = 0.0
        return jnp.asarray(value)

    def positive(*shape, scale=0.5):
        root = rng.normal(size=shape) * scale
        return jnp.asarray(root @ np.swapaxes(root, -1, -2))

    generator = rng.uniform(0.2, 1.0, (regimes, regimes)) * (1 - np.eye(regimes))
    generator = jnp.asarray(generator - np.diag(generator.sum(axis=1)))
    switch = np.broadcast_to(np.eye(n), (regimes, regimes, n, n)).copy()
    switch[:, :, :-1, :] += 0.1 * rng.normal(size=(regimes, regimes, n - 1, n))
    crowd_map = np.eye(n)
    crowd_map[0] = np.eye(n)[1]
    players = tuple(
        Player(
            name=f"p{p}",
            own_input=wave(matrix(regimes, n, size)),
            crowd_input=wave(matrix(regimes, n, size)) if crowd and p in tiers[-1] else None,
            state_cost=wave(positive(regimes, n, n)),
            control_cost=wave(sign * (positive(regimes, total, total, scale=0.2) + 1.5 * jnp.eye(total)[None])),
            cross_cost=wave(matrix(regimes, n, total, scale=0.1, moves=False)),
            terminal_cost=positive(regimes, n, n),
            sign=sign,
        )
        for p, (size, sign) in enumerate(zip(sizes, signs, strict=True))
    )
    return LinearQuadraticGame(
        drift=wave(matrix(regimes, n, n)),
        players=players,
        horizon=0.7,
        diffusion=wave(matrix(regimes, 2, n, n, scale=0.2)),
        jump_scale=wave(matrix(regimes, 2, n, n, scale=0.3)),
        jump_rate=wave(jnp.asarray(rng.uniform(0.2, 1.0, (regimes, 2)))),
        generator=(lambda t, values: generator * (1.2 + jnp.tanh(jnp.mean(values)) * jnp.cos(t)))
        if waves
        else generator,
        switch=jnp.asarray(switch),
        crowd_map=jnp.asarray(crowd_map) if crowd else None,
        discount=discount,
        tiers=tuple(map(tuple, tiers)),
    )


class PlayedOut:
    """The stage game in continuous time, one regime and state: tiers answer one another by trying out controls.

    A player of a tier is at its best where its Hamiltonian does not change to first order when it moves alone, later
    tiers (and the crowd, at its own state) answering the move. Differences of quadratics are exact, and what is affine
    is solved by its values at the unit vectors, so that no algebra of the package is repeated here.
    """

    def __init__(self, game: LinearQuadraticGame, coefficients: dict[str, np.ndarray], values: np.ndarray, i: int):
        self.game, self.values = game, values[:, i]
        self.input, self.crowd_input = coefficients["input"][i], coefficients["crowd_input"][i]
        self.control_cost, self.cross_cost = coefficients["control_cost"][:, i], coefficients["cross_cost"][:, i]
        self.total = self.input.shape[1]

    def controls(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """u and ū."""
        u = self._answer(0, np.zeros(self.total), z)
        return u, self._crowd(u, z)

    def _own(self, tier: int) -> list[int]:
        slices = self.game.control_slices
        return [c for p in self.game.tiers[tier] for c in range(slices[p].start, slices[p].stop)]

    def _crowd(self, u: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The last tier's answer at the crowd's state to the same earlier controls."""
        if not self.game.has_crowd:
            return np.zeros(self.total)
        last, found = self._own(-1), np.zeros(self.total)
        before = u.copy()
        before[last] = 0.0
        found[last] = self._answer(len(self.game.tiers) - 1, before, np.asarray(self.game.crowd_map) @ z)[last]
        return found

    def _hamiltonian(self, p: int, u: np.ndarray, z: np.ndarray, crowd: np.ndarray) -> float:
        moved = self.input @ u + self.crowd_input @ crowd
        return u @ self.control_cost[p] @ u + 2 * z @ self.cross_cost[p] @ u + 2 * z @ self.values[p] @ moved

    def _answer(self, tier: int, u: np.ndarray, z: np.ndarray) -> np.ndarray:
        """u with the controls of `tier` and all later ones filled in."""
        if tier == len(self.game.tiers):
            return u
        own, last = self._own(tier), tier == len(self.game.tiers) - 1

        def weigh(p, v):
            answered = self._answer(tier + 1, v, z)
            return self._hamiltonian(p, answered, z, np.zeros(self.total) if last else self._crowd(answered, z))

        def slopes(w):
            v, found = u.copy(), []
            v[own] = w
            for p in self.game.tiers[tier]:
                moves = np.eye(self.total)[self.game.control_slices[p]]
                found += [(weigh(p, v + move) - weigh(p, v - move)) / 2 for move in moves]
            return np.asarray(found)

        start = slopes(np.zeros(len(own)))
        tilt = np.column_stack([slopes(e) - start for e in np.eye(len(own))])
        best = u.copy()
        best[own] = -np.linalg.solve(tilt, start)
        return self._answer(tier + 1, best, z)
