"""Standard errors of fitted volatility regimes: the curvature of their log-likelihood at its maximum.

For returns r_1, …, r_T of a Gaussian hidden Markov chain with zero means, deviations s_i and transitions P, the forward
recursion gives the likelihood,

    α_1(i) = π_i φ(r_1; s_i),   α_t(j) = Σ_i α_{t−1}(i) P_ij φ(r_t; s_j),   L = Σ_i α_T(i),

and the observed information −∇² log L in (log s, logits of P's rows), inverted, the covariance of the estimates. The
chain is summed out, so that what nobody knows of the regimes' times is in it. The standard error of s_i is s_i times
that of log s_i; with one regime it is s/√(2T).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffgames.numerics.precision import in_double

RARE = 1e-5  # transitions this rare count as none: their logits have no curvature


@in_double
def deviation_errors(
    returns: Float[np.ndarray, " steps"],
    deviation: Float[np.ndarray, " N"],
    transition: Float[np.ndarray, "N N"],
    first: Float[np.ndarray, " N"],
) -> Float[np.ndarray, " N"]:
    """Standard errors of the deviations s, in the returns' unit; ∞ where the likelihood is flat in one.

    `first` is the law of the first regime, taken as known.
    """
    unit, count = float(np.max(deviation)), len(deviation)
    free = np.flatnonzero((transition > RARE) & ~np.eye(count, dtype=bool))
    logits = np.log(np.maximum(transition, RARE)) - np.log(np.maximum(np.diag(transition), RARE))[:, None]
    given = jnp.asarray(np.concatenate([np.log(deviation / unit), logits.reshape(-1)[free]]))
    bent = -np.asarray(
        _curvature(given, jnp.asarray(returns / unit), jnp.asarray(logits), jnp.asarray(first), jnp.asarray(free))
    )
    values, vectors = np.linalg.eigh((bent + bent.T) / 2)
    if not (np.all(np.isfinite(values)) and values.min() > 1e-9 * values.max()):
        return np.full(count, np.inf)
    variance = np.sum(vectors[:count] ** 2 / values, axis=1)
    return deviation * np.sqrt(variance)


@eqx.filter_jit
def _curvature(given: Array, returns: Array, logits: Array, first: Array, free: Array) -> Float[Array, "p p"]:
    count = first.shape[0]

    def likelihood(parameters: Array) -> Array:
        scale = jnp.exp(parameters[:count])
        rows = logits.reshape(-1).at[free].set(parameters[count:]).reshape(count, count)
        transition = jax.nn.softmax(rows, axis=1)

        def seen(value: Array) -> Array:
            return jnp.exp(-0.5 * (value / scale) ** 2) / scale

        def step(belief: Array, value: Array) -> tuple[Array, Array]:
            joint = (belief @ transition) * seen(value)
            return joint / jnp.sum(joint), jnp.log(jnp.sum(joint))

        start = first * seen(returns[0])
        _, gained = jax.lax.scan(step, start / jnp.sum(start), returns[1:])
        return jnp.log(jnp.sum(start)) + jnp.sum(gained)

    return jax.hessian(likelihood)(given)
