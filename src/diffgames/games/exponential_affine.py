"""The exponential-affine (CARA) layer of games in games: regime-switching risk sensitivity by a matrix exponential.

    dx = (b_i + B_i u + D_i w) dt + Σ_i dW + Σ_l ρ_il dÑ_il,
    sup_u inf_w E[ −exp(−γ (cᵀx_T − ∫ ½ uᵀR_i u dt + ∫ ½ wᵀS_i w dt)) ].

V_i = −e^{−γ cᵀx} v_i(t) with constant strategies u* = R_i⁻¹B_iᵀc, w* = −S_i⁻¹D_iᵀc and

    κ_i = −γ [cᵀb_i + ½ cᵀB_iR_i⁻¹B_iᵀc − ½ cᵀD_iS_i⁻¹D_iᵀc − ½ γ cᵀΣ_iΣ_iᵀc] + Σ_l λ_il (e^{−γcᵀρ_il} − 1 + γcᵀρ_il),
    v(t) = exp((diag κ + Π)(T − t)) 1,      certainty equivalent cᵀx + θ_i,  θ_i = −ln v_i / γ.

Where Π changes at known times, v is the product of the exponentials of the pieces, the last one before T first.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, PointLaw, check_generator
from diffgames.games.jumps import FixedMark, JumpLaw
from diffgames.games.matrices import numbers
from diffgames.numerics.precision import in_double, keeping_double, solving_in_double


class ExponentialAffineGame(eqx.Module):
    """The game of the module's docstring, regime first; `weight` is c, `jump_size` ρ.

    `generator` is Π, or the several [pieces, m, m] that hold one after the other as the time to go grows, piece k for
    `held[k]` units of time and the last one from there on. `InvalidInput` names what does not fit.
    """

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
    generator: Float[Array, "m m"] | Float[Array, "pieces m m"]
    held: Float[Array, " lasting"] | None = None

    def __post_init__(self):
        with jax.enable_x64(True):
            for field in dataclasses.fields(self):
                value = getattr(self, field.name)
                if value is not None:
                    setattr(self, field.name, numbers(field.name, value, "numbers"))

    def __check_init__(self):
        pieces = self.generator.shape[0] if self.generator.ndim == 3 else 1
        lasting = 0 if self.held is None else self.held.shape[0]
        if lasting != pieces - 1:
            raise InvalidInput("held", lasting, f"{pieces - 1} times for {pieces} generators")
        if _unknown(self):
            return
        if not float(self.gamma) > 0:
            raise InvalidInput("gamma", float(self.gamma), "a positive risk aversion")
        for name in ("R", "S"):
            cost = np.asarray(getattr(self, name))
            if np.linalg.eigvalsh(cost + np.swapaxes(cost, 1, 2)).min() <= 0:
                raise InvalidInput(name, cost.tolist(), "positive definite matrices")
        if np.asarray(self.jump_rate).min(initial=0.0) < 0:
            raise InvalidInput("jump_rate", np.asarray(self.jump_rate).tolist(), "intensities ≥ 0")
        if lasting and not np.all(np.asarray(self.held) > 0):
            raise InvalidInput("held", np.asarray(self.held).tolist(), "positive times")
        for piece in np.asarray(self.generator).reshape(pieces, *self.generator.shape[-2:]):
            check_generator(piece)

    @solving_in_double
    def strategies(self) -> tuple[Float[Array, "m k"], Float[Array, "m d"]]:
        """u* and w* of every regime."""
        reward = jnp.einsum("ink,n->ik", self.B, self.weight)
        harm = jnp.einsum("ind,n->id", self.D, self.weight)
        return _solve(self.R, reward), -_solve(self.S, harm)

    @solving_in_double
    def growth(self) -> Float[Array, " m"]:
        """κ."""
        c = self.weight
        reward, harm = jnp.einsum("ink,n->ik", self.B, c), jnp.einsum("ind,n->id", self.D, c)
        loading = jnp.einsum("inw,n->iw", self.noise, c)
        gain = self.b @ c + 0.5 * jnp.sum(reward * _solve(self.R, reward), -1)
        gain = gain - 0.5 * jnp.sum(harm * _solve(self.S, harm), -1) - 0.5 * self.gamma * jnp.sum(loading**2, -1)
        size = self.gamma * jnp.einsum("iln,n->il", self.jump_size, c)
        return -self.gamma * gain + jnp.sum(self.jump_rate * (jnp.expm1(-size) + size), -1)

    @solving_in_double
    def disutility(self, to_go: float | Float[Array, ""]) -> Float[Array, " m"]:
        """v at a time to go."""
        growth = jnp.diag(self.growth())
        v = jnp.ones(growth.shape[0], growth.dtype)
        left = jnp.asarray(to_go, growth.dtype)
        pieces = self.generator if self.generator.ndim == 3 else self.generator[None]
        for number, generator in enumerate(pieces):
            last = number == pieces.shape[0] - 1
            lasts = left if last or self.held is None else jnp.minimum(left, self.held[number])
            v = jax.scipy.linalg.expm((growth + generator) * lasts) @ v
            left = left - lasts
        return v

    @solving_in_double
    def certainty_equivalent(self, to_go: float | Float[Array, ""]) -> Float[Array, " m"]:
        """θ at a time to go: what is certain in addition to cᵀx."""
        return -jnp.log(self.disutility(to_go)) / self.gamma

    @in_double
    def equilibrium(self) -> "ExponentialAffineSolution":
        """The equilibrium in closed form."""
        return ExponentialAffineSolution(self, ConstantControls(self.strategies()))

    @keeping_double
    def as_differential(self, horizon: float, state: Float[Array, " n"], regime: int = 0) -> DifferentialGame:
        """The game on (x, y), y = ∫ ½ uᵀR u − ½ wᵀS w dt: the controller minimises E exp(−γ(cᵀx_T − y_T)).

        For one generator; `strategies` are constant in time and state, so that a profile is `u[i], w[i]`.
        """
        if self.generator.ndim == 3:
            raise InvalidInput("generator", "several", "one generator")
        return DifferentialGame(
            players=("controller", "disturbance"),
            control_sizes=(self.B.shape[2], self.D.shape[2]),
            drift=eqx.Partial(_drift, self),
            diffusion=eqx.Partial(_diffusion, self),
            running_cost=_no_cost,
            terminal_cost=eqx.Partial(_terminal_cost, self),
            initial=PointLaw(jnp.append(state, jnp.zeros((), state.dtype)), regime),
            horizon=horizon,
            jumps=tuple(
                JumpLaw(eqx.Partial(_jump_rate, self, q), eqx.Partial(_jump_size, self, q), FixedMark(jnp.zeros(1)))
                for q in range(self.jump_rate.shape[1])
            ),
            generator=self.generator,
            signs=(1, -1),
        )


class ConstantControls(eqx.Module):
    """The profile u[i], w[i]."""

    controls: tuple[Float[Array, "m k"], Float[Array, "m d"]]

    def __call__(self, t: Array, x: Array, i: Int[Array, ""]) -> tuple[Float[Array, " k"], Float[Array, " d"]]:
        """Both controls in regime i."""
        return self.controls[0][i], self.controls[1][i]


class ExponentialAffineSolution(eqx.Module):
    """The equilibrium: its profile; certainty equivalents are the game's `certainty_equivalent(to_go)`."""

    game: ExponentialAffineGame
    profile: ConstantControls

    def certainty_equivalent(self, to_go: float | Float[Array, ""]) -> Float[Array, " m"]:
        """θ at a time to go, per regime."""
        return self.game.certainty_equivalent(to_go)


