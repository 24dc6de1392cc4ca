"""The exponential-affine (CARA) layer of games in games: regime-switching risk sensitivity by a matrix exponential.

    dx = (b_i + B_i u + D_i w) dt + Σ_i dW + Σ_l ρ_il dÑ_il,
    sup_u inf_w E[ −exp(−γ (cᵀx_T − ∫ ½ uᵀR_i u dt + ∫ ½ wᵀS_i w dt)) ].

V_i = −e^{−γ cᵀx} v_i(t) with constant strategies u* = R_i⁻¹B_iᵀc, w* = −S_i⁻¹D_iᵀc and

    κ_i = −γ [cᵀb_i + ½ cᵀB_iR_i⁻¹B_iᵀc − ½ cᵀD_iS_i⁻¹D_iᵀc − ½ γ cᵀΣ_iΣ_iᵀc] + Σ_l λ_il (e^{−γcᵀρ_il} − 1 + γcᵀρ_il),
    v(t) = exp((diag κ + Π)(T − t)) 1,      certainty equivalent cᵀx + θ_i,  θ_i = −ln v_i / γ.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.numerics.precision import keeping_double


class ExponentialAffineGame(eqx.Module):
    """The game of the module's docstring, regime first; `weight` is c, `jump_size` ρ."""

    gamma: float | Float[Array, ""]
    weight: Float[Array, " n"]
    b: Float[Array, "m n"]
    B: Float[Array, "m n k"]
    D: Float[Array, "m n d"]
    R: Float[Array, "m k k"]
    S: Float[Array, "m d d"]
    noise: Float[Array, "m n w"]
    jump_size: Float[Array, "m laws n"]
    jump_rate: Float[Array, "m laws"]
    generator: Float[Array, "m m"]

    @keeping_double
    def strategies(self) -> tuple[Float[Array, "m k"], Float[Array, "m d"]]:
        """u* and w* of every regime."""
        reward = jnp.einsum("ink,n->ik", self.B, self.weight)
        harm = jnp.einsum("ind,n->id", self.D, self.weight)
        return _solve(self.R, reward), -_solve(self.S, harm)

    @keeping_double
    def growth(self) -> Float[Array, " m"]:
        """κ."""
        c = self.weight
        reward, harm = jnp.einsum("ink,n->ik", self.B, c), jnp.einsum("ind,n->id", self.D, c)
        loading = jnp.einsum("inw,n->iw", self.noise, c)
        gain = self.b @ c + 0.5 * jnp.sum(reward * _solve(self.R, reward), -1)
        gain = gain - 0.5 * jnp.sum(harm * _solve(self.S, harm), -1) - 0.5 * self.gamma * jnp.sum(loading**2, -1)
        size = self.gamma * jnp.einsum("iln,n->il", self.jump_size, c)
        return -self.gamma * gain + jnp.sum(self.jump_rate * (jnp.expm1(-size) + size), -1)

    @keeping_double
    def disutility(self, to_go: float | Float[Array, ""]) -> Float[Array, " m"]:
        """v at a time to go."""
        flow = jax.scipy.linalg.expm((jnp.diag(self.growth()) + self.generator) * to_go)
        return jnp.sum(flow, axis=1)

    @keeping_double
    def certainty_equivalent(self, to_go: float | Float[Array, ""]) -> Float[Array, " m"]:
        """θ at a time to go: what is certain in addition to cᵀx."""
        return -jnp.log(self.disutility(to_go)) / self.gamma


def _solve(matrices: Array, vectors: Array) -> Array:
    return jnp.linalg.solve(matrices, vectors[..., None])[..., 0]
