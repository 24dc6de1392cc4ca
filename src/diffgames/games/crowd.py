"""Crowd motion: players who steer towards targets and feel the crowd around them (Guo, Li & Zhang, Section 6).

With positions p_i (the first components of X_i), weights w_ij (q_ij, or q_ij/(N−1) when normalised) and kernel K:

    f_i = c_i |u_i|² + Σ_{j≠i} w_ij K(X_i − X_j),   g_i = ½ w_T |p_i − d_i|²,

    F = Σ_i c_i |u_i|² + Σ_{i<j} s_ij K(X_i − X_j) + (antisymmetric part of w, see `games.interaction`),  G = Σ_i g_i.

These F and G differ from equation 3.6 by Φ̂(0) of the symmetric part, which no control moves: E[∫F + G] is Φ̂(u) =
Φ(u) + Φ̂(0) in the costs' own normalisation. The paper's 1/(N−1) is inferred (without it Corollary 6.1 could not
decay); the numerical examples of Section 6.2 are stated without it.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from diffgames.errors import InvalidInput
from diffgames.games.distributed import (
    AbstractCosts,
    AbstractOwnCosts,
    Controls,
    DistributedGame,
    JumpNoise,
    OwnControls,
    OwnStates,
    States,
)
from diffgames.games.interaction import AbstractInteraction, Pairs, Rows
from diffgames.games.kernels import AbstractKernel
from diffgames.games.networks import checked_weights


class OwnCrowdCosts(AbstractOwnCosts):
    """Effort, interaction and terminal distance of some of the players, or all; see the module's docstring."""

    effort: Float[Array, " some"]
    targets: Float[Array, "some position"]
    terminal_weight: Float[Array, ""]
    interaction: AbstractInteraction | Rows

    def own_running(
        self, t: Float[Array, ""], own_x: OwnStates, own_u: OwnControls, x: States, u: Controls
    ) -> Float[Array, "some paths"]:
        """c_i |u_i|² + Σ_j w_ij K(X_i − X_j)."""
        return self._effort(own_u) + self.interaction.felt(t, own_x, x)

    def own_terminal(self, own_x: OwnStates, x: States) -> Float[Array, "some paths"]:
        """½ w_T |p_i − d_i|²."""
        targets = jnp.asarray(self.targets, own_x.dtype).T[:, :, None]
        miss = own_x[: targets.shape[0]] - targets
        return 0.5 * jnp.asarray(self.terminal_weight, own_x.dtype) * jnp.sum(miss * miss, axis=0)

    def _effort(self, u: OwnControls) -> Float[Array, "some paths"]:
        return jnp.asarray(self.effort, u.dtype)[:, None] * jnp.sum(u * u, axis=0)


class CrowdCosts(OwnCrowdCosts, AbstractCosts):
    """Those of all players, and their potential."""

    interaction: AbstractInteraction

    def potential_running(self, t: Float[Array, ""], x: States, y: States, u: Controls) -> Float[Array, " paths"]:
        """F of the module's docstring."""
        return jnp.sum(self._effort(u), axis=0) + self.interaction.potential(t, x, y)

    def potential_terminal(self, x: States, y: States) -> Float[Array, " paths"]:
        """G of the module's docstring."""
        return jnp.sum(self.own_terminal(x, x), axis=0)

    def renewed(self, key: PRNGKeyArray) -> "CrowdCosts":
        """With fresh randomness in the interaction, where it has any."""
        return eqx.tree_at(lambda costs: costs.interaction, self, self.interaction.renewed(key))

    def of(self, players: Int[np.ndarray, " some"], count: int) -> OwnCrowdCosts:
        """The costs of `players` alone, their interaction summed exactly: O(N) for each."""
        rows = self.interaction.rows(players, count)
        return OwnCrowdCosts(self.effort[players], self.targets[players], self.terminal_weight, rows)


