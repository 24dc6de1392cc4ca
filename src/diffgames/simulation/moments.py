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
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffgames.games.linear_quadratic import Coefficient, LinearQuadraticGame, at
from diffgames.numerics.precision import keeping_double
from diffgames.numerics.step_size import Sized

FIRST = 1e-4  # of the span: the first step
ACCURATE = 1e-13  # a covariance is what is left of second moments when the mean is taken off


class LinearFlow(eqx.Module):
    """A linear closed loop; the first axis is the regime. See the module's docstring.

    - `drift` A[m, n, n], `diffusion` C[m, noises, n, n], `jump_scale` E[m, laws, n, n], `jump_rate` λ[m, laws]
    - `generator` μ[m, m], `switch` J[m, m, n, n] (None: the state does not move at a switch)

    All but `switch` may be functions of time that return such arrays.
    """

    drift: Coefficient
    diffusion: Coefficient
    jump_scale: Coefficient
    jump_rate: Coefficient
    generator: Coefficient
    switch: Float[Array, "m m n n"] | None = None

    def noise_forward(self, t: Any, second: Float[Array, "m n n"]) -> Float[Array, "m n n"]:
        """What noise, jumps and switches add to Ṁ."""
        noise, scale, rate, rates = self._noise(t)
        moved = jnp.einsum("ikab,ibc,ikdc->iad", noise, second, noise)
        jumped = jnp.einsum("il,ilab,ibc,ildc->iad", rate, scale, second, scale)
        if self.switch is None:
            return moved + jumped + jnp.einsum("ji,jab->iab", rates, second)
        off, own = _split(rates)
        switched = jnp.einsum("ji,jiab,jbc,jidc->iad", off, self.switch, second, self.switch)
        return moved + jumped + switched + own[:, None, None] * second

    def noise_backward(self, t: Any, value: Float[Array, "m n n"]) -> Float[Array, "m n n"]:
        """What noise, jumps and switches add to −Ṡ: the adjoint of `noise_forward`."""
        noise, scale, rate, rates = self._noise(t)
        moved = jnp.einsum("ikba,ibc,ikcd->iad", noise, value, noise)
        jumped = jnp.einsum("il,ilba,ibc,ilcd->iad", rate, scale, value, scale)
        if self.switch is None:
            return moved + jumped + jnp.einsum("ij,jab->iab", rates, value)
        off, own = _split(rates)
        switched = jnp.einsum("ij,ijba,jbc,ijcd->iad", off, self.switch, value, self.switch)
        return moved + jumped + switched + own[:, None, None] * value

    def _noise(self, t: Any) -> tuple[Array, Array, Array, Array]:
        return at(self.diffusion, t), at(self.jump_scale, t), at(self.jump_rate, t), at(self.generator, t)


def closed_loop(game: LinearQuadraticGame, profile: Any) -> LinearFlow:
    """The flow of z = (x, 1) in continuous time when all play `profile`, which offers gain(t) and crowd_gain(t).

    A generator that is a function must be one of time alone.
    """

    def part(name: str) -> Callable[[Any], Array]:
        return lambda t: getattr(game.coefficients(t), name)

    def drift(t: Any) -> Array:
        c = game.coefficients(t)
        return c.drift + c.input @ profile.gain(t) + c.crowd_input @ profile.crowd_gain(t)

    return LinearFlow(
        drift=drift,
        diffusion=part("diffusion"),
        jump_scale=part("jump_scale"),
        jump_rate=part("jump_rate"),
        generator=lambda t: game.rates(t, None),
        switch=game.switch,
    )


@keeping_double
def mean_and_covariance(
    second: Float[Array, "times m n n"],
) -> tuple[Float[Array, "times x"], Float[Array, "times x x"]]:
    """Of x, over all regimes, from the second moments of z = (x, 1)."""
    whole = jnp.sum(second, axis=1)
    mean = whole[:, :-1, -1]
    return mean, whole[:, :-1, :-1] - mean[:, :, None] * mean[:, None, :]


@keeping_double
def second_moments(
    flow: LinearFlow, start: Float[Array, "m n n"], time: Float[Array, " times"]
) -> Float[Array, "times m n n"]:
    """M_i at every time, from M_i(time[0]) = `start`, each step to 1e-13 of √(M_aa M_bb)."""

    def rate(t, second, _):
        grown = jnp.einsum("iab,ibc->iac", at(flow.drift, t), second)
        return grown + jnp.swapaxes(grown, 1, 2) + flow.noise_forward(t, second)

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
        pulled = jnp.einsum("iba,ibc->iac", at(flow.drift, t), value)
        noise = flow.noise_backward(t, value)
        return symmetric(running(t)) - discount * value + pulled + jnp.swapaxes(pulled, 1, 2) + noise

    return _integrate(rate, symmetric(terminal), jnp.stack([jnp.zeros_like(horizon), horizon]))[-1]


def symmetric(matrices: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """The symmetric part, all that a quadratic form sees."""
    return (matrices + jnp.swapaxes(matrices, -1, -2)) / 2


def _integrate(rate: Callable, start: Array, time: Array) -> Array:
    """A matrix equation over its span, at every time; time and the components of the state have any units."""
    span = time[-1] - time[0]
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(jax.jit(lambda s, y, args: span * rate(time[0] + s * span, y, args))),
        diffrax.Dopri8(),
        t0=0.0,
        t1=1.0,
        dt0=FIRST,
        y0=start,
        saveat=diffrax.SaveAt(ts=(time - time[0]) / span),
        stepsize_controller=Sized(ACCURATE, ACCURATE, within="diagonal"),
        max_steps=100_000,
    )
    assert solution.ys is not None
    return solution.ys


def _split(generator: Array) -> tuple[Array, Array]:
    """The generator without its diagonal, and its diagonal."""
    own = jnp.diagonal(generator)
    return generator - jnp.diag(own), own
