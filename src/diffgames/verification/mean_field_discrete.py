"""What the representative player of a discrete mean-field game could still gain, by none of the solvers' means.

The law is propagated in NumPy, or is the Perron eigenvector of the policy's own chain, taken anew until it reproduces
itself. The policy's value is a sparse linear solve over (time, state), and the best response the linear program

    minimize Σ_s μ_0(s) V_0(s)   subject to   V_t(s) ≥ r_t(s, a) + γ Σ_s' P_t(s, a, s') V_{t+1}(s')   for all (t, s, a)

(HiGHS), V_{T+1} = 0, or V_{t+1} = V_t = V where the game is stationary. Its greedy policy, valued by the same linear
solve, bounds the gain from below; that value plus its largest violation of a constraint, accrued until the end, is
feasible and bounds it from above.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, eye_array
from scipy.sparse.linalg import spsolve

from diffgames.errors import RunFailed
from diffgames.games.mean_field_discrete import DiscreteMeanFieldGame, PlayedPolicy, played_policy
from diffgames.verification.certificate import Certificate, exact_gap

ROUNDS = 200


def certify_mean_field(game: DiscreteMeanFieldGame, policy: Array | np.ndarray, law: Array | np.ndarray) -> Certificate:
    """Certificate of a policy [times, S, A]; `law` [times, S] is the one it was said to make, and is checked."""
    with jax.enable_x64(True):
        told = played_policy(game, PlayedPolicy(jnp.asarray(policy, float), jnp.asarray(law, float)))
    policy, law = np.asarray(told.policy), np.asarray(told.law)
    made, kernel, reward = _law(game, policy, law)
    start = made[0]
    value = start @ _value(game, kernel, reward, policy)[0]
    best = _best_response(game, kernel, reward, start)
    found = _value(game, kernel, reward, best)
    following = np.concatenate([found[1:], np.zeros_like(found[:1])]) if game.horizon is not None else found
    lacking = (reward + float(game.discount) * np.einsum("tsax,tx->tsa", kernel, following)).max(-1) - found
    g, steps = float(game.discount), game.times
    longest = 1 / (1 - g) if game.horizon is None else float(np.sum(g ** np.arange(steps)))
    gain, beyond = start @ found[0] - value, max(float(lacking.max()), 0.0) * longest
    scale = float(np.abs(reward).max()) * longest
    entry = exact_gap(
        "representative player",
        float(value),
        float(gain),
        beyond + 1e-13 * scale,
        selected="best response by linear programming",
        scale=scale,
    )
    checks = {
        "law_error": float(np.abs(made - law).max()),
        "mass_error": float(np.abs(law.sum(-1) - 1).max()),
        "policy_error": float(max(np.abs(policy.sum(-1) - 1).max(), -policy.min())),
    }
    return Certificate((entry,), how="exact: law by propagation or eigenvector, value by linear solve", checks=checks)


def _data(game: DiscreteMeanFieldGame, law: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        kernel, reward = game.at(jnp.asarray(law))
        return np.asarray(kernel, float), np.asarray(reward, float)


def _law(game: DiscreteMeanFieldGame, policy: np.ndarray, law: np.ndarray) -> tuple[np.ndarray, ...]:
    """The law that the policy makes, and kernel and reward along it."""
    if game.horizon is not None:
        made = np.tile(np.asarray(game.initial, float), (game.times, 1))
        for t in range(game.times - 1):
            made[t + 1] = np.einsum("s,sa,sax->x", made[t], policy[t], _data(game, made)[0][t])
        return (made, *_data(game, made))
    made = law
    for _ in range(ROUNDS):
        values, vectors = np.linalg.eig(np.einsum("sa,sax->xs", policy[0], _data(game, made)[0][0]))
        vector = np.abs(vectors[:, np.argmin(np.abs(values - 1))].real)
        before, made = made, (vector / vector.sum())[None]
        if np.abs(made - before).max() < 1e-14:
            break
    return (made, *_data(game, made))


def _value(game: DiscreteMeanFieldGame, kernel: np.ndarray, reward: np.ndarray, policy: np.ndarray) -> np.ndarray:
    """V^π [times, S]."""
    times, size = reward.shape[:2]
    system = eye_array(times * size, format="csr") - _chained(
        game, np.einsum("tsa,tsax->tsx", policy, kernel)[:, :, None]
    )
    return np.asarray(spsolve(system, np.sum(policy * reward, axis=-1).reshape(-1))).reshape(times, size)


def _chained(game: DiscreteMeanFieldGame, kernel: np.ndarray) -> csr_array:
    """γP with rows (t, s, a) and columns (t', s'), where t' follows t."""
    times, size, actions, _ = kernel.shape
    t, s, a, x = np.nonzero(kernel)
    column = (t if game.horizon is None else t + 1) * size + x
    kept = column < times * size
    entries = float(game.discount) * kernel[t, s, a, x][kept]
    row = ((t * size + s) * actions + a)[kept]
    return coo_array((entries, (row, column[kept])), shape=(times * size * actions, times * size)).tocsr()


def _best_response(
    game: DiscreteMeanFieldGame, kernel: np.ndarray, reward: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """The greedy policy of the linear program's values."""
    times, size, actions = reward.shape
    rows = np.arange(times * size * actions)
    own = coo_array((np.ones(rows.size), (rows, rows // actions)), shape=(rows.size, times * size)).tocsr()
    weight = np.full((times, size), 1e-3 / size)  # every state counts a little: where nobody is, values are best too
    weight[0] += start
    moved = _chained(game, kernel)
    done = linprog(weight.reshape(-1), A_ub=moved - own, b_ub=-reward.reshape(-1), bounds=(None, None), method="highs")
    if done.x is None:
        raise RunFailed(
            f"the linear program of the best response has no solution: {done.message}", "look at the rewards"
        )
    q = (reward.reshape(-1) + moved @ done.x).reshape(reward.shape)
    return np.eye(actions)[np.argmax(q, axis=-1)]
