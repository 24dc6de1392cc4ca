"""Gradient ascent of tabular shared policies: everybody plays π, one agent is improved, everybody plays that.

For a payoff u(π₁, π₂) of the symmetric abstract game (`equilibria.shared`), ∇₁ its gradient in the first argument
(Vadori et al., arXiv 2210.07184, Theorems 3.9, 3.13 and 3.14):

    projected   π ← P[π + α_n ∇₁u(π, π)],  P the Euclidean projection onto the simplex of every (s, λ)
    softmax     θ ← θ + α ∇₁L(π_θ, π_θ) ⊙ (1 + φ_n),   L(π₁, π₂) = u(π₁, π₂) + ν (ln π₁ − ln π₂),

ln π the mean of ln π(a|s, λ) over all K entries, which keeps π off the simplex's edge, φ_n independent noise of mean
zero. With `threshold` c a step is taken only where L(π_{n+1}, π_n) − L(π_n, π_n) ≥ c ‖∇₁L‖² (the event Ω_n; the paper
prints c = η', which steps of size α cannot reach: c = αη').
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from optax.projections import projection_simplex

from diffgames.errors import InvalidInput
from diffgames.games.tabular import Policy

Payoff = Callable[[Policy, Policy], Float[Array, ""]]
Path = Float[Array, "points S L A"]


@dataclass(frozen=True)
class NoiseLaw:
    """The finite law of one coordinate of φ: values and probabilities, of mean zero."""

    values: tuple[float, ...] = (0.0,)
    chances: tuple[float, ...] = (1.0,)

    def __post_init__(self):
        chances = np.asarray(self.chances)
        fits = len(self.values) == len(self.chances) and (chances >= 0).all() and abs(chances.sum() - 1) < 1e-9
        if not fits or abs(self.moment(1)) > 1e-9:
            raise InvalidInput("noise", [self.values, self.chances], "values and probabilities, of mean zero")

    def moment(self, power: int) -> float:
        """E φ^k, with its sign."""
        return float(np.dot(np.asarray(self.values) ** power, self.chances))

    @property
    def largest(self) -> float:
        """φ_max."""
        return max(self.values)

    @property
    def least(self) -> float:
        """φ_min."""
        return min(self.values)


def projected_ascent(payoff: Payoff, start: Policy, steps: Float[Array, " updates"]) -> Path:
    """The policies of projected gradient ascent, the first included; `steps` are α_n."""

    def update(policy: Array, step: Array) -> tuple[Array, Array]:
        moved = policy + step * jax.grad(payoff)(policy, policy)
        with jax.numpy_dtype_promotion("standard"):  # the library mixes integers in
            flat = jax.vmap(projection_simplex)(moved.reshape(-1, moved.shape[-1]))
        return flat.reshape(moved.shape), policy

    last, path = jax.lax.scan(update, start, steps)
    return jnp.concatenate([path, last[None]])


def softmax_ascent(
    payoff: Payoff,
    start: Policy,
    *,
    step: float,
    barrier: float,
    updates: int,
    noise: NoiseLaw | None = None,
    key: PRNGKeyArray | None = None,
    threshold: float | None = None,
) -> tuple[Path, Bool[Array, " updates"]]:
    """Policies of softmax ascent with the log barrier ν = `barrier`, from `start` > 0, and which updates were taken."""
    noise, key = noise or NoiseLaw(), jax.random.key(0) if key is None else key
    law = jnp.asarray(noise.values, start.dtype), jnp.asarray(noise.chances, start.dtype)

    def objective(first: Array, second: Array) -> Array:
        first, second = jax.nn.log_softmax(first), jax.nn.log_softmax(second)
        return payoff(jnp.exp(first), jnp.exp(second)) + barrier * (jnp.mean(first) - jnp.mean(second))

    def update(theta: Array, key: Array) -> tuple[Array, tuple[Array, Array]]:
        now, slope = jax.value_and_grad(objective)(theta, theta)
        moved = theta + step * slope * (1 + jax.random.choice(key, law[0], theta.shape, p=law[1]))
        taken = jnp.asarray(True)
        if threshold is not None:
            taken = objective(moved, theta) - now >= threshold * jnp.sum(slope**2)
        return jnp.where(taken, moved, theta), (jax.nn.softmax(theta), taken)

    last, (path, taken) = jax.lax.scan(update, jnp.log(start), jax.random.split(key, updates))
    return jnp.concatenate([path, jax.nn.softmax(last)[None]]), taken
