"""What is simulated or verified: a game and a profile from what was handed over, and the law of the start.

A solution stands for its game and profile. A linear-quadratic game without end is cut at a horizon T with what its
solution says of the rest: the terminal cost is zᵀS_p z, S_p the stationary values, so that nothing is left out.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from diffgames.errors import InvalidInput
from diffgames.games.differential import DifferentialGame, GaussianLaw, PointLaw
from diffgames.games.linear_quadratic import LinearQuadraticGame
from diffgames.games.matrices import numbers
from diffgames.numerics.precision import in_double


def played(target: Any, profile: Any, horizon: float | int | None) -> tuple[Any, Any]:
    """Game and profile; `target` or `profile` may be a solution, which is then cut at `horizon` with its values."""
    solution = next((one for one in (profile, target) if hasattr(one, "game") and hasattr(one, "profile")), None)
    if solution is None:
        if profile is None:
            raise InvalidInput("profile", None, "a profile, or a solution with its game and profile")
        return target, profile
    if solution is profile or profile is None:
        profile = solution.profile
    game = solution.game if solution is target else target
    ends = isinstance(game, LinearQuadraticGame) and game.endless and horizon is not None
    return (_cut(game, solution, horizon) if ends and hasattr(solution, "value") else game), profile


@in_double
def _cut(game: LinearQuadraticGame, solution: Any, horizon: Any) -> LinearQuadraticGame:
    """The game up to the horizon, the solution's values there as terminal costs."""
    values = solution.value(0.0)
    players = tuple(dataclasses.replace(one, terminal_cost=values[p]) for p, one in enumerate(game.players))
    return dataclasses.replace(game, players=players, horizon=horizon)


def started(game: DifferentialGame, initial: Any) -> DifferentialGame:
    """The game from `initial`: a state as a list or an array, or a law; in the precision of the game."""
    law = game.initial if initial is None else law_of(initial, game.state_size)
    regime = getattr(law, "regime", 0)
    if isinstance(law, PointLaw | GaussianLaw) and not isinstance(regime, Tracer):
        count = game.regime_count
        if not 0 <= int(regime) < count:
            raise InvalidInput("regime", int(regime), f"an index below {count}, the number of regimes")
    others = eqx.tree_at(lambda g: g.initial, game, None)
    double = any(isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(others))
    if double:
        law = jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf, law)
    return eqx.tree_at(lambda g: g.initial, game, law)


def law_of(initial: Any, size: int) -> Callable[..., Any]:
    """A law as it is; a list or an array of `size` numbers as the law concentrated there."""
    law = initial if callable(initial) else PointLaw(jnp.atleast_1d(numbers("initial", initial, f"{size} numbers")))
    mean = law.state if isinstance(law, PointLaw) else law.mean if isinstance(law, GaussianLaw) else None
    if mean is None:
        return law
    if mean.shape != (size,):
        raise InvalidInput("initial", f"shape {mean.shape}", f"{size} numbers, one for each component of the state")
    for leaf in jax.tree.leaves(law):
        if not isinstance(leaf, Tracer) and not np.all(np.isfinite(np.asarray(leaf))):
            raise InvalidInput("initial", np.asarray(leaf).tolist(), "finite numbers")
    return law