def _unknown(game: ExponentialAffineGame) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(game))


def _solve(matrices: Array, vectors: Array) -> Array:
    return jnp.linalg.solve(matrices, vectors[..., None])[..., 0]


def _drift(game: ExponentialAffineGame, t: Array, x: Array, u: tuple, i: Int[Array, ""]) -> Array:
    spent = 0.5 * u[0] @ game.R[i] @ u[0] - 0.5 * u[1] @ game.S[i] @ u[1]
    return jnp.append(game.b[i] + game.B[i] @ u[0] + game.D[i] @ u[1], spent)


def _diffusion(game: ExponentialAffineGame, t: Array, x: Array, u: tuple, i: Int[Array, ""]) -> Array:
    return jnp.pad(game.noise[i], ((0, 1), (0, 0)))


def _no_cost(t: Array, x: Array, u: tuple, i: Int[Array, ""]) -> Array:
    return jnp.zeros(2, x.dtype)


def _terminal_cost(game: ExponentialAffineGame, x: Array, i: Int[Array, ""]) -> Array:
    return jnp.exp(-game.gamma * (game.weight @ x[:-1] - x[-1])) * jnp.ones(2, x.dtype)


def _jump_rate(game: ExponentialAffineGame, q: int, t: Array, x: Array, u: tuple, i: Int[Array, ""]) -> Array:
    return game.jump_rate[i, q]


def _jump_size(game: ExponentialAffineGame, q: int, t: Array, x: Array, u: tuple, mark: Array, i: Array) -> Array:
    return jnp.append(game.jump_size[i, q], jnp.zeros((), x.dtype))