def crowd_game(
    kernel: AbstractKernel,
    weights: np.ndarray,
    targets: np.ndarray,
    *,
    start: np.ndarray | tuple[float, ...] = (0.0, 0.0),
    effort: float = 0.1,
    terminal_weight: float = 1.0,
    noise: float = 0.1,
    jump_size: float = 0.1,
    rates: np.ndarray | float = 0.0,
    common_noise: float = 0.0,
    common_jump_size: float = 0.0,
    common_rate: float = 0.0,
    horizon: float = 1.0,
    normalise: bool = True,
    kinetic: bool = False,
    interaction: AbstractInteraction | None = None,
) -> DistributedGame:
    """The crowd game of equation 6.18, in any dimension.

    `weights` [players, players], `targets` [players, dimension], `start` [dimension] or [players, dimension].
    Every coordinate of player i has Brownian noise `noise` of its own and `common_noise` shared by all, and unit-size
    compensated Poisson noise of intensity `rates[i]` times `jump_size`, and common of intensity `common_rate` times
    `common_jump_size`. With `kinetic`, states are (position, velocity), controls are accelerations and noise enters
    velocities. `interaction` replaces the exact sum over pairs; kernel and weights are then its own.
    """
    targets = np.asarray(targets, float)
    if targets.ndim != 2:
        raise InvalidInput("targets", f"shape {targets.shape}", "one row per player: [players, dimension]")
    n, d = targets.shape
    if interaction is None:
        weights = checked_weights(weights, n) / (max(n - 1, 1) if normalise else 1)
        interaction = Pairs(kernel, jnp.asarray(weights), bool(np.any(weights != weights.T)))
    start = np.asarray(start, float)
    if start.shape not in ((d,), (n, d)):
        raise InvalidInput("start", f"shape {start.shape}", f"({d},) or ({n}, {d}), like the targets")
    for key, value in (("effort", effort), ("terminal_weight", terminal_weight)):
        if not value > 0:
            raise InvalidInput(key, value, "a positive weight")
    costs = CrowdCosts(
        effort=jnp.full(n, effort),
        targets=jnp.asarray(targets),
        terminal_weight=jnp.asarray(terminal_weight),
        interaction=interaction,
    )
    place = np.broadcast_to(start, (n, d))
    axes = np.broadcast_to(np.eye(d), (n, d, d))
    if kinetic:
        zero, one = np.zeros((d, d)), np.eye(d)
        place = np.concatenate([place, np.zeros((n, d))], axis=1)
        axes = np.broadcast_to(np.concatenate([zero, one]), (n, 2 * d, d))
    return DistributedGame(
        costs=costs,
        initial=jnp.asarray(place),
        horizon=float(horizon),
        input=jnp.asarray(axes) if kinetic else None,
        drift=jnp.broadcast_to(jnp.asarray(np.block([[zero, one], [zero, zero]])), (n, 2 * d, 2 * d))
        if kinetic
        else None,
        diffusion=jnp.asarray(noise * axes) if noise else None,
        common_diffusion=jnp.asarray(common_noise * axes) if common_noise else None,
        jumps=_jumps(axes, np.broadcast_to(np.asarray(rates, float), (n,)), jump_size, common_rate, common_jump_size),
    )


def _jumps(
    axes: np.ndarray, rates: np.ndarray, size: float, common_rate: float, common_size: float
) -> tuple[JumpNoise, ...]:
    """Own and common unit-size Poisson noise along the axes, where there is any."""
    d = axes.shape[2]
    if rates.min(initial=0.0) < 0:
        raise InvalidInput("rates", rates.tolist(), "intensities ≥ 0")
    if common_rate < 0:
        raise InvalidInput("common_rate", common_rate, "an intensity ≥ 0")
    found = []
    if size and rates.any():
        own = jnp.asarray(np.repeat(rates[:, None], d, axis=1))
        found.append(JumpNoise(rate=own, loading=jnp.asarray(size * axes), atoms=jnp.ones((d, 1))))
    if common_size and common_rate:
        common = jnp.full(d, float(common_rate))
        found.append(JumpNoise(rate=common, loading=jnp.asarray(common_size * axes), atoms=jnp.ones((d, 1))))
    return tuple(found)
