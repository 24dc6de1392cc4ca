"""The exponential-affine layer against its differential equation, its saddle point, and simulated utilities."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.errors import InvalidInput
from diffgames.games.exponential_affine import ExponentialAffineGame
from diffgames.simulation import simulate

M, N = 3, 2


def random_layer(seed: int = 0) -> ExponentialAffineGame:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(M, 2, 2))
    rates = rng.uniform(0.3, 1.5, (M, M)) * (1 - np.eye(M))
    return ExponentialAffineGame(
        gamma=0.7,
        weight=jnp.asarray([1.0, -0.6]),
        b=jnp.asarray(0.3 * rng.normal(size=(M, N))),
        B=jnp.asarray(rng.normal(size=(M, N, 2))),
        D=jnp.asarray(0.5 * rng.normal(size=(M, N, 1))),
        R=jnp.asarray(root @ root.transpose(0, 2, 1) + np.eye(2)),
        S=jnp.asarray(1.0 + rng.uniform(size=(M, 1, 1))),
        noise=jnp.asarray(0.4 * rng.normal(size=(M, N, 3))),
        jump_size=jnp.asarray(0.4 * rng.normal(size=(M, 2, N))),
        jump_rate=jnp.asarray(rng.uniform(0.3, 1.5, (M, 2))),
        generator=jnp.asarray(rates - np.diag(rates.sum(axis=1))),
    )


def growth(game: ExponentialAffineGame, u: np.ndarray, w: np.ndarray) -> np.ndarray:
    """What −V_i's exponent grows by under any constant controls of the regimes: the generator put on e^{−γcᵀx}."""
    g, c, out = float(game.gamma), np.asarray(game.weight), []
    for i in range(M):
        b, B, D, R, S, noise = (np.asarray(getattr(game, name))[i] for name in ("b", "B", "D", "R", "S", "noise"))
        earned = c @ (b + B @ u[i] + D @ w[i]) - 0.5 * u[i] @ R @ u[i] + 0.5 * w[i] @ S @ w[i]
        jumps = zip(np.asarray(game.jump_rate)[i], g * np.asarray(game.jump_size)[i] @ c, strict=True)
        spread = 0.5 * g**2 * c @ noise @ noise.T @ c
        out.append(-g * earned + spread + sum(rate * (np.exp(-size) - 1 + size) for rate, size in jumps))
    return np.asarray(out)


def disutility(kappa: np.ndarray, generator: np.ndarray, to_go: float, start: np.ndarray | None = None) -> np.ndarray:
    start = np.ones(M) if start is None else start
    return solve_ivp(lambda _, v: kappa * v + generator @ v, (0, to_go), start, rtol=1e-11, atol=1e-13).y[:, -1]


def test_values_solve_their_equation_at_a_saddle_point():
    game = random_layer()
    u, w = map(np.asarray, game.strategies())
    generator = np.asarray(game.generator)
    value = disutility(growth(game, u, w), generator, 1.3)
    np.testing.assert_allclose(game.disutility(1.3), value, rtol=1e-9)
    np.testing.assert_allclose(game.certainty_equivalent(1.3), -np.log(value) / 0.7, rtol=1e-9)
    rng = np.random.default_rng(1)
    for _ in range(5):
        assert np.all(disutility(growth(game, u + 0.2 * rng.normal(size=u.shape), w), generator, 1.3) > value)
        assert np.all(disutility(growth(game, u, w + 0.2 * rng.normal(size=w.shape)), generator, 1.3) < value)


def test_generators_that_change_at_known_times_are_products():
    game = random_layer()
    pieces = jnp.stack([game.generator, 3 * game.generator])
    changing = eqx.tree_at(lambda g: (g.generator, g.held), game, (pieces, jnp.asarray([0.5])), is_leaf=_none)
    kappa = growth(game, *map(np.asarray, game.strategies()))
    late = disutility(kappa, np.asarray(pieces[0]), 0.5)
    np.testing.assert_allclose(changing.disutility(1.3), disutility(kappa, np.asarray(pieces[1]), 0.8, late), rtol=1e-9)
    np.testing.assert_allclose(changing.disutility(0.2), game.disutility(0.2), rtol=1e-12)


def _none(leaf) -> bool:
    return leaf is None


def test_simulated_utilities_are_the_values():
    """Brownian motion, two laws of jumps and three regimes on the hub, where nothing knows of exponentials."""
    layer, start = random_layer(), jnp.asarray([0.2, -0.1])
    u, w = layer.strategies()
    game = layer.as_differential(1.0, start, regime=1)
    paths = simulate(game, lambda t, x, i: (u[i], w[i]), jax.random.key(0), paths=40_000, steps=50, keep=0)
    exact = float(jnp.exp(-0.7 * layer.weight @ start) * layer.disutility(1.0)[1])
    assert abs(float(paths.cost[0]) - exact) < 4 * float(paths.standard_error[0]) + 0.005 * exact
    assert float(paths.standard_error[0]) < 0.01 * exact


def test_slips_are_named():
    game = random_layer()
    for name, value in (
        ("gamma", 0.0),
        ("R", -game.R),
        ("S", -game.S),
        ("jump_rate", -game.jump_rate),
        ("generator", game.generator + 0.1),
        ("held", jnp.asarray([1.0])),
    ):
        with pytest.raises(InvalidInput, match=name):
            ExponentialAffineGame(**{**vars(game), name: value})
