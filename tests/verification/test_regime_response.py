"""What attacker and stabilizer gain by other efforts, against SciPy on the scalar equations written out."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from diffgames.solvers.regimes import solve_regimes
from diffgames.studies.regime_lq import RegimeConfig, game_of, switching_for
from diffgames.verification.regime_response import Efforts, outer_gaps


@pytest.mark.slow
def test_an_idle_attacker_is_caught_with_the_right_size():
    """Scalar regimes, f = 0 in place of f*, everything else as at equilibrium."""
    config = RegimeConfig()
    game, switching = game_of(config), switching_for(config)
    solution = solve_regimes(game, switching)
    held = np.asarray(solution.stabilize_effort)[0]
    second = jnp.zeros((3, 2, 2)).at[0].set(jnp.asarray([[1.0, 1.0], [1.0, 1.0]]))

    def found(attack):
        efforts = Efforts(lambda t: jnp.asarray(attack), lambda t: jnp.asarray(held))
        return outer_gaps(game, switching, solution.inner.profile.gain, efforts, second)

    attacker, stabilizer = found(np.asarray(solution.attack_effort)[0])
    assert attacker.upper < 1e-8 and stabilizer.upper < 1e-8

    a, q, jump = np.asarray(config.A), np.asarray(config.Q), np.asarray([0.0, 0.05, 0.2])
    noise = np.asarray(config.noise) ** 2 + np.asarray([0.01, 0.02, 0.05])
    attack, base = np.asarray(switching.attack), np.asarray(switching.rates(jnp.zeros(3), jnp.asarray(held)))

    def rate(tau, y):
        p, r, k, c, w, d = y.reshape(6, 3)
        u, v = (np.asarray(solution.inner.profile.gain(1.0 - tau))[:, j, 0] for j in (0, 1))
        loop, run = 2 * (a + np.asarray(config.B) * u + np.asarray(config.D) * v) + jump, q + u**2 - 2 * v**2
        risk = attack @ np.stack([w, d], 1) - attack.sum(1)[:, None] * np.stack([w, d], 1)
        on = (risk.sum(1) > 0)[:, None] * risk
        flow = [run + loop * p + base @ p, noise * p + base @ r, p + loop * k + base @ k, r + noise * k + base @ c]
        flow += [p + loop * w + base @ w + on[:, 0], r + noise * w + base @ d + on[:, 1]]
        return np.concatenate(flow)

    start = np.concatenate([np.ones(3), np.zeros(3)] * 3)
    _, _, k, c, w, d = solve_ivp(rate, (0.0, 1.0), start, rtol=1e-10, atol=1e-12).y[:, -1].reshape(6, 3)
    attacker, _ = found(np.zeros(3))
    assert attacker.gain == pytest.approx(w[0] + d[0] - k[0] - c[0], rel=1e-6) and attacker.gain > 0.01
    assert attacker.upper == pytest.approx(attacker.gain, rel=1e-6)
