"""Linear-quadratic-Gaussian control: a regulator that sees its state through noisy observations only (LQG).

    dx = (A x + B u + c) dt + Γ dW,   dy = C x dt + V dB       (discrete: x⁺ = A x + B u + c + Γ ξ,  y = C x + V η),
    x(0) ~ N(mean, Σ0),    cost as in `games.plain.regulator`, u a function of the observations so far.

In discrete time u_t may use y_0 … y_t. The plant is any one-player game in one regime with constant coefficients and
additive noise. `solvers.kalman` solves it by separation.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from diffgames.errors import InvalidInput
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.matrices import Binder, check_definite, shown
from diffgames.numerics.equilibration import least_eigenvalue
from diffgames.numerics.precision import in_double


class PartiallyObservedGame(eqx.Module):
    """See the module's docstring; `observation` is C, `observation_noise` V, `covariance` Σ0. `V Vᵀ` is regular."""

    plant: LinearQuadraticGame
    observation: Float[Array, "d n"]
    observation_noise: Float[Array, "d v"]
    mean: Float[Array, " n"]
    covariance: Float[Array, "n n"]

    @property
    def matrices(self) -> tuple[Float[Array, "n n"], Float[Array, "n k"], Float[Array, "n w"]]:
        """A, B and Γ."""
        c = self.plant.coefficients(0.0)
        return c.drift[0, :-1, :-1], c.input[0, :-1], c.diffusion[0, :, :-1, -1].T


@in_double
def partially_observed(
    plant: LinearQuadraticGame, observation: Any, observation_noise: Any, mean: Any = None, covariance: Any = None
) -> PartiallyObservedGame:
    """Observe `plant` (such as `plain.regulator(…, noise=Γ)`) through C and V; numbers stand for 1×1 matrices.

    `mean` and `covariance` are those of the state at the start, zero by default.
    """
    if len(plant.players) != 1 or plant.has_crowd or plant.players[0].sign < 0:
        raise InvalidInput("plant", [player.name for player in plant.players], "a game of one player who minimises")
    if plant.regime_count > 1 or plant.jump_scale is not None:
        raise InvalidInput("plant", "regimes or jumps", "one regime, Brownian noise")
    player = plant.players[0]
    parts = (plant.drift, plant.diffusion, player.own_input, player.state_cost, player.control_cost, player.cross_cost)
    if any(callable(part) for part in parts):
        raise InvalidInput("plant", "functions of time", "constant coefficients")
    if plant.diffusion is not None and bool(np.any(np.asarray(plant.diffusion)[..., :-1])):
        raise InvalidInput("plant.diffusion", "noise that depends on the state", "additive noise")
    n, bind = plant.size - 1, Binder()
    bind.sizes["n"] = n
    seen = bind.matrix("observation", observation, "d", "n")
    noise = bind.matrix("observation_noise", observation_noise, "d", "v")
    check_definite("observation_noise", noise @ noise.T, "V with V Vᵀ positive definite")
    start = jnp.zeros(n) if mean is None else bind.matrix("mean", mean, "n", tail=1)
    spread = jnp.zeros((n, n)) if covariance is None else bind.matrix("covariance", covariance, "n", "n")
    if not isinstance(spread, Tracer) and not _is_covariance(np.asarray(spread)):
        raise InvalidInput("covariance", shown(spread), f"a positive semidefinite matrix {n} × {n}")
    return PartiallyObservedGame(plant, seen, noise, start, spread)


def _is_covariance(spread: np.ndarray) -> bool:
    """Whether it is symmetric and positive semidefinite but for rounding, each entry in the units of its own states."""
    unit = np.sqrt(np.diagonal(spread).clip(0.0))
    unit = np.where(unit > 0, unit, 1.0)
    correlation = spread / unit[:, None] / unit
    skew, least = np.abs(correlation - correlation.T).max(), np.min(least_eigenvalue(correlation, np))
    return bool(skew <= 1e-9 and least >= -1e-9)
