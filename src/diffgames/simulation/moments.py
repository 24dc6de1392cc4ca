"""Exact moments and costs of linear closed loops: what simulated paths must agree with.

A linear flow with regimes, multiplicative noise and compensated jumps,

    dX = A_i(t) X dt + Σ_k C_ik X dW_k + Σ_l E_il X dÑ_l,   Ñ_l of intensity λ_il,   X → J_ij X at a switch i → j,

(a state whose last component is the constant 1 carries affine terms, targets and additive noise), has second moments
M_i(t) = E[X Xᵀ; I_t = i] solving

    Ṁ_i = A_i M_i + M_i A_iᵀ + Σ_k C_ik M_i C_ikᵀ + Σ_l λ_il E_il M_i E_ilᵀ + Σ_{j≠i} μ_ji J_ji M_j J_jiᵀ + μ_ii M_i,

and costs E[∫₀ᵀ e^{−ρt} XᵀW_I(t)X dt + e^{−ρT} XᵀG_I X] = Σ_i tr(M_i(0) S_i(0)) where, backwards from S_i(T) = G_i,

    −Ṡ_i = W_i − ρS_i + A_iᵀS_i + S_iA_i + Σ_k C_ikᵀS_iC_ik + Σ_l λ_il E_ilᵀS_iE_il
           + Σ_{j≠i} μ_ij J_ijᵀS_jJ_ij + μ_ii S_i.
"""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.numerics.precision import keeping_double

TOLERANCE = diffrax.PIDController(rtol=1e-10, atol=1e-12)


class LinearFlow(eqx.Module):
    """A linear closed loop; the first axis is the regime. `drift` is a function of time. See the module's docstring."""

    drift: Callable[[Float[Array, ""]], Float[Array, "m n n"]]
    diffusion: Float[Array, "m noises n n"]
    jump_scale: Float[Array, "m laws n n"]
    jump_rate: Float[Array, "m laws"]
    generator: Float[Array, "m m"]
    switch: Float[Array, "m m n n"] | None = None

    def noise_forward(self, second: Float[Array, "m n n"]) -> Float[Array, "m n n"]:
        """What noise, jumps and switches add to Ṁ."""
        moved = jnp.einsum("ikab,ibc,ikdc->iad", self.diffusion, second, self.diffusion)
        jumped = jnp.einsum("il,ilab,ibc,ildc->iad", self.jump_rate, self.jump_scale, second, self.jump_scale)
        if self.switch is None:
            return moved + jumped + jnp.einsum("ji,jab->iab", self.generator, second)
        off, own = _split(self.generator)
        switched = jnp.einsum("ji,jiab,jbc,jidc->iad", off, self.switch, second, self.switch)
        return moved + jumped + switched + own[:, None, None] * second

    def noise_backward(self, value: Float[Array, "m n n"]) -> Float[Array, "m n n"]:
        """What noise, jumps and switches add to −Ṡ: the adjoint of `noise_forward`."""
        moved = jnp.einsum("ikba,ibc,ikcd->iad", self.diffusion, value, self.diffusion)
        jumped = jnp.einsum("il,ilba,ibc,ilcd->iad", self.jump_rate, self.jump_scale, value, self.jump_scale)
        if self.switch is None:
            return moved + jumped + jnp.einsum("ij,jab->iab", self.generator, value)
        off, own = _split(self.generator)
        switched = jnp.einsum("ij,ijba,jbc,ijcd->iad", off, self.switch, value, self.switch)
        return moved + jumped + switched + own[:, None, None] * value


@keeping_double
def second_moments(
    flow: LinearFlow, start: Float[Array, "m n n"], time: Float[Array, " times"]
) -> Float[Array, "times m n n"]:
    """M_i at every time, from M_i(time[0]) = `start`, to a relative tolerance of 1e-10."""

    def rate(t, second, _):
        drift = flow.drift(t)
        grown = jnp.einsum("iab,ibc->iac", drift, second)
        return grown + jnp.swapaxes(grown, 1, 2) + flow.noise_forward(second)

    return _integrate(rate, start, time)


@keeping_double
def quadratic_cost(
    flow: LinearFlow,
    running: Callable[[Float[Array, ""]], Float[Array, "m n n"]],
    terminal: Float[Array, "m n n"],
    horizon: float | Float[Array, ""],
    discount: float | Float[Array, ""] = 0.0,
) -> Float[Array, "m n n"]:
    """S_i(0): the cost from time 0 in regime i and state x is xᵀS_i(0)x."""
    horizon = jnp.asarray(horizon, terminal.dtype)

    def rate(tau, value, _):
        t = horizon - tau
        pulled = jnp.einsum("iba,ibc->iac", flow.drift(t), value)
        noise = flow.noise_backward(value)
        return symmetric(running(t)) - discount * value + pulled + jnp.swapaxes(pulled, 1, 2) + noise

    return _integrate(rate, symmetric(terminal), jnp.stack([jnp.zeros_like(horizon), horizon]))[-1]


def symmetric(matrices: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """The symmetric part, all that a quadratic form sees."""
    return (matrices + jnp.swapaxes(matrices, -1, -2)) / 2


def _integrate(rate: Callable, start: Array, time: Array) -> Array:
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(rate),
        diffrax.Dopri8(),
        t0=time[0],
        t1=time[-1],
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(ts=time),
        stepsize_controller=TOLERANCE,
        max_steps=100_000,
    )
    assert solution.ys is not None
    return solution.ys


def _split(generator: Array) -> tuple[Array, Array]:
    """The generator without its diagonal, and its diagonal."""
    own = jnp.diagonal(generator)
    return generator - jnp.diag(own), own
