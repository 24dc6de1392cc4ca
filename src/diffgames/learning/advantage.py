"""Generalised advantage estimation (Schulman et al. 2016), the only one in the library.

With rewards r_t, value estimates v_t of an episode of T steps, discount ζ and λ:

    δ_t = r_t + ζ v_{t+1} − v_t,      A_t = δ_t + ζ λ A_{t+1},      v_T = A_T = 0.

Episodes end at the horizon, which the agents see coming (time is observed), so nothing is bootstrapped there. The
return that the value is fitted to is A_t + v_t; with λ = 1 it is the plain discounted sum of rewards.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def advantages(
    reward: Float[Array, "time batch"], value: Float[Array, "time batch"], discount: float, gae_lambda: float
) -> tuple[Float[Array, "time batch"], Float[Array, "time batch"]]:
    """Advantages A_t and value targets A_t + v_t."""
    following = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])], axis=0)
    delta = reward + discount * following - value

    def accumulate(advantage, delta):
        advantage = delta + discount * gae_lambda * advantage
        return advantage, advantage

    _, estimate = jax.lax.scan(accumulate, jnp.zeros_like(delta[0]), delta, reverse=True)
    return estimate, estimate + value
